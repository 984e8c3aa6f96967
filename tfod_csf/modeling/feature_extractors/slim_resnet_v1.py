"""slim's ResNet v1 (He et al. 2016) as TFOD's TensorFlow 1 types use it, split between block3 and block4.

Differs from the Keras ResNet v1 in where a block's stride is: in the 3x3 convolution of its last unit.
"""

import tf_keras

from tfod_csf.modeling.feature_extractors.feature_extractor import Halves
from tfod_csf.modeling.feature_extractors.slim_layers import HE_NORMAL, BatchNormConstants, SlimLayers, max_pool

# Units of block1 to block4.
_UNITS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
_LAYERS = SlimLayers(BatchNormConstants(decay=0.997, epsilon=1e-5), HE_NORMAL)


def build(depth: int, first_stage_features_stride: int) -> Halves:
    """Both halves, without block4 of the first one, which TFOD makes and does not use.

    Stride 8 runs block2 without its stride and block3 with a dilation of 2 instead.
    """
    name, units = f"resnet_v1_{depth}", _UNITS[depth]
    is_dense = first_stage_features_stride == 8
    image = tf_keras.Input([None, None, 3], name="image")
    x = tf_keras.layers.ZeroPadding2D(3, name="Pad")(image)
    x = _LAYERS.conv(x, 64, 7, "conv1", stride=2, padding="valid")
    x = max_pool(x, 3, 2, "pool1")
    x = _block(x, 64, units[0], "block1", stride=2)
    x = _block(x, 128, units[1], "block2", stride=1 if is_dense else 2)
    x = _block(x, 256, units[2], "block3", dilation_rate=2 if is_dense else 1)
    crop = tf_keras.Input([None, None, 1024], name="crop")
    return (
        tf_keras.Model(image, x, name=name),
        tf_keras.Model(crop, _block(crop, 512, units[3], "block4"), name=name),
        1,
    )


def _block(x, filters: int, units: int, name: str, stride: int = 1, dilation_rate: int = 1):
    for i in range(1, units + 1):
        x = _bottleneck(x, filters, f"{name}/unit_{i}/bottleneck_v1", stride if i == units else 1, dilation_rate)
    return x


def _bottleneck(x, filters: int, name: str, stride: int, dilation_rate: int):
    """1x1, 3x3 and 1x1 convolutions beside the shortcut, which has a convolution where the depth changes."""
    if x.shape[-1] != 4 * filters:
        shortcut = _LAYERS.conv(x, 4 * filters, 1, f"{name}/shortcut", relu=False)
    else:
        shortcut = x if stride == 1 else max_pool(x, 1, stride, f"{name}/shortcut")
    x = _LAYERS.conv(x, filters, 1, f"{name}/conv1")
    if stride == 1:
        x = _LAYERS.conv(x, filters, 3, f"{name}/conv2", dilation_rate=dilation_rate)
    else:
        # One cell on each side whatever the size; padding "same" would add none above and left of an even size.
        x = tf_keras.layers.ZeroPadding2D(1, name=f"{name}/Pad")(x)
        x = _LAYERS.conv(x, filters, 3, f"{name}/conv2", stride=stride, padding="valid")
    x = _LAYERS.conv(x, 4 * filters, 1, f"{name}/conv3", relu=False)
    x = tf_keras.layers.Add(name=f"{name}/add")([shortcut, x])
    return tf_keras.layers.ReLU(name=f"{name}/Relu")(x)

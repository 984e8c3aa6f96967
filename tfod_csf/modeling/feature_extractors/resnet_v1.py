"""Keras ResNet v1 (He et al. 2016) as TFOD's Keras types use it, split between conv4 and conv5."""

import tf_keras

from tfod_csf.modeling.feature_extractors.feature_extractor import Halves

# Blocks of conv2, conv3, conv4 and conv5 (He et al. 2016, table 1).
_RESNET_V1_BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
_BATCH_NORM_MOMENTUM = 0.997
_BATCH_NORM_EPSILON = 1e-5


def _conv(filters: int, kernel_size: int, name: str, strides: int = 1, padding: str = "same") -> tf_keras.layers.Layer:
    initializer = tf_keras.initializers.VarianceScaling(1.0, "fan_in", "truncated_normal")
    return tf_keras.layers.Conv2D(
        filters, kernel_size, strides, padding, use_bias=False, kernel_initializer=initializer, name=name
    )


def _batch_norm(name: str) -> tf_keras.layers.Layer:
    return tf_keras.layers.BatchNormalization(momentum=_BATCH_NORM_MOMENTUM, epsilon=_BATCH_NORM_EPSILON, name=name)


def _bottleneck_block(x, filters: int, name: str, stride: int = 1, conv_shortcut: bool = False):
    """1x1, 3x3, 1x1 and the shortcut. Their order numbers the variables of a checkpoint (layer_with_weights-N)."""
    shortcut = x
    if conv_shortcut:
        shortcut = _conv(4 * filters, 1, f"{name}_0_conv", stride)(x)
        shortcut = _batch_norm(f"{name}_0_bn")(shortcut)
    x = _conv(filters, 1, f"{name}_1_conv", stride)(x)
    x = _batch_norm(f"{name}_1_bn")(x)
    x = tf_keras.layers.ReLU(name=f"{name}_1_relu")(x)
    x = _conv(filters, 3, f"{name}_2_conv")(x)
    x = _batch_norm(f"{name}_2_bn")(x)
    x = tf_keras.layers.ReLU(name=f"{name}_2_relu")(x)
    x = _conv(4 * filters, 1, f"{name}_3_conv")(x)
    x = _batch_norm(f"{name}_3_bn")(x)
    x = tf_keras.layers.Add(name=f"{name}_add")([shortcut, x])
    return tf_keras.layers.ReLU(name=f"{name}_out")(x)


def _stack(x, filters: int, blocks: int, name: str, stride: int):
    x = _bottleneck_block(x, filters, f"{name}_block1", stride, conv_shortcut=True)
    for i in range(2, blocks + 1):
        x = _bottleneck_block(x, filters, f"{name}_block{i}")
    return x


def build(depth: int) -> Halves:
    """ResNet v1 with the stride on a stage's first 1x1 convolution, split between conv4 and conv5.

    conv5 starts with stride 1 here, on crops that hold only the cells its stride of 2 would read.
    """
    blocks = _RESNET_V1_BLOCKS[depth]
    image = tf_keras.Input([None, None, 3], name="image")
    x = tf_keras.layers.ZeroPadding2D(3, name="conv1_pad")(image)
    x = _conv(64, 7, "conv1_conv", strides=2, padding="valid")(x)
    x = _batch_norm("conv1_bn")(x)
    x = tf_keras.layers.ReLU(name="conv1_relu")(x)
    x = tf_keras.layers.MaxPooling2D(3, 2, "same", name="pool1_pool")(x)
    x = _stack(x, 64, blocks[0], "conv2", stride=1)
    x = _stack(x, 128, blocks[1], "conv3", stride=2)
    x = _stack(x, 256, blocks[2], "conv4", stride=2)
    proposal_features = tf_keras.Model(image, x, name=f"resnet{depth}_to_conv4")
    crop = tf_keras.Input([None, None, 1024], name="crop")
    x = _stack(crop, 512, blocks[3], "conv5", stride=1)
    return proposal_features, tf_keras.Model(crop, x, name=f"resnet{depth}_conv5"), 2

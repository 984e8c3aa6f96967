"""slim's Inception ResNet v2 (Szegedy et al. 2017) as TFOD's TensorFlow 1 type uses it, split before Mixed_7a."""

import tf_keras

from tfod_csf.modeling.feature_extractors.feature_extractor import Halves
from tfod_csf.modeling.feature_extractors.slim_layers import (
    GLOROT_UNIFORM,
    BatchNormConstants,
    ScaledResidual,
    SlimLayers,
    average_pool,
    concatenate,
    max_pool,
)

_LAYERS = SlimLayers(BatchNormConstants(decay=0.9997, epsilon=1e-3, scale=False), GLOROT_UNIFORM)

# Branches of the residual blocks: convolutions one after another, each (name, filters).
_BLOCK35 = (
    (("Conv2d_1x1", 32),),
    (("Conv2d_0a_1x1", 32), ("Conv2d_0b_3x3", 32)),
    (("Conv2d_0a_1x1", 32), ("Conv2d_0b_3x3", 48), ("Conv2d_0c_3x3", 64)),
)
_BLOCK17 = (
    (("Conv2d_1x1", 192),),
    (("Conv2d_0a_1x1", 128), ("Conv2d_0b_1x7", 160), ("Conv2d_0c_7x1", 192)),
)
_BLOCK8 = (
    (("Conv2d_1x1", 192),),
    (("Conv2d_0a_1x1", 192), ("Conv2d_0b_1x3", 224), ("Conv2d_0c_3x1", 256)),
)
# Branches of the other modules, which a pooled one follows.
_MIXED_5B = (
    (("Conv2d_1x1", 96),),
    (("Conv2d_0a_1x1", 48), ("Conv2d_0b_5x5", 64)),
    (("Conv2d_0a_1x1", 64), ("Conv2d_0b_3x3", 96), ("Conv2d_0c_3x3", 96)),
)
_MIXED_6A = (
    (("Conv2d_1a_3x3", 384),),
    (("Conv2d_0a_1x1", 256), ("Conv2d_0b_3x3", 256), ("Conv2d_1a_3x3", 384)),
)
_MIXED_7A = (
    (("Conv2d_0a_1x1", 256), ("Conv2d_1a_3x3", 384)),
    (("Conv2d_0a_1x1", 256), ("Conv2d_1a_3x3", 288)),
    (("Conv2d_0a_1x1", 256), ("Conv2d_0b_3x3", 288), ("Conv2d_1a_3x3", 320)),
)


def build(first_stage_features_stride: int) -> Halves:
    """Both halves. Stride 8 runs Mixed_6a without its stride and the blocks after it with a dilation of 2 instead."""
    is_dense = first_stage_features_stride == 8
    image = tf_keras.Input([None, None, 3], name="image")
    x = _mixed_5b(_stem(image))
    for i in range(1, 11):
        x = _residual(x, _BLOCK35, f"Repeat/block35_{i}", 0.17)
    x = _reduction(x, _MIXED_6A, "Mixed_6a", 1 if is_dense else 2, "same")
    for i in range(1, 21):
        x = _residual(x, _BLOCK17, f"Repeat_1/block17_{i}", 0.10, dilation_rate=2 if is_dense else 1)
    crop = tf_keras.Input([None, None, 1088], name="crop")
    y = _reduction(crop, _MIXED_7A, "Mixed_7a", 2, "valid")
    for i in range(1, 10):
        y = _residual(y, _BLOCK8, f"Repeat/block8_{i}", 0.20)
    y = _residual(y, _BLOCK8, "Block8", 1.0, relu=False)
    y = _LAYERS.conv(y, 1536, 1, "Conv2d_7b_1x1")
    return tf_keras.Model(image, x, name="InceptionResnetV2"), tf_keras.Model(crop, y, name="InceptionResnetV2"), 1


def _stem(image):
    x = _LAYERS.conv(image, 32, 3, "Conv2d_1a_3x3", stride=2)
    x = _LAYERS.conv(x, 32, 3, "Conv2d_2a_3x3")
    x = _LAYERS.conv(x, 64, 3, "Conv2d_2b_3x3")
    x = max_pool(x, 3, 2, "MaxPool_3a_3x3")
    x = _LAYERS.conv(x, 80, 1, "Conv2d_3b_1x1")
    x = _LAYERS.conv(x, 192, 3, "Conv2d_4a_3x3")
    return max_pool(x, 3, 2, "MaxPool_5a_3x3")


def _mixed_5b(x):
    branches = _branches(x, _MIXED_5B, "Mixed_5b")
    pooled = average_pool(x, 3, "Mixed_5b/Branch_3/AvgPool_0a_3x3")
    branches.append(_LAYERS.conv(pooled, 64, 1, "Mixed_5b/Branch_3/Conv2d_0b_1x1"))
    return concatenate(branches, "Mixed_5b")


def _reduction(x, specifications, name: str, stride: int, padding: str):
    branches = _branches(x, specifications, name, stride=stride, padding=padding)
    branches.append(max_pool(x, 3, stride, f"{name}/Branch_{len(branches)}/MaxPool_1a_3x3", padding))
    return concatenate(branches, name)


def _residual(x, specifications, name: str, scale: float, dilation_rate: int = 1, relu: bool = True):
    """x plus the scaled branches, brought back to x's depth by a convolution with bias and without batch norm."""
    mixed = concatenate(_branches(x, specifications, name, dilation_rate=dilation_rate), name)
    up = tf_keras.layers.Conv2D(x.shape[-1], 1, name=f"{name}/Conv2d_1x1")(mixed)
    x = ScaledResidual(scale, name=f"{name}/add")([x, up])
    return tf_keras.layers.ReLU(name=f"{name}/Relu")(x) if relu else x


def _branches(x, specifications, name: str, **arguments) -> list:
    return [_LAYERS.convs(x, convs, f"{name}/Branch_{i}", **arguments) for i, convs in enumerate(specifications)]

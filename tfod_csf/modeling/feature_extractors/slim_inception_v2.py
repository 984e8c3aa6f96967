"""slim's Inception v2 (Ioffe and Szegedy 2015) as TFOD's TensorFlow 1 type uses it, split before Mixed_5a."""

import tf_keras

from tfod_csf.modeling.feature_extractors.feature_extractor import Halves
from tfod_csf.modeling.feature_extractors.slim_layers import (
    GLOROT_UNIFORM,
    BatchNormConstants,
    SlimLayers,
    average_pool,
    concatenate,
    max_pool,
)

_LAYERS = SlimLayers(BatchNormConstants(decay=0.9997, epsilon=1e-3), GLOROT_UNIFORM)

# Filters of the branches: 1x1; 1x1, 3x3; 1x1, 3x3, 3x3; 1x1 after pooling.
_MODULES = {
    "Mixed_3b": (64, (64, 64), (64, 96, 96), 32),
    "Mixed_3c": (64, (64, 96), (64, 96, 96), 64),
    "Mixed_4b": (224, (64, 96), (96, 128, 128), 128),
    "Mixed_4c": (192, (96, 128), (96, 128, 128), 128),
    "Mixed_4d": (160, (128, 160), (128, 160, 160), 96),
    "Mixed_4e": (96, (128, 192), (160, 192, 192), 96),
    "Mixed_5b": (352, (192, 320), (160, 224, 224), 128),
    "Mixed_5c": (352, (192, 320), (192, 224, 224), 128),
}
# Filters of the branches with stride 2: 1x1, 3x3; 1x1, 3x3, 3x3; the third one pools.
_REDUCTIONS = {
    "Mixed_4a": ((128, 160), (64, 96, 96)),
    "Mixed_5a": ((128, 192), (192, 256, 256)),
}


def build() -> Halves:
    """Both halves. There is one map, of stride 16, whatever first_stage_features_stride says, as in TFOD."""
    image = tf_keras.Input([None, None, 3], name="image")
    x = tf_keras.layers.SeparableConv2D(
        64,
        7,
        2,
        "same",
        depth_multiplier=8,
        use_bias=False,
        depthwise_initializer=_normal(1.0),
        pointwise_initializer=_normal(1.0),
        name="Conv2d_1a_7x7",
    )(image)
    x = _LAYERS.normalize(x, "Conv2d_1a_7x7")
    x = max_pool(x, 3, 2, "MaxPool_2a_3x3")
    x = _LAYERS.conv(x, 64, 1, "Conv2d_2b_1x1", initializer=_normal(0.1))
    x = _LAYERS.conv(x, 192, 3, "Conv2d_2c_3x3")
    x = max_pool(x, 3, 2, "MaxPool_3a_3x3")
    x = _module(x, "Mixed_3b")
    x = _module(x, "Mixed_3c")
    x = _reduction(x, "Mixed_4a")
    for name in ("Mixed_4b", "Mixed_4c", "Mixed_4d", "Mixed_4e"):
        x = _module(x, name)
    crop = tf_keras.Input([None, None, 576], name="crop")
    y = _reduction(crop, "Mixed_5a")
    y = _module(y, "Mixed_5b")
    y = _module(y, "Mixed_5c", pools_maximum=True)
    return tf_keras.Model(image, x, name="InceptionV2"), tf_keras.Model(crop, y, name="InceptionV2"), 1


def _module(x, name: str, pools_maximum: bool = False):
    alone, branch_1, branch_2, pooled = _MODULES[name]
    if pools_maximum:
        pool = max_pool(x, 3, 1, f"{name}/Branch_3/MaxPool_0a_3x3")
    else:
        pool = average_pool(x, 3, f"{name}/Branch_3/AvgPool_0a_3x3")
    branches = [
        _LAYERS.conv(x, alone, 1, f"{name}/Branch_0/Conv2d_0a_1x1"),
        _branch(x, branch_1, f"{name}/Branch_1", ("0b",)),
        _branch(x, branch_2, f"{name}/Branch_2", ("0b", "0c")),
        _LAYERS.conv(pool, pooled, 1, f"{name}/Branch_3/Conv2d_0b_1x1", initializer=_normal(0.1)),
    ]
    return concatenate(branches, name)


def _reduction(x, name: str):
    branch_0, branch_1 = _REDUCTIONS[name]
    branches = [
        _branch(x, branch_0, f"{name}/Branch_0", ("1a",)),
        _branch(x, branch_1, f"{name}/Branch_1", ("0b", "1a")),
        max_pool(x, 3, 2, f"{name}/Branch_2/MaxPool_1a_3x3"),
    ]
    return concatenate(branches, name)


def _branch(x, filters: tuple[int, ...], scope: str, marks: tuple[str, ...]):
    """A 1x1 convolution, then one of 3x3 per mark; the mark 1a has stride 2."""
    x = _LAYERS.conv(x, filters[0], 1, f"{scope}/Conv2d_0a_1x1", initializer=_normal(0.09))
    for mark, depth in zip(marks, filters[1:]):
        x = _LAYERS.conv(x, depth, 3, f"{scope}/Conv2d_{mark}_3x3", stride=2 if mark == "1a" else 1)
    return x


def _normal(stddev: float) -> tf_keras.initializers.Initializer:
    return tf_keras.initializers.TruncatedNormal(stddev=stddev)

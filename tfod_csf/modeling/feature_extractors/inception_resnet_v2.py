"""Inception ResNet v2 (Szegedy et al. 2016) as TFOD's Keras type uses it, split behind the last block17.

The network is that of tf_keras.applications, which takes its layers from an argument; `_Layers` are TFOD's.
"""

import collections
from typing import Any

import tf_keras

from tfod_csf.modeling.feature_extractors.feature_extractor import Halves

_BATCH_NORM_MOMENTUM = 0.9997
_BATCH_NORM_EPSILON = 1e-3
# The residual convolution of the first half's last block: all layers made after it belong to the second half.
_LAST_OF_FIRST_HALF = "block17_20_conv"
# Filters of the stride-2 convolutions of Mixed_6a, and of the wide ones of block17; no other layers of the first half
# that are padded in the same way have as many.
_MIXED_6A_FILTERS = 384
_BLOCK17_FILTERS = (160, 192)


class _Layers:
    """tf_keras.layers, with the changes that TFOD makes to this network.

    Every padding is SAME, so that cell i of the map lies at i * stride; batch norm has no gamma. With a stride of 8,
    Mixed_6a has stride 1 and block17 a dilation of 2, so that its filters see what they see at stride 16.

    Layers without a name are numbered from 0 in each network (Keras counts on), as variables are frozen by name.
    """

    def __init__(self, first_stage_features_stride: int):
        self._is_atrous = first_stage_features_stride == 8
        self._numbers: collections.Counter[str] = collections.Counter()

    def __getattr__(self, name: str) -> Any:
        return getattr(tf_keras.layers, name)

    def Conv2D(self, filters: int, kernel_size: int | list[int], strides: int = 1, padding: str = "valid", **arguments):
        dilation = 1
        if self._is_atrous and filters == _MIXED_6A_FILTERS:
            strides = 1
        if self._is_atrous and filters in _BLOCK17_FILTERS and padding == "same":
            dilation = 2
        if arguments.get("name") == _LAST_OF_FIRST_HALF:
            self._is_atrous = False
        arguments["name"] = arguments.get("name") or self._next_name("conv2d")
        return tf_keras.layers.Conv2D(
            filters, kernel_size, strides=strides, padding="same", dilation_rate=dilation, **arguments
        )

    def MaxPooling2D(self, pool_size: int, strides: int, padding: str = ""):
        # Mixed_6a names its padding, the stem's two poolings do not.
        if self._is_atrous and padding:
            strides = 1
        return tf_keras.layers.MaxPooling2D(pool_size, strides=strides, padding="same")

    def BatchNormalization(self, **arguments):
        arguments["name"] = arguments.get("name") or self._next_name("batch_normalization")
        arguments |= {"scale": False, "momentum": _BATCH_NORM_MOMENTUM, "epsilon": _BATCH_NORM_EPSILON}
        return tf_keras.layers.BatchNormalization(**arguments)

    def _next_name(self, kind: str) -> str:
        self._numbers[kind] += 1
        return f"{kind}_{self._numbers[kind] - 1}"


def build(first_stage_features_stride: int) -> Halves:
    """All layers up to the last block17, with 1088 channels, and those from Mixed_7a on, with 1536.

    Args:
      first_stage_features_stride: 16, or 8 with dilated convolutions.
    """
    network = tf_keras.applications.InceptionResNetV2(
        include_top=False, weights=None, layers=_Layers(first_stage_features_stride)
    )
    cut, end = network.get_layer("block17_20_ac").output, network.get_layer("conv_7b_ac").output
    proposal_features = tf_keras.Model(network.input, cut, name="inception_resnet_v2_to_block17")
    return proposal_features, tf_keras.Model(cut, end, name="inception_resnet_v2_from_mixed_7a"), 1

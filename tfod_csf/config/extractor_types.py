"""Values of model.faster_rcnn.feature_extractor.type: those built here, and the nearest to each of TFOD's others.

One row per type says what checks and packages ask of it before the network is built.
"""

import dataclasses

CHANNEL_MEANS = "channel_means"
MINUS_ONE_TO_ONE = "minus_one_to_one"
SLIM_SMALLEST_SIDE = 33  # px, of the network input


@dataclasses.dataclass(frozen=True)
class ExtractorType:
    """What a type takes.

    Attributes:
      first_stage_features_strides: values of that field it takes.
      pixel_values: what its network expects, see network_input.image_normalizer: CHANNEL_MEANS (less ImageNet's means)
        or MINUS_ONE_TO_ONE (-1..1).
      slim_scope: name of slim's network in TensorFlow 1 variable names ("InceptionV2"), for TFOD's TensorFlow 1 types;
        None for those TFOD builds in Keras. TensorFlow 1 also regularizes the second stage's dense layers and refuses
        network inputs of a side below SLIM_SMALLEST_SIDE.
      is_feature_pyramid: it has a map for each of several levels, whatever first_stage_features_stride says.
    """

    first_stage_features_strides: tuple[int, ...]
    pixel_values: str = CHANNEL_MEANS
    slim_scope: str | None = None
    is_feature_pyramid: bool = False


TYPES = {
    "faster_rcnn_resnet50_keras": ExtractorType((16,)),
    "faster_rcnn_resnet101_keras": ExtractorType((16,)),
    "faster_rcnn_resnet152_keras": ExtractorType((16,)),
    "faster_rcnn_inception_resnet_v2_keras": ExtractorType((8, 16), MINUS_ONE_TO_ONE),
    "faster_rcnn_resnet50_fpn_keras": ExtractorType((8, 16), is_feature_pyramid=True),
    "faster_rcnn_resnet101_fpn_keras": ExtractorType((8, 16), is_feature_pyramid=True),
    "faster_rcnn_resnet152_fpn_keras": ExtractorType((8, 16), is_feature_pyramid=True),
    "faster_rcnn_resnet18_keras": ExtractorType((8, 16)),
    "faster_rcnn_resnet18_instance_norm_keras": ExtractorType((8, 16)),
    "faster_rcnn_inception_v2": ExtractorType((8, 16), MINUS_ONE_TO_ONE, "InceptionV2"),
    "faster_rcnn_resnet50": ExtractorType((8, 16), slim_scope="resnet_v1_50"),
    "faster_rcnn_resnet101": ExtractorType((8, 16), slim_scope="resnet_v1_101"),
    "faster_rcnn_resnet152": ExtractorType((8, 16), slim_scope="resnet_v1_152"),
    "faster_rcnn_inception_resnet_v2": ExtractorType((8, 16), MINUS_ONE_TO_ONE, "InceptionResnetV2"),
}
SUPPORTED = tuple(TYPES)

_SLIM = "this TensorFlow 1 (slim) network is not supported"
# TFOD's other Faster R-CNN types: why they are not built here, and the nearest type that is.
_OTHER = {
    "faster_rcnn_mobilenet_v1": (_SLIM, "faster_rcnn_inception_v2"),
    "faster_rcnn_nas": (_SLIM, "faster_rcnn_inception_resnet_v2"),
    "faster_rcnn_pnas": (_SLIM, "faster_rcnn_inception_resnet_v2"),
}


def stride_complaint(extractor_type: str, first_stage_features_stride: int) -> str:
    """The error's sentence where a type that is built here does not take this stride, without its stop; "" if it does.

    TFOD's Keras ResNets take no notice of the field: their stride is 16 whatever it says.
    """
    strides = TYPES[extractor_type].first_stage_features_strides
    if first_stage_features_stride in strides:
        return ""
    return (
        f"model.faster_rcnn.feature_extractor.first_stage_features_stride: {first_stage_features_stride} is not "
        f"supported by {extractor_type}; use {' or '.join(map(str, strides))}"
    )


def feature_map_stride(extractor_type: str, first_stage_features_stride: int) -> int:
    """Pixels per cell of the network's map: what the field says, but always 16 with faster_rcnn_inception_v2.

    That network takes 8 and takes no notice of it, as in TFOD.
    """
    return 16 if extractor_type == "faster_rcnn_inception_v2" else first_stage_features_stride


def strides_note() -> str:
    """Which types take which first_stage_features_stride, for docs/CONFIG.md."""
    by_strides: dict[tuple[int, ...], list[str]] = {}
    for name, row in TYPES.items():
        by_strides.setdefault(row.first_stage_features_strides, []).append(name)
    parts = [f"{' or '.join(map(str, strides))} with {', '.join(names)}" for strides, names in by_strides.items()]
    return "; ".join(parts)


def is_slim(extractor_type: str) -> bool:
    """Whether it is one of the types that TFOD builds with slim on TensorFlow 1."""
    return extractor_type in TYPES and TYPES[extractor_type].slim_scope is not None


def nearest(extractor_type: str) -> str:
    """The end of the error's sentence: why `extractor_type` is not supported, and which type to use instead."""
    if extractor_type in _OTHER:
        why, use = _OTHER[extractor_type]
        return f"{why}; use {use}"
    return f"use one of {', '.join(SUPPORTED)}"

"""Values of model.faster_rcnn.feature_extractor.type: those built here, and the nearest to each of TFOD's others.

One row per type says what checks and packages ask of it before the network is built.
"""

import dataclasses

CHANNEL_MEANS = "channel_means"
MINUS_ONE_TO_ONE = "minus_one_to_one"


@dataclasses.dataclass(frozen=True)
class ExtractorType:
    """What a type takes.

    Attributes:
      first_stage_features_strides: values of that field it takes.
      pixel_values: what its network expects, see network_input.image_normalizer: CHANNEL_MEANS (less ImageNet's means)
        or MINUS_ONE_TO_ONE (-1..1).
    """

    first_stage_features_strides: tuple[int, ...]
    pixel_values: str = CHANNEL_MEANS


TYPES = {
    "faster_rcnn_resnet50_keras": ExtractorType((16,)),
    "faster_rcnn_resnet101_keras": ExtractorType((16,)),
    "faster_rcnn_resnet152_keras": ExtractorType((16,)),
    "faster_rcnn_resnet18_keras": ExtractorType((8, 16)),
}
SUPPORTED = tuple(TYPES)

_FPN = "feature pyramids are not supported"
_SLIM = "is TFOD's TensorFlow 1 (slim) network, whose checkpoints have another format"
# TFOD's other Faster R-CNN types: why they are not built here, and the nearest type that is.
_OTHER = {
    "faster_rcnn_resnet50": (_SLIM, "faster_rcnn_resnet50_keras"),
    "faster_rcnn_resnet101": (_SLIM, "faster_rcnn_resnet101_keras"),
    "faster_rcnn_resnet152": (_SLIM, "faster_rcnn_resnet152_keras"),
    "faster_rcnn_inception_v2": (_SLIM, "faster_rcnn_resnet50_keras"),
    "faster_rcnn_mobilenet_v1": (_SLIM, "faster_rcnn_resnet18_keras"),
    "faster_rcnn_inception_resnet_v2": (_SLIM, "faster_rcnn_resnet152_keras"),
    "faster_rcnn_nas": (_SLIM, "faster_rcnn_resnet152_keras"),
    "faster_rcnn_pnas": (_SLIM, "faster_rcnn_resnet152_keras"),
    "faster_rcnn_inception_resnet_v2_keras": ("Inception ResNet v2 is not supported", "faster_rcnn_resnet152_keras"),
    "faster_rcnn_resnet50_fpn_keras": (_FPN, "faster_rcnn_resnet50_keras"),
    "faster_rcnn_resnet101_fpn_keras": (_FPN, "faster_rcnn_resnet101_keras"),
    "faster_rcnn_resnet152_fpn_keras": (_FPN, "faster_rcnn_resnet152_keras"),
}


def nearest(extractor_type: str) -> str:
    """The end of the error's sentence: why `extractor_type` is not supported, and which type to use instead."""
    if extractor_type in _OTHER:
        why, use = _OTHER[extractor_type]
        return f"{why if why != _SLIM else 'it ' + why}; use {use}"
    return f"use one of {', '.join(SUPPORTED)}"

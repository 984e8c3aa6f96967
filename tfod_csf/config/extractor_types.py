"""Values of model.faster_rcnn.feature_extractor.type: those built here, and the nearest to each of TFOD's others."""

SUPPORTED = (
    "faster_rcnn_resnet50_keras",
    "faster_rcnn_resnet101_keras",
    "faster_rcnn_resnet152_keras",
    "faster_rcnn_resnet18_keras",
)

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

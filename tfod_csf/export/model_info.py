"""Parts of model.json that follow from the config and from the machine, not from the weights."""

import platform
from importlib import metadata
from typing import Any

from tfod_csf import __version__
from tfod_csf.config.protos import faster_rcnn_pb2

_PACKAGES = ("tensorflow", "tf_keras", "tf-models-official", "numpy")


def limits(config: faster_rcnn_pb2.FasterRcnn) -> dict[str, Any]:
    """How many detections an image may have, which readers need to tell that a limit was reached."""
    nms = config.second_stage_post_processing.batch_non_max_suppression
    return {
        "max_detections_per_class": nms.max_detections_per_class,
        "max_total_detections": nms.max_total_detections,
        "use_class_agnostic_nms": nms.use_class_agnostic_nms,
    }


def input_size(config: faster_rcnn_pb2.FasterRcnn) -> dict[str, Any]:
    """Which resizer, and its sizes in pixels."""
    kind = config.image_resizer.WhichOneof("image_resizer_oneof")
    resizer = getattr(config.image_resizer, kind)
    names = ("min_dimension", "max_dimension", "pad_to_max_dimension", "height", "width")
    return {"resizer": kind, **{name: getattr(resizer, name) for name in names if hasattr(resizer, name)}}


def versions() -> dict[str, str]:
    """Of this package, of Python and of the packages that compute."""
    return {
        "tfod_csf": __version__,
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in _PACKAGES},
    }

"""Feature extractor and input size: combinations of TFOD's zoos and samples for Faster R-CNN, and two for CPUs."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tfod_csf.config import extractor_types
from tfod_csf.config.pipeline_config import ConfigError

ZOO_SIZES = ("640x640", "1024x1024", "800x1333")
_SIZE = re.compile(r"(\d+)x(\d+)")


@dataclass(frozen=True)
class NetworkPreset:
    """One network at one input size.

    Attributes:
      name: as in the zoo, for example faster_rcnn_resnet50_v1_640x640.
      feature_extractor_type: the config's value.
      min_dimension: pixels of the shorter side of the input, or its height when the shape is fixed.
      max_dimension: upper limit of the longer side in pixels, to which the input is padded; or the fixed width.
      is_fixed_shape: the image is stretched to height and width (the zoo's 1024x1024) instead of padded.
      zoo_checkpoint: path of the zoo's checkpoint after unpacking; "" when there is none.
      zoo_checkpoint_type: what to restore from it: "detection" from COCO's, "classification" from ImageNet's.
      least_detections: lower limit of detections and proposals per image.
      first_stage_features_stride: input pixels per cell of the feature map, and between anchors.
      aspect_ratios: of the anchors; cells are round, so the small network has one.
      first_stage_minibatch_size: anchors per image that the first stage learns from.
      second_stage_batch_size: proposals per image that the second stage learns from.
      first_stage_atrous_rate: dilation of the RPN's convolution.
      initial_crop_size, maxpool_kernel_size: of the crop between the stages; the pooling's stride is its size.
      rms_prop_epsilon: default of RMSprop's epsilon. With TFOD's 1, the small gradients of a trained network are hardly
        scaled, and the rule is plain momentum. A network trained from scratch needs the scaling of a small epsilon.
    """

    name: str
    feature_extractor_type: str
    min_dimension: int
    max_dimension: int
    is_fixed_shape: bool
    zoo_checkpoint: str
    zoo_checkpoint_type: str = "detection"
    least_detections: int = 300
    first_stage_features_stride: int = 16
    aspect_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    first_stage_minibatch_size: int = 256
    second_stage_batch_size: int = 64
    first_stage_atrous_rate: int = 1
    initial_crop_size: int = 14
    maxpool_kernel_size: int = 2
    rms_prop_epsilon: float = 1.0

    @property
    def is_feature_pyramid(self) -> bool:
        """Anchors lie on several feature maps, and their sides follow from the maps' strides."""
        return extractor_types.TYPES[self.feature_extractor_type].is_feature_pyramid


def _coco_checkpoint(name: str, own_sizes: tuple[str, ...]) -> Callable[[str], str]:
    """From the input size to the zoo's checkpoint. Weights do not depend on the size, so the first serves others."""

    def path(size: str) -> str:
        size = size if size in own_sizes else own_sizes[0]
        hardware = "gpu" if size == "800x1333" else "tpu"
        return f"pre-trained-models/{name}_{size}_coco17_{hardware}-8/checkpoint/ckpt-0"

    return path


@dataclass(frozen=True)
class _Network:
    """What the presets of one feature extractor have in common.

    Attributes:
      type: the config's value.
      name: of a preset, without the input size.
      sizes: those whose configs are in pipeline_configs/, the first one is the default.
      zoo_checkpoint: from the input size to the preset's.
      fields: of NetworkPreset, where they differ from those of the zoo's ResNets.
    """

    type: str
    name: str
    sizes: tuple[str, ...]
    zoo_checkpoint: Callable[[str], str]
    fields: dict[str, Any] = field(default_factory=dict)


def _resnet(depth: int) -> _Network:
    name = f"faster_rcnn_resnet{depth}_v1"
    return _Network(f"faster_rcnn_resnet{depth}_keras", name, ZOO_SIZES, _coco_checkpoint(name, ZOO_SIZES))


def _feature_pyramid(depth: int) -> _Network:
    """The zoo has no COCO checkpoint of a pyramid; the published config starts from ImageNet's."""
    return _Network(
        f"faster_rcnn_resnet{depth}_fpn_keras",
        f"faster_rcnn_resnet{depth}_v1_fpn",
        ("640x640",),
        lambda size: f"pre-trained-models/resnet{depth}.ckpt-1",
        {"zoo_checkpoint_type": "classification", "aspect_ratios": (1.0, 2.0, 0.5)},
    )


def _tensorflow_1(name: str, checkpoint: str, **fields: Any) -> _Network:
    """TFOD's TensorFlow 1 networks, at the size of their samples."""
    path = f"pre-trained-models/{checkpoint}"
    return _Network(f"faster_rcnn_{name}", f"faster_rcnn_{name}", ("600x1024",), lambda size: path, fields)


def _resnet18(name: str) -> _Network:
    """The networks for CPUs, which have no published checkpoint."""
    return _Network(
        f"{name}_keras",
        name,
        ("320x320",),
        lambda size: "",
        {
            "least_detections": 100,
            "first_stage_features_stride": 8,
            "aspect_ratios": (1.0,),
            "first_stage_minibatch_size": 64,
            "second_stage_batch_size": 32,
            "rms_prop_epsilon": 0.01,
        },
    )


_INCEPTION_RESNET_V2_SIZES = ("640x640", "1024x1024")
# By the short name of the feature extractor.
_NETWORKS = {
    **{f"resnet{depth}": _resnet(depth) for depth in (50, 101, 152)},
    **{f"resnet{depth}_fpn": _feature_pyramid(depth) for depth in (50, 101, 152)},
    "inception_resnet_v2_keras": _Network(
        "faster_rcnn_inception_resnet_v2_keras",
        "faster_rcnn_inception_resnet_v2",
        _INCEPTION_RESNET_V2_SIZES,
        _coco_checkpoint("faster_rcnn_inception_resnet_v2", _INCEPTION_RESNET_V2_SIZES),
        {"initial_crop_size": 17, "maxpool_kernel_size": 1},
    ),
    # A ResNet's short name means the Keras network, and inception_resnet_v2 could mean either, so these go by the type.
    "inception_v2": _tensorflow_1("inception_v2", "faster_rcnn_inception_v2_coco_2018_01_28/model.ckpt"),
    "faster_rcnn_resnet50": _tensorflow_1("resnet50", "faster_rcnn_resnet50_coco_2018_01_28/model.ckpt"),
    "faster_rcnn_resnet101": _tensorflow_1("resnet101", "faster_rcnn_resnet101_coco_2018_01_28/model.ckpt"),
    "faster_rcnn_resnet152": _tensorflow_1(
        "resnet152", "resnet_v1_152_2016_08_28/resnet_v1_152.ckpt", zoo_checkpoint_type="classification"
    ),
    "faster_rcnn_inception_resnet_v2": _tensorflow_1(
        "inception_resnet_v2",
        "faster_rcnn_inception_resnet_v2_atrous_coco_2018_01_28/model.ckpt",
        first_stage_features_stride=8,
        first_stage_atrous_rate=2,
        initial_crop_size=17,
        maxpool_kernel_size=1,
    ),
    "resnet18": _resnet18("faster_rcnn_resnet18"),
    "resnet18_instance_norm": _resnet18("faster_rcnn_resnet18_instance_norm"),
}
FEATURE_EXTRACTORS = tuple(_NETWORKS)


def network_preset(feature_extractor: str, input_size: str = "") -> NetworkPreset:
    """The preset of a feature extractor and an input size.

    Args:
      feature_extractor: short, "resnet50", or the config's value, "faster_rcnn_resnet50_keras".
      input_size: "MINxMAX" in pixels: shorter side and limit of the longer one; 1024x1024 is stretched, as in the zoo;
        empty: 640x640, or 320x320 for the network for CPUs.
    """
    by_type = {network.type: short for short, network in _NETWORKS.items()}
    short = by_type.get(feature_extractor, feature_extractor)
    if short not in _NETWORKS:
        raise ConfigError(
            f"feature extractor {feature_extractor!r} is not supported; use one of {', '.join(FEATURE_EXTRACTORS)}."
        )
    network = _NETWORKS[short]
    size = input_size or network.sizes[0]
    match = _SIZE.fullmatch(size)
    if not match or not 32 <= int(match[1]) <= int(match[2]):
        raise ConfigError(f"input size {input_size!r} is not MINxMAX in pixels with 32 <= MIN <= MAX, such as 640x640.")
    return NetworkPreset(
        name=f"{network.name}_{size}",
        feature_extractor_type=network.type,
        min_dimension=int(match[1]),
        max_dimension=int(match[2]),
        is_fixed_shape=size == "1024x1024",
        zoo_checkpoint=network.zoo_checkpoint(size),
        **network.fields,
    )


def committed_presets() -> list[NetworkPreset]:
    """The presets whose configs are in pipeline_configs/."""
    return [network_preset(short, size) for short, network in _NETWORKS.items() for size in network.sizes]

"""Feature extractor and input size: the TF2 zoo's combinations for Faster R-CNN ResNet, and one for CPUs."""

import re
from dataclasses import dataclass

from tfod_csf.config.pipeline_config import ConfigError

ZOO_SIZES = ("640x640", "1024x1024", "800x1333")
_ZOO_DEPTHS = (50, 101, 152)
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
      zoo_checkpoint: path of the zoo's COCO checkpoint after unpacking; "" when there is none.
      least_detections: lower limit of detections and proposals per image.
      first_stage_features_stride: input pixels per cell of the feature map, and between anchors.
      aspect_ratios: of the anchors; cells are round, so the small network has one.
      first_stage_minibatch_size: anchors per image that the first stage learns from.
      second_stage_batch_size: proposals per image that the second stage learns from.
      rms_prop_epsilon: default of RMSprop's epsilon. With TFOD's 1, the small gradients of a trained network are hardly
        scaled, and the rule is plain momentum. A network trained from scratch needs the scaling of a small epsilon.
    """

    name: str
    feature_extractor_type: str
    min_dimension: int
    max_dimension: int
    is_fixed_shape: bool
    zoo_checkpoint: str
    least_detections: int
    first_stage_features_stride: int
    aspect_ratios: tuple[float, ...]
    first_stage_minibatch_size: int
    second_stage_batch_size: int
    rms_prop_epsilon: float


def network_preset(feature_extractor: str, input_size: str = "") -> NetworkPreset:
    """The preset of a feature extractor and an input size.

    Args:
      feature_extractor: "faster_rcnn_resnet50_keras", or short "resnet50".
      input_size: "MINxMAX" in pixels: shorter side and limit of the longer one; 1024x1024 is stretched, as in the zoo;
        empty: 640x640, or 320x320 for the network for CPUs.
    """
    types = {f"resnet{depth}": f"faster_rcnn_resnet{depth}_keras" for depth in (*_ZOO_DEPTHS, 18)}
    short = feature_extractor.removeprefix("faster_rcnn_").removesuffix("_keras")
    if short not in types:
        raise ConfigError(f"feature extractor {feature_extractor!r} is not supported; use one of {', '.join(types)}.")
    is_zoo = short in {f"resnet{depth}" for depth in _ZOO_DEPTHS}
    size = input_size or ("640x640" if is_zoo else "320x320")
    match = _SIZE.fullmatch(size)
    if not match or not 32 <= int(match[1]) <= int(match[2]):
        raise ConfigError(f"input size {input_size!r} is not MINxMAX in pixels with 32 <= MIN <= MAX, such as 640x640.")
    name = f"faster_rcnn_{short}_v1_{size}" if is_zoo else f"faster_rcnn_{short}_{size}"
    # The zoo has no checkpoint of other sizes; the weights do not depend on the size, so the 640x640 one serves.
    zoo_size = size if size in ZOO_SIZES else "640x640"
    zoo_name = f"faster_rcnn_{short}_v1_{zoo_size}_coco17_{'gpu' if zoo_size == '800x1333' else 'tpu'}-8"
    return NetworkPreset(
        name=name,
        feature_extractor_type=types[short],
        min_dimension=int(match[1]),
        max_dimension=int(match[2]),
        is_fixed_shape=size == "1024x1024",
        zoo_checkpoint=f"pre-trained-models/{zoo_name}/checkpoint/ckpt-0" if is_zoo else "",
        least_detections=300 if is_zoo else 100,
        first_stage_features_stride=16 if is_zoo else 8,
        aspect_ratios=(0.5, 1.0, 2.0) if is_zoo else (1.0,),
        first_stage_minibatch_size=256 if is_zoo else 64,
        second_stage_batch_size=64 if is_zoo else 32,
        rms_prop_epsilon=1.0 if is_zoo else 0.01,
    )


def committed_presets() -> list[NetworkPreset]:
    """The presets whose configs are in pipeline_configs/."""
    zoo = [network_preset(f"resnet{depth}", size) for depth in _ZOO_DEPTHS for size in ZOO_SIZES]
    return [*zoo, network_preset("resnet18")]

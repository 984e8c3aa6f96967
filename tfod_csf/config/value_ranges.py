"""Which values of a config field make sense: what a value outside of its range must be, and which paths are local.

TFOD takes any number, and a negative learning rate or an anchor of no size trains nothing without a word. Fields that
are not listed take every value of their type, or are checked where they act.
"""

import dataclasses
import math
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from tfod_csf.files import given_files


@dataclasses.dataclass(frozen=True)
class Range:
    """Values of a field.

    Attributes:
      low, high: ends; high is None where there is none.
      includes_low: whether `low` itself is allowed.
    """

    low: float
    high: float | None = None
    includes_low: bool = True

    def __contains__(self, value: float) -> bool:
        above = value >= self.low if self.includes_low else value > self.low
        return above and (self.high is None or value <= self.high)

    def __str__(self) -> str:
        low = f"{'at least' if self.includes_low else 'above'} {self.low:g}"
        return low if self.high is None else f"{low} and at most {self.high:g}"


_FROM_0 = Range(0)
_ABOVE_0 = Range(0, includes_low=False)
_FROM_1 = Range(1)
_SHARE = Range(0, 1)


def _fields(message: str, **names_of: str) -> dict[tuple[str, str], Range]:
    ranges = {"from_0": _FROM_0, "above_0": _ABOVE_0, "from_1": _FROM_1, "share": _SHARE}
    return {(message, name): ranges[kind] for kind, names in names_of.items() for name in names.split()}


RANGES: dict[tuple[str, str], Range] = {
    **_fields(
        "FasterRcnn",
        from_0="first_stage_localization_loss_weight first_stage_objectness_loss_weight "
        "second_stage_localization_loss_weight second_stage_classification_loss_weight",
        from_1="first_stage_atrous_rate first_stage_box_predictor_kernel_size first_stage_box_predictor_depth "
        "first_stage_minibatch_size first_stage_max_proposals second_stage_batch_size",
        share="first_stage_positive_balance_fraction first_stage_nms_score_threshold first_stage_nms_iou_threshold "
        "second_stage_balance_fraction",
    ),
    **_fields("KeepAspectRatioResizer", from_1="min_dimension max_dimension"),
    **_fields("FixedShapeResizer", from_1="height width"),
    **_fields("GridAnchorGenerator", above_0="scales aspect_ratios", from_1="height width height_stride width_stride"),
    **_fields("MultiscaleAnchorGenerator", above_0="anchor_scale aspect_ratios", from_1="scales_per_octave"),
    **_fields("FeaturePyramidNetworks", from_1="additional_layer_depth"),
    **_fields("FasterRcnnFeatureExtractor", from_1="pad_to_multiple"),
    **_fields(
        "BatchNonMaxSuppression",
        from_0="soft_nms_sigma",
        from_1="max_detections_per_class max_total_detections",
        share="score_threshold iou_threshold",
    ),
    **_fields("PostProcessing", above_0="logit_scale"),
    **_fields("BatchNorm", from_0="epsilon", share="decay"),
    **_fields("L1Regularizer", from_0="weight"),
    **_fields("L2Regularizer", from_0="weight"),
    **_fields("TruncatedNormalInitializer", from_0="stddev"),
    **_fields("RandomNormalInitializer", from_0="stddev"),
    **_fields("VarianceScalingInitializer", above_0="factor"),
    ("MaskRCNNBoxPredictor", "dropout_keep_probability"): Range(0, 1, includes_low=False),
    **_fields("HardExampleMiner", from_0="num_hard_examples", share="iou_threshold"),
    **_fields("SigmoidFocalClassificationLoss", from_0="gamma", share="alpha"),
    **_fields("WeightedSoftmaxClassificationLoss", above_0="logit_scale"),
    **_fields("WeightedSoftmaxClassificationAgainstLogitsLoss", above_0="logit_scale"),
    **_fields("TrainConfig", from_0="gradient_clipping_by_norm bias_grad_multiplier", from_1="max_number_of_boxes"),
    **_fields("Optimizer", share="moving_average_decay"),
    **_fields("RMSPropOptimizer", from_0="epsilon", share="momentum_optimizer_value decay"),
    **_fields("MomentumOptimizer", share="momentum_optimizer_value"),
    **_fields("AdamOptimizer", from_0="epsilon"),
    **_fields("ConstantLearningRate", from_0="learning_rate"),
    **_fields(
        "ExponentialDecayLearningRate",
        from_0="initial_learning_rate burnin_learning_rate min_learning_rate",
        above_0="decay_factor",
        from_1="decay_steps",
    ),
    **_fields("ManualStepLearningRate", from_0="initial_learning_rate"),
    **_fields("ManualStepLearningRate.LearningRateSchedule", from_0="learning_rate"),
    **_fields("CosineDecayLearningRate", from_0="learning_rate_base warmup_learning_rate"),
    **{
        (message, "probability"): _SHARE
        for message in ("RandomHorizontalFlip", "RandomVerticalFlip", "RandomRotation90", "RandomRGBtoGray")
    },
    **_fields("EvalConfig", from_0="max_num_boxes_to_visualize", share="min_score_threshold"),
    **_fields("InputReader", from_0="max_number_of_boxes"),
}


def complaint(message: str, field: FieldDescriptor, value: Any) -> str:
    """What a field must be of which `value` makes no sense, as the end of a sentence; "" where it does.

    Args:
      message: the name of the field's message type inside the proto package.
    """
    if isinstance(value, float) and not math.isfinite(value):
        return "must be a finite number"
    allowed = RANGES.get((message, field.name))
    if allowed is not None and value not in allowed:
        return f"must be {allowed}"
    return given_files.remote_path(value) if field.type == field.TYPE_STRING else ""

"""What became of the variables of a model and of a checkpoint when one was restored from the other."""

import collections
import dataclasses
from collections.abc import Iterable

from tfod_csf.modeling import slim_variable_names

# What TFOD's names mean, those of TensorFlow 2 and those of TensorFlow 1.
_WORDS = {
    "_feature_extractor_for_proposal_features": "backbone, first half",
    "_feature_extractor_for_box_classifier_features": "backbone, second half",
    "_first_stage_box_predictor_first_conv": "RPN convolution",
    "_first_stage_box_predictor": "RPN predictors",
    "_mask_rcnn_box_predictor": "box and class predictors",
    "FirstStageFeatureExtractor": "backbone, first half",
    "SecondStageFeatureExtractor": "backbone, second half",
    "Conv": "RPN convolution",
    "FirstStageBoxPredictor": "RPN predictors",
    "SecondStageBoxPredictor": "box and class predictors",
}
# Last parts of the names that TensorFlow 1 gives to what belongs to a variable.
_TF1_SLOTS = ("/Momentum", "/RMSProp", "/RMSProp_1", "/Adam", "/Adam_1")
_TF1_AVERAGE = "/ExponentialMovingAverage"


@dataclasses.dataclass(frozen=True)
class MatchReport:
    """What was copied from a fine-tune checkpoint.

    Keys are those of the model's own checkpoints; for a TensorFlow 1 checkpoint, TensorFlow 1 names.

    Attributes:
      path: the checkpoint, as the config names it.
      checkpoint_type: detection, full or classification: the type in effect.
      restored: keys of variables that now have the checkpoint's values.
      not_restored: key to reason, of variables that keep their initial values.
      mismatched: key to (shape in the checkpoint, shape in the model), for those in not_restored where they differ.
      unused: keys of the checkpoint whose values were not used.
      classes: what became of the classes of predictors that were copied class by class; "" where they were not.
    """

    path: str
    checkpoint_type: str
    restored: tuple[str, ...]
    not_restored: dict[str, str]
    mismatched: dict[str, tuple[list[int], list[int]]]
    unused: tuple[str, ...]
    classes: str = ""

    def __str__(self) -> str:
        """A table: parts of the model, how many variables were restored and how many not, and why."""
        lines = [
            f"{self.path} (fine_tune_checkpoint_type {self.checkpoint_type}): {len(self.restored)} of "
            f"{len(self.restored) + len(self.not_restored)} variables restored."
        ]
        lines += [f"  {part}: {count} restored" for part, count in count_parts(self.restored).items()]
        reasons = collections.Counter((_part(key), reason) for key, reason in self.not_restored.items())
        lines += [f"  {part}: {count} not restored ({reason})" for (part, reason), count in reasons.items()]
        lines += [f"  {part}: {count} of the checkpoint not used" for part, count in count_parts(self.unused).items()]
        lines += [f"  classes: {self.classes}"] if self.classes else []
        return "\n".join(lines)


def _part(key: str) -> str:
    """The part of the model to which a key belongs, in words."""
    if "/.OPTIMIZER_SLOT/" in key or key.startswith("optimizer/") or key.endswith(_TF1_SLOTS):
        return "optimizer state"
    if key.endswith(_TF1_AVERAGE):
        return "moving averages"
    if slim_variable_names.is_unused(key):
        return "block4 of the first half, on which nothing depends"
    path = key.split("/")
    part = path[1] if path[0] == "model" and len(path) > 1 else path[0]
    return f"{_WORDS[part]} ({part})" if part in _WORDS else part


def count_parts(keys: Iterable[str]) -> dict[str, int]:
    """How many of these keys of a checkpoint belong to each part of the model, in words."""
    return dict(collections.Counter(map(_part, keys)))

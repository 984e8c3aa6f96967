"""Fine-tuning: copies the weights of another checkpoint into a model, as TFOD does.

What each fine_tune_checkpoint_type copies:

  detection        both halves of the backbone; not the RPN and not the heads, so num_classes may differ
  full             everything
  classification   the backbone, from a classifier's checkpoint (keys `feature_extractor/layer_with_weights-N`)
  "" (not set)     detection if from_detection_checkpoint, else classification

Every variable that the type names must be in the checkpoint, with the same shape; other keys of the checkpoint are
ignored. Neither the step nor the optimizer's state is copied. If anything is missing, the model stays as it is.
"""

import collections
import dataclasses
import os
import re
from collections.abc import Iterable, Mapping

import tensorflow as tf

from tfod_csf.modeling.faster_rcnn import FasterRCNN
from tfod_csf.training.checkpoints.checkpoint_files import CheckpointError, open_checkpoint
from tfod_csf.training.checkpoints.checkpoint_view import VALUE_SUFFIX, checkpoint_view, variables_by_key

FINE_TUNE_CHECKPOINT_TYPES = ("detection", "full", "classification")

_BACKBONE_HALVES = ("_feature_extractor_for_proposal_features", "_feature_extractor_for_box_classifier_features")
# What TFOD's names mean, for `MatchReport`.
_WORDS = {
    "_feature_extractor_for_proposal_features": "backbone, first half",
    "_feature_extractor_for_box_classifier_features": "backbone, second half",
    "_first_stage_box_predictor_first_conv": "RPN convolution",
    "_first_stage_box_predictor": "RPN predictors",
    "_mask_rcnn_box_predictor": "box and class predictors",
}
_CLASSIFIER_PREFIX = "feature_extractor/"
_PYRAMID_BACKBONE = f"model/{_BACKBONE_HALVES[0]}/classification_backbone/"
_LAYER_NUMBER = re.compile(r"layer_with_weights-(?P<number>\d+)/(?P<rest>.+)$")
_BOOKKEEPING = ("_CHECKPOINTABLE_OBJECT_GRAPH", "save_counter" + VALUE_SUFFIX, "step" + VALUE_SUFFIX)


@dataclasses.dataclass(frozen=True)
class MatchReport:
    """What was copied from a fine-tune checkpoint. Keys are those of the model's own checkpoints.

    Attributes:
      path: the checkpoint, as the config names it.
      checkpoint_type: detection, full or classification: the type in effect.
      restored: keys of variables that now have the checkpoint's values.
      not_restored: key to reason, of variables that keep their initial values.
      mismatched: key to (shape in the checkpoint, shape in the model), for those in not_restored where they differ.
      unused: keys of the checkpoint whose values were not used.
    """

    path: str
    checkpoint_type: str
    restored: tuple[str, ...]
    not_restored: dict[str, str]
    mismatched: dict[str, tuple[list[int], list[int]]]
    unused: tuple[str, ...]

    def __str__(self) -> str:
        """A table: parts of the model, how many variables were restored and how many not, and why."""
        lines = [
            f"{self.path} (fine_tune_checkpoint_type {self.checkpoint_type}): {len(self.restored)} of "
            f"{len(self.restored) + len(self.not_restored)} variables restored."
        ]
        lines += [f"  {part}: {count} restored" for part, count in _count_parts(self.restored).items()]
        reasons = collections.Counter((_part(key), reason) for key, reason in self.not_restored.items())
        lines += [f"  {part}: {count} not restored ({reason})" for (part, reason), count in reasons.items()]
        lines += [f"  {part}: {count} of the checkpoint not used" for part, count in _count_parts(self.unused).items()]
        return "\n".join(lines)


def restore_fine_tune_checkpoint(
    model: FasterRCNN,
    path: str | os.PathLike,
    checkpoint_type: str = "",
    from_detection_checkpoint: bool = False,
    leave_out_class_heads: bool = False,
) -> MatchReport:
    """Copies the weights of a checkpoint into a model whose variables exist; see the module's docstring.

    Args:
      model: built, with variables.
      path: `fine_tune_checkpoint`: a prefix (.../ckpt-0), a folder that holds one checkpoint, or the .tar.gz of a
        model zoo. It may be the checkpoint of a training run, with step and optimizer state.
      checkpoint_type: `fine_tune_checkpoint_type`.
      from_detection_checkpoint: decides the type if none is set.
      leave_out_class_heads: with type full, do not restore the predictors whose size depends on num_classes. TFOD has
        no such option and cannot use type full when num_classes differs.

    Returns:
      What was restored and what was not.

    Raises:
      CheckpointError: the checkpoint cannot be read, is of another kind, or does not hold what the type names.
    """
    acted_type = _type_acted_on(checkpoint_type, from_detection_checkpoint)
    variables = variables_by_key(model=checkpoint_view(model))
    left_out = _class_head_keys(variables, model) if leave_out_class_heads else ()
    stored_keys = _stored_keys(variables, acted_type)
    wanted = {key: stored_key for key, stored_key in stored_keys.items() if key not in left_out}
    with open_checkpoint(path) as stored:
        _check_kind(stored.shapes, acted_type, str(path))
        _check_everything_is_there(wanted, stored.shapes, variables, acted_type, str(path))
        values = {key: stored.read(stored_key) for key, stored_key in wanted.items()}
        shapes = stored.shapes
    for key, value in values.items():
        variables[key].assign(value)
    return MatchReport(
        path=str(path),
        checkpoint_type=acted_type,
        restored=tuple(values),
        not_restored={
            key: "depends on num_classes" if key in left_out else f"type {acted_type} leaves it out"
            for key in variables
            if key not in wanted
        },
        mismatched={
            key: (list(shapes[key]), variables[key].shape.as_list())
            for key in left_out
            if key in shapes and list(shapes[key]) != variables[key].shape.as_list()
        },
        unused=tuple(sorted(set(shapes) - set(wanted.values()) - set(_BOOKKEEPING))),
    )


def _type_acted_on(checkpoint_type: str, from_detection_checkpoint: bool) -> str:
    acted_type = checkpoint_type or ("detection" if from_detection_checkpoint else "classification")
    if acted_type not in FINE_TUNE_CHECKPOINT_TYPES:
        raise CheckpointError(
            f"train_config.fine_tune_checkpoint_type: {checkpoint_type} is not supported; use one of "
            f"{', '.join(FINE_TUNE_CHECKPOINT_TYPES)}."
        )
    return acted_type


def _stored_keys(variables: Mapping[str, tf.Variable], acted_type: str) -> dict[str, str]:
    """Key in the model to key in the checkpoint, for all variables that the type names."""
    if acted_type == "full":
        return {key: key for key in variables}
    halves = [[key for key in variables if key.startswith(f"model/{half}/")] for half in _BACKBONE_HALVES]
    if acted_type == "detection":
        return {key: key for half in halves for key in half}
    # A feature pyramid has the backbone in one piece, as a classifier has it.
    pyramid_backbone = {key: key.removeprefix(_PYRAMID_BACKBONE) for key in variables if _PYRAMID_BACKBONE in key}
    if pyramid_backbone:
        return {key: f"{_CLASSIFIER_PREFIX}{rest}" for key, rest in pyramid_backbone.items()}
    # Otherwise the numbers of the second half continue those of the first.
    stored_keys, num_layers_before = {}, 0
    for name, keys in zip(_BACKBONE_HALVES, halves):
        layers = {key: _LAYER_NUMBER.match(key.removeprefix(f"model/{name}/")) for key in keys}
        for key, layer in layers.items():
            number = num_layers_before + int(layer["number"])
            stored_keys[key] = f"{_CLASSIFIER_PREFIX}layer_with_weights-{number}/{layer['rest']}"
        num_layers_before += len({layer["number"] for layer in layers.values()})
    return stored_keys


def _class_head_keys(variables: Iterable[str], model: FasterRCNN) -> tuple[str, ...]:
    """Keys of the predictors whose size depends on num_classes."""
    heads = ["model/_mask_rcnn_box_predictor/_class_prediction_head/"]
    if model.box_classifier is not None and not model.box_classifier.head.share_box_across_classes:
        heads.append("model/_mask_rcnn_box_predictor/_box_prediction_head/")
    return tuple(key for key in variables if key.startswith(tuple(heads)))


def _check_kind(shapes: Mapping[str, list[int]], acted_type: str, path: str) -> None:
    """Refuses a checkpoint of another kind than the type needs, and says what it is."""
    is_detector = any(key.startswith("model/_feature_extractor") for key in shapes)
    is_classifier = any(key.startswith(_CLASSIFIER_PREFIX) for key in shapes)
    if acted_type == "classification" and not is_classifier and is_detector:
        raise CheckpointError(
            f"{path}: is a detection checkpoint, and fine_tune_checkpoint_type classification wants a classifier's; "
            "set train_config.fine_tune_checkpoint_type to detection or full."
        )
    if acted_type != "classification" and is_classifier:
        raise CheckpointError(
            f"{path}: has keys {_CLASSIFIER_PREFIX}..., so it is a classifier's checkpoint or a detector's of early "
            f"2020, and fine_tune_checkpoint_type {acted_type} wants a detector's; set "
            "train_config.fine_tune_checkpoint_type to classification or use a newer detection checkpoint."
        )
    if not is_detector and not is_classifier:
        example = next((key for key in sorted(shapes) if key not in _BOOKKEEPING), "nothing")
        raise CheckpointError(
            f"{path}: is not a checkpoint of TFOD's Faster R-CNN on TensorFlow 2 (it holds {example}, not model/...); "
            "use one of the TensorFlow 2 model zoo or of this package; TensorFlow 1 checkpoints cannot be used."
        )


def _check_everything_is_there(
    wanted: Mapping[str, str],
    shapes: Mapping[str, list[int]],
    variables: Mapping[str, tf.Variable],
    acted_type: str,
    path: str,
) -> None:
    """Refuses a checkpoint that lacks a wanted variable or has it in another shape."""
    missing = [stored_key for stored_key in wanted.values() if stored_key not in shapes]
    if missing:
        raise CheckpointError(
            f"{path}: lacks {len(missing)} of the {len(wanted)} variables that fine_tune_checkpoint_type {acted_type} "
            f"needs (the first is {missing[0].removesuffix(VALUE_SUFFIX)}); it belongs to another network, so use the "
            "feature_extractor.type and the heads it was trained with."
        )
    different = [key for key in wanted if list(shapes[wanted[key]]) != variables[key].shape.as_list()]
    if different:
        key = different[0]
        is_heads = all("/_mask_rcnn_box_predictor/" in other for other in different)
        remedy = (
            "it has another num_classes or share_box_across_classes; use fine_tune_checkpoint_type detection, or keep "
            "full and leave these heads out with --leave_out_class_heads"
            if is_heads
            else "use the feature_extractor.type, anchors and first_stage_box_predictor_depth it was trained with"
        )
        raise CheckpointError(
            f"{path}: {len(different)} variables have another shape than in the model, such as "
            f"{key.removesuffix(VALUE_SUFFIX)} with {list(shapes[wanted[key]])} instead of "
            f"{variables[key].shape.as_list()}; {remedy}."
        )


def _part(key: str) -> str:
    """The part of the model to which a key belongs, in words."""
    if "/.OPTIMIZER_SLOT/" in key or key.startswith("optimizer/"):
        return "optimizer state"
    path = key.split("/")
    part = path[1] if path[0] == "model" and len(path) > 1 else path[0]
    return f"{_WORDS[part]} ({part})" if part in _WORDS else part


def _count_parts(keys: Iterable[str]) -> dict[str, int]:
    return dict(collections.Counter(map(_part, keys)))

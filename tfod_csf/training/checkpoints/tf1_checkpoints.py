"""Checkpoints of TFOD on TensorFlow 1, which hold variables by name, and what of them a model of a slim type is given.

What each fine_tune_checkpoint_type copies, as TFOD on TensorFlow 1 does:

  detection        both halves of the backbone; with load_all_detection_checkpoint_vars everything
  classification   both halves of the backbone, from a classifier that slim trained

Of these, what the checkpoint holds in the same shape; the rest keeps its initial values and is named in the report. So
the predictors of another num_classes are not restored. Step, optimizer state and the moving averages of a training
checkpoint are not copied (`sources` finds the averages for a conversion).

TFOD trains from random weights if the checkpoint holds nothing of this; here it is an error.

`FirstStageFeatureExtractor/<Net>/...` of the model is `<Net>/...` in a classifier's checkpoint, and so is
`SecondStageFeatureExtractor/<Net>/...`. The second stage of Inception ResNet v2 has scopes of its own: what it calls
Repeat is the classifier's Repeat_2.
"""

import re
from collections.abc import Iterable, Mapping

from tfod_csf.config import extractor_types
from tfod_csf.modeling import slim_variable_names
from tfod_csf.modeling.faster_rcnn import FasterRCNN
from tfod_csf.training.checkpoints.checkpoint_files import CheckpointError, StoredCheckpoint
from tfod_csf.training.checkpoints.match_report import MatchReport

GLOBAL_STEP = "global_step"
AVERAGE_SUFFIX = "/ExponentialMovingAverage"

_OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_HALVES = ("FirstStageFeatureExtractor/", "SecondStageFeatureExtractor/")
_SECOND_REPEAT = re.compile(r"^SecondStageFeatureExtractor/InceptionResnetV2/Repeat/")
# Not trained by gradients, so they have no moving average.
_STATISTICS = ("/moving_mean", "/moving_variance")


def is_tf1(names: Iterable[str]) -> bool:
    """Whether the keys of a checkpoint are names of TensorFlow 1; TensorFlow 2 stores which object holds which."""
    return _OBJECT_GRAPH not in names


def restore_map(names: Iterable[str], checkpoint_type: str, load_all_detection_checkpoint_vars: bool) -> dict[str, str]:
    """TensorFlow 1 name of each variable of a model that the type restores, to its name in the checkpoint.

    Args:
      names: of the model's variables, without ":0".
      checkpoint_type: detection or classification.
      load_all_detection_checkpoint_vars: of the config; acts with detection only.
    """
    if checkpoint_type == "detection" and load_all_detection_checkpoint_vars:
        return {name: name for name in names}
    halves = [name for name in names if name.startswith(_HALVES)]
    if checkpoint_type == "detection":
        return {name: name for name in halves}
    return {name: _SECOND_REPEAT.sub("/InceptionResnetV2/Repeat_2/", name).partition("/")[2] for name in halves}


def restore(
    model: FasterRCNN,
    stored: StoredCheckpoint,
    path: str,
    checkpoint_type: str,
    load_all_detection_checkpoint_vars: bool = False,
) -> MatchReport:
    """Copies what the type names, and the checkpoint has in the same shape, into a model whose variables exist.

    Args:
      model: built, with variables.
      stored: the checkpoint.
      path: as the config names it.
      checkpoint_type: `fine_tune_checkpoint_type`.
      load_all_detection_checkpoint_vars: of the config.

    Raises:
      CheckpointError: the model is not of a slim type, the type is not one of TensorFlow 1, or the checkpoint holds
        nothing of what it names.
    """
    check_slim(model, path)
    if checkpoint_type == "full":
        raise CheckpointError(
            f"{path}: is a TensorFlow 1 checkpoint, for which TFOD has no fine_tune_checkpoint_type full; set it to "
            "detection, and train_config.load_all_detection_checkpoint_vars to true for everything."
        )
    variables = slim_variable_names.tf1_variables(model)
    wanted = restore_map(variables, checkpoint_type, load_all_detection_checkpoint_vars)
    shapes = {name: list(shape) for name, shape in stored.shapes.items()}
    there = {name: source for name, source in wanted.items() if source in shapes}
    found = {name: source for name, source in there.items() if shapes[source] == variables[name].shape.as_list()}
    if not any(name.startswith(_HALVES) for name in found):
        raise CheckpointError(_why_nothing(stored.shapes, path, checkpoint_type, model.feature_extractor.slim_scope))
    values = {name: stored.read(source) for name, source in found.items()}
    for name, value in values.items():
        variables[name].assign(value)
    reasons = {name: f"type {checkpoint_type} leaves it out" for name in variables if name not in wanted}
    reasons |= {name: "not in the checkpoint" for name in wanted if name not in there}
    reasons |= {name: "has another shape in the checkpoint" for name in there if name not in found}
    return MatchReport(
        path=path,
        checkpoint_type=checkpoint_type,
        restored=tuple(found),
        not_restored={name: reasons[name] for name in variables if name in reasons},
        mismatched={
            name: (shapes[source], variables[name].shape.as_list())
            for name, source in there.items()
            if name not in found
        },
        unused=tuple(sorted(set(shapes) - set(found.values()) - {GLOBAL_STEP})),
    )


def check_slim(model: FasterRCNN, path: str) -> None:
    """Raises CheckpointError unless the model is of a type whose variables have TensorFlow 1 names."""
    if model.feature_extractor.slim_scope is None:
        slim = filter(extractor_types.is_slim, extractor_types.TYPES)
        raise CheckpointError(
            f"{path}: is a TensorFlow 1 checkpoint, which fits the types {', '.join(slim)} only; set "
            "feature_extractor.type to the one it was trained with, or use a checkpoint of TensorFlow 2."
        )


def sources(names: Iterable[str], stored_names: Iterable[str], use_moving_averages: bool) -> dict[str, str]:
    """TensorFlow 1 name of each variable of a model, to the name of the value that TFOD evaluates and exports.

    With moving averages these are the averages of everything that is trained, and the statistics of batch norm as they
    are. A checkpoint without any average has plain values only: TFOD's exporter writes the averages under plain names.
    """
    averaged = use_moving_averages and has_moving_averages(stored_names)
    return {name: name + AVERAGE_SUFFIX if averaged and not name.endswith(_STATISTICS) else name for name in names}


def has_moving_averages(stored_names: Iterable[str]) -> bool:
    """Whether a checkpoint holds moving averages of its variables."""
    return any(name.endswith(AVERAGE_SUFFIX) for name in stored_names)


def _why_nothing(shapes: Mapping[str, list[int]], path: str, checkpoint_type: str, slim_scope: str) -> str:
    """The error's sentence about a checkpoint that holds no variable of the backbone."""
    is_detector = any(name.startswith(_HALVES) for name in shapes)
    is_classifier = any(name.startswith(f"{slim_scope}/") for name in shapes)
    if checkpoint_type == "classification" and is_detector:
        return (
            f"{path}: is a detection checkpoint, and fine_tune_checkpoint_type classification wants a classifier's; "
            "set train_config.fine_tune_checkpoint_type to detection. TFOD would have trained from random weights."
        )
    if checkpoint_type == "detection" and is_classifier:
        return (
            f"{path}: is a classifier's checkpoint, and fine_tune_checkpoint_type detection wants a detector's; set "
            "train_config.fine_tune_checkpoint_type to classification. TFOD would have trained from random weights."
        )
    names = sorted(shapes, key=lambda name: (not name.startswith(_HALVES), name == GLOBAL_STEP, name))
    example = next(iter(names), "nothing")
    return (
        f"{path}: holds no weights of {slim_scope} (but {example}, for example); it belongs to another network, so set "
        "feature_extractor.type to the one it was trained with."
    )

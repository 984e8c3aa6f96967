"""Fine-tuning: copies the weights of another checkpoint into a model, as TFOD does.

What each fine_tune_checkpoint_type copies:

  detection        both halves of the backbone; not the RPN and not the heads, so num_classes may differ
  full             everything
  classification   the backbone, from a classifier's checkpoint (keys `feature_extractor/layer_with_weights-N`)
  "" (not set)     detection if from_detection_checkpoint, else classification

Every variable that the type names must be in the checkpoint, with the same shape; other keys of the checkpoint are
ignored. Neither the step nor the optimizer's state is copied. If anything is missing, the model stays as it is.

A checkpoint of a model folder comes with its classes: type full then copies the predictors class by class, whatever
the order and number of the config's classes (`class_heads`).

Checkpoints of TensorFlow 1, which hold variables by name, have rules of their own: see `tf1_checkpoints`.
"""

import os
import re
from collections.abc import Iterable, Mapping

import numpy as np
import tensorflow as tf

from tfod_csf.label_map import LabelMap
from tfod_csf.modeling.faster_rcnn import FasterRCNN
from tfod_csf.shipped_models import by_name
from tfod_csf.training.checkpoints import class_heads, tf1_checkpoints
from tfod_csf.training.checkpoints.checkpoint_files import CheckpointError, StoredCheckpoint, open_checkpoint
from tfod_csf.training.checkpoints.checkpoint_view import VALUE_SUFFIX, checkpoint_view, variables_by_key
from tfod_csf.training.checkpoints.class_heads import ClassMatch
from tfod_csf.training.checkpoints.match_report import MatchReport

FINE_TUNE_CHECKPOINT_TYPES = ("detection", "full", "classification")

_BACKBONE_HALVES = ("_feature_extractor_for_proposal_features", "_feature_extractor_for_box_classifier_features")
_CLASSIFIER_PREFIX = "feature_extractor/"
_PYRAMID_BACKBONE = f"model/{_BACKBONE_HALVES[0]}/classification_backbone/"
_LAYER_NUMBER = re.compile(r"layer_with_weights-(?P<number>\d+)/(?P<rest>.+)$")
_BOOKKEEPING = ("_CHECKPOINTABLE_OBJECT_GRAPH", "save_counter" + VALUE_SUFFIX, "step" + VALUE_SUFFIX)


def restore_fine_tune_checkpoint(
    model: FasterRCNN,
    path: str | os.PathLike,
    checkpoint_type: str = "",
    from_detection_checkpoint: bool = False,
    leave_out_class_heads: bool = False,
    load_all_detection_checkpoint_vars: bool = False,
    label_map: LabelMap | None = None,
) -> MatchReport:
    """Copies the weights of a checkpoint into a model whose variables exist; see the module's docstring.

    Args:
      model: built, with variables.
      path: `fine_tune_checkpoint`: a prefix (.../ckpt-0), a folder that holds one checkpoint, the .tar.gz of a
        model zoo, or the name of a model that ships. It may be the checkpoint of a training run, with step and
        optimizer state.
      checkpoint_type: `fine_tune_checkpoint_type`.
      from_detection_checkpoint: decides the type if none is set.
      leave_out_class_heads: with type full, do not restore the predictors whose size depends on num_classes. TFOD has
        no such option and cannot use type full when num_classes differs.
      load_all_detection_checkpoint_vars: with type detection and a TensorFlow 1 checkpoint, restore everything.
      label_map: the classes of the model, with every id named; with it and type full, predictors are copied class
        by class where the checkpoint's classes are known.

    Returns:
      What was restored and what was not.

    Raises:
      CheckpointError: the checkpoint cannot be read, is of another kind, or does not hold what the type names.
    """
    acted_type = _type_acted_on(checkpoint_type, from_detection_checkpoint)
    found = by_name.find(path)
    with open_checkpoint(found) as stored:
        if tf1_checkpoints.is_tf1(stored.shapes):
            if leave_out_class_heads:
                raise CheckpointError(
                    f"{path}: is a TensorFlow 1 checkpoint, of which predictors of another num_classes are never "
                    "restored; start again without --leave_out_class_heads."
                )
            return tf1_checkpoints.restore(model, stored, str(path), acted_type, load_all_detection_checkpoint_vars)
        if load_all_detection_checkpoint_vars:
            raise CheckpointError(
                f"{path}: is not a TensorFlow 1 checkpoint, and train_config.load_all_detection_checkpoint_vars is for "
                'those; remove it, or set fine_tune_checkpoint_type to "full".'
            )
        match = None
        if acted_type == "full" and not leave_out_class_heads and label_map is not None:
            stored_classes = class_heads.label_map_of(found)
            match = class_heads.ClassMatch.of(stored_classes, label_map) if stored_classes else None
        return _restore_objects(model, stored, str(path), acted_type, leave_out_class_heads, match)


def _restore_objects(
    model: FasterRCNN,
    stored: StoredCheckpoint,
    path: str,
    acted_type: str,
    leave_out_class_heads: bool,
    match: ClassMatch | None,
) -> MatchReport:
    """Copies from a checkpoint of TensorFlow 2, which holds objects."""
    variables = variables_by_key(model=checkpoint_view(model))
    left_out = _class_head_keys(variables, model) if leave_out_class_heads else ()
    _check_kind(stored.shapes, acted_type, path)
    if acted_type == "classification" and model.feature_extractor.slim_scope is not None:
        raise CheckpointError(
            f"{path}: is a classifier of TensorFlow 2, and the config's feature_extractor.type is a TensorFlow 1 "
            f"network; use a checkpoint of slim's {model.feature_extractor.slim_scope}."
        )
    stored_keys = _stored_keys(variables, acted_type)
    wanted = {key: stored_key for key, stored_key in stored_keys.items() if key not in left_out}
    by_class = _class_head_keys(variables, model) if match and not match.is_same else ()
    shapes = stored.shapes
    _check_everything_is_there(wanted, shapes, variables, acted_type, path, by_class)
    # Those of a packed model are in half precision.
    values = {key: stored.read(stored_key).astype(np.float32) for key, stored_key in wanted.items()}
    for key in by_class:
        values[key] = _by_class(match, key, values[key], variables[key].numpy(), path)
    for key, value in values.items():
        variables[key].assign(value)
    return MatchReport(
        path=path,
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
        classes=str(match) if by_class else "",
    )


def _by_class(match: ClassMatch, key: str, stored: np.ndarray, initial: np.ndarray, path: str) -> np.ndarray:
    try:
        return match.head(key, stored, initial)
    except ValueError as error:
        raise CheckpointError(
            f"{path}: {key.removesuffix(VALUE_SUFFIX)} {error}, by the classes of its label map and the model's "
            "share_box_across_classes; use fine_tune_checkpoint_type detection."
        ) from error


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
            f"{path}: is not a checkpoint of TFOD's Faster R-CNN (it holds {example}, not model/...); use one of the "
            "model zoo or of this package."
        )


def _check_everything_is_there(
    wanted: Mapping[str, str],
    shapes: Mapping[str, list[int]],
    variables: Mapping[str, tf.Variable],
    acted_type: str,
    path: str,
    may_differ: Iterable[str] = (),
) -> None:
    """Refuses a checkpoint that lacks a wanted variable or has it in another shape, unless that one may differ."""
    missing = [stored_key for stored_key in wanted.values() if stored_key not in shapes]
    if missing:
        raise CheckpointError(
            f"{path}: lacks {len(missing)} of the {len(wanted)} variables that fine_tune_checkpoint_type {acted_type} "
            f"needs (the first is {missing[0].removesuffix(VALUE_SUFFIX)}); it belongs to another network, so use the "
            "feature_extractor.type and the heads it was trained with."
        )
    compared = [key for key in wanted if key not in set(may_differ)]
    different = [key for key in compared if list(shapes[wanted[key]]) != variables[key].shape.as_list()]
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

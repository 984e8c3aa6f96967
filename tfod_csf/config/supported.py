"""Refuses a config that asks for something unsupported: every set field is honored, named in a notice, or an error.

The rules are the rows of `supported_fields.py`; here a config is checked against them, and against the few conditions
that hold between fields.
"""

from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from tfod_csf.config import extractor_types, learning_rate_notices, pyramid_checks, supported_fields, value_ranges
from tfod_csf.config.pipeline_config import ConfigError
from tfod_csf.config.protos import (
    faster_rcnn_pb2,
    grid_anchor_generator_pb2,
    hyperparams_pb2,
    image_resizer_pb2,
    pipeline_pb2,
    train_pb2,
)

PARTS = ("model", "train_config", "train_input_reader", "eval_config", "eval_input_reader", "graph_rewriter")
_MESSAGE_PREFIX = "tfod_csf.protos."
# An anchor of so many times the image's longer side is a slip, not a choice.
_HUGE = 4


class UnsupportedConfigError(ConfigError):
    """A config that sets a field this package does not act on, or that contradicts itself."""


def check_supported(
    pipeline_config: pipeline_pb2.TrainEvalPipelineConfig, parts: tuple[str, ...] = PARTS, source: str = ""
) -> None:
    """Raises when a set field is not supported.

    Args:
      pipeline_config: the parsed config.
      parts: top-level fields to check; the exporter does not use the optimizer, for example.
      source: the config's path, for the message.

    Raises:
      UnsupportedConfigError: dotted path, value, reason and what to use, of every such field.
    """
    complaints = (
        list(_unsupported(pipeline_config, parts))
        or list(_senseless_values(pipeline_config, parts))
        or list(_contradictions(pipeline_config, parts))
    )
    if complaints:
        raise UnsupportedConfigError((f"{source}: " if source else "") + "; also ".join(complaints) + ".")


def notices(pipeline_config: pipeline_pb2.TrainEvalPipelineConfig, parts: tuple[str, ...] = PARTS) -> list[str]:
    """One sentence for each set field that is accepted although it has no effect, here or in TFOD."""
    found = [
        f"{path}: {value_text(field, value)} has no effect ({rule.note})."
        for path, field, value, rule in _set_fields(pipeline_config, parts)
        if rule.kind == "no_effect"
    ]
    if "model" in parts:
        found += [*_anchor_notices(pipeline_config.model.faster_rcnn)]
        found += [*_hyperparams_notices(pipeline_config.model.faster_rcnn)]
    return found + (learning_rate_notices.notices(pipeline_config.train_config) if "train_config" in parts else [])


def _anchor_notices(model: faster_rcnn_pb2.FasterRcnn) -> Iterator[str]:
    """Anchors lie stride by stride over a feature map of another stride: beyond the image, or over a part of it."""
    if not model.first_stage_anchor_generator.HasField("grid_anchor_generator"):
        return
    anchors = model.first_stage_anchor_generator.grid_anchor_generator
    yield from _huge_anchors(anchors, model.image_resizer)
    written = model.feature_extractor.first_stage_features_stride
    stride = extractor_types.feature_map_stride(model.feature_extractor.type, written)
    down, across = anchors.height_stride / stride, anchors.width_stride / stride
    if down == across == 1:
        return
    source = "first_stage_features_stride" if stride == written else "the stride of this network's map"
    reach = f"{down * across:g} times the image's area" if max(down, across) > 1 else f"{down * across:g} of the image"
    lost = "most of them lie outside" if max(down, across) > 1 else "cells in the rest of it are not found"
    yield (
        "model.faster_rcnn.first_stage_anchor_generator.grid_anchor_generator: height_stride is "
        f"{anchors.height_stride} and width_stride {anchors.width_stride}, but {source} is {stride}, so the anchors "
        f"cover {reach} and {lost}; set both to {stride}."
    )


def _huge_anchors(
    anchors: grid_anchor_generator_pb2.GridAnchorGenerator, image_resizer: image_resizer_pb2.ImageResizer
) -> Iterator[str]:
    """Scales are factors of the base size; who writes pixels gets anchors that no cell can match."""
    sides = image_resizer.keep_aspect_ratio_resizer
    largest = max(sides.min_dimension, sides.max_dimension)
    if image_resizer.HasField("fixed_shape_resizer"):
        largest = max(image_resizer.fixed_shape_resizer.height, image_resizer.fixed_shape_resizer.width)
    anchor = max(anchors.scales, default=0) * max(anchors.height, anchors.width)
    if anchor > _HUGE * largest and not image_resizer.HasField("identity_resizer"):
        yield (
            f"model.faster_rcnn.first_stage_anchor_generator.grid_anchor_generator.scales: {max(anchors.scales):g} "
            f"makes anchors of {anchor:,.0f} pixels, but images have at most {largest:,}; a scale is a factor of the "
            f"base size of {anchors.height} x {anchors.width}, not pixels."
        )


def _hyperparams_notices(model: faster_rcnn_pb2.FasterRcnn) -> Iterator[str]:
    """`Hyperparams` has one row per field for all places where it is used; these fields do not act in all of them."""
    dense = model.second_stage_box_predictor.mask_rcnn_box_predictor.fc_hyperparams
    dense_path = "model.faster_rcnn.second_stage_box_predictor.mask_rcnn_box_predictor.fc_hyperparams"
    first_path = "model.faster_rcnn.first_stage_box_predictor_conv_hyperparams"
    for path, hyperparams in ((first_path, model.first_stage_box_predictor_conv_hyperparams), (dense_path, dense)):
        field = hyperparams.DESCRIPTOR.fields_by_name["activation"]
        if hyperparams.activation != field.default_value:
            yield (
                f"{path}.activation: {value_text(field, hyperparams.activation)} has no effect (TFOD uses relu6 after "
                "the RPN's convolution and nothing after the output layers)."
            )
    kind = dense.regularizer.WhichOneof("regularizer_oneof")
    weight = getattr(dense.regularizer, kind).weight if kind else 0.0
    if weight and not extractor_types.is_slim(model.feature_extractor.type):
        yield (
            f"{dense_path}.regularizer.{kind}.weight: {weight:.7g} has no effect (TFOD's Keras dense layers are not "
            "regularized)."
        )


def value_text(field: FieldDescriptor, value: Any) -> str:
    """The value of a field as a config file writes it; `{ ... }` for a message."""
    if field.message_type:
        return "{ ... }"
    if field.enum_type:
        return field.enum_type.values_by_number[value].name
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.7g}"
    return f'"{value}"' if isinstance(value, str) else str(value)


def rules_of(message_name: str) -> dict[str, supported_fields.Rule]:
    """Rows of one message type, by field name; `message_name` is the name inside the proto package."""
    return supported_fields.FIELDS[message_name]


def _message_name(message: Any) -> str:
    return message.full_name.removeprefix(_MESSAGE_PREFIX)


def _set_fields(
    message: Message, parts: tuple[str, ...] = (), prefix: str = ""
) -> Iterator[tuple[str, FieldDescriptor, Any, supported_fields.Rule]]:
    """(dotted path, field, value, rule) of every set value that differs from its default, depth first."""
    rules = rules_of(_message_name(message.DESCRIPTOR))
    for field, values in message.ListFields():
        if parts and field.name not in parts:
            continue
        for index, value in enumerate(values if field.is_repeated else [values]):
            path = f"{prefix}{field.name}" + (f"[{index}]" if field.is_repeated and field.message_type else "")
            rule = rules[field.name]
            is_default = not field.is_repeated and not field.message_type and value == field.default_value
            if not is_default:
                yield path, field, value, rule
            if field.message_type and rule.kind in ("honored", "only"):
                yield from _set_fields(value, prefix=f"{path}.")


def _unsupported(config: pipeline_pb2.TrainEvalPipelineConfig, parts: tuple[str, ...]) -> Iterator[str]:
    # The extractor's type decides what else makes sense, so a wrong type is the only complaint.
    found = list(_set_fields(config, parts))
    found.sort(key=lambda entry: not entry[0].endswith("feature_extractor.type"))
    for path, field, value, rule in found:
        text = value_text(field, value)
        is_refused = rule.kind == "refused"
        plain = field.enum_type.values_by_number[value].name if field.enum_type else value
        if is_refused or (rule.kind == "only" and plain not in rule.values):
            reason = f" ({rule.note})" if rule.note else ""
            alternative = rule.alternative(value)
            yield f"{path}: {text} is not supported{reason}" + (f"; {alternative}" if alternative else "")
            if path.endswith("feature_extractor.type"):
                return


def _senseless_values(config: pipeline_pb2.TrainEvalPipelineConfig, parts: tuple[str, ...]) -> Iterator[str]:
    for path, field, value, _ in _set_fields(config, parts):
        complaint = value_ranges.complaint(_message_name(field.containing_type), field, value)
        if complaint:
            yield f"{path}: {value_text(field, value)} {complaint}"


def _contradictions(config: pipeline_pb2.TrainEvalPipelineConfig, parts: tuple[str, ...]) -> Iterator[str]:
    """What single fields do not show: missing parts, and values that contradict each other."""
    if "model" in parts:
        yield from _model_contradictions(config)
    if "train_config" in parts and config.HasField("train_config"):
        yield from _training_contradictions(config)


def _training_contradictions(config: pipeline_pb2.TrainEvalPipelineConfig) -> Iterator[str]:
    train, model = config.train_config, config.model.faster_rcnn
    if model.number_of_stages == 2 and model.second_stage_batch_size > model.first_stage_max_proposals:
        yield (
            f"model.faster_rcnn.second_stage_batch_size: {model.second_stage_batch_size} must not exceed "
            f"first_stage_max_proposals: {model.first_stage_max_proposals}, from which it is sampled in training"
        )
    yield from learning_rate_notices.contradictions(train)
    if train.fine_tune_checkpoint:
        is_slim = extractor_types.is_slim(model.feature_extractor.type)
        # TensorFlow 1 checkpoints are V1 by default, and there TFOD does not look at the field.
        if train.fine_tune_checkpoint_version != train_pb2.V2 and not is_slim:
            yield "train_config.fine_tune_checkpoint_version must be V2 when fine_tune_checkpoint is set"
        if train.load_all_detection_checkpoint_vars and not is_slim:
            yield (
                "train_config.load_all_detection_checkpoint_vars: true is not supported with "
                f"{model.feature_extractor.type} (TFOD on TensorFlow 2 refuses it as well); use "
                'fine_tune_checkpoint_type: "full"'
            )
        allowed = ("", "classification", "detection", "full")
        if train.fine_tune_checkpoint_type not in allowed:
            yield (
                f'train_config.fine_tune_checkpoint_type: "{train.fine_tune_checkpoint_type}" is not one of '
                "detection, full, classification"
            )


def _model_contradictions(config: pipeline_pb2.TrainEvalPipelineConfig) -> Iterator[str]:
    if not config.model.HasField("faster_rcnn"):
        yield "model.faster_rcnn is missing; a config describes one Faster R-CNN"
        return
    model, prefix = config.model.faster_rcnn, "model.faster_rcnn."
    if model.num_classes < 1:
        yield f"{prefix}num_classes: {model.num_classes} must be at least 1 (the label map's classes, no background)"
    if not model.feature_extractor.type:
        yield f"{prefix}feature_extractor.type is missing; for example faster_rcnn_resnet50_keras"
    elif complaint := extractor_types.stride_complaint(
        model.feature_extractor.type, model.feature_extractor.first_stage_features_stride
    ):
        yield complaint
    if not model.image_resizer.WhichOneof("image_resizer_oneof"):
        yield f"{prefix}image_resizer is missing; use keep_aspect_ratio_resizer or fixed_shape_resizer"
    elif extractor_types.is_slim(model.feature_extractor.type):
        yield from _too_small(model, prefix)
    sides = model.image_resizer.keep_aspect_ratio_resizer
    if sides.min_dimension > sides.max_dimension:
        yield (
            f"{prefix}image_resizer.keep_aspect_ratio_resizer: min_dimension {sides.min_dimension} is greater than "
            f"max_dimension {sides.max_dimension}; swap them"
        )
    yield from pyramid_checks.contradictions(model)
    if model.first_stage_box_predictor_conv_hyperparams.op != hyperparams_pb2.Hyperparams.CONV:
        yield f"{prefix}first_stage_box_predictor_conv_hyperparams.op must be CONV"
    if model.number_of_stages == 2:
        yield from _second_stage_contradictions(model, prefix)


def _too_small(model: faster_rcnn_pb2.FasterRcnn, prefix: str) -> Iterator[str]:
    """Input sizes that no image can have; where the aspect ratio is kept, single images can still be too small."""
    kind = model.image_resizer.WhichOneof("image_resizer_oneof")
    resizer = getattr(model.image_resizer, kind)
    sides = ("height", "width") if kind == "fixed_shape_resizer" else ("max_dimension",)
    for name in sides if kind != "identity_resizer" else ():
        if getattr(resizer, name) < extractor_types.SLIM_SMALLEST_SIDE:
            yield (
                f"{prefix}image_resizer.{kind}.{name}: {getattr(resizer, name)} must be at least "
                f"{extractor_types.SLIM_SMALLEST_SIDE} with {model.feature_extractor.type}, as in TFOD"
            )


def _second_stage_contradictions(model: faster_rcnn_pb2.FasterRcnn, prefix: str) -> Iterator[str]:
    for name in ("initial_crop_size", "maxpool_kernel_size", "maxpool_stride"):
        if getattr(model, name) < 1:
            yield f"{prefix}{name}: {getattr(model, name)} must be at least 1"
    if not model.second_stage_box_predictor.HasField("mask_rcnn_box_predictor"):
        yield f"{prefix}second_stage_box_predictor.mask_rcnn_box_predictor is missing"
        return
    hyperparams = model.second_stage_box_predictor.mask_rcnn_box_predictor.fc_hyperparams
    prefix = f"{prefix}second_stage_box_predictor.mask_rcnn_box_predictor.fc_hyperparams."
    if hyperparams.HasField("op") and hyperparams.op != hyperparams_pb2.Hyperparams.FC:
        yield f"{prefix}op must be FC"
    if hyperparams.HasField("batch_norm"):
        yield f"{prefix}batch_norm is not supported: the dense layers have no normalization; leave it out"

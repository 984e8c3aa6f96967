"""What a feature extractor's type says of a config's other fields: levels of a feature pyramid, and their anchors."""

from collections.abc import Iterator

from google.protobuf.message import Message

from tfod_csf.config import extractor_types
from tfod_csf.config.protos import faster_rcnn_pb2

_PREFIX = "model.faster_rcnn."
_PYRAMID_FIELDS = ("conv_hyperparams", "fpn", "override_base_feature_extractor_hyperparams", "pad_to_multiple")
# Levels of the ResNet's stages. Those that a pyramid uses must each have twice the size of the next one.
_FIRST_STAGE_LEVEL, _LAST_STAGE_LEVEL = 2, 5


def contradictions(model: faster_rcnn_pb2.FasterRcnn) -> Iterator[str]:
    """One sentence for each field that contradicts the extractor's type, if it has one; the type is a known one."""
    if model.feature_extractor.type:
        is_feature_pyramid = extractor_types.TYPES[model.feature_extractor.type].is_feature_pyramid
        yield from _pyramid_contradictions(model) if is_feature_pyramid else _single_map_contradictions(model)
    multiscale = model.first_stage_anchor_generator.multiscale_anchor_generator
    if model.first_stage_anchor_generator.HasField("multiscale_anchor_generator"):
        prefix = f"{_PREFIX}first_stage_anchor_generator.multiscale_anchor_generator"
        if multiscale.normalize_coordinates:
            yield f"{prefix}.normalize_coordinates: true, its default, is not supported; use false (anchors in pixels)"
        if not multiscale.aspect_ratios:
            yield f"{prefix} needs aspect_ratios"
    else:
        grid = model.first_stage_anchor_generator.grid_anchor_generator
        if not grid.scales or not grid.aspect_ratios:
            yield f"{_PREFIX}first_stage_anchor_generator.grid_anchor_generator needs scales and aspect_ratios"


def levels_of(extractor: faster_rcnn_pb2.FasterRcnnFeatureExtractor) -> tuple[int, int]:
    """Finest and coarsest level of a feature pyramid. Without the message `fpn` they are 2 and 6, as in TFOD."""
    return (extractor.fpn.min_level, extractor.fpn.max_level) if extractor.HasField("fpn") else (2, 6)


def _single_map_contradictions(model: faster_rcnn_pb2.FasterRcnn) -> Iterator[str]:
    extractor = model.feature_extractor
    for name in _PYRAMID_FIELDS:
        if _differs_from_default(extractor, name):
            yield (
                f"{_PREFIX}feature_extractor.{name} belongs to feature pyramids, and {extractor.type} is not one; "
                "leave it out or use faster_rcnn_resnet50_fpn_keras"
            )
    multiscale = model.first_stage_anchor_generator.multiscale_anchor_generator
    stride = extractor.first_stage_features_stride
    is_one_level = multiscale.min_level == multiscale.max_level and 2**multiscale.min_level == stride
    if model.first_stage_anchor_generator.HasField("multiscale_anchor_generator") and not is_one_level:
        yield (
            f"{_PREFIX}first_stage_anchor_generator.multiscale_anchor_generator: levels {multiscale.min_level} to "
            f"{multiscale.max_level} do not fit {extractor.type}, which has one feature map, of stride {stride}; use "
            "grid_anchor_generator"
        )


def _differs_from_default(message: Message, name: str) -> bool:
    field = message.DESCRIPTOR.fields_by_name[name]
    return message.HasField(name) and (field.message_type is not None or getattr(message, name) != field.default_value)


def _pyramid_contradictions(model: faster_rcnn_pb2.FasterRcnn) -> Iterator[str]:
    extractor = model.feature_extractor
    low, high = levels_of(extractor)
    if not extractor.HasField("conv_hyperparams"):
        yield f"{_PREFIX}feature_extractor.conv_hyperparams is missing, which {extractor.type} needs"
    if not _FIRST_STAGE_LEVEL <= low <= min(high, _LAST_STAGE_LEVEL):
        yield (
            f"{_PREFIX}feature_extractor.fpn: min_level {low} and max_level {high} are not supported; use a min_level "
            "from 2 to 5 and a max_level not below it"
        )
        return
    yield from _size_contradictions(model, 2 ** min(high, _LAST_STAGE_LEVEL))
    anchors = model.first_stage_anchor_generator
    multiscale = anchors.multiscale_anchor_generator
    if not anchors.HasField("multiscale_anchor_generator"):
        yield f"{_PREFIX}first_stage_anchor_generator: {extractor.type} needs multiscale_anchor_generator"
    elif (multiscale.min_level, multiscale.max_level) != (low, high):
        yield (
            f"{_PREFIX}first_stage_anchor_generator.multiscale_anchor_generator: levels {multiscale.min_level} to "
            f"{multiscale.max_level} are not those of feature_extractor.fpn, {low} to {high}; use the same"
        )


def _size_contradictions(model: faster_rcnn_pb2.FasterRcnn, multiple: int) -> Iterator[str]:
    """The network's input has to be a multiple of the coarsest stage's stride: by its size, or by padding."""
    pad = model.feature_extractor.pad_to_multiple
    if pad % multiple:
        sides = _known_sides(model)
        if not sides or any((side + -side % pad) % multiple for side in sides):
            yield (
                f"{_PREFIX}feature_extractor.pad_to_multiple: {pad} does not make the sides of every image multiples "
                f"of {multiple}, which the levels of the feature pyramid need; use 32"
            )


def _known_sides(model: faster_rcnn_pb2.FasterRcnn) -> tuple[int, ...]:
    """Sides of the network's input in pixels; none where they depend on the image."""
    fixed, padded = model.image_resizer.fixed_shape_resizer, model.image_resizer.keep_aspect_ratio_resizer
    if model.image_resizer.HasField("fixed_shape_resizer"):
        return fixed.height, fixed.width
    return (padded.max_dimension,) if padded.pad_to_max_dimension else ()

"""Levels, anchors and sizes of feature pyramids: what fits passes, what does not is named with the remedy."""

import pytest
from google.protobuf import text_format

from tfod_csf.config import pyramid_checks
from tfod_csf.config.protos import faster_rcnn_pb2

PYRAMID = """
  image_resizer { keep_aspect_ratio_resizer { min_dimension: 600 max_dimension: 1024 } }
  feature_extractor { type: "faster_rcnn_resnet50_fpn_keras" conv_hyperparams { } fpn { min_level: 2 max_level: 6 } }
  first_stage_anchor_generator {
    multiscale_anchor_generator { min_level: 2 max_level: 6 aspect_ratios: 1.0 normalize_coordinates: false }
  }
"""
ONE_MAP = """
  image_resizer { fixed_shape_resizer { height: 64 width: 64 } }
  feature_extractor { type: "faster_rcnn_resnet50_keras" }
  first_stage_anchor_generator { grid_anchor_generator { scales: 1.0 aspect_ratios: 1.0 } }
"""
ONE_LEVEL = "multiscale_anchor_generator { min_level: 4 max_level: 4 aspect_ratios: 1.0 normalize_coordinates: false }"


def complaints(text: str, changes: str = "") -> list[str]:
    model = text_format.Parse(text, faster_rcnn_pb2.FasterRcnn())
    return list(pyramid_checks.contradictions(text_format.Merge(changes, model)))


@pytest.mark.parametrize("text", [PYRAMID, ONE_MAP])
def test_a_config_without_contradictions(text):
    assert complaints(text) == []


def test_without_the_message_fpn_the_levels_are_2_to_6():
    assert complaints(PYRAMID.replace("fpn { min_level: 2 max_level: 6 }", "")) == []
    # An empty message has the schema's own defaults, 3 to 7.
    (complaint,) = complaints(PYRAMID.replace("fpn { min_level: 2 max_level: 6 }", "fpn { }"))
    assert "levels 2 to 6 are not those of feature_extractor.fpn, 3 to 7; use the same" in complaint


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            "first_stage_anchor_generator { multiscale_anchor_generator { normalize_coordinates: true } }",
            "normalize_coordinates: true, its default, is not supported; use false (anchors in pixels)",
        ),
        (
            "first_stage_anchor_generator { grid_anchor_generator { scales: 1.0 aspect_ratios: 1.0 } }",
            "faster_rcnn_resnet50_fpn_keras needs multiscale_anchor_generator",
        ),
        ("feature_extractor { fpn { min_level: 1 } }", "min_level 1 and max_level 6 are not supported"),
        ("feature_extractor { fpn { min_level: 6 } }", "use a min_level from 2 to 5"),
        ("feature_extractor { pad_to_multiple: 16 }", "multiples of 32, which the levels of the feature pyramid need"),
    ],
)
def test_of_a_pyramid(changes, words):
    (complaint,) = complaints(PYRAMID, changes)
    assert complaint.startswith("model.faster_rcnn.")
    assert words in complaint


def test_a_pyramid_needs_conv_hyperparams():
    (complaint,) = complaints(PYRAMID.replace("conv_hyperparams { }", ""))
    assert "conv_hyperparams is missing, which faster_rcnn_resnet50_fpn_keras needs" in complaint


@pytest.mark.parametrize(
    ("resizer", "fits"),
    [
        ("fixed_shape_resizer { height: 640 width: 96 }", True),
        ("fixed_shape_resizer { height: 640 width: 100 }", False),
        ("keep_aspect_ratio_resizer { min_dimension: 600 max_dimension: 1024 pad_to_max_dimension: true }", True),
        ("keep_aspect_ratio_resizer { min_dimension: 600 max_dimension: 1000 pad_to_max_dimension: true }", False),
    ],
)
def test_an_input_of_known_size_needs_no_padding_where_it_is_a_multiple_of_32(resizer, fits):
    found = complaints(PYRAMID, f"image_resizer {{ {resizer} }} feature_extractor {{ pad_to_multiple: 1 }}")
    assert (found == []) == fits


@pytest.mark.parametrize(
    "field",
    ["fpn { }", "conv_hyperparams { }", "override_base_feature_extractor_hyperparams: true", "pad_to_multiple: 16"],
)
def test_a_pyramids_fields_are_refused_with_one_feature_map(field):
    (complaint,) = complaints(ONE_MAP, f"feature_extractor {{ {field} }}")
    assert f"feature_extractor.{field.split()[0].strip(':')} belongs to feature pyramids" in complaint


def test_a_pyramids_fields_written_with_their_defaults_are_no_obstacle():
    fields = "override_base_feature_extractor_hyperparams: false pad_to_multiple: 32"
    assert complaints(ONE_MAP, f"feature_extractor {{ {fields} }}") == []


def test_one_feature_map_takes_multiscale_anchors_of_its_own_level():
    assert complaints(ONE_MAP, f"first_stage_anchor_generator {{ {ONE_LEVEL} }}") == []
    (complaint,) = complaints(ONE_MAP, f"first_stage_anchor_generator {{ {ONE_LEVEL.replace('4', '3')} }}")
    assert "levels 3 to 3 do not fit faster_rcnn_resnet50_keras, which has one feature map, of stride 16" in complaint


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (ONE_MAP.replace("scales: 1.0", ""), "grid_anchor_generator needs scales and aspect_ratios"),
        (PYRAMID.replace("aspect_ratios: 1.0", ""), "multiscale_anchor_generator needs aspect_ratios"),
    ],
)
def test_anchors_need_shapes(text, words):
    (complaint,) = complaints(text)
    assert words in complaint

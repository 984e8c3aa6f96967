"""A config from a trained model: what is the model's, what follows from the records."""

import pytest
from google.protobuf import text_format

from tfod_csf.config import box_statistics, from_model, paper_settings
from tfod_csf.config.from_model import StartingModel
from tfod_csf.config.protos import faster_rcnn_pb2
from tfod_csf.label_map import label_map_from_names, save_label_map

NETWORK = """
  num_classes: 2
  image_resizer { keep_aspect_ratio_resizer { min_dimension: 120 max_dimension: 160 } }
  feature_extractor { type: "faster_rcnn_resnet18_keras" first_stage_features_stride: 8 batch_norm_trainable: true }
  first_stage_anchor_generator { grid_anchor_generator {
    scales: 0.125 scales: 0.25 aspect_ratios: 1.0 height_stride: 8 width_stride: 8 } }
  first_stage_box_predictor_depth: 96
  first_stage_max_proposals: 120
  second_stage_post_processing { batch_non_max_suppression {
    max_detections_per_class: 110 max_total_detections: 110 use_class_agnostic_nms: true } }
"""


@pytest.fixture
def start():
    network = text_format.Parse(NETWORK, faster_rcnn_pb2.FasterRcnn())
    return StartingModel("csf_small", network, label_map_from_names(["lymphocyte", "monocyte"]), "1.0")


def test_the_network_is_the_models_and_classes_and_limits_are_the_records(start):
    records = paper_settings.Records(num_classes=3)
    limits = from_model.choose_limits(start, max_boxes_per_image=90)
    config = from_model.generate(start, records, paper_settings.Training(num_steps=50), limits)
    network = config.model.faster_rcnn
    # 1.5 and 2 times 90 boxes, up to the next 50
    assert (limits.max_number_of_boxes, limits.max_detections, limits.first_stage_max_proposals) == (100, 150, 200)
    nms = network.second_stage_post_processing.batch_non_max_suppression
    assert (nms.max_total_detections, nms.max_detections_per_class, nms.use_class_agnostic_nms) == (150, 150, True)
    assert (network.num_classes, network.first_stage_max_proposals) == (3, 200)
    assert not network.feature_extractor.batch_norm_trainable
    expected = faster_rcnn_pb2.FasterRcnn()
    expected.CopyFrom(start.network)
    expected.image_resizer.keep_aspect_ratio_resizer.pad_to_max_dimension = True  # a batch is of one size
    for field in ("num_classes", "first_stage_max_proposals", "second_stage_post_processing", "feature_extractor"):
        expected.ClearField(field)
        network.ClearField(field)
    assert network == expected
    assert config.train_config.fine_tune_checkpoint == "csf_small"
    assert config.train_config.fine_tune_checkpoint_type == "full"
    assert config.train_config.num_steps == 50


def test_limits_are_never_below_the_models_unless_they_are_given(start):
    limits = from_model.choose_limits(start, max_boxes_per_image=5)
    assert (limits.max_detections, limits.first_stage_max_proposals) == (110, 120)
    limits = from_model.choose_limits(start, 5, max_detections=30, first_stage_max_proposals=40)
    assert (limits.max_detections, limits.first_stage_max_proposals) == (30, 40)
    assert limits.max_number_of_boxes == 100
    # objects without a class have to be held too
    assert from_model.choose_limits(start, 5, most_boxes=130).max_number_of_boxes == 150


def test_suppression_across_classes_can_be_chosen(start):
    limits = from_model.choose_limits(start, 5)
    config = from_model.generate(start, paper_settings.Records(), paper_settings.Training(), limits, False)
    nms = config.model.faster_rcnn.second_stage_post_processing.batch_non_max_suppression
    assert not nms.use_class_agnostic_nms


def test_remarks_say_which_classes_are_known_and_whether_cells_fit_the_anchors(start, tmp_path):
    save_label_map(label_map_from_names(["Monocyte", "blast"]), tmp_path / "label_map.pbtxt")
    records = paper_settings.Records(num_classes=2, label_map_path=str(tmp_path / "label_map.pbtxt"))
    fitting = box_statistics.from_boxes([(160, 120, [(0, 0, 40, 40, "Monocyte")])])
    anchors, classes = from_model.remarks(start, records, fitting)
    # 0.125 and 0.25 of 256 px; an image of 160 x 120 px is not resized
    assert anchors.startswith("anchors: those of csf_small, sides of 32, 64 px; cells are 40 to 40 px")
    assert "outside" not in anchors
    assert classes == "classes: Monocyte known to csf_small 1.0; blast learned from nothing"
    # 640 x 480 px are scaled to a quarter: 40 px to 10
    small = box_statistics.from_boxes([(640, 480, [(0, 0, 40, 40, "Monocyte")])])
    assert "cells are 10 to 10 px" in from_model.remarks(start, records, small)[0]
    assert "outside of the anchors are found badly" in from_model.remarks(start, records, small)[0]


@pytest.mark.parametrize(
    ("resizer", "side"),
    [
        ("identity_resizer { }", 40),  # proto defaults of other resizers would make 600 of 1200: 20 px
        ("fixed_shape_resizer { width: 2400 height: 300 }", 20),  # a quarter of the height
    ],
)
def test_cells_have_the_size_that_the_models_resizer_gives_them(start, tmp_path, resizer, side):
    start.network.ClearField("image_resizer")
    text_format.Parse(f"image_resizer {{ {resizer} }}", start.network)
    save_label_map(label_map_from_names(["monocyte"]), tmp_path / "label_map.pbtxt")
    records = paper_settings.Records(num_classes=1, label_map_path=str(tmp_path / "label_map.pbtxt"))
    statistics = box_statistics.from_boxes([(2400, 1200, [(0, 0, 40, 40, "monocyte")])])
    assert f"cells are {side} to {side} px" in from_model.remarks(start, records, statistics)[0]
    config = from_model.generate(start, records, paper_settings.Training(), from_model.choose_limits(start, 5))
    assert config.model.faster_rcnn.image_resizer == start.network.image_resizer


def test_the_saved_model_within_a_folder_means_the_folder(tiny_exported_model):
    folder = StartingModel.open(tiny_exported_model)
    within = StartingModel.open(tiny_exported_model / "saved_model")
    assert within.given == folder.given == str(tiny_exported_model)
    assert within.network == folder.network

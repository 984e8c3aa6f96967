import re

import pytest
from google.protobuf import text_format

from tests.config.test_supported import MODEL
from tfod_csf.config import supported_fields, value_ranges
from tfod_csf.config.protos import pipeline_pb2
from tfod_csf.config.supported import UnsupportedConfigError, check_supported


def config_of(text):
    config = pipeline_pb2.TrainEvalPipelineConfig()
    text_format.Merge(MODEL, config)
    text_format.Merge(text, config)
    return config


def in_model(text):
    return f"model {{ faster_rcnn {{ {text} }} }}"


def in_rate(text):
    return f"train_config {{ optimizer {{ rms_prop_optimizer {{ learning_rate {{ {text} }} }} }} }}"


_NMS = "second_stage_post_processing {{ batch_non_max_suppression {{ {} }} }}"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            in_rate("exponential_decay_learning_rate { initial_learning_rate: -0.001 }"),
            "train_config.optimizer.rms_prop_optimizer.learning_rate.exponential_decay_learning_rate."
            "initial_learning_rate: -0.001 must be at least 0",
        ),
        (in_rate("cosine_decay_learning_rate { learning_rate_base: nan }"), "learning_rate_base: nan must be a finite"),
        (in_rate("manual_step_learning_rate { schedule { step: 1 learning_rate: -1 } }"), "schedule[0].learning_rate"),
        (in_rate("exponential_decay_learning_rate { decay_steps: 0 }"), "decay_steps: 0 must be at least 1"),
        (
            in_model("first_stage_anchor_generator { grid_anchor_generator { scales: 0 } }"),
            "model.faster_rcnn.first_stage_anchor_generator.grid_anchor_generator.scales: 0 must be above 0",
        ),
        (
            in_model(_NMS.format("max_total_detections: 0")),
            "batch_non_max_suppression.max_total_detections: 0 must be at least 1",
        ),
        (in_model(_NMS.format("iou_threshold: 60")), "iou_threshold: 60 must be at least 0 and at most 1"),
        (in_model("first_stage_max_proposals: -1"), "first_stage_max_proposals: -1 must be at least 1"),
        (in_model("image_resizer { fixed_shape_resizer { height: 0 } }"), "height: 0 must be at least 1"),
        (
            in_model("second_stage_box_predictor { mask_rcnn_box_predictor { dropout_keep_probability: 0 } }"),
            "dropout_keep_probability: 0 must be above 0 and at most 1",
        ),
        ("train_config { gradient_clipping_by_norm: inf }", "gradient_clipping_by_norm: inf must be a finite number"),
        (
            'train_input_reader { label_map_path: "gs://bucket/map.pbtxt" }',
            'train_input_reader.label_map_path: "gs://bucket/map.pbtxt" is not a local path: gs:// is not supported; '
            "give a local file or folder",
        ),
        (
            'eval_input_reader { tf_record_input_reader { input_path: "s3://b/t.record" } }',
            'eval_input_reader[0].tf_record_input_reader.input_path: "s3://b/t.record" is not a local path: s3://',
        ),
    ],
)
def test_values_outside_all_sense_are_refused_with_path_and_range(text, words):
    with pytest.raises(UnsupportedConfigError, match=re.escape(words)):
        check_supported(config_of(text))


def test_all_of_them_are_named_at_once():
    with pytest.raises(UnsupportedConfigError, match=r"minibatch_size: -1 must be .*; also .*max_proposals: 0"):
        check_supported(config_of(in_model("first_stage_max_proposals: 0 first_stage_minibatch_size: -1")))


@pytest.mark.parametrize(
    "text",
    [
        in_rate("constant_learning_rate { learning_rate: 0 }"),
        in_model(_NMS.format("score_threshold: 9.99999993922529e-09 iou_threshold: 1 soft_nms_sigma: 0")),
        in_model("first_stage_positive_balance_fraction: 0 first_stage_localization_loss_weight: 0"),
        in_model("first_stage_anchor_generator { grid_anchor_generator { height_offset: -8 scales: 1e-3 } }"),
        'train_input_reader { label_map_path: "C:/data/map.pbtxt" }',
        "train_input_reader { max_number_of_boxes: 0 }",
    ],
)
def test_unusual_values_are_accepted(text):
    check_supported(config_of(text))


def test_every_range_is_of_a_field_that_acts():
    for message, field in value_ranges.RANGES:
        assert supported_fields.FIELDS[message][field].kind == "honored", (message, field)

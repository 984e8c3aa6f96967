"""Every set field is honored, noticed or refused: the table is complete, and each kind of row does what it says."""

import pathlib
import re

import pytest
from google.protobuf import text_format

from tfod_csf.config import supported_fields
from tfod_csf.config.protos import pipeline_pb2
from tfod_csf.config.supported import UnsupportedConfigError, check_supported, notices

MODEL = """
model {
  faster_rcnn {
    num_classes: 4
    image_resizer { fixed_shape_resizer { height: 64 width: 64 } }
    feature_extractor { type: "faster_rcnn_resnet50_keras" }
    first_stage_anchor_generator { grid_anchor_generator { scales: [0.25, 0.5] aspect_ratios: 1.0 } }
    initial_crop_size: 14
    maxpool_kernel_size: 2
    maxpool_stride: 2
    second_stage_box_predictor { mask_rcnn_box_predictor { fc_hyperparams { op: FC } } }
  }
}
"""


def _config(text="", model=MODEL):
    config = pipeline_pb2.TrainEvalPipelineConfig()
    text_format.Merge(model, config)
    text_format.Merge(text, config)
    return config


def _rcnn(text):
    return _config(f"model {{ faster_rcnn {{ {text} }} }}")


def _error(config):
    with pytest.raises(UnsupportedConfigError) as error:
        check_supported(config)
    return str(error.value)


def _reachable(descriptor, seen):
    name = descriptor.full_name.removeprefix("tfod_csf.protos.")
    if name not in seen:
        seen[name] = {field.name for field in descriptor.fields}
        for field in descriptor.fields:
            rule = supported_fields.FIELDS[name][field.name]
            if field.message_type and rule.kind in ("honored", "only"):
                _reachable(field.message_type, seen)
    return seen


def test_the_table_has_one_row_for_every_reachable_field_and_no_other():
    reachable = _reachable(pipeline_pb2.TrainEvalPipelineConfig.DESCRIPTOR, {})
    assert {name: set(rules) for name, rules in supported_fields.FIELDS.items()} == reachable


def test_every_refusal_says_why_and_what_to_use():
    for message, rules in supported_fields.FIELDS.items():
        for name, rule in rules.items():
            place = f"{message}.{name}"
            assert rule.kind in ("honored", "same_numbers", "only", "refused", "no_effect"), place
            assert rule.note or rule.kind in ("honored", "only"), place
            assert rule.use or rule.kind not in ("only", "refused"), place
            assert rule.values or rule.kind != "only", place


def test_a_plain_config_passes_without_notices():
    check_supported(_config())
    assert notices(_config()) == []


def test_refused_field_names_path_value_reason_and_remedy():
    assert _error(_rcnn("number_of_stages: 3")) == (
        "model.faster_rcnn.number_of_stages: 3 is not supported (a third stage predicts masks); use 2."
    )


def test_every_refused_field_is_named_at_once_and_with_its_index():
    message = _error(
        _config(
            "train_config { use_multiclass_scores: true data_augmentation_options { random_horizontal_flip { } } "
            "data_augmentation_options { random_patch_gaussian { } } }"
        )
    )
    assert message.startswith(
        "train_config.data_augmentation_options[1].random_patch_gaussian: { ... } is not supported"
    )
    assert "; also train_config.use_multiclass_scores: true is not supported" in message


@pytest.mark.parametrize(
    ("extractor_type", "nearest"),
    [
        ("faster_rcnn_nas", "use faster_rcnn_inception_resnet_v2."),
        ("faster_rcnn_mobilenet_v1", "use faster_rcnn_inception_v2."),
        ("faster_rcnn_pnas", "use faster_rcnn_inception_resnet_v2."),
        ("resnet50", "use one of faster_rcnn_resnet50_keras, "),
    ],
)
def test_other_feature_extractors_are_refused_with_the_nearest_type(extractor_type, nearest):
    config = _config()
    config.model.faster_rcnn.feature_extractor.type = extractor_type
    message = _error(config)
    assert f'feature_extractor.type: "{extractor_type}" is not supported' in message
    assert nearest in message


def test_strides_are_checked_by_type():
    with_type = 'feature_extractor {{ type: "{}" first_stage_features_stride: {} }}'
    check_supported(_rcnn(with_type.format("faster_rcnn_resnet18_keras", 8)))
    assert _error(_rcnn(with_type.format("faster_rcnn_resnet50_keras", 8))) == (
        "model.faster_rcnn.feature_extractor.first_stage_features_stride: 8 is not supported by "
        "faster_rcnn_resnet50_keras; use 16."
    )
    assert "32 is not supported by faster_rcnn_resnet18_keras; use 8 or 16" in _error(
        _rcnn(with_type.format("faster_rcnn_resnet18_keras", 32))
    )


@pytest.mark.parametrize(
    ("stride", "anchors", "words"),
    [
        (8, 16, "cover 4 times the image's area and most of them lie outside; set both to 8"),
        (16, 8, "cover 0.25 of the image and cells in the rest of it are not found; set both to 16"),
    ],
)
def test_anchors_of_another_stride_than_the_features_are_named(stride, anchors, words):
    config = _rcnn(
        f'feature_extractor {{ type: "faster_rcnn_resnet18_keras" first_stage_features_stride: {stride} }} '
        "first_stage_anchor_generator { grid_anchor_generator { "
        f"height_stride: {anchors} width_stride: {anchors} }} }}"
    )
    check_supported(config)
    (notice,) = notices(config)
    assert words in notice
    assert (
        f"height_stride is {anchors} and width_stride {anchors}, but first_stage_features_stride is {stride}" in notice
    )


def test_anchors_far_larger_than_the_image_are_named():
    text = (
        "image_resizer {{ fixed_shape_resizer {{ height: 300 width: 400 }} }} first_stage_anchor_generator {{ "
        "grid_anchor_generator {{ {} }} }}"
    )
    (notice,) = notices(_rcnn(text.format("scales: [0.5, 64]")))
    assert "scales: 64 makes anchors of 16,384 pixels, but images have at most 400" in notice
    # 4 x 400 pixels, and the scales of a base of 16.
    assert notices(_rcnn(text.format("scales: 6.25"))) == []
    assert notices(_rcnn(text.format("height: 16 width: 16 scales: [8, 16, 32]"))) == []


def test_inception_v2_has_a_map_of_stride_16_whatever_the_field_says():
    anchors = "grid_anchor_generator { height_stride: 8 width_stride: 8 }"
    config = _rcnn(
        'feature_extractor { type: "faster_rcnn_inception_v2" first_stage_features_stride: 8 } '
        f"first_stage_anchor_generator {{ {anchors} }}"
    )
    (notice,) = notices(config)
    assert (
        "width_stride 8, but the stride of this network's map is 16, so the anchors cover 0.25 of the image" in notice
    )
    config.model.faster_rcnn.feature_extractor.type = "faster_rcnn_inception_resnet_v2"
    assert notices(config) == []


def test_tensorflow_1_types_take_inputs_of_33_pixels_and_more():
    text = 'feature_extractor {{ type: "faster_rcnn_resnet50" }} image_resizer {{ fixed_shape_resizer {{ {} }} }}'
    assert _error(_rcnn(text.format("width: 32"))) == (
        "model.faster_rcnn.image_resizer.fixed_shape_resizer.width: 32 must be at least 33 with faster_rcnn_resnet50, "
        "as in TFOD."
    )
    check_supported(_rcnn(text.format("width: 33 height: 33")))


def test_anchors_that_leave_their_strides_out_have_16():
    config = _rcnn('feature_extractor { type: "faster_rcnn_resnet18_keras" first_stage_features_stride: 8 }')
    assert "height_stride is 16 and width_stride 16" in notices(config)[0]


def test_a_field_written_with_its_default_is_accepted():
    config = _config(
        "train_config { bias_grad_multiplier: 0.0 use_bfloat16: false } "
        "model { faster_rcnn { inplace_batchnorm_update: false number_of_stages: 2 "
        "second_stage_box_predictor { mask_rcnn_box_predictor { predict_instance_masks: false mask_height: 15 } } } }"
    )
    check_supported(config)
    assert notices(config) == []


def test_fields_without_effect_are_named_in_notices():
    config = _config("train_config { sync_replicas: true startup_delay_steps: 0 } eval_config { max_evals: 1 }")
    check_supported(config)
    assert notices(config) == [
        "train_config.sync_replicas: true has no effect (replicas are always synchronous; "
        "their number is the strategy's).",
        "train_config.startup_delay_steps: 0 has no effect (only TFOD's TensorFlow 1 programs read it).",
        "eval_config.max_evals: 1 has no effect (only TFOD's TensorFlow 1 programs read it).",
    ]
    assert notices(config, parts=("model",)) == []


def test_the_dense_layers_regularizer_is_named_unless_its_weight_is_0():
    text = (
        "model {{ faster_rcnn {{ second_stage_box_predictor {{ mask_rcnn_box_predictor {{ fc_hyperparams {{ "
        "regularizer {{ l2_regularizer {{ weight: {} }} }} }} }} }} }} }}"
    )
    assert notices(_config(text.format("0.0"))) == []
    (notice,) = notices(_config(text.format("0.5")))
    assert "fc_hyperparams.regularizer.l2_regularizer.weight: 0.5 has no effect" in notice


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model { faster_rcnn { num_classes: 0 } }", "num_classes: 0 must be at least 1"),
        ("model { faster_rcnn { initial_crop_size: 0 } }", "initial_crop_size: 0 must be at least 1"),
        (
            "model { faster_rcnn { second_stage_box_predictor { mask_rcnn_box_predictor { fc_hyperparams "
            "{ op: CONV } } } } }",
            "fc_hyperparams.op must be FC",
        ),
        (
            "train_config { } model { faster_rcnn { first_stage_max_proposals: 32 } }",
            "second_stage_batch_size: 64 must not exceed first_stage_max_proposals: 32",
        ),
        (
            "model { faster_rcnn { image_resizer { keep_aspect_ratio_resizer { min_dimension: 1600 max_dimension: 800 "
            "} } } }",
            "keep_aspect_ratio_resizer: min_dimension 1600 is greater than max_dimension 800",
        ),
        (
            "train_config { optimizer { adam_optimizer { learning_rate { cosine_decay_learning_rate { total_steps: 6 "
            "warmup_steps: 10 } } } } }",
            "total_steps: 6 is less than warmup_steps: 10",
        ),
        ('train_config { fine_tune_checkpoint: "x/ckpt-0" }', "fine_tune_checkpoint_version must be V2"),
        (
            'train_config { fine_tune_checkpoint: "x" fine_tune_checkpoint_version: V2 '
            'fine_tune_checkpoint_type: "fine_tune" }',
            '"fine_tune" is not one of detection, full, classification',
        ),
        (
            'train_config { fine_tune_checkpoint: "x" fine_tune_checkpoint_version: V2 '
            "load_all_detection_checkpoint_vars: true }",
            "load_all_detection_checkpoint_vars: true is not supported with faster_rcnn_resnet50_keras",
        ),
        ('eval_config { metrics_set: "oid_V2_detection_metrics" }', "use pascal_voc_detection_metrics"),
        ("train_input_reader { input_type: TF_SEQUENCE_EXAMPLE }", "input_type: TF_SEQUENCE_EXAMPLE is not supported"),
    ],
)
def test_contradictions_and_wrong_values(text, words):
    assert words in _error(_config(text))


def test_missing_parts_are_named():
    assert "model.faster_rcnn is missing" in _error(_config(model=""))
    message = _error(_config(model="model { faster_rcnn { num_classes: 1 } }"))
    for part in ("feature_extractor.type", "image_resizer", "grid_anchor_generator", "mask_rcnn_box_predictor"):
        assert part in message


def test_only_the_named_parts_are_checked():
    config = _config("train_config { use_multiclass_scores: true }")
    check_supported(config, parts=("model",))
    with pytest.raises(UnsupportedConfigError, match=r"^here\.config: train_config"):
        check_supported(config, source="here.config")


@pytest.fixture(scope="module")
def code_outside_config():
    package = pathlib.Path(supported_fields.__file__).parent.parent
    return "\n".join(
        path.read_text(encoding="utf-8")
        for path in package.rglob("*.py")
        if path.relative_to(package).parts[0] != "config"
    )


def test_every_honored_value_is_read_by_name_outside_of_this_package(code_outside_config):
    read_by_check_supported = {"fine_tune_checkpoint_version"}
    unread = {
        f"{message}.{name}"
        for message, rules in supported_fields.FIELDS.items()
        for name, rule in rules.items()
        if rule.kind == "honored"
        and not re.search(rf"\b{name}\b", code_outside_config)
        and name not in read_by_check_supported
    }
    assert unread == set()


def test_a_value_said_to_give_the_same_numbers_is_read_nowhere(code_outside_config):
    """A field that code reads has an effect: it is honored. Names another message honors, and `op`, are skipped."""
    rules = [(name, rule.kind) for fields in supported_fields.FIELDS.values() for name, rule in fields.items()]
    honored = {name for name, kind in rules if kind == "honored"}
    same = {name for name, kind in rules if kind == "same_numbers"} - honored - {"op"}
    assert len(same) >= 5
    assert {name for name in same if re.search(rf"\b{name}\b", code_outside_config)} == set()


def test_static_shapes_are_honored_because_they_change_training():
    """tests/modeling/test_loss_fields.py and test_model_builder.py show the effect."""
    rules = supported_fields.FIELDS["FasterRcnn"]
    assert rules["use_static_shapes"].kind == rules["use_static_shapes_for_eval"].kind == "honored"
    assert "the second stage also learns from what pads them" in rules["use_static_shapes"].note
    assert "detections do not change" in rules["use_static_shapes_for_eval"].note

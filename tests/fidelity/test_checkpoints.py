"""Checkpoint keys, shapes and the weight rule against TFOD's."""

import collections
import json
import zlib

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format

from tfod_csf.config import extractor_types
from tfod_csf.config.protos import model_pb2, optimizer_pb2
from tfod_csf.modeling import model_builder, slim_variable_names
from tfod_csf.modeling.feature_extractors import extractor_builder
from tfod_csf.training import optimizer as optimizers
from tfod_csf.training.checkpoints import checkpoint_files, checkpoint_view, fine_tuning

CLASS_BIAS = (
    "model/_mask_rcnn_box_predictor/_class_prediction_head/_class_predictor_layers/1/bias/.ATTRIBUTES/VARIABLE_VALUE"
)
CONSTANT_RATE = "{ learning_rate { constant_learning_rate {} } }"
OPTIMIZERS = {
    "momentum_optimizer": f"momentum_optimizer {CONSTANT_RATE} use_moving_average: false",
    "momentum_optimizer_with_use_moving_average": f"momentum_optimizer {CONSTANT_RATE} use_moving_average: true",
    "rms_prop_optimizer": f"rms_prop_optimizer {CONSTANT_RATE} use_moving_average: false",
}

CONFIG = """
  faster_rcnn {{
    num_classes: {num_classes}
    image_resizer {{ fixed_shape_resizer {{ height: 64 width: 64 }} }}
    feature_extractor {{ type: "faster_rcnn_{network}" }}
    first_stage_anchor_generator {{
      grid_anchor_generator {{ scales: [0.25, 0.5, 1.0, 2.0] aspect_ratios: [0.5, 1.0, 2.0] }}
    }}
    first_stage_max_proposals: 8
    initial_crop_size: 14
    maxpool_kernel_size: 2
    maxpool_stride: 2
    second_stage_box_predictor {{
      mask_rcnn_box_predictor {{ share_box_across_classes: {share} }}
    }}
  }}
"""


# What a feature pyramid needs in addition.
PYRAMID = """
  faster_rcnn {
    feature_extractor { conv_hyperparams { batch_norm { scale: true } } }
    first_stage_anchor_generator {
      multiscale_anchor_generator { min_level: 2 max_level: 6 aspect_ratios: [1.0, 2.0, 0.5] scales_per_octave: 2 }
    }
  }
"""


def build(network: str, num_classes: int, share: bool = True):
    text = CONFIG.format(network=network, num_classes=num_classes, share=str(share).lower())
    config = text_format.Parse(text, model_pb2.DetectionModel())
    if network.endswith("_fpn_keras"):
        text_format.Merge(PYRAMID, config)
    model = model_builder.build(config, is_training=True)
    model.build_variables()
    return model


@pytest.mark.recorded("checkpoint_keys_resnet*.json", "later/checkpoint_keys_*.json")
def test_keys_and_shapes(recorded, tmp_path):
    expected = json.loads(recorded.read_text())
    network = recorded.stem.removeprefix("checkpoint_keys_")
    for share in (True, False) if "keys_only_changed_when_share_box_false" in expected else (True,):
        model = build(f"{network}_keras", expected["num_classes"], share)
        path = tf.train.Checkpoint(model=checkpoint_view.checkpoint_view(model)).write(str(tmp_path / str(share)))
        keys = dict(expected["keys_share_box_across_classes_true"])
        if not share:
            keys |= expected["keys_only_changed_when_share_box_false"]
        assert dict(tf.train.list_variables(path)) == keys
        by_key = checkpoint_view.variables_by_key(model=checkpoint_view.checkpoint_view(model))
        assert {key: list(variable.shape) for key, variable in by_key.items()} == {
            key: shape for key, shape in keys.items() if key != "_CHECKPOINTABLE_OBJECT_GRAPH"
        }
        assert len(model.trainable_variables) == expected["num_trainable_variables"]
        if "restore" in expected:
            check_number_of_restored(model, path, expected["restore"])


def check_number_of_restored(model, detection_checkpoint, expected):
    """Each fine_tune_checkpoint_type restores as many variables as TFOD's."""
    prefixes = {"detection": detection_checkpoint}
    backbone = getattr(model.feature_extractor.proposal_features, "classification_backbone", None)
    if backbone is not None:
        classifier = tf.train.Checkpoint(feature_extractor=backbone)
        prefixes["classification"] = classifier.write(f"{detection_checkpoint}_of_a_classifier")
    for checkpoint_type, prefix in prefixes.items():
        report = fine_tuning.restore_fine_tune_checkpoint(model, prefix, checkpoint_type)
        recorded = expected[checkpoint_type]  # the ResNets' keys themselves, the others' number
        if "keys" in recorded:
            assert set(report.restored) == set(recorded["keys"]) - {"_CHECKPOINTABLE_OBJECT_GRAPH"}
        else:
            assert len(report.restored) == recorded["num_keys"], checkpoint_type


def used_shapes_of_tensorflow_1(recorded) -> dict[str, list[int]]:
    """Name to shape of the variables of a recorded TensorFlow 1 checkpoint that its network uses."""
    variables = json.loads(recorded.read_text())["variables"]
    shapes = {name: shape for name, (shape, _) in variables.items() if name != "global_step"}
    return {name: shape for name, shape in shapes.items() if not slim_variable_names.is_unused(name)}


@pytest.mark.recorded("tf1/checkpoint_keys_tf1_*.json")
def test_names_and_shapes_of_tensorflow_1(recorded):
    """All variables of a TensorFlow 1 backbone are ours, by name and shape, but those that it never uses."""
    extractor_type = recorded.stem.replace("checkpoint_keys_tf1_", "faster_rcnn_")
    if extractor_type not in extractor_types.SUPPORTED:
        pytest.skip("a network that is not built here")
    extractor = extractor_builder.build(extractor_type)
    halves = {"First": extractor.proposal_features, "Second": extractor.box_classifier_features}
    named = {
        name: list(variable.shape)
        for stage, half in halves.items()
        for name, variable in slim_variable_names.network_variables(
            half, f"{stage}StageFeatureExtractor/{extractor.slim_scope}"
        )
    }
    expected = used_shapes_of_tensorflow_1(recorded)
    assert named == {name: shape for name, shape in expected.items() if "StageFeatureExtractor/" in name}


@pytest.mark.recorded("tf1/checkpoint_keys_tf1_inception_v2.json")
def test_our_keys_of_a_tensorflow_1_network(recorded):
    """Both halves under TFOD's name for them, slim's scopes inside; RPN and predictors as in the Keras types."""
    model = build("inception_v2", num_classes=90, share=False)
    named = slim_variable_names.tf1_variables(model)
    assert {name: list(variable.shape) for name, variable in named.items()} == used_shapes_of_tensorflow_1(recorded)
    by_key = checkpoint_view.variables_by_key(model=checkpoint_view.checkpoint_view(model))
    key_of = {id(variable): key.removesuffix(checkpoint_view.VALUE_SUFFIX) for key, variable in by_key.items()}
    assert len(by_key) == len(named)
    halves = {
        "FirstStageFeatureExtractor/": "model/_feature_extractor_for_proposal_features/",
        "SecondStageFeatureExtractor/": "model/_feature_extractor_for_box_classifier_features/",
    }
    for stage, half in halves.items():
        names = [name for name in named if name.startswith(stage)]
        assert [key_of[id(named[name])] for name in names] == [name.replace(stage, half) for name in names]
    assert (
        key_of[id(named["Conv/weights"])] == "model/_first_stage_box_predictor_first_conv/layer_with_weights-0/kernel"
    )
    assert key_of[id(named["SecondStageBoxPredictor/ClassPredictor/biases"])] == (
        CLASS_BIAS.removesuffix(checkpoint_view.VALUE_SUFFIX)
    )


@pytest.mark.recorded("weights_check*.json")
def test_weight_rule(recorded, weight_rule):
    """The weights that all other comparisons use are the recorded ones, to the bit."""
    checksums = json.loads(recorded.read_text())["crc32"]
    shapes = json.loads((recorded.parent / "checkpoint_keys_resnet50.json").read_text())
    rule = weight_rule(recorded.parent)
    made = rule.make_all(shapes["keys_share_box_across_classes_true"])
    assert {key: zlib.crc32(value.astype("<f4").tobytes()) for key, value in made.items()} == checksums


@pytest.mark.recorded("fine_tune_restore*.json")
def test_what_fine_tuning_restores(recorded, tmp_path):
    """Counts of restored variables by part of the model; an error where TFOD has one (ours comes as a sentence)."""
    cases = json.loads(recorded.read_text())
    source, same, other = build("resnet50_keras", 3), build("resnet50_keras", 3), build("resnet50_keras", 5)
    prefix = tf.train.Checkpoint(model=checkpoint_view.checkpoint_view(source)).write(str(tmp_path / "ckpt-0"))
    for name in ("detection", "full", "classification", "fine_tune", "empty_type_from_detection_checkpoint"):
        for suffix, target in (("", same), ("_other_num_classes", other)):
            if name + suffix not in cases:
                continue
            checkpoint_type = "" if name.startswith("empty_type") else name
            expected = cases[name + suffix]
            arguments = (target, prefix, checkpoint_type, name.startswith("empty_type"))
            if expected["result"] != "ok":
                with pytest.raises(checkpoint_files.CheckpointError):
                    fine_tuning.restore_fine_tune_checkpoint(*arguments)
                continue
            report = fine_tuning.restore_fine_tune_checkpoint(*arguments)
            assert _count(report.restored) == expected["equal_to_source"], name + suffix
            assert _count(report.not_restored) == expected["not_restored"], name + suffix
            by_key = [
                checkpoint_view.variables_by_key(model=checkpoint_view.checkpoint_view(m)) for m in (source, target)
            ]
            for key in report.restored:
                np.testing.assert_array_equal(by_key[0][key], by_key[1][key])


def _count(keys) -> dict[str, int]:
    return dict(collections.Counter(key.split("/")[1] for key in keys))


@pytest.mark.recorded("train_checkpoint_keys_resnet50*.json")
def test_keys_of_a_training_checkpoint(recorded, tmp_path):
    """step, save_counter, model, and the optimizer with its slots, for each recorded optimizer."""
    expected = json.loads(recorded.read_text())
    num_classes = expected["train_checkpoint_keys"][CLASS_BIAS][0] - 1
    model = build("resnet50_keras", num_classes)
    model_keys = {key for key in expected["train_checkpoint_keys"] if ".OPTIMIZER_SLOT" not in key}
    model_keys = {key for key in model_keys if not key.startswith("optimizer/")}
    for name, optimizer_keys in expected["optimizer_keys"].items():
        optimizer, _ = optimizers.build(text_format.Parse(OPTIMIZERS[name], optimizer_pb2.Optimizer()))
        optimizers.create_slots(optimizer, model.trainable_variables)
        checkpoint = tf.train.Checkpoint(
            step=tf.Variable(0, dtype=tf.int64), model=checkpoint_view.checkpoint_view(model), optimizer=optimizer
        )
        path = tf.train.CheckpointManager(checkpoint, str(tmp_path / name), max_to_keep=7).save()
        keys = dict(tf.train.list_variables(path))
        assert set(keys) == model_keys | set(optimizer_keys), name
        assert {key: keys[key] for key in optimizer_keys} == optimizer_keys, name
        reader = tf.train.load_checkpoint(path)
        for key, dtype in expected["dtypes"].items():
            if key in keys:
                assert reader.get_variable_to_dtype_map()[key] == tf.as_dtype(dtype)

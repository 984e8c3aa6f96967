"""Fine-tuning: what is copied, what is refused, and in which words. TFOD's own counts are in tests/fidelity."""

import pathlib
import tarfile

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format

from tfod_csf.config.protos import model_pb2
from tfod_csf.modeling import model_builder
from tfod_csf.training.checkpoints import checkpoint_files, checkpoint_view, fine_tuning

CONFIG = """
  faster_rcnn {{
    num_classes: {num_classes}
    image_resizer {{ fixed_shape_resizer {{ height: 64 width: 64 }} }}
    feature_extractor {{ type: "faster_rcnn_resnet18_keras" }}
    first_stage_anchor_generator {{ grid_anchor_generator {{ scales: 0.25 aspect_ratios: 1.0 }} }}
    first_stage_box_predictor_depth: 8
    first_stage_max_proposals: 4
    initial_crop_size: 4
    maxpool_kernel_size: 1
    maxpool_stride: 1
    second_stage_box_predictor {{ mask_rcnn_box_predictor {{ share_box_across_classes: {share} }} }}
  }}
"""


def build(num_classes: int = 2, share: str = "true"):
    text = CONFIG.format(num_classes=num_classes, share=share)
    model = model_builder.build(text_format.Parse(text, model_pb2.DetectionModel()), is_training=True)
    model.build_variables(32, 32)
    return model


def values(model) -> dict[str, np.ndarray]:
    by_key = checkpoint_view.variables_by_key(model=checkpoint_view.checkpoint_view(model))
    return {key: variable.numpy() for key, variable in by_key.items()}


@pytest.fixture(scope="module")
def source():
    model = build()
    for number, variable in enumerate(model.variables):
        variable.assign(tf.fill(variable.shape, 0.01 * (number + 1)))
    return model


@pytest.fixture(scope="module")
def saved(source, tmp_path_factory) -> pathlib.Path:
    """A folder as a model zoo's: NAME/checkpoint/ckpt-0.*, NAME/saved_model/variables/variables.*."""
    folder = tmp_path_factory.mktemp("zoo") / "detector"
    checkpoint = tf.train.Checkpoint(model=checkpoint_view.checkpoint_view(source))
    checkpoint.write(str(folder / "checkpoint" / "ckpt-0"))
    tf.train.Checkpoint(weights=tf.Variable([1.0])).write(str(folder / "saved_model" / "variables" / "variables"))
    return folder


@pytest.fixture(scope="module")
def target():
    return build()


def pack(folder: pathlib.Path, archive: pathlib.Path) -> pathlib.Path:
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        tar.add(folder, folder.name)
    return archive


def test_folder_prefix_and_archive_are_the_same_checkpoint(saved, source, target, tmp_path):
    prefix = saved / "checkpoint" / "ckpt-0"
    for path in (saved, saved / "checkpoint", prefix, f"{prefix}.index", pack(saved, tmp_path / "zoo.tar.gz")):
        for variable in target.variables:
            variable.assign(tf.zeros(variable.shape))
        report = fine_tuning.restore_fine_tune_checkpoint(target, path, "full")
        assert len(report.restored) == len(source.variables)
        assert not report.not_restored
        assert not report.unused
        expected, restored = values(source), values(target)
        assert all(np.array_equal(restored[key], expected[key]) for key in expected)


def test_detection_leaves_the_predictors_alone(saved, source, target):
    before = values(target)
    report = fine_tuning.restore_fine_tune_checkpoint(target, saved, "", from_detection_checkpoint=True)
    after, expected = values(target), values(source)
    assert report.checkpoint_type == "detection"
    assert {key.split("/")[1] for key in report.not_restored} == {
        "_first_stage_box_predictor",
        "_first_stage_box_predictor_first_conv",
        "_mask_rcnn_box_predictor",
    }
    for key in after:
        np.testing.assert_array_equal(after[key], (before if key in report.not_restored else expected)[key])


def test_heads_of_another_num_classes(saved):
    other = build(num_classes=3, share="false")
    before = values(other)
    with pytest.raises(checkpoint_files.CheckpointError, match="--leave_out_class_heads"):
        fine_tuning.restore_fine_tune_checkpoint(other, saved, "full")
    for key, value in values(other).items():
        np.testing.assert_array_equal(value, before[key])  # nothing is restored by halves
    report = fine_tuning.restore_fine_tune_checkpoint(other, saved, "full", leave_out_class_heads=True)
    assert set(report.not_restored.values()) == {"depends on num_classes"}
    assert sorted(key.split("/")[2] for key in report.not_restored) == [
        *["_box_prediction_head"] * 2,
        *["_class_prediction_head"] * 2,
    ]
    head = "model/_mask_rcnn_box_predictor/_class_prediction_head/_class_predictor_layers/1/bias/.ATTRIBUTES/"
    assert report.mismatched[f"{head}VARIABLE_VALUE"] == ([3], [4])
    assert "box and class predictors (_mask_rcnn_box_predictor): 4 not restored (depends on num_classes)" in str(report)


def test_box_head_that_all_classes_share_is_kept(saved):
    other = build(num_classes=3)
    report = fine_tuning.restore_fine_tune_checkpoint(other, saved, "full", leave_out_class_heads=True)
    assert {key.split("/")[2] for key in report.not_restored} == {"_class_prediction_head"}


def test_training_checkpoint_gives_its_weights_only(source, target, tmp_path):
    optimizer = tf.keras.optimizers.legacy.SGD(0.1, momentum=0.9)
    step = tf.Variable(77, dtype=tf.int64)
    optimizer.apply_gradients(
        [(tf.ones_like(v), v) for v in source.box_classifier.head.class_predictor_layers[-1].variables]
    )
    checkpoint = tf.train.Checkpoint(step=step, model=checkpoint_view.checkpoint_view(source), optimizer=optimizer)
    tf.train.CheckpointManager(checkpoint, str(tmp_path), max_to_keep=7).save()
    report = fine_tuning.restore_fine_tune_checkpoint(target, tmp_path, "full")
    assert not report.not_restored
    assert all("OPTIMIZER_SLOT" in key or key.startswith("optimizer/") for key in report.unused)
    assert "optimizer state" in str(report)


def test_classifier_is_read_as_one_backbone(source, target, tmp_path):
    """A classifier numbers conv5's layers on from conv4's; here each half has one variable per tracked layer."""
    renamed, offset = {}, 0
    for half in ("_feature_extractor_for_proposal_features", "_feature_extractor_for_box_classifier_features"):
        found = {k: v for k, v in values(source).items() if k.startswith(f"model/{half}/")}
        numbers = {key: int(key.split("layer_with_weights-")[1].split("/")[0]) for key in found}
        for key, value in found.items():
            rest = key.split("layer_with_weights-")[1].split("/", 1)[1].removesuffix(checkpoint_view.VALUE_SUFFIX)
            renamed[f"feature_extractor/layer_with_weights-{offset + numbers[key]}/{rest}"] = value
        offset += len(set(numbers.values()))
    root = tf.train.Checkpoint()
    for path, value in renamed.items():
        node, *names = root, *path.split("/")
        for name in names[:-1]:
            if not hasattr(node, name):
                setattr(node, name, tf.train.Checkpoint())
            node = getattr(node, name)
        setattr(node, names[-1], tf.Variable(value))
    prefix = root.write(str(tmp_path / "classifier"))
    report = fine_tuning.restore_fine_tune_checkpoint(target, prefix)
    assert report.checkpoint_type == "classification"
    assert len(report.restored) == len(renamed)
    expected, restored = values(source), values(target)
    assert all(np.array_equal(restored[key], expected[key]) for key in report.restored)
    with pytest.raises(checkpoint_files.CheckpointError, match=r"set .*fine_tune_checkpoint_type to classification"):
        fine_tuning.restore_fine_tune_checkpoint(target, prefix, "detection")


def test_a_damaged_checkpoint_changes_nothing(saved, target, tmp_path):
    """The broken checksum shows only when the value is read, after others have been."""
    prefix = saved / "checkpoint" / "ckpt-0"
    (tmp_path / "flipped.index").write_bytes(prefix.with_name("ckpt-0.index").read_bytes())
    data = bytearray(prefix.with_name("ckpt-0.data-00000-of-00001").read_bytes())
    data[len(data) // 2] ^= 255
    (tmp_path / "flipped.data-00000-of-00001").write_bytes(data)
    for variable in target.variables:
        variable.assign(tf.zeros(variable.shape))
    with pytest.raises(checkpoint_files.CheckpointError, match="truncated or not a TensorFlow checkpoint"):
        fine_tuning.restore_fine_tune_checkpoint(target, tmp_path / "flipped", "full")
    assert not any(value.any() for value in values(target).values())


def test_wrong_checkpoints(saved, target, tmp_path):
    slim = tf.train.Checkpoint(conv1=tf.Variable([1.0])).write(str(tmp_path / "slim"))
    missing = tmp_path / "no" / "ckpt-0"
    for path, checkpoint_type, words in (
        (slim, "full", "is not a checkpoint of TFOD's Faster R-CNN"),
        (missing, "full", "there is no such checkpoint"),
        (tmp_path / "no.tar.gz", "full", "there is no such file"),
        (saved, "classification", "set train_config.fine_tune_checkpoint_type to detection or full"),
        (saved, "", "is a detection checkpoint"),
        (saved, "fine_tune", "fine_tune_checkpoint_type: fine_tune is not supported"),
    ):
        with pytest.raises(checkpoint_files.CheckpointError, match=words):
            fine_tuning.restore_fine_tune_checkpoint(target, path, checkpoint_type)


def test_checkpoint_of_another_network(tmp_path, source, target):
    view = checkpoint_view.checkpoint_view(source)
    del view._feature_extractor_for_box_classifier_features
    prefix = tf.train.Checkpoint(model=view).write(str(tmp_path / "half"))
    with pytest.raises(checkpoint_files.CheckpointError, match="lacks 25 of the 105 variables"):
        fine_tuning.restore_fine_tune_checkpoint(target, prefix, "detection")

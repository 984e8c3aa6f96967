"""TensorFlow 1 checkpoints in fine-tuning: what each type copies. TFOD's own maps are in tests/fidelity."""

import numpy as np
import pytest
from google.protobuf import text_format

from tests.support import tf1_checkpoints as written
from tfod_csf.config.protos import model_pb2
from tfod_csf.modeling import model_builder, slim_variable_names
from tfod_csf.training.checkpoints import fine_tuning, tf1_checkpoints
from tfod_csf.training.checkpoints.checkpoint_files import CheckpointError

CLASS_BIASES = "SecondStageBoxPredictor/ClassPredictor/biases"
HALVES = ("FirstStageFeatureExtractor", "SecondStageFeatureExtractor")


def build(text=written.TINY_MODEL):
    model = model_builder.build(text_format.Parse(text, model_pb2.DetectionModel()), is_training=True)
    model.build_variables()
    return model


@pytest.fixture(scope="module")
def model():
    return build()


@pytest.fixture
def before(model):
    """Values of the variables by TensorFlow 1 name, all of them 7."""
    values = {}
    for name, variable in slim_variable_names.tf1_variables(model).items():
        variable.assign(np.full(variable.shape, 7, np.float32))
        values[name] = variable.numpy()
    return values


@pytest.fixture(scope="module")
def detector(model, tmp_path_factory):
    """A training checkpoint of the same network for five classes, in a folder as TensorFlow 1 left it."""
    variables = slim_variable_names.tf1_variables(model)
    stored = {name: np.full(variable.shape, 0.5, np.float32) for name, variable in variables.items()}
    stored[CLASS_BIASES] = np.full(6, 0.5, np.float32)
    stored |= {f"{name}/Momentum": value for name, value in list(stored.items())[:3]}
    stored["global_step"] = np.int64(200000)
    folder = tmp_path_factory.mktemp("trained")
    written.save(folder / "model.ckpt-200000", stored)
    return folder


@pytest.fixture(scope="module")
def classifier_values(model):
    """As slim trains Inception v2: without gammas, the first convolution without batch norm."""
    variables = slim_variable_names.tf1_variables(model)
    named = {name.partition("/")[2]: variable for name, variable in variables.items() if name.startswith(HALVES)}
    stored = {
        name: np.full(variable.shape, 0.25, np.float32)
        for name, variable in named.items()
        if not name.endswith("/gamma") and "Conv2d_1a_7x7/BatchNorm" not in name
    }
    return stored | {"InceptionV2/Logits/Conv2d_1c_1x1/biases": np.zeros(1001, np.float32), "global_step": np.int64(0)}


def changed(model, before):
    """{name: the value all its elements have} of the variables that are not as before."""
    now = {name: variable.numpy() for name, variable in slim_variable_names.tf1_variables(model).items()}
    return {name: float(now[name].ravel()[0]) for name in now if not np.array_equal(now[name], before[name])}


def test_detection_restores_both_halves_of_the_backbone(model, before, detector):
    report = fine_tuning.restore_fine_tune_checkpoint(model, detector, "detection")
    found = changed(model, before)
    assert set(found) == {name for name in before if name.startswith(HALVES)} == set(report.restored)
    assert set(found.values()) == {0.5}
    assert set(report.not_restored.values()) == {"type detection leaves it out"}
    text = str(report)
    assert "RPN predictors (FirstStageBoxPredictor): 4 not restored (type detection leaves it out)" in text
    assert "optimizer state: 3 of the checkpoint not used" in text
    assert "global_step" not in text


def test_everything_but_what_has_another_shape_is_restored_on_request(model, before, detector):
    prefix = detector / "model.ckpt-200000"
    report = fine_tuning.restore_fine_tune_checkpoint(
        model, prefix, "", from_detection_checkpoint=True, load_all_detection_checkpoint_vars=True
    )
    assert set(changed(model, before)) == set(before) - {CLASS_BIASES}
    assert report.not_restored == {CLASS_BIASES: "has another shape in the checkpoint"}
    assert report.mismatched == {CLASS_BIASES: ([6], [3])}


@pytest.mark.parametrize("first_format", [False, True], ids=["index and data", "one file"])
def test_a_classifier_gives_both_halves_what_it_has(model, before, classifier_values, tmp_path, first_format):
    save = written.save_v1 if first_format else written.save
    path = save(tmp_path / "inception_v2.ckpt", classifier_values)
    report = fine_tuning.restore_fine_tune_checkpoint(model, path if first_format else tmp_path)
    assert report.checkpoint_type == "classification"
    found = changed(model, before)
    assert set(found.values()) == {0.25}
    kept = {name for name in before if name.startswith(HALVES)} - set(found)
    assert {name.rsplit("/", 1)[1] for name in kept if "Conv2d_1a_7x7" not in name} == {"gamma"}
    assert {report.not_restored[name] for name in kept} == {"not in the checkpoint"}
    assert report.unused == ("InceptionV2/Logits/Conv2d_1c_1x1/biases",)


def test_what_would_leave_random_weights_is_an_error_and_changes_nothing(
    model, before, detector, classifier_values, tmp_path
):
    classifier = written.save(tmp_path / "inception_v2.ckpt", classifier_values)
    other = written.save(tmp_path / "other.ckpt", {"resnet_v1_50/conv1/weights": np.zeros(3, np.float32)})
    for path, checkpoint_type, words in (
        (detector, "classification", r"is a detection checkpoint.* set .*_type to detection\. TFOD would have trained"),
        (classifier, "detection", r"is a classifier's checkpoint.* set .*_type to classification\. TFOD would have"),
        (detector, "full", r"no fine_tune_checkpoint_type full; set it to detection, and .*load_all_detection"),
        (other, "detection", r"holds no weights of InceptionV2 \(but resnet_v1_50/conv1/weights, for example\)"),
    ):
        with pytest.raises(CheckpointError, match=words):
            fine_tuning.restore_fine_tune_checkpoint(model, path, checkpoint_type)
    with pytest.raises(CheckpointError, match="start again without --leave_out_class_heads"):
        fine_tuning.restore_fine_tune_checkpoint(model, detector, "detection", leave_out_class_heads=True)
    assert not changed(model, before)


def test_keras_types_take_none(detector):
    other = build(written.TINY_MODEL.replace("faster_rcnn_inception_v2", "faster_rcnn_resnet18_keras"))
    with pytest.raises(CheckpointError, match=r"fits the types faster_rcnn_inception_v2, .* only; set"):
        fine_tuning.restore_fine_tune_checkpoint(other, detector, "detection")


def test_the_second_stage_of_inception_resnet_reads_the_classifiers_repeat_2():
    names = [
        "FirstStageFeatureExtractor/InceptionResnetV2/Repeat/block35_1/Conv2d_1x1/weights",
        "SecondStageFeatureExtractor/InceptionResnetV2/Repeat/block8_1/Conv2d_1x1/weights",
        "SecondStageFeatureExtractor/InceptionResnetV2/Block8/Conv2d_1x1/weights",
        "Conv/weights",
    ]
    assert tf1_checkpoints.restore_map(names, "classification", True) == {
        names[0]: "InceptionResnetV2/Repeat/block35_1/Conv2d_1x1/weights",
        names[1]: "InceptionResnetV2/Repeat_2/block8_1/Conv2d_1x1/weights",
        names[2]: "InceptionResnetV2/Block8/Conv2d_1x1/weights",
    }


def test_moving_averages_stand_for_what_is_trained_where_there_are_any():
    names = ["Conv/weights", "a/BatchNorm/gamma", "a/BatchNorm/moving_mean"]
    averages = ["Conv/weights/ExponentialMovingAverage"]
    assert list(tf1_checkpoints.sources(names, [*names, *averages], True).values()) == [
        "Conv/weights/ExponentialMovingAverage",
        "a/BatchNorm/gamma/ExponentialMovingAverage",
        "a/BatchNorm/moving_mean",
    ]
    for stored, wanted in ((names, True), ([*names, *averages], False)):
        assert list(tf1_checkpoints.sources(names, stored, wanted).values()) == names

"""convert_checkpoint: the values and keys of what is written, and what is refused."""

import numpy as np
import pytest
import tensorflow as tf
from absl import flags

from tests.support import tf1_checkpoints as written
from tfod_csf.commands import command_line
from tfod_csf.commands import convert_checkpoint as command
from tfod_csf.config.pipeline_config import load_pipeline_config
from tfod_csf.export import exporter
from tfod_csf.modeling import model_builder, slim_variable_names

AVERAGE = "/ExponentialMovingAverage"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(pipeline.config, checkpoint): every value 1, the moving averages 2, in step 1234."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "pipeline.config").write_text(
        f"model {{ {written.TINY_MODEL} }} eval_config {{ use_moving_averages: true }}\n"
    )
    model = model_builder.build(load_pipeline_config(folder / "pipeline.config").model, is_training=False)
    model.build_variables()
    names = slim_variable_names.tf1_variables(model)
    stored = {name: np.full(variable.shape, 1, np.float32) for name, variable in names.items()}
    averaged = [name for name in names if not name.endswith(("/moving_mean", "/moving_variance"))]
    stored |= {name + AVERAGE: stored[name] + 1 for name in averaged}
    stored["global_step"] = np.int64(1234)
    return folder / "pipeline.config", written.save(folder / "model.ckpt-1234", stored), stored


@pytest.fixture
def run(trained, tmp_path, capsys):
    def run_command(*arguments, checkpoint=trained[1]):
        given = [
            f"--pipeline_config_path={trained[0]}",
            f"--trained_checkpoint_prefix={checkpoint}",
            f"--output_directory={tmp_path / 'converted'}",
            *arguments,
        ]
        status = command_line.run(command.main, command.FLAGS, command.__doc__, "convert_checkpoint", given)
        captured = capsys.readouterr()
        return status, captured.out + captured.err

    yield run_command
    for name in command.FLAGS:
        command.FLAGS[name].value = command.FLAGS[name].default
    flags.FLAGS.unparse_flags()


def values(folder):
    """{leaf of the key: values of its variables} of the checkpoint in a folder, as the exporter reads it."""
    config = load_pipeline_config(folder / "pipeline.config")
    model = exporter.restored_model(config, exporter.latest_checkpoint(folder))
    found = {}
    for name, variable in slim_variable_names.tf1_variables(model).items():
        found.setdefault(name.rsplit("/", 1)[1], set()).update(np.unique(variable.numpy()).tolist())
    return found


def test_averages_of_what_is_trained_where_the_config_says_so(run, tmp_path):
    status, text = run()
    assert (status, "moving averages, step 1234." in text) == (0, True), text
    found = values(tmp_path / "converted")
    assert found.pop("moving_mean") == found.pop("moving_variance") == {1.0}
    assert set.union(*found.values()) == {2.0}
    keys = dict(tf.train.list_variables(str(tmp_path / "converted" / "ckpt-0")))
    half = "model/_feature_extractor_for_box_classifier_features/InceptionV2"
    assert f"{half}/Mixed_5a/Branch_0/Conv2d_0a_1x1/BatchNorm/gamma/.ATTRIBUTES/VARIABLE_VALUE" in keys
    assert tf.train.load_variable(str(tmp_path / "converted" / "ckpt-0"), "step/.ATTRIBUTES/VARIABLE_VALUE") == 1234


def test_plain_values_where_there_are_no_averages_unless_they_were_asked_for(run, trained, tmp_path):
    _, _, stored = trained
    plain = {name: value for name, value in stored.items() if not name.endswith(AVERAGE)}
    exported = written.save(tmp_path / "zoo" / "model.ckpt", plain)
    status, text = run(checkpoint=exported.parent)
    assert (status, "plain values, step 1234." in text) == (0, True), text
    assert set.union(*values(tmp_path / "converted").values()) == {1.0}
    status, text = run("--use_moving_averages", checkpoint=exported)
    assert (status, "holds no moving averages" in text) == (1, True), text


def test_what_does_not_fit_is_refused_and_leaves_what_was_there(run, trained, tmp_path):
    _, _, stored = trained
    (tmp_path / "converted").mkdir()
    (tmp_path / "converted" / "notes.txt").touch()
    status, text = run()
    assert (status, "holds notes.txt, which no conversion wrote" in text) == (1, True), text
    (tmp_path / "converted" / "notes.txt").unlink()
    lacking = written.save(tmp_path / "lacking.ckpt", {**stored, "Conv/biases" + AVERAGE: np.zeros(9, np.float32)})
    status, text = run(checkpoint=lacking)
    words = "do not fit the config's model (Conv/biases/ExponentialMovingAverage is [9], expected [8])"
    assert (status, words in text) == (1, True), text
    objects = tf.train.Checkpoint(step=tf.Variable(1)).write(str(tmp_path / "objects"))
    assert "is a checkpoint of TensorFlow 2, which needs no conversion" in run(checkpoint=objects)[1]
    keras = '--config_override=model { faster_rcnn { feature_extractor { type: "faster_rcnn_resnet18_keras" } } }'
    assert "is a TensorFlow 1 checkpoint, which fits the types faster_rcnn_inception_v2" in run(keras)[1]
    assert list((tmp_path / "converted").iterdir()) == []

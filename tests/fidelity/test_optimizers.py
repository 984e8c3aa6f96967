"""Learning rates, optimizers and moving averages against TFOD's recorded steps."""

import json
import re

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format

from tfod_csf.config.protos import pipeline_pb2
from tfod_csf.training import optimizer

LEARNING_RATE = {"rtol": 1e-6, "atol": 0}
VARIABLES = {"rtol": 1e-5, "atol": 5e-6}
SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"


def read(path):
    with np.load(path) as archive:
        arrays = {key: archive[key] for key in archive}
    config = text_format.Parse(path.with_suffix(".config").read_text(), pipeline_pb2.TrainEvalPipelineConfig())
    return arrays, config.train_config.optimizer


def initial_variables(arrays):
    names = sorted(key.removeprefix("init/v") for key in arrays if key.startswith("init/v"))
    return [tf.Variable(arrays[f"init/v{name}"]) for name in names]


def stored(arrays, tmp_path):
    """Key and value of everything in a checkpoint of the variables and their optimizer."""
    path = tf.train.Checkpoint(**arrays).write(str(tmp_path / "ckpt"))
    reader = tf.train.load_checkpoint(path)
    return {key: reader.get_tensor(key) for key in reader.get_variable_to_shape_map() if key.endswith(SUFFIX)}


def run_steps(built, variables, gradients):
    """Values of the variables after each step: [step][variable]."""

    @tf.function
    def update(*gradients):
        built.apply_gradients(zip(gradients, variables))

    for step_gradients in zip(*gradients):
        update(*map(tf.constant, step_gradients))
        yield [variable.numpy() for variable in variables]


def check_steps(arrays, config, rule):
    """Runs the recorded steps and compares everything but the slots; returns optimizer and variables."""
    built, learning_rate = optimizer.build(config, rms_prop_rule=rule)
    variables = initial_variables(arrays)
    gradients = [arrays[f"grad/v{i}"] for i in range(len(variables))]
    num_steps = len(gradients[0])
    rates = [float(learning_rate(step)) for step in range(num_steps)]
    np.testing.assert_allclose(rates, arrays[f"{rule}/learning_rate"], **LEARNING_RATE)
    for step, values in enumerate(run_steps(built, variables, gradients)):
        for i, value in enumerate(values):
            np.testing.assert_allclose(value, arrays[f"{rule}/v{i}"][step], **VARIABLES, err_msg=f"v{i}, step {step}")
    return built, variables


@pytest.mark.recorded("optimizer_*.npz")
def test_as_tfod_on_tensorflow_2(recorded, tmp_path):
    arrays, config = read(recorded)
    built, variables = check_steps(arrays, config, "tf2")
    slots = stored({"v": variables, "optimizer": built}, tmp_path)
    expected = {key.removeprefix("tf2_slot|").replace("|", "/"): arrays[key] for key in arrays if "tf2_slot|" in key}
    assert {key for key in slots if "optimizer" in key.lower()} == set(expected)
    for key, value in expected.items():
        np.testing.assert_allclose(slots[key], value, **VARIABLES, err_msg=key)


@pytest.mark.recorded("optimizer_classes*.json")
def test_classes(recorded):
    """Each recorded optimizer is the Keras class of TFOD, with its hyper-parameters."""
    for name, expected in json.loads(recorded.read_text()).items():
        _, config = read(recorded.parent / f"{name}.npz")
        built, _ = optimizer.build(config, rms_prop_rule="tf2")
        assert type(built).__name__ == expected["tf2_class"].rsplit(".", 1)[-1]
        assert ".legacy." in type(built).__module__
        built.learning_rate = 0.0  # schedules of ours have no Keras config
        values = built.get_config()
        for field, value in expected["tf2_config"].items():
            assert values[field] == pytest.approx(value), (name, field)


@pytest.mark.recorded("optimizer_*.npz")
def test_effective_learning_rate_of_tensorflow_2(recorded):
    """What the time decay of rms_prop's "tf2" rule leaves of the learning rate."""
    arrays, config = read(recorded)
    built, _ = optimizer.build(config, rms_prop_rule="tf2")
    for step, expected in enumerate(arrays["tf2/effective_learning_rate"]):
        built.iterations.assign(step)
        np.testing.assert_allclose(built._decayed_lr(tf.float32), expected, **LEARNING_RATE)


@pytest.mark.recorded("optimizer_rms*.npz")
def test_rms_prop_as_tfod_on_tensorflow_1(recorded, tmp_path):
    arrays, config = read(recorded)
    built, variables = check_steps(arrays, config, "tf1")
    slots = stored({"v": variables, "optimizer": built}, tmp_path)
    for key in arrays:
        match = re.fullmatch(r"tf1_slot\|v(\d+)\|RMSProp(_1)?:0", key)
        path = match and f"v/{match[1]}/.OPTIMIZER_SLOT/optimizer/{'momentum' if match[2] else 'rms'}{SUFFIX}"
        if path in slots:  # without momentum we keep no slot for it
            np.testing.assert_allclose(slots[path], arrays[key], **VARIABLES, err_msg=path)


@pytest.mark.recorded("moving_average*.npz")
def test_moving_average(recorded, tmp_path):
    arrays, config = read(recorded)
    built, _ = optimizer.build(config)
    variables = initial_variables(arrays)
    gradients = [arrays[f"grad/v{i}"] for i in range(len(variables))]
    optimizer.create_slots(built, variables)
    assert max(np.abs(built.get_slot(v, "average")).max() for v in variables) == arrays["average_at_start_max_abs"]
    for step, values in enumerate(run_steps(built, variables, gradients)):
        for i, value in enumerate(values):
            average = built.get_slot(variables[i], "average")
            np.testing.assert_allclose(value, arrays[f"tf2/v{i}"][step], **VARIABLES)
            np.testing.assert_allclose(average, arrays[f"tf2/average{i}"][step], **VARIABLES)
    keys = stored({"v": variables, "optimizer": built, "step": tf.Variable(0)}, tmp_path)
    assert sorted(keys) == sorted(arrays["checkpoint_keys"])

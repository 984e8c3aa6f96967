import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format

from tfod_csf.config.protos import optimizer_pb2
from tfod_csf.errors import UserError
from tfod_csf.training import optimizer

RATE = "learning_rate { constant_learning_rate { learning_rate: 0.5 } }"


def message(text, moving_average=False):
    switch = f"use_moving_average: {str(moving_average).lower()} moving_average_decay: 0.5"
    return text_format.Parse(f"{text} {switch}", optimizer_pb2.Optimizer())


def rms_prop(momentum=0.5, decay=0.75):
    return f"rms_prop_optimizer {{ {RATE} momentum_optimizer_value: {momentum} decay: {decay} epsilon: 0.25 }}"


def values_after(built, *gradients, start=1.0):
    variable = tf.Variable(start)
    for gradient in gradients:
        built.apply_gradients([(tf.constant(gradient), variable)])
    return variable.numpy()


def test_rms_prop_of_tensorflow_1_by_hand():
    # ms = 0.75 * 1 + 0.25 * 2^2 = 1.75; step = 0.5 * 2 / sqrt(1.75 + 0.25) = 0.7071; v = 0.2929.
    built, _ = optimizer.build(message(rms_prop()))
    np.testing.assert_allclose(values_after(built, 2.0), 1 - 1 / np.sqrt(2), rtol=1e-6)
    # Without momentum it is the same first step, and no slot for it.
    built, _ = optimizer.build(message(rms_prop(momentum=0)))
    np.testing.assert_allclose(values_after(built, 2.0), 1 - 1 / np.sqrt(2), rtol=1e-6)
    assert built.get_slot_names() == ["rms"]


def test_rms_prop_of_tensorflow_1_second_step():
    # g = 0: ms = 0.75 * 1.75, mom = 0.5 * 0.7071; without momentum nothing moves.
    built, _ = optimizer.build(message(rms_prop()))
    np.testing.assert_allclose(values_after(built, 2.0, 0.0), 1 - 1.5 / np.sqrt(2), rtol=1e-6)
    built, _ = optimizer.build(message(rms_prop(momentum=0)))
    np.testing.assert_allclose(values_after(built, 2.0, 0.0), 1 - 1 / np.sqrt(2), rtol=1e-6)


def test_rms_prop_of_tensorflow_2_stops_learning():
    # Updates of equal gradients, decay 0.75: the rate of the 41st is 0.5 / (1 + 0.75 * 40).
    built, _ = optimizer.build(message(rms_prop()), rms_prop_rule="tf2")
    built.iterations.assign(40)
    np.testing.assert_allclose(built._decayed_lr(tf.float32), 0.5 / 31, rtol=1e-6)


def test_momentum_keeps_the_rate_inside():
    # m = -0.5 * 2; then 0.9 * -1 - 0.5 * 2 = -1.9.
    built, learning_rate = optimizer.build(message(f"momentum_optimizer {{ {RATE} }}"))
    np.testing.assert_allclose(values_after(built, 2.0, 2.0), 1 - 1 - 1.9, rtol=1e-6)
    assert float(learning_rate(7)) == 0.5


def test_moving_average_by_hand_and_swap():
    # Gradient 2 moves the variable from 1 to 0; d = min(0.5, 2 / 11): average = 0 * 2/11 + 0 = 0; second update with
    # gradient -2, momentum 0: 1, d = min(0.5, 3 / 12): 0.75 * 1.
    text = f"momentum_optimizer {{ {RATE} momentum_optimizer_value: 0 }}"
    built, _ = optimizer.build(message(text, moving_average=True))
    variable = tf.Variable(1.0)
    for gradient in (2.0, -2.0):
        built.apply_gradients([(tf.constant(gradient), variable)])
    np.testing.assert_allclose(built.get_slot(variable, "average"), 0.75)
    built.swap_weights()
    np.testing.assert_allclose([variable, built.get_slot(variable, "average")], [0.75, 1.0])
    built.swap_weights()
    np.testing.assert_allclose([variable, built.get_slot(variable, "average")], [1.0, 0.75])


@pytest.mark.parametrize("moving_average", [False, True])
@pytest.mark.parametrize("decay", [0.75, 0.0])
@pytest.mark.parametrize("rule", optimizer.RMS_PROP_RULES)
def test_the_rule_is_read_from_a_checkpoint(tmp_path, rule, decay, moving_average):
    config = message(rms_prop(decay=decay), moving_average)
    built, _ = optimizer.build(config, rms_prop_rule=rule)
    optimizer.create_slots(built, [tf.Variable(1.0)])
    path = tf.train.Checkpoint(optimizer=built).write(str(tmp_path / "ckpt"))
    assert optimizer.rms_prop_rule_of_checkpoint(path, decay) == rule


def test_a_checkpoint_without_rms_prop_has_no_rule(tmp_path):
    built, _ = optimizer.build(message(f"adam_optimizer {{ {RATE} }}"))
    optimizer.create_slots(built, [tf.Variable(1.0)])
    path = tf.train.Checkpoint(optimizer=built).write(str(tmp_path / "ckpt"))
    assert optimizer.rms_prop_rule_of_checkpoint(path, 0.9) is None


@pytest.mark.parametrize("rule", ["tf1", "tf2"])
def test_restored_slots_continue_the_run(tmp_path, rule):
    gradients = [2.0, -1.0, 0.5, 3.0]
    whole = values_after(optimizer.build(message(rms_prop()), rule)[0], *gradients)
    variable = tf.Variable(1.0)
    built, _ = optimizer.build(message(rms_prop()), rule)
    for gradient in gradients[:2]:
        built.apply_gradients([(tf.constant(gradient), variable)])
    path = tf.train.Checkpoint(v=variable, optimizer=built).write(str(tmp_path / "ckpt"))
    variable = tf.Variable(0.0)
    built, _ = optimizer.build(message(rms_prop()), rule)
    optimizer.create_slots(built, [variable])
    tf.train.Checkpoint(v=variable, optimizer=built).read(path).assert_consumed()
    for gradient in gradients[2:]:
        built.apply_gradients([(tf.constant(gradient), variable)])
    np.testing.assert_allclose(variable, whole, rtol=1e-6)


def test_unknown_rule_no_optimizer_and_impossible_momentum_are_refused():
    with pytest.raises(UserError, match=r"rms_prop_optimizer\.momentum_optimizer_value: 1\.5"):
        optimizer.build(message(rms_prop(momentum=1.5)))
    with pytest.raises(UserError, match="'tf3'"):
        optimizer.build(message(rms_prop()), rms_prop_rule="tf3")
    with pytest.raises(UserError, match="no optimizer"):
        optimizer.build(optimizer_pb2.Optimizer())


VARIABLES = [tf.Variable(1.0, name=name) for name in ("conv1/kernel", "conv1/bias", "conv2/kernel", "heads/bias_x")]


def names(variables):
    return [optimizer.variable_name(variable) for variable in variables]


def test_select_trainable():
    assert optimizer.select_trainable(VARIABLES) == VARIABLES
    assert names(optimizer.select_trainable(VARIABLES, freeze_variables=["conv1"])) == ["conv2/kernel", "heads/bias_x"]
    assert names(optimizer.select_trainable(VARIABLES, update_trainable_variables=["^conv", "x$"])) == names(VARIABLES)
    both = optimizer.select_trainable(VARIABLES, update_trainable_variables=["^conv"], freeze_variables=["kernel$"])
    assert names(both) == ["conv1/bias"]
    tf1_names = ["First/weights", "First/biases", "Second/weights", "Second/biases"]
    assert optimizer.select_trainable(VARIABLES, (), ["^First/"], tf1_names) == VARIABLES[2:]


@pytest.mark.parametrize(
    ("freeze_variables", "said"),
    [
        (["FirstStageFeatureExtractor"], "'FirstStageFeatureExtractor' matches no trainable variable"),
        (["conv1", "("], "is not a regular expression"),
        (["."], "leave no variable"),
    ],
)
def test_select_trainable_refuses(freeze_variables, said):
    with pytest.raises(UserError, match=said):
        optimizer.select_trainable(VARIABLES, freeze_variables=freeze_variables)


def test_multiply_bias_gradients():
    gradients = [tf.constant(1.0), tf.constant(2.0), None, tf.constant(3.0)]
    assert optimizer.multiply_bias_gradients(gradients, VARIABLES, 0.0) == gradients
    multiplied = optimizer.multiply_bias_gradients(gradients, VARIABLES, 2.0)
    assert [None if g is None else float(g) for g in multiplied] == [1.0, 4.0, None, 3.0]
    assert optimizer.multiply_bias_gradients([None], VARIABLES[1:2], 2.0) == [None]


def test_clip_gradients_by_their_global_norm():
    gradients = [tf.constant([3.0, 0.0]), None, tf.constant(4.0)]  # norm 5
    assert optimizer.clip_gradients(gradients, 0.0) == gradients
    clipped = optimizer.clip_gradients(gradients, 1.0)
    np.testing.assert_allclose(clipped[0], [0.6, 0], rtol=1e-6)
    np.testing.assert_allclose(clipped[2], 0.8, rtol=1e-6)
    assert clipped[1] is None
    np.testing.assert_allclose(optimizer.clip_gradients(gradients, 10.0)[2], 4.0)


MIRRORED = """
from tfod_csf.training import optimizer
import tensorflow as tf
from google.protobuf import text_format
from tfod_csf.config.protos import optimizer_pb2

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
for momentum in (0.9, 0):
    rate = "learning_rate { constant_learning_rate {} }"
    text = f"rms_prop_optimizer {{ {rate} momentum_optimizer_value: {momentum} }}"
    config = text_format.Parse(text, optimizer_pb2.Optimizer())
    results = []
    for devices in (["CPU:0"], ["CPU:0", "CPU:1"]):
        strategy = tf.distribute.MirroredStrategy(devices)
        with strategy.scope():
            variable = tf.Variable([1.0, 2.0])
            built, _ = optimizer.build(config)
            optimizer.create_slots(built, [variable])

        @tf.function
        def step():
            def replica():
                gradient = tf.constant([4.0, -2.0]) / strategy.num_replicas_in_sync
                built.apply_gradients([(gradient, variable)])
            strategy.run(replica)

        step(), step()
        with strategy.scope():
            values = [variable.numpy(), built.get_slot(variable, "average").numpy()]
            built.swap_weights()
            values += [variable.numpy(), built.get_slot(variable, "average").numpy()]
        assert int(built.iterations.numpy()) == 2
        results.append(values)
    tf.debugging.assert_near(results[0], results[1])
    tf.debugging.assert_near(results[0][:2], results[0][:1:-1])
    tf.debugging.assert_none_equal(results[0][0], [1.0, 2.0])
"""


def test_two_replicas_update_as_one():
    run = subprocess.run([sys.executable, "-c", MIRRORED], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-3000:]

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format

from tfod_csf.config.protos import optimizer_pb2
from tfod_csf.errors import UserError
from tfod_csf.training import learning_schedules


def rates(schedule, *steps):
    return [float(schedule(step)) for step in steps]


def test_constant():
    assert rates(learning_schedules.constant(0.25), 0, 10**6) == [0.25, 0.25]


def test_exponential_decay_in_steps_and_smooth():
    # Halved every 10 steps.
    staircase = learning_schedules.exponential_decay(0.8, decay_steps=10, decay_factor=0.5)
    np.testing.assert_allclose(rates(staircase, 0, 9, 10, 19, 20), [0.8, 0.8, 0.4, 0.4, 0.2], rtol=1e-6)
    smooth = learning_schedules.exponential_decay(0.8, decay_steps=10, decay_factor=0.5, staircase=False)
    np.testing.assert_allclose(rates(smooth, 0, 5, 20), [0.8, 0.8 * 0.5**0.5, 0.2], rtol=1e-6)


def test_burnin_shifts_the_decay_and_the_minimum_holds_in_it_too():
    schedule = learning_schedules.exponential_decay(
        0.8, decay_steps=10, decay_factor=0.5, burnin_learning_rate=0.1, burnin_steps=5, min_learning_rate=0.3
    )
    # Burn-in 0.1 is raised to the minimum; the first halving is at step 15; 0.2 at step 25 is raised.
    np.testing.assert_allclose(rates(schedule, 0, 4, 5, 14, 15, 25), [0.3, 0.3, 0.8, 0.8, 0.4, 0.3], rtol=1e-6)
    without_rate = learning_schedules.exponential_decay(0.8, decay_steps=10, decay_factor=0.5, burnin_steps=5)
    np.testing.assert_allclose(rates(without_rate, 0, 5, 15), [0.8, 0.8, 0.4], rtol=1e-6)


def test_cosine_with_warmup_and_hold():
    schedule = learning_schedules.cosine_decay(
        1.0, total_steps=20, warmup_learning_rate=0.2, warmup_steps=4, hold_base_rate_steps=6
    )
    # Slope (1 - 0.2) / 4; base from step 4 to 10; cosine over the 10 steps to 20: half at 15; 0 at and after 20.
    np.testing.assert_allclose(
        rates(schedule, 0, 1, 4, 10, 15, 20, 21), [0.2, 0.4, 1, 1, 0.5, 0, 0], rtol=1e-6, atol=1e-7
    )


def test_cosine_of_no_length_is_finite():
    schedule = learning_schedules.cosine_decay(1.0, total_steps=4, warmup_steps=2, hold_base_rate_steps=2)
    np.testing.assert_allclose(rates(schedule, 0, 2, 4, 5), [0, 1, 1, 0])


def test_manual_steps_and_their_warmup():
    schedule = learning_schedules.manual_step(0.1, [4, 10], [0.5, 0.01])
    np.testing.assert_allclose(rates(schedule, 0, 3, 4, 9, 10, 99), [0.1, 0.1, 0.5, 0.5, 0.01, 0.01], rtol=1e-6)
    warmup = learning_schedules.manual_step(0.1, [4, 10], [0.5, 0.01], warmup=True)
    np.testing.assert_allclose(rates(warmup, 0, 1, 4, 10), [0.1, 0.2, 0.5, 0.01], rtol=1e-6)
    assert rates(learning_schedules.manual_step(0.25, [], [], warmup=True), 0, 5) == [0.25, 0.25]
    assert rates(learning_schedules.manual_step(0.25, [0, 3], [0.5, 1.0]), 0, 2, 3) == [0.5, 0.5, 1.0]


def test_in_a_graph_with_an_integer_step():
    schedule = learning_schedules.exponential_decay(0.8, decay_steps=10, decay_factor=0.5)
    rate = tf.function(schedule)(tf.constant(10, tf.int64))
    assert rate.dtype == tf.float32
    np.testing.assert_allclose(rate, 0.4, rtol=1e-6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no learning_rate"),
        ("exponential_decay_learning_rate { decay_steps: 0 }", "decay_steps: 0"),
        ("cosine_decay_learning_rate { total_steps: 5 warmup_steps: 6 }", "total_steps: 5 is less"),
        ("cosine_decay_learning_rate { warmup_learning_rate: 0.5 }", "learning_rate_base: 0.002 is less"),
        (
            "manual_step_learning_rate { schedule { step: 9 learning_rate: 1 } schedule { step: 9 learning_rate: 2 } }",
            "do not rise",
        ),
        (
            "manual_step_learning_rate { warmup: true schedule { step: 0 learning_rate: 1 } }",
            "do not rise from above 0",
        ),
    ],
)
def test_refused(text, message):
    with pytest.raises(UserError, match=message):
        learning_schedules.build(text_format.Parse(text, optimizer_pb2.LearningRate()))


def test_defaults_are_the_schemas():
    # initial 0.002, factor 0.95 every 4,000,000 steps, in stairs.
    message = text_format.Parse("exponential_decay_learning_rate {}", optimizer_pb2.LearningRate())
    np.testing.assert_allclose(
        rates(learning_schedules.build(message), 0, 3_999_999, 4_000_000), [0.002, 0.002, 0.0019], rtol=1e-6
    )

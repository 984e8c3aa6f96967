"""TFOD's learning rate schedules: a learning rate for each step.

A step is the number of updates made so far: the first update uses the rate of step 0. All schedules return a float32
scalar and may be called with Python numbers or tensors, in a tf.function too. Rates are per update, lengths in steps.
"""

import math
from collections.abc import Callable, Sequence

import tensorflow as tf
import tf_keras

from tfod_csf.config import learning_rate_notices
from tfod_csf.config.protos import optimizer_pb2
from tfod_csf.errors import UserError


class LearningRate(tf_keras.optimizers.schedules.LearningRateSchedule):
    """A schedule as Keras optimizers take it: a call to it is a call to `rate_of_step`.

    Keras calls it with the optimizer's own count of updates and, as with every schedule, stores nothing of it in
    checkpoints.
    """

    def __init__(self, rate_of_step: Callable[[tf.Tensor], tf.Tensor]):
        super().__init__()
        self._rate_of_step = rate_of_step

    def __call__(self, step: tf.Tensor | float) -> tf.Tensor:
        return tf.cast(self._rate_of_step(tf.cast(step, tf.float32)), tf.float32)


def build(learning_rate_config: optimizer_pb2.LearningRate) -> LearningRate:
    """The schedule of a message LearningRate.

    Raises:
      UserError: no schedule is set, or its numbers contradict each other.
    """
    kind = learning_rate_config.WhichOneof("learning_rate")
    if kind is None:
        raise UserError(
            f"train_config.optimizer: the optimizer has no learning_rate; give it one of {', '.join(_SCHEDULES)}, "
            "for example learning_rate { constant_learning_rate { learning_rate: 0.001 } }."
        )
    config = getattr(learning_rate_config, kind)
    if kind == "manual_step_learning_rate":
        return manual_step(
            initial_learning_rate=config.initial_learning_rate,
            boundaries=[entry.step for entry in config.schedule],
            learning_rates=[entry.learning_rate for entry in config.schedule],
            warmup=config.warmup,
        )
    return _SCHEDULES[kind](**{field.name: getattr(config, field.name) for field in config.DESCRIPTOR.fields})


def constant(learning_rate: float) -> LearningRate:
    """The same rate at every step."""
    return LearningRate(lambda _: tf.constant(learning_rate))


def exponential_decay(
    initial_learning_rate: float,
    decay_steps: int,
    decay_factor: float,
    staircase: bool = True,
    burnin_learning_rate: float = 0.0,
    burnin_steps: int = 0,
    min_learning_rate: float = 0.0,
) -> LearningRate:
    """initial * decay_factor ^ ((step - burnin_steps) / decay_steps), the exponent rounded down if `staircase`.

    Steps before burnin_steps have burnin_learning_rate (0: the initial rate). No step, not even of the burn-in, has a
    rate below min_learning_rate.
    """
    if decay_steps == 0:
        raise UserError("exponential_decay_learning_rate.decay_steps: 0 is not a length; give 1 or more steps.")

    def rate_of_step(step):
        periods = (step - burnin_steps) / decay_steps
        decayed = initial_learning_rate * tf.pow(decay_factor, tf.floor(periods) if staircase else periods)
        rate = tf.where(step < burnin_steps, burnin_learning_rate or initial_learning_rate, decayed)
        return tf.maximum(rate, min_learning_rate)

    return LearningRate(rate_of_step)


def cosine_decay(
    learning_rate_base: float,
    total_steps: int,
    warmup_learning_rate: float = 0.0,
    warmup_steps: int = 0,
    hold_base_rate_steps: int = 0,
) -> LearningRate:
    """Linear from warmup_learning_rate to the base rate, the base rate for a while, then half a cosine down to 0.

    The cosine ends at total_steps, warm-up and hold included; later steps have rate 0.
    """
    if complaint := learning_rate_notices.cosine_complaint(
        learning_rate_base, total_steps, warmup_learning_rate, warmup_steps
    ):
        raise UserError(f"cosine_decay_learning_rate.{complaint}.")
    start_of_cosine = warmup_steps + hold_base_rate_steps

    def rate_of_step(step):
        angle = math.pi * (step - start_of_cosine) / max(total_steps - start_of_cosine, 1)
        rate = 0.5 * learning_rate_base * (1.0 + tf.cos(angle))
        if hold_base_rate_steps:
            rate = tf.where(step > start_of_cosine, rate, learning_rate_base)
        if warmup_steps:
            slope = (learning_rate_base - warmup_learning_rate) / warmup_steps
            rate = tf.where(step < warmup_steps, warmup_learning_rate + slope * step, rate)
        return tf.where(step > total_steps, 0.0, rate)

    return LearningRate(rate_of_step)


def manual_step(
    initial_learning_rate: float, boundaries: Sequence[int], learning_rates: Sequence[float], warmup: bool = False
) -> LearningRate:
    """learning_rates[i] from step boundaries[i] on, initial_learning_rate before the first boundary.

    With `warmup` the rate rises linearly from initial_learning_rate at step 0 to learning_rates[0] at boundaries[0].
    A first boundary of 0, as in TFOD's samples of 2017 and 2018, leaves no step for initial_learning_rate.
    """
    if complaint := learning_rate_notices.manual_step_complaint(boundaries, warmup):
        raise UserError(f"manual_step_learning_rate.{complaint}.")

    def rate_of_step(step):
        rates = tf.constant([initial_learning_rate, *learning_rates], tf.float32)
        passed = tf.reduce_sum(tf.cast(step >= tf.constant(list(boundaries), tf.float32), tf.int32))
        rate = rates[passed]
        if warmup and boundaries:
            slope = (learning_rates[0] - initial_learning_rate) / boundaries[0]
            rate = tf.where(passed == 0, initial_learning_rate + slope * step, rate)
        return rate

    return LearningRate(rate_of_step)


# By the field of the message LearningRate. Except for manual_step, the arguments are named as the message's fields.
_SCHEDULES = {
    "constant_learning_rate": constant,
    "exponential_decay_learning_rate": exponential_decay,
    "manual_step_learning_rate": manual_step,
    "cosine_decay_learning_rate": cosine_decay,
}

"""TFOD's optimizers with TFOD's checkpoint keys, and what train_config can do to variables and gradients.

All are Keras 2 "legacy" optimizers, which is what TFOD uses: on disk there are `optimizer/{iter,decay,...}` and the
slots `<variable>/.OPTIMIZER_SLOT/optimizer/<slot>`; the learning rate is a schedule and is not stored.

Notation: v variable, g gradient, lr_t learning rate of the step, ms and mom slots.

  momentum  m = momentum * m - lr_t * g;  v += m. (On TensorFlow 1, TFOD has m = momentum * m + g; v -= lr_t * m, which
            differs only in the steps after a change of the learning rate. We follow TensorFlow 2.)
  adam      v -= lr_t * sqrt(1 - 0.999^t) / (1 - 0.9^t) * m / (sqrt(v2) + epsilon)
  rms_prop  has two rules, because TFOD passes the field `decay` to two different arguments:
    "tf1"   decay is the decay of the mean square: ms = decay * ms + (1 - decay) * g^2, from ms = 1;
            mom = momentum * mom + lr_t * g / sqrt(ms + epsilon);  v -= mom.
    "tf2"   ms = 0.9 * ms + 0.1 * g^2 whatever the config says, from ms = 0; decay lowers the learning rate with time:
            lr_t / (1 + decay * t) with t the updates made. With the usual decay of 0.9 the rate is a tenth after 10
            steps and a thousandth after 1,100. mom as above; without momentum v -= lr_t * g / (sqrt(ms) + epsilon).
A checkpoint tells its rule without a key that TFOD does not have: `optimizer/decay` and `optimizer/rho` hold 0 and
`decay` under "tf1", `decay` and 0.9 under "tf2".
"""

import re
from collections.abc import Iterable, Sequence

import tensorflow as tf
import tf_keras
from official.modeling.optimization import ema_optimizer

from tfod_csf.config.protos import optimizer_pb2
from tfod_csf.errors import UserError
from tfod_csf.training import learning_schedules

RMS_PROP_RULES = ("tf1", "tf2")
_TF2_RHO = 0.9


def build(
    optimizer_config: optimizer_pb2.Optimizer, rms_prop_rule: str = "tf1"
) -> tuple[tf_keras.optimizers.legacy.Optimizer, learning_schedules.LearningRate]:
    """The optimizer of a message Optimizer, and its learning rate as a function of the number of updates made.

    Raises:
      UserError: the rule is unknown, or a field is missing or out of its range.
    """
    if rms_prop_rule not in RMS_PROP_RULES:
        raise UserError(f"rms_prop_rule: {rms_prop_rule!r} is unknown; use one of {', '.join(RMS_PROP_RULES)}.")
    kind = optimizer_config.WhichOneof("optimizer")
    if kind is None:
        raise UserError(
            "train_config.optimizer: no optimizer is given; "
            "use rms_prop_optimizer, momentum_optimizer or adam_optimizer."
        )
    config = getattr(optimizer_config, kind)
    if kind != "adam_optimizer" and not 0.0 <= config.momentum_optimizer_value <= 1.0:
        raise UserError(
            f"train_config.optimizer.{kind}.momentum_optimizer_value: {config.momentum_optimizer_value:g} is not "
            "between 0 and 1."
        )
    learning_rate = learning_schedules.build(config.learning_rate)
    optimizers = tf_keras.optimizers.legacy
    if kind == "momentum_optimizer":
        optimizer = optimizers.SGD(learning_rate, momentum=config.momentum_optimizer_value)
    elif kind == "adam_optimizer":
        optimizer = optimizers.Adam(learning_rate, epsilon=config.epsilon)
    elif rms_prop_rule == "tf2":
        optimizer = optimizers.RMSprop(
            learning_rate,
            rho=_TF2_RHO,
            momentum=config.momentum_optimizer_value,
            epsilon=config.epsilon,
            decay=config.decay,
        )
    else:
        optimizer = TF1RMSProp(
            learning_rate, rho=config.decay, momentum=config.momentum_optimizer_value, epsilon=config.epsilon
        )
    if optimizer_config.use_moving_average:
        optimizer = MovingAverage(optimizer, optimizer_config.moving_average_decay)
    return optimizer, learning_rate


class TF1RMSProp(tf_keras.optimizers.legacy.RMSprop):
    """RMSprop as in TensorFlow 1: the mean square starts at 1, and epsilon is always inside the root."""

    def _create_slots(self, var_list):
        for var in var_list:
            self.add_slot(var, "rms", initializer="ones")
            if self._momentum:
                self.add_slot(var, "momentum")

    def _resource_apply_dense(self, grad, var, apply_state=None):
        if self._momentum:
            return super()._resource_apply_dense(grad, var, apply_state)
        coefficients = apply_state[(var.device, var.dtype.base_dtype)]
        mean_square = self.get_slot(var, "rms")
        mean_square.assign(coefficients["rho"] * mean_square + coefficients["one_minus_rho"] * tf.square(grad))
        return var.assign_sub(coefficients["lr_t"] * grad / tf.sqrt(mean_square + coefficients["epsilon"])).op


class MovingAverage(ema_optimizer.ExponentialMovingAverage):
    """Wraps an optimizer and keeps a moving average of every variable it updates, in the slot `average`.

    After update t = 1, 2, ...: average = d * average + (1 - d) * variable, with d the smaller of moving_average_decay
    and (1 + t) / (10 + t). Averages start at zero, so they are low by the factor 1 - 2/11 * 3/12 * ... at first.
    """

    def __init__(self, optimizer: tf_keras.optimizers.legacy.Optimizer, moving_average_decay: float):
        super().__init__(optimizer, average_decay=moving_average_decay)

    def _track_trackable(self, trackable, name, overwrite=False):
        """The wrapped optimizer is stored under TFOD's name for it."""
        return super()._track_trackable(trackable, name.removeprefix("ema_"), overwrite)

    def _create_all_weights(self, var_list):
        self._optimizer._create_all_weights(var_list)
        self._model_weights = list(var_list)
        self._average_weights = [self.add_slot(var, "average", initializer="zeros") for var in var_list]

    def apply_gradients(self, grads_and_vars, name=None, experimental_aggregate_gradients=True):
        grads_and_vars = [(grad, var) for grad, var in grads_and_vars if grad is not None]
        with tf.init_scope():
            self._create_all_weights([var for _, var in grads_and_vars])
        result = self._optimizer.apply_gradients(grads_and_vars, name, experimental_aggregate_gradients)
        ema_optimizer.maybe_merge_call(self.update_average, tf.distribute.get_strategy())
        return result

    def swap_weights(self) -> None:
        """Swaps the variables with their averages; a second call swaps them back. Outside replicas only."""
        for average, variable in zip(self._average_weights, self._model_weights):
            value = tf.identity(variable)
            variable.assign(average)
            average.assign(value)


def create_slots(optimizer: tf_keras.optimizers.legacy.Optimizer, variables: Iterable[tf.Variable]) -> None:
    """Makes all variables of the optimizer now instead of in its first update; to be called in the strategy's scope.

    Then a checkpoint of step 0 holds them, and a checkpoint that is restored finds them.
    """
    optimizer._create_all_weights(list(variables))


def rms_prop_rule_of_checkpoint(checkpoint_path: str, rms_prop_decay: float) -> str | None:
    """The rms_prop rule under which a training checkpoint was written; None if it holds no rms_prop optimizer.

    Args:
      checkpoint_path: prefix of the checkpoint.
      rms_prop_decay: field `decay` of rms_prop_optimizer; tells the rules apart where "tf2" was used with decay 0.
    """
    reader = tf.train.load_checkpoint(checkpoint_path)
    for prefix in ("optimizer", "optimizer/base_optimizer"):
        decay_key, rho_key = (f"{prefix}/{name}/.ATTRIBUTES/VARIABLE_VALUE" for name in ("decay", "rho"))
        if reader.has_tensor(rho_key):
            if reader.get_tensor(decay_key) > 0:
                return "tf2"
            is_tf2_without_decay = rms_prop_decay == 0 and reader.get_tensor(rho_key) > 0
            return "tf2" if is_tf2_without_decay else "tf1"
    return None


def select_trainable(
    variables: Sequence[tf.Variable],
    update_trainable_variables: Sequence[str] = (),
    freeze_variables: Sequence[str] = (),
    names: Sequence[str] | None = None,
) -> list[tf.Variable]:
    """The variables to be trained, in order: those that match update_trainable_variables and not freeze_variables.

    Both are lists of regular expressions that are searched for in the variables' names, as in TFOD on TensorFlow 1; an
    empty update_trainable_variables means all. `names` are those of the variables, in their order; None: Keras' own
    ("conv4_block1_1_conv/kernel").

    Raises:
      UserError: a pattern is not a regular expression or matches no variable (the names differ between TensorFlow 1
        and 2), or no variable is left.
    """
    names = [variable_name(variable) for variable in variables] if names is None else names
    updated = _matching(names, "update_trainable_variables", update_trainable_variables)
    frozen = _matching(names, "freeze_variables", freeze_variables)
    selected = [
        variable
        for name, variable in zip(names, variables)
        if name not in frozen and (name in updated or not update_trainable_variables)
    ]
    if not selected:
        raise UserError("train_config.freeze_variables and update_trainable_variables leave no variable to train.")
    return selected


def multiply_bias_gradients(
    gradients: Sequence[tf.Tensor | None], variables: Sequence[tf.Variable], bias_grad_multiplier: float
) -> list[tf.Tensor | None]:
    """Multiplies the gradients of biases (variables named `bias`) by bias_grad_multiplier; 0 changes nothing."""
    if not bias_grad_multiplier:
        return list(gradients)
    return [
        gradient * bias_grad_multiplier if gradient is not None and _is_bias(variable) else gradient
        for gradient, variable in zip(gradients, variables)
    ]


def clip_gradients(gradients: Sequence[tf.Tensor | None], gradient_clipping_by_norm: float) -> list[tf.Tensor | None]:
    """Scales the gradients down to a global norm of at most gradient_clipping_by_norm; 0 changes nothing."""
    if gradient_clipping_by_norm <= 0:
        return list(gradients)
    return tf.clip_by_global_norm(gradients, gradient_clipping_by_norm)[0]


def variable_name(variable: tf.Variable) -> str:
    """The name without TensorFlow's output number: "conv1_conv/kernel" of "conv1_conv/kernel:0"."""
    return variable.name.split(":")[0]


def _is_bias(variable: tf.Variable) -> bool:
    return variable_name(variable).rsplit("/", 1)[-1] == "bias"


def _matching(names: Sequence[str], field: str, patterns: Sequence[str]) -> set[str]:
    matching = set()
    for pattern in patterns:
        try:
            found = {name for name in names if re.search(pattern, name)}
        except re.error as error:
            raise UserError(f"train_config.{field}: {pattern!r} is not a regular expression: {error}.") from error
        if not found:
            raise UserError(
                f"train_config.{field}: {pattern!r} matches no trainable variable; "
                f"their names are like {', '.join(names[:2] + names[-2:])}."
            )
        matching |= found
    return matching

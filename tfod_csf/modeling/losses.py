"""The losses of single anchors and proposals; the two stages (rpn, box_classifier) weigh and add them up.

Shape shorthand in this module:

  K: classes without background
  ...: any leading dimensions, of anchors or proposals

Source: TFOD's core/losses.py.
"""

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from tfod_csf.errors import UserError

RPN_LOCALIZATION_LOSS = "Loss/RPNLoss/localization_loss"
RPN_OBJECTNESS_LOSS = "Loss/RPNLoss/objectness_loss"
BOX_CLASSIFIER_LOCALIZATION_LOSS = "Loss/BoxClassifierLoss/localization_loss"
BOX_CLASSIFIER_CLASSIFICATION_LOSS = "Loss/BoxClassifierLoss/classification_loss"

# (logits [..., K + 1], targets [..., K + 1]) -> losses [...]
ClassificationLoss = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


class LossError(UserError):
    """A loss that is not supported."""


def localization_losses(encodings: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """Huber loss with delta 1, summed over the 4 codes: [...] of encodings and targets [..., 4]."""
    error = tf.abs(encodings - targets)
    quadratic = tf.minimum(error, 1.0)
    return tf.reduce_sum(0.5 * quadratic * quadratic + (error - quadratic), axis=-1)


def softmax_losses(logits: tf.Tensor, targets: tf.Tensor, logit_scale: float = 1.0) -> tf.Tensor:
    """Cross entropy of softmax(logits / logit_scale): [...] of logits and targets [..., K + 1]."""
    return tf.nn.softmax_cross_entropy_with_logits(labels=targets, logits=logits / logit_scale)


@dataclasses.dataclass(frozen=True)
class WeightedSoftmaxClassificationLoss:
    """softmax_losses."""

    logit_scale: float = 1.0

    def __call__(self, logits: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        return softmax_losses(logits, targets, self.logit_scale)


@dataclasses.dataclass(frozen=True)
class WeightedSoftmaxClassificationAgainstLogitsLoss:
    """softmax_losses, but the targets are logits too (a teacher's): they go through the same scaled softmax."""

    logit_scale: float = 1.0

    def __call__(self, logits: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        return softmax_losses(logits, tf.nn.softmax(targets / self.logit_scale), self.logit_scale)


@dataclasses.dataclass(frozen=True)
class WeightedSigmoidClassificationLoss:
    """Sum over the classes, background included, of each one's own yes/no cross entropy."""

    def __call__(self, logits: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(tf.nn.sigmoid_cross_entropy_with_logits(labels=targets, logits=logits), axis=-1)


@dataclasses.dataclass(frozen=True)
class SigmoidFocalClassificationLoss:
    """WeightedSigmoidClassificationLoss with each class' term times (1 - p)^gamma, p the truth's probability.

    Attributes:
      gamma: 0 for no focus on the badly classified.
      alpha: weight of positives, 1 - alpha that of negatives; None weighs both 1.

    Source: Lin et al. 2017 (Focal Loss).
    """

    gamma: float = 2.0
    alpha: float | None = None

    def __call__(self, logits: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        cross_entropy = tf.nn.sigmoid_cross_entropy_with_logits(labels=targets, logits=logits)
        probability = tf.sigmoid(logits)
        probability_of_truth = targets * probability + (1.0 - targets) * (1.0 - probability)
        focus = tf.pow(1.0 - probability_of_truth, self.gamma) if self.gamma else 1.0
        balance = targets * self.alpha + (1.0 - targets) * (1.0 - self.alpha) if self.alpha is not None else 1.0
        return tf.reduce_sum(focus * balance * cross_entropy, axis=-1)


# By the name of the field of the message ClassificationLoss; attributes have the names of that field's own fields.
CLASSIFICATION_LOSSES: dict[str, Callable[..., ClassificationLoss]] = {
    "weighted_softmax": WeightedSoftmaxClassificationLoss,
    "weighted_logits_softmax": WeightedSoftmaxClassificationAgainstLogitsLoss,
    "weighted_sigmoid": WeightedSigmoidClassificationLoss,
    "weighted_sigmoid_focal": SigmoidFocalClassificationLoss,
}


def classification_loss(name: str, **fields: float) -> ClassificationLoss:
    """The second-stage classification loss of that field name of ClassificationLoss, with the fields it takes.

    Raises:
      LossError: there is no such loss.
    """
    if name not in CLASSIFICATION_LOSSES:
        raise LossError(
            f"model.faster_rcnn.second_stage_classification_loss.{name} is not supported; "
            f"use one of {', '.join(CLASSIFICATION_LOSSES)}."
        )
    return CLASSIFICATION_LOSSES[name](**fields)

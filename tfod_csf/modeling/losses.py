"""The four losses of Faster R-CNN, from network outputs and groundtruth, and the draw of second-stage proposals.

Symbols: B images, N anchors, P proposals of an image, M groundtruth boxes, K foreground classes (without background).
Boxes are ymin, xmin, ymax, xmax in pixels of the padded network input; `groundtruth` is a target_assigner.GroundTruth.

How the numbers are put together (all weights of the config are inside the returned losses):
  first stage   Per image, the sum over the sampled anchors divided by their number, then the mean over images.
                Objectness: softmax cross entropy of [background, object], every sampled anchor weighs 1.
                Localization: Huber loss (delta 1) summed over the 4 codes, times the weight of the matched box.
  second stage  Sum over the proposals of all images (padding rows left out), each divided by the number of proposals
                of its image and by B. Both losses are times the weight of the matched box, background weighs 1.
The losses are those of one replica; the trainer divides by the number of replicas.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from tfod_csf.errors import UserError
from tfod_csf.modeling import balanced_sampler, target_assigner

RPN_LOCALIZATION_LOSS = "Loss/RPNLoss/localization_loss"
RPN_OBJECTNESS_LOSS = "Loss/RPNLoss/objectness_loss"
BOX_CLASSIFIER_LOCALIZATION_LOSS = "Loss/BoxClassifierLoss/localization_loss"
BOX_CLASSIFIER_CLASSIFICATION_LOSS = "Loss/BoxClassifierLoss/classification_loss"

# (logits [..., K + 1], targets [..., K + 1]) -> losses [...]
ClassificationLoss = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


class LossError(UserError):
    """A loss that is not supported."""


class HardExampleMiner(NamedTuple):
    """Fields of the message HardExampleMiner that act in Faster R-CNN; see `_mine_hard_examples`."""

    num_hard_examples: int = 64  # per image; 0: no limit
    iou_threshold: float = 0.7
    loss_type: str = "BOTH"  # BOTH, CLASSIFICATION or LOCALIZATION


def first_stage_losses(
    rpn_box_encodings: tf.Tensor,
    rpn_objectness_predictions_with_background: tf.Tensor,
    anchors: tf.Tensor,
    groundtruth: target_assigner.GroundTruth,
    *,
    first_stage_minibatch_size: int = 256,
    first_stage_positive_balance_fraction: float = 0.5,
    first_stage_localization_loss_weight: float = 1.0,
    first_stage_objectness_loss_weight: float = 1.0,
    use_static_balanced_label_sampler: bool = False,
    seed: tf.Tensor | None = None,
) -> dict[str, tf.Tensor]:
    """Localization and objectness loss of the RPN, scalars.

    rpn_box_encodings [B, N, 4]; rpn_objectness_predictions_with_background [B, N, 2] logits; anchors [N, 4];
    seed: int32 [2] of the draw of anchors, see balanced_sampler.subsample.
    """
    targets = target_assigner.batch_assign_first_stage_targets(anchors, groundtruth)
    sampled = balanced_sampler.subsample(
        targets.cls_weights != 0,
        first_stage_minibatch_size,
        targets.cls_targets > 0,
        positive_fraction=first_stage_positive_balance_fraction,
        is_static=use_static_balanced_label_sampler,
        seed=seed,
    )
    sampled = tf.cast(sampled, tf.float32)  # [B, N]
    num_sampled = tf.maximum(tf.reduce_sum(sampled, axis=1), 1.0)  # [B]

    localization = localization_losses(rpn_box_encodings, targets.reg_targets) * targets.reg_weights
    objectness_targets = tf.one_hot(tf.cast(targets.cls_targets, tf.int32), 2)
    objectness = softmax_losses(rpn_objectness_predictions_with_background, objectness_targets)
    return {
        RPN_LOCALIZATION_LOSS: first_stage_localization_loss_weight
        * tf.reduce_mean(tf.reduce_sum(localization * sampled, axis=1) / num_sampled),
        RPN_OBJECTNESS_LOSS: first_stage_objectness_loss_weight
        * tf.reduce_mean(tf.reduce_sum(objectness * sampled, axis=1) / num_sampled),
    }


def sample_second_stage(
    proposal_boxes: tf.Tensor,
    num_proposals: tf.Tensor,
    groundtruth: target_assigner.GroundTruth,
    *,
    second_stage_batch_size: int = 64,
    second_stage_balance_fraction: float = 0.25,
    use_static_balanced_label_sampler: bool = False,
    use_static_shapes: bool = False,
    seed: tf.Tensor | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Draws the proposals that the second stage is trained on: boxes [B, S, 4] and their number int32 [B].

    proposal_boxes [B, P, 4] of which the first num_proposals [B] are valid (the static sampler fills up with the
    others). S is second_stage_batch_size. Drawn proposals keep their order; the rest of the S rows is zeros. With
    use_static_shapes S proposals count always: the rest of the rows is the first proposal.
    """
    targets = target_assigner.batch_assign_second_stage_targets(proposal_boxes, groundtruth)
    valid = tf.sequence_mask(num_proposals, tf.shape(proposal_boxes)[1])
    sampled = balanced_sampler.subsample(
        valid & (targets.cls_weights > 0),
        second_stage_batch_size,
        tf.argmax(targets.cls_targets, axis=-1) > 0,
        positive_fraction=second_stage_balance_fraction,
        is_static=use_static_balanced_label_sampler,
        seed=seed,
    )
    num_sampled = tf.minimum(tf.reduce_sum(tf.cast(sampled, tf.int32), axis=1), second_stage_batch_size)
    rows = tf.argsort(tf.cast(~sampled, tf.int32), axis=1, stable=True)[:, :second_stage_batch_size]
    rows = tf.pad(rows, [[0, 0], [0, second_stage_batch_size - tf.shape(rows)[1]]])
    is_drawn = tf.sequence_mask(num_sampled, second_stage_batch_size)  # [B, S]
    boxes = tf.gather(proposal_boxes, rows, batch_dims=1)
    if use_static_shapes:
        boxes = tf.where(is_drawn[..., tf.newaxis], boxes, proposal_boxes[:, :1])
        num_sampled = tf.fill(tf.shape(num_sampled), second_stage_batch_size)
    else:
        boxes = tf.where(is_drawn[..., tf.newaxis], boxes, 0.0)
    return tf.ensure_shape(boxes, [proposal_boxes.shape[0], second_stage_batch_size, 4]), num_sampled


def second_stage_losses(
    refined_box_encodings: tf.Tensor,
    class_predictions_with_background: tf.Tensor,
    proposal_boxes: tf.Tensor,
    num_proposals: tf.Tensor,
    groundtruth: target_assigner.GroundTruth,
    *,
    second_stage_localization_loss_weight: float = 1.0,
    second_stage_classification_loss_weight: float = 1.0,
    second_stage_classification_loss: ClassificationLoss | None = None,
    hard_example_miner: HardExampleMiner | None = None,
) -> dict[str, tf.Tensor]:
    """Localization and classification loss of the box classifier, scalars.

    refined_box_encodings [B*P, 1 or K, 4]: one box for all classes, or a box per foreground class, of which the one of
    the target class is trained. class_predictions_with_background [B*P, K + 1] logits. proposal_boxes [B, P, 4], of
    which the first num_proposals [B] are valid. second_stage_classification_loss: see `classification_loss`; None is
    softmax.
    """
    targets = target_assigner.batch_assign_second_stage_targets(proposal_boxes, groundtruth)
    num_images, max_proposals = tf.unstack(tf.shape(proposal_boxes)[:2])
    logits = tf.reshape(class_predictions_with_background, tf.shape(targets.cls_targets))
    encodings = tf.reshape(
        refined_box_encodings,
        [num_images, max_proposals, refined_box_encodings.shape[1], refined_box_encodings.shape[2]],
    )
    encodings = _encodings_of_target_class(encodings, targets.cls_targets)

    classification = (second_stage_classification_loss or softmax_losses)(logits, targets.cls_targets)
    normalizer = tf.cast(tf.maximum(num_proposals, 1) * num_images, tf.float32)[:, tf.newaxis]  # [B, 1]
    localization = localization_losses(encodings, targets.reg_targets) * targets.reg_weights / normalizer
    classification = classification * targets.cls_weights / normalizer

    counted = tf.sequence_mask(num_proposals, max_proposals)
    if hard_example_miner:
        counted = _mine_hard_examples(
            proposal_boxes,
            {
                "BOTH": localization * second_stage_localization_loss_weight
                + classification * second_stage_classification_loss_weight,
                "LOCALIZATION": localization,
                "CLASSIFICATION": classification,
            }[hard_example_miner.loss_type],
            counted,
            hard_example_miner,
        )
    counted = tf.cast(counted, tf.float32)
    return {
        BOX_CLASSIFIER_LOCALIZATION_LOSS: second_stage_localization_loss_weight * tf.reduce_sum(localization * counted),
        BOX_CLASSIFIER_CLASSIFICATION_LOSS: second_stage_classification_loss_weight
        * tf.reduce_sum(classification * counted),
    }


def localization_losses(encodings: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """Huber loss with delta 1, summed over the 4 codes: [...] of encodings and targets [..., 4]."""
    error = tf.abs(encodings - targets)
    quadratic = tf.minimum(error, 1.0)
    return tf.reduce_sum(0.5 * quadratic * quadratic + (error - quadratic), axis=-1)


def softmax_losses(logits: tf.Tensor, targets: tf.Tensor, logit_scale: float = 1.0) -> tf.Tensor:
    """Cross entropy of softmax(logits / logit_scale): [...] of logits and targets [..., K + 1]."""
    return tf.nn.softmax_cross_entropy_with_logits(labels=targets, logits=logits / logit_scale)


def softmax_against_logits_losses(logits: tf.Tensor, targets: tf.Tensor, logit_scale: float = 1.0) -> tf.Tensor:
    """As softmax_losses, but the targets are logits too (a teacher's): they go through the same scaled softmax."""
    return softmax_losses(logits, tf.nn.softmax(targets / logit_scale), logit_scale)


def sigmoid_losses(logits: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """Sum over the classes, background included, of each one's own yes/no cross entropy."""
    return tf.reduce_sum(tf.nn.sigmoid_cross_entropy_with_logits(labels=targets, logits=logits), axis=-1)


def sigmoid_focal_losses(
    logits: tf.Tensor, targets: tf.Tensor, gamma: float = 2.0, alpha: float | None = None
) -> tf.Tensor:
    """sigmoid_losses with each class' term times (1 - p)^gamma, p the probability given to the truth.

    alpha: weight of positives, 1 - alpha that of negatives; None weighs both 1.
    """
    cross_entropy = tf.nn.sigmoid_cross_entropy_with_logits(labels=targets, logits=logits)
    probability = tf.sigmoid(logits)
    given_to_truth = targets * probability + (1.0 - targets) * (1.0 - probability)
    focus = tf.pow(1.0 - given_to_truth, gamma) if gamma else 1.0
    balance = targets * alpha + (1.0 - targets) * (1.0 - alpha) if alpha is not None else 1.0
    return tf.reduce_sum(focus * balance * cross_entropy, axis=-1)


# By the name of the field of the message ClassificationLoss; the arguments have the names of its fields.
CLASSIFICATION_LOSSES: dict[str, ClassificationLoss] = {
    "weighted_softmax": softmax_losses,
    "weighted_logits_softmax": softmax_against_logits_losses,
    "weighted_sigmoid": sigmoid_losses,
    "weighted_sigmoid_focal": sigmoid_focal_losses,
}


def classification_loss(name: str, **fields: float | None) -> ClassificationLoss:
    """The second-stage classification loss of that field name of ClassificationLoss, with the fields it takes."""
    if name not in CLASSIFICATION_LOSSES:
        raise LossError(
            f"model.faster_rcnn.second_stage_classification_loss.{name} is not supported; "
            f"use one of {', '.join(CLASSIFICATION_LOSSES)}."
        )
    return functools.partial(CLASSIFICATION_LOSSES[name], **fields)


def _encodings_of_target_class(encodings: tf.Tensor, cls_targets: tf.Tensor) -> tf.Tensor:
    """[B, P, 4] of encodings [B, P, 1 or K, 4]: the box of the target class; background takes any, it weighs 0."""
    if encodings.shape[2] == 1:
        return encodings[:, :, 0]
    foreground_class = tf.maximum(tf.argmax(cls_targets, axis=-1, output_type=tf.int32) - 1, 0)
    return tf.gather(encodings, foreground_class, axis=2, batch_dims=2)


def _mine_hard_examples(proposal_boxes, hardness, valid, miner: HardExampleMiner) -> tf.Tensor:
    """Which proposals of each image count, bool [B, P]: the hardest ones, after non-maximum suppression.

    How it works: proposals are ranked by hardness; one that overlaps a harder one by IoU > iou_threshold is dropped,
    since it would count the same region twice; the first num_hard_examples of those left count.
    proposal_boxes [B, P, 4]; hardness (a loss) and valid [B, P].
    """
    max_proposals = tf.shape(proposal_boxes)[1]
    limit = miner.num_hard_examples if miner.num_hard_examples > 0 else max_proposals

    def mine(image):
        boxes, scores = image
        selected = tf.image.non_max_suppression(boxes, scores, limit, miner.iou_threshold)
        return tf.reduce_any(tf.one_hot(selected, max_proposals, on_value=True, off_value=False), axis=0)

    # Padding rows get -inf, which non_max_suppression never selects.
    scores = tf.stop_gradient(tf.where(valid, hardness, -float("inf")))
    return tf.map_fn(mine, (proposal_boxes, scores), fn_output_signature=tf.TensorSpec([None], tf.bool))

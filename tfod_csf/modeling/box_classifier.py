"""Second stage, the box classifier: class and refined box of each proposal.

Shape shorthand in this module:

  B: images; P: proposals of an image, padded; M: groundtruth boxes of an image, padded
  s, D: cells per side and channels of a proposal's features
  K: classes without background; Q: boxes per proposal, 1 (shared by all classes) or K; T: max_total_detections

Boxes are [ymin, xmin, ymax, xmax] in pixels of the padded network input; in detections they are normalized to the true
image, without padding.

Source: Girshick 2015 (Fast R-CNN), section 2.3; TFOD's meta_architectures/faster_rcnn_meta_arch.py.
"""

import tensorflow as tf
from official.modeling import tf_utils

from tfod_csf.modeling import box_coder, losses, post_processing, target_assigner
from tfod_csf.modeling.box_head import BoxHead, SecondStagePredictions
from tfod_csf.modeling.hard_example_miner import HardExampleMiner
from tfod_csf.modeling.proposal_sampler import ProposalSampler
from tfod_csf.modeling.rpn import Proposals


class BoxClassifier(tf.Module):
    """The second stage with its numbers; arguments have the names of the config's fields.

    Args:
      head: the dense layers.
      proposal_sampler: chooses the proposals that training sees.
      batch_non_max_suppression: thresholds and limits of the detections.
      score_converter: SOFTMAX, SIGMOID or IDENTITY, from logits to scores.
      logit_scale: logits are divided by it before that.
      second_stage_localization_loss_weight, second_stage_classification_loss_weight: factors of the losses.
      second_stage_classification_loss: see losses.classification_loss.
      hard_example_miner: if there is one, training sees all proposals, and the hardest ones count.
    """

    def __init__(
        self,
        head: BoxHead,
        proposal_sampler: ProposalSampler,
        batch_non_max_suppression: post_processing.BatchNonMaxSuppression,
        score_converter: str = "IDENTITY",
        logit_scale: float = 1.0,
        second_stage_localization_loss_weight: float = 1.0,
        second_stage_classification_loss_weight: float = 1.0,
        second_stage_classification_loss: losses.ClassificationLoss = losses.softmax_losses,
        hard_example_miner: HardExampleMiner | None = None,
    ):
        super().__init__(name="box_classifier")
        self.head = head
        self.proposal_sampler = proposal_sampler
        self.batch_non_max_suppression = batch_non_max_suppression
        self.score_converter = score_converter
        self.logit_scale = logit_scale
        self.second_stage_localization_loss_weight = second_stage_localization_loss_weight
        self.second_stage_classification_loss_weight = second_stage_classification_loss_weight
        self.second_stage_classification_loss = second_stage_classification_loss
        self.hard_example_miner = hard_example_miner

    def sample(self, proposals: Proposals, groundtruth: target_assigner.GroundTruth) -> Proposals:
        """The proposals that training sees: a balanced sample, or all of them for a hard example miner."""
        if self.hard_example_miner is not None:
            return proposals
        return self.proposal_sampler.sample(proposals, groundtruth)

    def predict(self, box_classifier_features: tf.Tensor, training: bool = False) -> SecondStagePredictions:
        """Raw predictions from features [B*P, s, s, D]; dropout, if any, acts in training."""
        return self.head(box_classifier_features, training)

    def detections(
        self, predictions: SecondStagePredictions, proposals: Proposals, true_image_shapes: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Classified and refined boxes after non-maximum suppression, see FasterRCNN.postprocess.

        true_image_shapes: int32 [B, 3] (height, width, channels) without padding.
        """
        encodings, logits = _per_image(predictions, proposals)
        boxes = box_coder.decode(encodings, proposals.proposal_boxes[:, :, tf.newaxis])  # [B, P, Q, 4]
        scores = post_processing.convert_scores(logits, self.score_converter, self.logit_scale)
        kept = post_processing.batch_multiclass_non_max_suppression(
            boxes,
            scores[:, :, 1:],
            post_processing.clip_window_of(true_image_shapes),
            self.batch_non_max_suppression,
            num_valid_boxes=proposals.num_proposals,
        )
        if boxes.shape[2] > 1:
            best_class = tf.argmax(logits[:, :, 1:], axis=-1, output_type=tf.int32)
            raw_boxes = post_processing.box_of_class(boxes, best_class)
        else:
            raw_boxes = boxes[:, :, 0]
        raw_boxes = post_processing.normalize_boxes(raw_boxes, true_image_shapes)
        return {
            **post_processing.detections(kept, scores, true_image_shapes),
            "detection_classes": tf.cast(kept.classes, tf.float32),
            "detection_anchor_indices": kept.indices,
            "raw_detection_boxes": tf.clip_by_value(raw_boxes, 0.0, 1.0),
            "raw_detection_scores": scores,
        }

    def losses(
        self, predictions: SecondStagePredictions, proposals: Proposals, groundtruth: target_assigner.GroundTruth
    ) -> dict[str, tf.Tensor]:
        """Localization and classification loss, scalars, each with its weight.

        Sums over the proposals of all images (padding rows do not count), each divided by the number of proposals of
        its image and by B. Both losses of a proposal are times the weight of the matched box; background weighs 1.
        With a box per class, the one of the target class is trained.
        """
        targets = target_assigner.batch_assign_second_stage_targets(proposals.proposal_boxes, groundtruth)
        encodings, logits = _per_image(predictions, proposals)
        encodings = _encodings_of_target_class(encodings, targets.cls_targets)
        num_images, max_proposals = tf.unstack(tf.shape(proposals.proposal_boxes)[:2])
        normalizer = tf.cast(tf.maximum(proposals.num_proposals, 1) * num_images, tf.float32)[:, tf.newaxis]  # [B, 1]
        localization = losses.localization_losses(encodings, targets.reg_targets) * targets.reg_weights / normalizer
        classification = self.second_stage_classification_loss(logits, targets.cls_targets)
        classification = classification * targets.cls_weights / normalizer

        counted = tf.sequence_mask(proposals.num_proposals, max_proposals)
        if self.hard_example_miner is not None:
            hardness = self.hard_example_miner.hardness(
                localization,
                classification,
                self.second_stage_localization_loss_weight,
                self.second_stage_classification_loss_weight,
            )
            counted = self.hard_example_miner.mine(proposals.proposal_boxes, hardness, counted)
        counted = tf.cast(counted, tf.float32)
        return {
            losses.BOX_CLASSIFIER_LOCALIZATION_LOSS: self.second_stage_localization_loss_weight
            * tf.reduce_sum(localization * counted),
            losses.BOX_CLASSIFIER_CLASSIFICATION_LOSS: self.second_stage_classification_loss_weight
            * tf.reduce_sum(classification * counted),
        }


def _per_image(predictions: SecondStagePredictions, proposals: Proposals) -> tuple[tf.Tensor, tf.Tensor]:
    """Box encodings [B, P, Q, 4] and class logits [B, P, K + 1] of predictions for B*P proposals."""
    encodings, logits = predictions
    num_images, num_proposals, _ = tf_utils.get_shape_list(proposals.proposal_boxes)
    return (
        tf.reshape(encodings, [num_images, num_proposals, encodings.shape[1], box_coder.CODE_SIZE]),
        tf.reshape(logits, [num_images, num_proposals, logits.shape[1]]),
    )


def _encodings_of_target_class(encodings: tf.Tensor, cls_targets: tf.Tensor) -> tf.Tensor:
    """[B, P, 4] of encodings [B, P, Q, 4]: the box of the target class; background takes any, it weighs 0."""
    if encodings.shape[2] == 1:
        return encodings[:, :, 0]
    foreground_class = tf.maximum(tf.argmax(cls_targets, axis=-1, output_type=tf.int32) - 1, 0)
    return tf.gather(encodings, foreground_class, axis=2, batch_dims=2)

"""Samples the proposals that the second stage is trained on.

Shape shorthand in this module:

  B: images; P: proposals of an image; S: second_stage_batch_size
"""

import dataclasses

import tensorflow as tf

from tfod_csf.modeling import balanced_sampler, target_assigner
from tfod_csf.modeling.rpn import Proposals


@dataclasses.dataclass(frozen=True)
class ProposalSampler:
    """A balanced minibatch of each image's proposals; attributes have the names of `faster_rcnn`'s fields.

    Attributes:
      second_stage_batch_size: S, proposals of each image.
      second_stage_balance_fraction: upper limit of the share of those that match a box.
      use_static_balanced_label_sampler: see balanced_sampler; it fills up with rows beyond num_proposals.
      use_static_shapes: S proposals always count.
    """

    second_stage_batch_size: int = 64
    second_stage_balance_fraction: float = 0.25
    use_static_balanced_label_sampler: bool = False
    use_static_shapes: bool = False

    def sample(self, proposals: Proposals, groundtruth: target_assigner.GroundTruth) -> Proposals:
        """S of the P proposals of each image.

        Sampled proposals keep their order; unused rows are zero. With use_static_shapes, unused rows repeat the first
        proposal and count as samples.
        """
        size = self.second_stage_batch_size
        boxes, num_proposals = proposals
        # As in TFOD, the losses assign targets once more, to the sampled rows: assignment is a small part of a step,
        # and gathering these targets would have to treat the unused rows separately.
        targets = target_assigner.batch_assign_second_stage_targets(boxes, groundtruth)
        valid = tf.sequence_mask(num_proposals, tf.shape(boxes)[1])
        sampled = balanced_sampler.subsample(
            valid & (targets.cls_weights > 0),
            size,
            tf.argmax(targets.cls_targets, axis=-1) > 0,
            positive_fraction=self.second_stage_balance_fraction,
            is_static=self.use_static_balanced_label_sampler,
        )
        num_sampled = tf.minimum(tf.reduce_sum(tf.cast(sampled, tf.int32), axis=1), size)
        rows = tf.argsort(tf.cast(~sampled, tf.int32), axis=1, stable=True)[:, :size]
        rows = tf.pad(rows, [[0, 0], [0, size - tf.shape(rows)[1]]])
        is_used = tf.sequence_mask(num_sampled, size)[..., tf.newaxis]  # [B, S, 1]
        sampled_boxes = tf.gather(boxes, rows, batch_dims=1)
        if self.use_static_shapes:
            sampled_boxes = tf.where(is_used, sampled_boxes, boxes[:, :1])
            num_sampled = tf.fill(tf.shape(num_sampled), size)
        else:
            sampled_boxes = tf.where(is_used, sampled_boxes, 0.0)
        return Proposals(tf.ensure_shape(sampled_boxes, [boxes.shape[0], size, 4]), num_sampled)

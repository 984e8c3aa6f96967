"""Hard example mining: only the proposals with the greatest losses count.

Shape shorthand in this module:

  B: images; P: proposals of an image

Source: Shrivastava et al. 2016 (OHEM); TFOD's core/losses.py, HardExampleMiner. TFOD mines the first image of a batch
only, see COMPATIBILITY.md.
"""

import dataclasses

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class HardExampleMiner:
    """Fields of the message HardExampleMiner that act in Faster R-CNN.

    Attributes:
      num_hard_examples: proposals of each image that count at most; 0: no limit.
      iou_threshold: IoU greater than this with a harder proposal removes one.
      loss_type: the loss that says how hard a proposal is: BOTH, CLASSIFICATION or LOCALIZATION.
    """

    num_hard_examples: int = 64
    iou_threshold: float = 0.7
    loss_type: str = "BOTH"

    def hardness(
        self,
        localization: tf.Tensor,
        classification: tf.Tensor,
        localization_loss_weight: float,
        classification_loss_weight: float,
    ) -> tf.Tensor:
        """How hard each proposal is, [B, P], from its losses [B, P], which do not hold the weights yet."""
        if self.loss_type == "LOCALIZATION":
            return localization
        if self.loss_type == "CLASSIFICATION":
            return classification
        return localization * localization_loss_weight + classification * classification_loss_weight

    def mine(self, proposal_boxes: tf.Tensor, hardness: tf.Tensor, is_valid: tf.Tensor) -> tf.Tensor:
        """Which proposals count, bool [B, P]: the hardest ones, after non-maximum suppression.

        How it works: proposals are ranked by hardness; one that overlaps a harder one by IoU > iou_threshold is
        dropped, since it would count the same region twice; the first num_hard_examples of the rest count.

        Args:
          proposal_boxes: [B, P, 4] ymin, xmin, ymax, xmax, in any frame.
          hardness: [B, P].
          is_valid: bool [B, P], false in padding rows, which never count.
        """
        max_proposals = tf.shape(proposal_boxes)[1]
        limit = self.num_hard_examples if self.num_hard_examples > 0 else max_proposals

        def mine_image(boxes_and_scores):
            selected = tf.image.non_max_suppression(*boxes_and_scores, limit, self.iou_threshold)
            return tf.reduce_any(tf.one_hot(selected, max_proposals, on_value=True, off_value=False), axis=0)

        # Padding rows get -inf, which non_max_suppression never selects.
        scores = tf.stop_gradient(tf.where(is_valid, hardness, -float("inf")))
        return tf.map_fn(mine_image, (proposal_boxes, scores), fn_output_signature=tf.TensorSpec([None], tf.bool))

"""Training targets for anchors and proposals.

Shape shorthand in this module:

  B: images; N: anchors; P: proposals; M: groundtruth boxes of an image, padded
  K: classes without background

Boxes are [ymin, xmin, ymax, xmax] in pixels of the padded network input; padding rows are zeros with weight 0.
Background is class 0 wherever `with_background` is written.

A match is the row of the groundtruth box, -1 for background, -2 for "ignored". Intervals:
  first stage   IoU >= 0.7 matches, IoU < 0.3 is background, between is ignored; besides, the best anchor of each box
                (the first of equal ones) is forced to match it, whatever the IoU, if the weight of the box is > 0;
  second stage  IoU >= 0.5 matches, everything else is background.
A box of weight 0 (padding, or an object that is not to be learned) may be matched by IoU, which removes its anchors
from training because they inherit the weight, but it forces no match.

Assignment is official.vision's TargetAssigner, which is TFOD's; only the rule for weights of 0 is ours (`_Matcher`),
since official.vision's matcher forces a match for every row.
"""

from collections.abc import Mapping
from typing import NamedTuple

import tensorflow as tf
from official.vision.utils.object_detection import (
    argmax_matcher,
    box_list,
    region_similarity_calculator,
    target_assigner,
)

from tfod_csf.modeling import box_coder

FIRST_STAGE_MATCHED_IOU = 0.7
FIRST_STAGE_UNMATCHED_IOU = 0.3
SECOND_STAGE_MATCHED_IOU = 0.5


class Targets(NamedTuple):
    """Targets of N anchors (or proposals); the batched functions put [B] in front of every shape."""

    cls_targets: tf.Tensor  # first stage [N]: 1 object, 0 background; second stage [N, K + 1] with background
    cls_weights: tf.Tensor  # [N] 1 for background, 0 for ignored, else the weight of the matched box
    reg_targets: tf.Tensor  # [N, 4] box codes, 0 where nothing is matched
    reg_weights: tf.Tensor  # [N] weight of the matched box, 0 where nothing is matched
    match: tf.Tensor  # int32 [N] row of the matched box, -1 background, -2 ignored


class GroundTruth(NamedTuple):
    """Groundtruth of a batch as the two stages need it."""

    boxes: tf.Tensor  # [B, M, 4] pixels of the padded network input, zeros in padding rows
    classes_with_background: tf.Tensor  # [B, M, K + 1] one-hot, zeros in padding rows
    weights: tf.Tensor  # [B, M] 0 in padding rows


def groundtruth_in_pixels(groundtruth: Mapping[str, tf.Tensor], height: tf.Tensor, width: tf.Tensor) -> GroundTruth:
    """GroundTruth of the labels of the input pipeline.

    Args:
      groundtruth: `boxes` [B, M, 4] normalized to the padded network input, `classes` [B, M, K] one-hot, zero-based
          without background, `weights` [B, M], and where known `num_boxes` [B], the leading rows that are not padding:
          padding that no image of the batch needs is then removed, because every row is compared with every anchor.
      height, width: of the padded network input, px.
    """
    if "num_boxes" in groundtruth:
        num_rows = tf.maximum(tf.reduce_max(groundtruth["num_boxes"]), 1)
        groundtruth = {name: groundtruth[name][:, :num_rows] for name in ("boxes", "classes", "weights")}
    scale = tf.cast(tf.stack([height, width, height, width]), tf.float32)
    return GroundTruth(
        boxes=tf.cast(groundtruth["boxes"], tf.float32) * scale,
        classes_with_background=tf.pad(tf.cast(groundtruth["classes"], tf.float32), [[0, 0], [0, 0], [1, 0]]),
        weights=tf.cast(groundtruth["weights"], tf.float32),
    )


def assign_first_stage_targets(
    anchors: tf.Tensor, groundtruth_boxes: tf.Tensor, groundtruth_weights: tf.Tensor
) -> Targets:
    """Targets of anchors [N, 4] for groundtruth boxes [M, 4] of weights [M] of one image."""
    matcher = _Matcher(FIRST_STAGE_MATCHED_IOU, FIRST_STAGE_UNMATCHED_IOU, force_match_for_each_row=True)
    labels = tf.ones([tf.shape(groundtruth_boxes)[0], 1])
    targets = _assign(matcher, tf.zeros([1]), anchors, groundtruth_boxes, labels, groundtruth_weights)
    return targets._replace(cls_targets=tf.squeeze(targets.cls_targets, axis=-1))


def assign_second_stage_targets(
    proposals: tf.Tensor,
    groundtruth_boxes: tf.Tensor,
    groundtruth_classes_with_background: tf.Tensor,
    groundtruth_weights: tf.Tensor,
) -> Targets:
    """Targets of proposals [P, 4] for groundtruth boxes [M, 4], classes [M, K + 1] and weights [M] of one image."""
    matcher = _Matcher(SECOND_STAGE_MATCHED_IOU)
    num_classes_with_background = groundtruth_classes_with_background.shape[-1]
    background = tf.one_hot(0, num_classes_with_background)
    return _assign(
        matcher, background, proposals, groundtruth_boxes, groundtruth_classes_with_background, groundtruth_weights
    )


def batch_assign_first_stage_targets(anchors: tf.Tensor, groundtruth: GroundTruth) -> Targets:
    """Targets [B, N] of anchors [N, 4] that all images share."""
    return tf.map_fn(
        lambda image: assign_first_stage_targets(anchors, *image),
        (groundtruth.boxes, groundtruth.weights),
        fn_output_signature=_signature(anchors.shape[0], ()),
    )


def batch_assign_second_stage_targets(proposals: tf.Tensor, groundtruth: GroundTruth) -> Targets:
    """Targets [B, P] of proposals [B, P, 4], padding rows included (empty boxes match nothing: background)."""
    num_classes_with_background = groundtruth.classes_with_background.shape[-1]
    return tf.map_fn(
        lambda image: assign_second_stage_targets(*image),
        (proposals, *groundtruth),
        fn_output_signature=_signature(proposals.shape[1], (num_classes_with_background,)),
    )


class _Matcher(argmax_matcher.ArgMaxMatcher):
    """ArgMaxMatcher in which only rows of `valid_rows` force a match, as in TFOD."""

    def __init__(self, matched_threshold, unmatched_threshold=None, force_match_for_each_row=False):
        super().__init__(matched_threshold, unmatched_threshold)
        self._force_valid_rows = force_match_for_each_row

    def _match(self, similarity_matrix: tf.Tensor, valid_rows: tf.Tensor) -> tf.Tensor:
        """Matches int32 [N] of a similarity matrix [M, N]; valid_rows bool [M]."""
        matches = super()._match(similarity_matrix)
        if not self._force_valid_rows:
            return matches
        num_rows, num_columns = tf.unstack(tf.shape(similarity_matrix))
        best_column = tf.argmax(similarity_matrix, axis=1, output_type=tf.int32)
        # Where several boxes claim one anchor, the first box has it: the smallest row.
        claiming_row = tf.where(valid_rows, tf.range(num_rows), num_rows)
        forced_row = tf.math.unsorted_segment_min(claiming_row, best_column, num_columns)
        return tf.where(forced_row < num_rows, forced_row, matches)


def _assign(matcher, unmatched_cls_target, anchors, groundtruth_boxes, labels, weights) -> Targets:
    assigner = target_assigner.TargetAssigner(_iou, matcher, box_coder.CODER, unmatched_cls_target=unmatched_cls_target)
    *targets, match = assigner.assign(
        box_list.BoxList(anchors),
        box_list.BoxList(groundtruth_boxes),
        groundtruth_labels=labels,
        groundtruth_weights=weights,
        valid_rows=weights > 0,
    )
    return Targets(*(tf.stop_gradient(target) for target in targets), match.match_results)


def _iou(boxes1: tf.Tensor, boxes2: tf.Tensor) -> tf.Tensor:
    return region_similarity_calculator.iou(box_list.BoxList(boxes1), box_list.BoxList(boxes2))


def _signature(num_anchors: int | None, class_shape: tuple[int | None, ...]) -> Targets:
    """Shapes and dtypes of one image's Targets, for map_fn."""
    return Targets(
        cls_targets=tf.TensorSpec([num_anchors, *class_shape], tf.float32),
        cls_weights=tf.TensorSpec([num_anchors], tf.float32),
        reg_targets=tf.TensorSpec([num_anchors, 4], tf.float32),
        reg_weights=tf.TensorSpec([num_anchors], tf.float32),
        match=tf.TensorSpec([num_anchors], tf.int32),
    )

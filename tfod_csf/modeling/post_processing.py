"""From raw predictions to detections: scores, non-maximum suppression, clipping.

Shape shorthand in this module:

  B: images; P: boxes of an image before suppression (anchors or proposals)
  K: classes without background; Q: boxes per proposal, 1 (shared by all classes) or K
  S: max_detections_per_class; T: max_total_detections

Boxes are [ymin, xmin, ymax, xmax]. Both thresholds are strict: a box is kept if its score > score_threshold, and
removed if its IoU with a better box > iou_threshold.

Source: TFOD's core/post_processing.py.
"""

import dataclasses
from typing import NamedTuple

import numpy as np
import tensorflow as tf

# Score of a place in the result that holds no box. Scores may be negative (score_converter IDENTITY), so 0 will not do.
_NO_BOX = -np.inf


@dataclasses.dataclass(frozen=True)
class BatchNonMaxSuppression:
    """`batch_non_max_suppression` of the config; attributes have the fields' names.

    Attributes:
      score_threshold, iou_threshold: see the module's docstring.
      max_detections_per_class: S. Not used by class-agnostic suppression, as in TFOD.
      max_total_detections: T.
      use_class_agnostic_nms: let each box have only its best class, and suppress over all classes at once.
      soft_nms_sigma: greater than 0 lowers the scores of overlapping boxes instead of removing them.
    """

    score_threshold: float = 0.0
    iou_threshold: float = 0.6
    max_detections_per_class: int = 100
    max_total_detections: int = 100
    use_class_agnostic_nms: bool = False
    soft_nms_sigma: float = 0.0


class NmsResult(NamedTuple):
    """What suppression keeps, best first. Rows from num_detections on are padding: zeros, see use_static_shapes."""

    boxes: tf.Tensor  # float32 [B, T, 4], the frame of the input boxes
    scores: tf.Tensor  # float32 [B, T]
    classes: tf.Tensor  # int32 [B, T], zero-based, without background
    indices: tf.Tensor  # int32 [B, T], row of the box in the input, 0..P-1
    num_detections: tf.Tensor  # int32 [B]


def convert_scores(logits: tf.Tensor, score_converter: str = "IDENTITY", logit_scale: float = 1.0) -> tf.Tensor:
    """Scores of logits [..., K + 1] divided by logit_scale: SOFTMAX over the classes, SIGMOID, or IDENTITY."""
    logits = logits / logit_scale
    if score_converter == "SOFTMAX":
        return tf.nn.softmax(logits)
    if score_converter == "SIGMOID":
        return tf.sigmoid(logits)
    return logits


def clip_window_of(true_image_shapes: tf.Tensor) -> tf.Tensor:
    """Windows float32 [B, 4] (0, 0, height, width), px, of true_image_shapes int32 [B, 3]."""
    height, width = tf.unstack(tf.cast(true_image_shapes[:, :2], tf.float32), axis=-1)
    return tf.stack([tf.zeros_like(height), tf.zeros_like(width), height, width], axis=-1)


def normalize_boxes(boxes: tf.Tensor, image_shapes: tf.Tensor) -> tf.Tensor:
    """Boxes [B, T, 4] in pixels as fractions of images of image_shapes int32 [B, 3] (height, width, channels)."""
    height, width = tf.unstack(tf.cast(image_shapes[:, :2], tf.float32), axis=-1)
    return boxes / tf.stack([height, width, height, width], axis=-1)[:, tf.newaxis]


def area(boxes: tf.Tensor) -> tf.Tensor:
    """Area [...] of boxes [..., 4]."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def gather_rows(values: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """values [B, P, ...] at rows int32 [B, S], image by image: [B, S, ...].

    The same as tf.gather(values, rows, batch_dims=1), with which OpenVINO 2026.4 crashes where shapes are constant.
    """
    size = tf.shape(values)[1]
    first_rows = tf.range(tf.shape(values)[0])[:, tf.newaxis] * size
    return tf.gather(tf.reshape(values, tf.concat([[-1], tf.shape(values)[2:]], axis=0)), rows + first_rows)


def box_of_class(boxes: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
    """From boxes [B, P, Q, 4], the one of each row's class, int32 [B, P]: [B, P, 4]."""
    chosen = gather_rows(tf.reshape(boxes, [-1, boxes.shape[2], 4]), tf.reshape(classes, [-1, 1]))
    return tf.reshape(chosen, [tf.shape(boxes)[0], -1, 4])


def detections(kept: NmsResult, scores: tf.Tensor, true_image_shapes: tf.Tensor) -> dict[str, tf.Tensor]:
    """TFOD's detections that a network of one stage and one of two have in common.

    Args:
      kept: what suppression kept, boxes in pixels.
      scores: [B, P, K + 1] of the boxes before suppression, background first.
      true_image_shapes: int32 [B, 3] (height, width, channels) without padding.
    """
    is_detection = tf.sequence_mask(kept.num_detections, kept.scores.shape[1], tf.float32)
    return {
        "detection_boxes": normalize_boxes(kept.boxes, true_image_shapes),
        "detection_scores": kept.scores,
        "detection_multiclass_scores": gather_rows(scores, kept.indices) * is_detection[..., tf.newaxis],
        "num_detections": tf.cast(kept.num_detections, tf.float32),
    }


def batch_multiclass_non_max_suppression(
    boxes: tf.Tensor,
    scores: tf.Tensor,
    clip_window: tf.Tensor,
    config: BatchNonMaxSuppression,
    num_valid_boxes: tf.Tensor | None = None,
    use_static_shapes: bool = False,
) -> NmsResult:
    """Non-maximum suppression in each class of each image.

    How it works: suppression sees the boxes as they are decoded, not clipped. Then all classes together are clipped to
    the window, boxes without area are dropped, and the best T are kept. Equal scores keep the order class, then rank.

    Args:
      boxes: [B, P, Q, 4].
      scores: [B, P, K], no background.
      clip_window: [B, 4], same frame as the boxes.
      config: the numbers; which limits and thresholds apply.
      num_valid_boxes: int32 [B], leading rows that are not padding; None for all.
      use_static_shapes: pad with clipped, zero-area boxes and repeats instead of zeros. TFOD's static sampler trains
          the second stage on them, as background, where there are few proposals.
    """
    if num_valid_boxes is not None:
        is_valid = tf.sequence_mask(num_valid_boxes, tf.shape(scores)[1])[:, :, tf.newaxis]
        scores = tf.where(is_valid, scores, _NO_BOX)
    boxes, scores = _with_at_least_one_row(boxes, scores)
    if config.use_class_agnostic_nms:
        best_class = tf.argmax(scores, axis=-1, output_type=tf.int32)  # [B, P]
        if boxes.shape[2] > 1:
            boxes = box_of_class(boxes, best_class)[:, :, tf.newaxis]
        best_score = tf.reduce_max(scores, axis=-1, keepdims=True)
        indices, scores = _suppress_each_class(boxes, best_score, config.max_total_detections, config)
        classes = gather_rows(best_class, indices)
    else:
        num_classes, size = scores.shape[2], config.max_detections_per_class
        indices, scores = _suppress_each_class(boxes, scores, size, config)
        classes = tf.repeat(tf.range(num_classes), size)[tf.newaxis] + tf.zeros_like(indices)
    row = indices * boxes.shape[2] + classes if boxes.shape[2] > 1 else indices
    boxes = gather_rows(tf.reshape(boxes, [tf.shape(boxes)[0], -1, 4]), row)
    return _clip_and_keep_best(
        boxes, scores, classes, indices, clip_window, config.max_total_detections, keeps_empty_boxes=use_static_shapes
    )


def _with_at_least_one_row(boxes: tf.Tensor, scores: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Adds a row that holds no box where P is 0 (an image so small that all anchors cross its border)."""
    if scores.shape[1]:
        return boxes, scores
    added = tf.cast(tf.equal(tf.shape(scores)[1], 0), tf.int32)
    boxes = tf.pad(boxes, [[0, 0], [0, added], [0, 0], [0, 0]])
    return boxes, tf.pad(scores, [[0, 0], [0, added], [0, 0]], constant_values=_NO_BOX)


def _suppress_each_class(
    boxes: tf.Tensor, scores: tf.Tensor, size: int, config: BatchNonMaxSuppression
) -> tuple[tf.Tensor, tf.Tensor]:
    """Suppression for every image and class separately.

    Args:
      boxes: [B, P, Q, 4].
      scores: [B, P, K].
      size: places for each class.

    Returns:
      indices int32 [B, K*size] into P, and scores [B, K*size], of which unused places are _NO_BOX.
    """
    num_boxes, num_classes = tf.shape(scores)[1], scores.shape[2]
    per_class_boxes = tf.broadcast_to(
        tf.transpose(boxes, [0, 2, 1, 3]), [tf.shape(boxes)[0], num_classes, num_boxes, 4]
    )
    per_class_scores = tf.transpose(scores, [0, 2, 1])

    def suppress(boxes_and_scores):
        selected, selected_scores, count = tf.raw_ops.NonMaxSuppressionV5(
            boxes=boxes_and_scores[0],
            scores=boxes_and_scores[1],
            max_output_size=size,
            iou_threshold=config.iou_threshold,
            score_threshold=config.score_threshold,
            soft_nms_sigma=config.soft_nms_sigma,
            pad_to_max_output_size=True,
        )
        # TFOD repeats the worst box in unused places; they show only where use_static_shapes keeps padding.
        is_used = tf.range(size) < count
        worst = tf.argmin(boxes_and_scores[1], output_type=tf.int32)
        return tf.where(is_used, selected, worst), tf.where(is_used, selected_scores, _NO_BOX)

    indices, kept_scores = tf.map_fn(
        suppress,
        (tf.reshape(per_class_boxes, [-1, num_boxes, 4]), tf.reshape(per_class_scores, [-1, num_boxes])),
        fn_output_signature=(tf.TensorSpec([size], tf.int32), tf.TensorSpec([size], tf.float32)),
    )
    return tf.reshape(indices, [-1, num_classes * size]), tf.reshape(kept_scores, [-1, num_classes * size])


def _clip_and_keep_best(
    boxes, scores, classes, indices, clip_window, max_total_detections: int, keeps_empty_boxes: bool
) -> NmsResult:
    """Clips [B, K*S, 4] to the windows [B, 4], drops boxes without area (or puts them last), keeps the best T."""
    window = clip_window[:, tf.newaxis]
    upper = tf.concat([window[..., 2:], window[..., 2:]], axis=-1)
    lower = tf.concat([window[..., :2], window[..., :2]], axis=-1)
    boxes = tf.maximum(tf.minimum(boxes, upper), lower)
    scores = tf.where(area(boxes) > 0.0, scores, _NO_BOX)
    missing = max(0, max_total_detections - scores.shape[1])
    if missing:
        scores = tf.pad(scores, [[0, 0], [0, missing]], constant_values=_NO_BOX)
    scores, order = tf.nn.top_k(scores, max_total_detections)  # equal scores: the lower index first
    is_box = scores > _NO_BOX
    order = tf.minimum(order, tf.shape(indices)[1] - 1)  # places beyond the input hold no box

    def in_order(values, is_kept):
        gathered = gather_rows(values, order)
        return tf.where(is_kept, gathered, tf.zeros_like(gathered))

    return NmsResult(
        boxes=in_order(boxes, is_box[..., tf.newaxis] | keeps_empty_boxes),
        scores=tf.where(is_box, scores, 0.0),
        classes=in_order(classes, is_box),
        indices=in_order(indices, is_box),
        num_detections=tf.reduce_sum(tf.cast(is_box, tf.int32), axis=1),
    )

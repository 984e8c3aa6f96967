"""Scores and suppression on boxes whose overlap can be read off."""

import numpy as np
import pytest
import tensorflow as tf

from tfod_csf.modeling import post_processing

WINDOW = [[0.0, 0.0, 100.0, 100.0]]
# The second box has IoU 80 / 120 = 0.667 with the first; the third overlaps neither.
BOXES = [[0, 0, 10, 10], [0, 2, 10, 12], [50, 50, 60, 60]]


def suppress(boxes, scores, window=WINDOW, **settings):
    """Boxes [P, 4] or [P, Q, 4] and scores [P, K] of one image; the result's rows as NumPy, without the batch."""
    boxes = np.asarray(boxes, np.float32).reshape(len(boxes), -1, 4)[np.newaxis]
    scores = np.asarray(scores, np.float32)[np.newaxis]
    num_valid, use_static_shapes = settings.pop("num_valid_boxes", None), settings.pop("use_static_shapes", False)
    settings = {"max_detections_per_class": 3, "max_total_detections": 4, "iou_threshold": 0.5} | settings
    result = post_processing.batch_multiclass_non_max_suppression(
        tf.constant(boxes),
        tf.constant(scores),
        tf.constant(window),
        post_processing.BatchNonMaxSuppression(**settings),
        num_valid_boxes=None if num_valid is None else tf.constant([num_valid]),
        use_static_shapes=use_static_shapes,
    )
    return post_processing.NmsResult(*(value[0].numpy() for value in result))


def test_score_converters():
    logits = tf.constant([[0.0, np.log(3.0)]])
    np.testing.assert_allclose(post_processing.convert_scores(logits, "SOFTMAX"), [[0.25, 0.75]], atol=1e-6)
    np.testing.assert_allclose(post_processing.convert_scores(logits, "SIGMOID"), [[0.5, 0.75]], atol=1e-6)
    np.testing.assert_allclose(post_processing.convert_scores(logits, "IDENTITY", 2.0), [[0, np.log(3) / 2]], atol=1e-6)
    # exp(log(3) / 0.5) = 9
    np.testing.assert_allclose(post_processing.convert_scores(logits, "SOFTMAX", 0.5), [[0.1, 0.9]], atol=1e-6)


def test_best_first_without_the_overlapping_one_and_padded_with_zeros():
    result = suppress(BOXES, [[0.6], [0.9], [0.7]])
    np.testing.assert_array_equal(result.boxes, [BOXES[1], BOXES[2], [0] * 4, [0] * 4])
    np.testing.assert_allclose(result.scores, [0.9, 0.7, 0, 0])
    np.testing.assert_array_equal(result.indices, [1, 2, 0, 0])
    assert result.num_detections == 2


def test_thresholds_are_strict():
    two_thirds = np.float32(2.0) / np.float32(3.0)
    assert suppress(BOXES, [[0.6], [0.9], [0.7]], iou_threshold=float(two_thirds)).num_detections == 3
    assert suppress(BOXES, [[0.5], [0.25], [0.75]], score_threshold=0.5, iou_threshold=1.0).num_detections == 1


def test_classes_are_suppressed_separately_or_together():
    scores = [[0.6, 0.1], [0.1, 0.9], [0.7, 0.2]]
    separate = suppress(BOXES, scores, score_threshold=0.15)
    np.testing.assert_allclose(separate.scores, [0.9, 0.7, 0.6, 0.2])
    np.testing.assert_array_equal(separate.classes, [1, 0, 0, 1])
    np.testing.assert_array_equal(separate.indices, [1, 2, 0, 2])
    together = suppress(BOXES, scores, use_class_agnostic_nms=True)
    np.testing.assert_allclose(together.scores, [0.9, 0.7, 0, 0])
    np.testing.assert_array_equal(together.classes, [1, 0, 0, 0])


def test_equal_scores_keep_the_order_class_then_row():
    result = suppress(BOXES[::2], [[0.5, 0.5], [0.5, 0.5]])
    np.testing.assert_array_equal(result.classes, [0, 0, 1, 1])
    np.testing.assert_array_equal(result.indices, [0, 1, 0, 1])


def test_each_class_has_its_own_box():
    boxes = [[[0, 0, 10, 10], [20, 20, 30, 30]], [[40, 40, 50, 50], [60, 60, 70, 70]]]
    scores = [[0.9, 0.8], [0.3, 0.7]]
    np.testing.assert_array_equal(suppress(boxes, scores).boxes, [boxes[0][0], boxes[0][1], boxes[1][1], boxes[1][0]])
    together = suppress(boxes, scores, use_class_agnostic_nms=True)
    np.testing.assert_array_equal(together.boxes[:2], [boxes[0][0], boxes[1][1]])


def test_boxes_are_clipped_after_suppression_and_dropped_when_nothing_is_left():
    boxes = [[-10, -10, 10, 10], [100, 0, 120, 20], [90, 90, 130, 130]]
    result = suppress(boxes, [[0.5], [0.9], [0.8]])
    np.testing.assert_array_equal(result.boxes[:2], [[90, 90, 100, 100], [0, 0, 10, 10]])
    np.testing.assert_array_equal(result.indices[:2], [2, 0])
    assert result.num_detections == 2


def test_static_shapes_pad_with_what_was_left_over():
    boxes = [[-10, -10, 10, 10], [100, 0, 120, 20], [90, 90, 130, 130]]
    result = suppress(boxes, [[0.5], [0.9], [0.8]], use_static_shapes=True, max_total_detections=3)
    np.testing.assert_array_equal(result.boxes[2], [100, 0, 100, 20])
    assert result.num_detections == 2
    assert result.scores[2] == 0


def test_padding_rows_of_the_input_are_not_looked_at():
    assert suppress(BOXES, [[0.6], [0.9], [0.7]], num_valid_boxes=1).num_detections == 1
    result = suppress(BOXES, [[0.6], [0.9], [0.7]], num_valid_boxes=0)
    assert result.num_detections == 0
    assert not any(np.any(value) for value in result)


def test_limits():
    scores = [[0.6, 0.5], [0.9, 0.1], [0.7, 0.3]]
    assert suppress(BOXES, scores, max_detections_per_class=1).num_detections == 2
    assert suppress(BOXES, scores, max_total_detections=1).scores.tolist() == pytest.approx([0.9])
    few = suppress(BOXES[:1], [[0.6]], max_detections_per_class=1, max_total_detections=4)
    assert few.boxes.shape == (4, 4)
    assert few.num_detections == 1


def test_negative_scores_are_scores():
    result = suppress(BOXES, [[-2.0], [-3.0], [-1.0]], score_threshold=-10.0)
    np.testing.assert_allclose(result.scores, [-1, -2, 0, 0])
    assert result.num_detections == 2


def test_soft_suppression_lowers_scores_instead():
    result = suppress(BOXES, [[0.6], [0.9], [0.7]], soft_nms_sigma=0.5, iou_threshold=1.0)
    # IoU 2/3 with the best box: 0.6 * exp(-(2/3)^2 / (2 * 0.5)).
    np.testing.assert_allclose(result.scores[:3], [0.9, 0.7, 0.6 * np.exp(-4 / 9)], rtol=1e-5)


def test_images_have_their_own_windows():
    result = post_processing.batch_multiclass_non_max_suppression(
        tf.constant([[[[0.0, 0.0, 50.0, 50.0]]]] * 2),
        tf.constant([[[0.5]]] * 2),
        post_processing.clip_window_of(tf.constant([[20, 30, 3], [80, 10, 3]])),
        post_processing.BatchNonMaxSuppression(max_total_detections=1),
    )
    np.testing.assert_array_equal(result.boxes[:, 0], [[0, 0, 20, 30], [0, 0, 50, 10]])
    normalized = post_processing.normalize_boxes(result.boxes, tf.constant([[20, 30, 3], [80, 10, 3]]))
    np.testing.assert_allclose(normalized[:, 0], [[0, 0, 1, 1], [0, 0, 0.625, 1]])

import numpy as np
import tensorflow as tf

from tfod_csf.modeling import box_coder, target_assigner

# Four anchors 10 x 10 in a row and one far away.
ANCHORS = tf.constant(
    [[0, 0, 10, 10], [0, 10, 10, 20], [0, 20, 10, 30], [0, 30, 10, 40], [90, 90, 100, 100]], tf.float32
)


def groundtruth(boxes, weights, classes=None):
    classes = np.ones([len(boxes), 1]) if classes is None else classes
    return target_assigner.GroundTruth(
        boxes=tf.constant(np.asarray(boxes)[np.newaxis], tf.float32),
        classes_with_background=tf.constant(np.pad(classes, [(0, 0), (1, 0)])[np.newaxis], tf.float32),
        weights=tf.constant([weights], tf.float32),
    )


def test_intervals_of_the_first_stage():
    # Box [0, 0, 10, 10] has IoU 1 with anchor 0. Box [0, 10, 10, 24]: IoU 10/14 = 0.714 with anchor 1 (positive),
    # 4/20 = 0.2 with anchor 2 (background). Box [0, 24, 10, 34]: 6/14 = 0.43 with anchor 2, 4/16 = 0.25 with anchor 3;
    # its best anchor 2 is forced.
    boxes = tf.constant([[0, 0, 10, 10], [0, 10, 10, 24], [0, 24, 10, 34]], tf.float32)
    targets = target_assigner.assign_first_stage_targets(ANCHORS, boxes, tf.ones([3]))
    np.testing.assert_array_equal(targets.match, [0, 1, 2, -1, -1])
    np.testing.assert_array_equal(targets.cls_targets, [1, 1, 1, 0, 0])
    np.testing.assert_array_equal(targets.cls_weights, [1, 1, 1, 1, 1])
    np.testing.assert_array_equal(targets.reg_weights, [1, 1, 1, 0, 0])
    np.testing.assert_allclose(targets.reg_targets[:3], box_coder.encode(boxes, ANCHORS[:3]), rtol=1e-6)
    np.testing.assert_array_equal(targets.reg_targets[3:], np.zeros([2, 4]))


def test_box_of_weight_0_forces_nothing_and_ignores_what_it_matches():
    # As above, but the third box does not count: anchor 2 (IoU 0.43) falls back to "ignored"; the first box still
    # matches anchor 0, which inherits its weight 0.
    boxes = tf.constant([[0, 0, 10, 10], [0, 10, 10, 24], [0, 24, 10, 34]], tf.float32)
    targets = target_assigner.assign_first_stage_targets(ANCHORS, boxes, tf.constant([0.0, 0.5, 0.0]))
    np.testing.assert_array_equal(targets.match, [0, 1, -2, -1, -1])
    np.testing.assert_array_equal(targets.cls_weights, [0, 0.5, 0, 1, 1])
    np.testing.assert_array_equal(targets.reg_weights, [0, 0.5, 0, 0, 0])


def test_first_of_equally_good_anchors_and_first_of_competing_boxes_are_forced():
    # A box in the middle of anchors 2 and 3 (IoU 1/3 with both) forces the first of them; two equal boxes on anchor 4
    # with IoU 0.25: the first one has it.
    boxes = tf.constant([[0, 25, 10, 35], [95, 95, 100, 100], [95, 95, 100, 100]], tf.float32)
    targets = target_assigner.assign_first_stage_targets(ANCHORS, boxes, tf.ones([3]))
    np.testing.assert_array_equal(targets.match, [-1, -1, 0, -2, 1])


def test_second_stage_has_two_outcomes_and_forces_nothing():
    # IoU of box [0, 0, 10, 20] with anchors 0 and 1 is exactly 0.5: both positive. Box [0, 24, 10, 34]: 0.43.
    boxes = tf.constant([[0, 0, 10, 20], [0, 24, 10, 34]], tf.float32)
    classes = tf.constant([[0, 0, 1], [0, 1, 0]], tf.float32)
    targets = target_assigner.assign_second_stage_targets(ANCHORS, boxes, classes, tf.constant([0.5, 1.0]))
    np.testing.assert_array_equal(targets.match, [0, 0, -1, -1, -1])
    np.testing.assert_array_equal(targets.cls_targets, [[0, 0, 1]] * 2 + [[1, 0, 0]] * 3)
    np.testing.assert_array_equal(targets.cls_weights, [0.5, 0.5, 1, 1, 1])


def test_no_boxes_and_all_padding_are_all_background():
    for truth in (groundtruth(np.zeros([0, 4]), np.zeros([0])), groundtruth(np.zeros([3, 4]), np.zeros([3]))):
        first = target_assigner.batch_assign_first_stage_targets(ANCHORS, truth)
        second = target_assigner.batch_assign_second_stage_targets(ANCHORS[np.newaxis], truth)
        np.testing.assert_array_equal(first.match, [[-1] * 5])
        np.testing.assert_array_equal(second.match, [[-1] * 5])
        np.testing.assert_array_equal(first.cls_weights, np.ones([1, 5]))
        np.testing.assert_array_equal(second.cls_targets[0], [[1, 0]] * 5)
        np.testing.assert_array_equal(second.reg_weights, np.zeros([1, 5]))


def test_padding_rows_do_not_change_the_targets():
    boxes = np.array([[0, 0, 10, 10], [0, 24, 10, 34]], np.float32)
    plain = target_assigner.batch_assign_first_stage_targets(ANCHORS, groundtruth(boxes, [1, 1]))
    padded = groundtruth(np.pad(boxes, [(0, 4), (0, 0)]), [1, 1, 0, 0, 0, 0])
    for expected, computed in zip(plain, target_assigner.batch_assign_first_stage_targets(ANCHORS, padded)):
        np.testing.assert_array_equal(computed, expected)


def test_batch_of_unknown_sizes_in_a_graph():
    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 4]),
            tf.TensorSpec([None, None, 4]),
            tf.TensorSpec([None, None, 3]),
            tf.TensorSpec([None, None]),
        ]
    )
    def assign(anchors, boxes, classes, weights):
        truth = target_assigner.GroundTruth(boxes, classes, weights)
        proposals = tf.tile(anchors[tf.newaxis], [tf.shape(boxes)[0], 1, 1])
        return (
            target_assigner.batch_assign_first_stage_targets(anchors, truth),
            target_assigner.batch_assign_second_stage_targets(proposals, truth),
        )

    boxes = tf.constant([[[0, 0, 10, 10]], [[0, 30, 10, 40]]], tf.float32)
    classes = tf.constant([[[0, 1, 0]], [[0, 0, 1]]], tf.float32)
    first, second = assign(ANCHORS, boxes, classes, tf.ones([2, 1]))
    np.testing.assert_array_equal(first.match, [[0, -1, -1, -1, -1], [-1, -1, -1, 0, -1]])
    np.testing.assert_array_equal(np.argmax(second.cls_targets, -1), [[1, 0, 0, 0, 0], [0, 0, 0, 2, 0]])
    first, _ = assign(ANCHORS, boxes[:, :0], classes[:, :0], tf.ones([2, 0]))
    np.testing.assert_array_equal(first.match, np.full([2, 5], -1))


def test_groundtruth_in_pixels_scales_by_the_padded_input_and_prepends_background():
    truth = target_assigner.groundtruth_in_pixels(
        {"boxes": [[[0.25, 0.5, 0.5, 1.0]]], "classes": [[[0, 1]]], "weights": [[1.0]]}, 80, 100
    )
    np.testing.assert_allclose(truth.boxes, [[[20, 50, 40, 100]]])
    np.testing.assert_array_equal(truth.classes_with_background, [[[0, 0, 1]]])


def test_padding_that_no_image_needs_is_removed():
    boxes = tf.tile(tf.constant([[[0.1, 0.1, 0.4, 0.4]]]), [2, 5, 1])
    groundtruth = {"boxes": boxes, "classes": tf.ones([2, 5, 1]), "weights": tf.ones([2, 5])}

    def num_rows(*num_boxes):
        truth = target_assigner.groundtruth_in_pixels(groundtruth | {"num_boxes": tf.constant(num_boxes)}, 10, 10)
        assert truth.boxes.shape[1] == truth.classes_with_background.shape[1] == truth.weights.shape[1]
        return truth.boxes.shape[1]

    assert num_rows(2, 3) == 3
    assert num_rows(5, 0) == 5
    assert num_rows(0, 0) == 1  # a row that weighs nothing spares every later step the case of no rows
    assert target_assigner.groundtruth_in_pixels(groundtruth, 10, 10).boxes.shape[1] == 5

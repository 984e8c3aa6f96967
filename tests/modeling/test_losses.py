import numpy as np
import pytest
import tensorflow as tf

from tfod_csf.modeling import losses, target_assigner

ANCHORS = tf.constant([[0, 0, 10, 10], [0, 10, 10, 20], [0, 20, 10, 30], [90, 90, 100, 100]], tf.float32)


def truth(boxes, classes, weights):
    """GroundTruth of one image; classes zero-based of 2."""
    return target_assigner.GroundTruth(
        tf.reshape(tf.constant(boxes, tf.float32), [1, -1, 4]),
        tf.one_hot(tf.constant([classes], tf.int32) + 1, 3),
        tf.constant([weights], tf.float32),
    )


ONE_BOX = truth([[0, 0, 10, 10]], [1], [0.5])
NO_BOX = truth([], [], [])


def test_localization_is_quadratic_then_linear():
    # 0.5 * 0.5^2 + (3 - 0.5) + 0 + 0.5 * 1^2
    loss = losses.localization_losses(tf.constant([0.5, 3.0, 1.0, -1.0]), tf.constant([0.0, 0.0, 1.0, 0.0]))
    np.testing.assert_allclose(loss, 0.125 + 2.5 + 0.5)


def test_first_stage_by_hand():
    # All 4 anchors are sampled, logits 0: ln 2 each, objectness = ln 2. Anchor 0 is matched with weight 0.5, its code
    # is 0 and the prediction is 2 in one entry: (2 - 0.5) * 0.5 / 4 anchors.
    encodings = np.zeros([1, 4, 4], np.float32)
    encodings[0, :, 0] = 2
    computed = losses.first_stage_losses(
        tf.constant(encodings),
        tf.zeros([1, 4, 2]),
        ANCHORS,
        ONE_BOX,
        first_stage_localization_loss_weight=2.0,
        first_stage_objectness_loss_weight=3.0,
    )
    np.testing.assert_allclose(computed[losses.RPN_LOCALIZATION_LOSS], 2 * 1.5 * 0.5 / 4, rtol=1e-6)
    np.testing.assert_allclose(computed[losses.RPN_OBJECTNESS_LOSS], 3 * np.log(2), rtol=1e-6)


def test_first_stage_minibatch_limits_what_counts():
    # Minibatch 2, half positive: the only positive and one negative. Logits [0, 0] for the positive (ln 2) and
    # [100, 0] for the negatives (0): ln 2 / 2.
    logits = tf.constant([[[0, 0], [100, 0], [100, 0], [100, 0]]], tf.float32)
    computed = losses.first_stage_losses(tf.zeros([1, 4, 4]), logits, ANCHORS, ONE_BOX, first_stage_minibatch_size=2)
    np.testing.assert_allclose(computed[losses.RPN_OBJECTNESS_LOSS], np.log(2) / 2, rtol=1e-6)


def test_images_without_boxes_have_no_localization_loss():
    first = losses.first_stage_losses(tf.ones([1, 4, 4]), tf.zeros([1, 4, 2]), ANCHORS, NO_BOX)
    second = losses.second_stage_losses(
        tf.ones([4, 2, 4]), tf.zeros([4, 3]), ANCHORS[tf.newaxis], tf.constant([4]), NO_BOX
    )
    assert first[losses.RPN_LOCALIZATION_LOSS] == 0
    assert second[losses.BOX_CLASSIFIER_LOCALIZATION_LOSS] == 0
    np.testing.assert_allclose(first[losses.RPN_OBJECTNESS_LOSS], np.log(2), rtol=1e-6)
    np.testing.assert_allclose(second[losses.BOX_CLASSIFIER_CLASSIFICATION_LOSS], np.log(3), rtol=1e-6)


def test_second_stage_by_hand_with_padding_rows_and_per_class_boxes():
    # 3 of 4 proposals are valid. Proposal 0 is class 1 with weight 0.5: ln 3 * 0.5; the two others are background:
    # ln 3 each; all divided by 3 proposals * 1 image. Of the boxes per class the second one is used: error 1 in each
    # of 4 codes, 4 * 0.5 * 0.5 / 3.
    encodings = np.stack([np.full([4, 4], 7.0), np.ones([4, 4])], axis=1).astype(np.float32)
    computed = losses.second_stage_losses(
        tf.constant(encodings), tf.zeros([4, 3]), ANCHORS[tf.newaxis], tf.constant([3]), ONE_BOX
    )
    np.testing.assert_allclose(computed[losses.BOX_CLASSIFIER_CLASSIFICATION_LOSS], np.log(3) * 2.5 / 3, rtol=1e-6)
    np.testing.assert_allclose(computed[losses.BOX_CLASSIFIER_LOCALIZATION_LOSS], 4 * 0.5 * 0.5 / 3, rtol=1e-6)


def test_no_proposals_give_0_and_not_nan():
    computed = losses.second_stage_losses(
        tf.ones([4, 1, 4]), tf.zeros([4, 3]), tf.zeros([1, 4, 4]), tf.constant([0]), ONE_BOX
    )
    assert [float(value) for value in computed.values()] == [0, 0]


def test_drawn_proposals_keep_their_order_and_are_padded_with_zeros():
    # Only 2 of 4 proposals are valid, both are drawn.
    boxes, num_proposals = losses.sample_second_stage(
        ANCHORS[tf.newaxis],
        tf.constant([2]),
        ONE_BOX,
        second_stage_batch_size=3,
        second_stage_balance_fraction=0.5,
    )
    np.testing.assert_array_equal(boxes[0], [[0, 0, 10, 10], [0, 10, 10, 20], [0, 0, 0, 0]])
    np.testing.assert_array_equal(num_proposals, [2])


def test_static_draw_always_fills_the_minibatch():
    # The third row comes from the rows that are not valid.
    boxes, num_proposals = losses.sample_second_stage(
        ANCHORS[tf.newaxis],
        tf.constant([2]),
        ONE_BOX,
        second_stage_batch_size=3,
        second_stage_balance_fraction=0.5,
        use_static_balanced_label_sampler=True,
        use_static_shapes=True,
    )
    np.testing.assert_array_equal(boxes[0], ANCHORS[:3])
    np.testing.assert_array_equal(num_proposals, [3])


def test_static_shapes_without_the_static_sampler_repeat_the_first_proposal():
    boxes, num_proposals = losses.sample_second_stage(
        ANCHORS[tf.newaxis],
        tf.constant([2]),
        ONE_BOX,
        second_stage_batch_size=3,
        second_stage_balance_fraction=0.5,
        use_static_shapes=True,
    )
    np.testing.assert_array_equal(boxes[0], tf.gather(ANCHORS, [0, 1, 0]))
    np.testing.assert_array_equal(num_proposals, [3])


def test_share_of_positives_in_the_second_stage():
    # 8 proposals on the box, 8 background; minibatch 8 with a quarter of positives.
    proposals = tf.constant([[[0, 0, 10, 10]] * 8 + [[50, 50, 60, 60]] * 8], tf.float32)
    boxes, _ = losses.sample_second_stage(proposals, tf.constant([16]), ONE_BOX, second_stage_batch_size=8)
    np.testing.assert_array_equal(boxes[0, :, 0], [0] * 2 + [50] * 6)
    # A box of weight 0 takes its proposals out of the draw.
    boxes, _ = losses.sample_second_stage(
        proposals, tf.constant([16]), truth([[0, 0, 10, 10]], [1], [0.0]), second_stage_batch_size=8
    )
    np.testing.assert_array_equal(boxes[0, :, 0], [50] * 8)


@pytest.mark.parametrize(
    ("name", "fields", "expected"),
    [
        # logits [0, 0, ln 4], truth class 2: softmax 4/6; with scale 2 the logit is ln 2: 2/4.
        ("weighted_softmax", {}, -np.log(4 / 6)),
        ("weighted_softmax", {"logit_scale": 2.0}, -np.log(2 / 4)),
        # sigmoids 1/2, 1/2, 4/5: ln 2 + ln 2 - ln 0.8
        ("weighted_sigmoid", {}, 2 * np.log(2) - np.log(0.8)),
        ("weighted_sigmoid_focal", {"gamma": 2.0}, 2 * 0.25 * np.log(2) - 0.04 * np.log(0.8)),
        ("weighted_sigmoid_focal", {"gamma": 0.0, "alpha": 0.75}, 2 * 0.25 * np.log(2) - 0.75 * np.log(0.8)),
        # targets softmax([0, 0, 1]) = [1, 1, e] / (2 + e)
        (
            "weighted_logits_softmax",
            {},
            -(2 * np.log(1 / 6) + np.e * np.log(4 / 6)) / (2 + np.e),
        ),
    ],
)
def test_classification_losses(name, fields, expected):
    loss = losses.classification_loss(name, **fields)(tf.constant([0.0, 0.0, np.log(4)]), tf.constant([0.0, 0.0, 1.0]))
    np.testing.assert_allclose(loss, expected, rtol=1e-6)


@pytest.mark.parametrize("name", ["bootstrapped_sigmoid", "penalty_reduced_logistic_focal_loss"])
def test_other_classification_losses_are_refused_by_name(name):
    with pytest.raises(losses.LossError, match=name):
        losses.classification_loss(name)


def mined(miner, num_proposals=4):
    """Second-stage losses of 4 background proposals with classification losses 4, 3, 2, 1 (before the division by 4).

    Proposals 0 and 1 overlap by IoU 0.8.
    """
    proposals = tf.constant([[[0, 0, 10, 10], [0, 0, 10, 8], [50, 50, 60, 60], [70, 70, 80, 80]]], tf.float32)
    logits = tf.math.log(tf.exp(tf.constant([4.0, 3.0, 2.0, 1.0])) - 1.0)[:, tf.newaxis] * [0.0, 1.0]
    computed = losses.second_stage_losses(
        tf.zeros([4, 1, 4]), logits, proposals, tf.constant([num_proposals]), truth([], [], [])._replace(
            classes_with_background=tf.zeros([1, 0, 2])
        ), hard_example_miner=miner,
    )  # fmt: skip
    return float(computed[losses.BOX_CLASSIFIER_CLASSIFICATION_LOSS]) * num_proposals


def test_hard_example_miner():
    np.testing.assert_allclose(mined(None), 4 + 3 + 2 + 1, rtol=1e-5)
    np.testing.assert_allclose(mined(losses.HardExampleMiner()), 4 + 2 + 1, rtol=1e-5)
    np.testing.assert_allclose(mined(losses.HardExampleMiner(iou_threshold=0.9)), 10, rtol=1e-5)
    np.testing.assert_allclose(mined(losses.HardExampleMiner(num_hard_examples=2)), 4 + 2, rtol=1e-5)
    np.testing.assert_allclose(mined(losses.HardExampleMiner(num_hard_examples=0)), 7, rtol=1e-5)
    np.testing.assert_allclose(mined(losses.HardExampleMiner(num_hard_examples=1), num_proposals=3), 4, rtol=1e-5)
    # All localization losses are 0: the order of the proposals decides, 0 comes first.
    localization = losses.HardExampleMiner(num_hard_examples=1, loss_type="LOCALIZATION")
    np.testing.assert_allclose(mined(localization), 4, rtol=1e-5)

"""The first stage on three anchors, worked by hand."""

import numpy as np
import pytest
import tensorflow as tf

from tfod_csf.modeling import losses, rpn, target_assigner
from tfod_csf.modeling.anchor_generator import GridAnchorGenerator
from tfod_csf.modeling.layer_hyperparams import LayerHyperparams

ANCHORS = np.array([[-4, 2, 4, 10], [0, 0, 8, 8], [10, 10, 40, 20]], np.float32)


def network(**fields) -> rpn.RegionProposalNetwork:
    generator = GridAnchorGenerator(scales=[0.0625], aspect_ratios=[1.0])
    head = rpn.RegionProposalHead(1, LayerHyperparams(), first_stage_box_predictor_depth=3)
    return rpn.RegionProposalNetwork(head, [generator], **fields)


def predictions(encodings, logits, anchors=ANCHORS) -> rpn.FirstStagePredictions:
    hidden = tf.zeros([len(encodings), 1, 1, 3])
    return rpn.FirstStagePredictions(
        hidden, tf.constant(encodings, tf.float32), tf.constant(logits, tf.float32), tf.constant(anchors, tf.float32)
    )


def test_anchors_are_clipped_or_found_to_cross_the_border():
    np.testing.assert_array_equal(rpn.clip_anchors(ANCHORS, 20, 16), [[0, 2, 4, 10], [0, 0, 8, 8], [10, 10, 20, 16]])
    np.testing.assert_array_equal(rpn.is_inside_image(ANCHORS, 20, 16), [False, True, False])
    np.testing.assert_array_equal(rpn.is_inside_image(ANCHORS, 40, 20), [False, True, True])  # touching is inside


def test_outputs_are_ordered_by_row_column_anchor():
    """Prediction n belongs to cell n // A and anchor n % A: to channels 4 * anchor .. 4 * anchor + 3 of the kernel."""
    head = rpn.RegionProposalHead(num_anchors_per_location=2, hyperparams=LayerHyperparams())
    (hidden,), encodings, objectness = head([tf.random.stateless_uniform([2, 3, 4, 5], seed=[0, 1])])
    assert hidden.shape == (2, 3, 4, 512)
    assert encodings.shape == (2, 3 * 4 * 2, 4)
    assert objectness.shape == (2, 3 * 4 * 2, 2)
    kernel = head.box_encodings[0].kernel.numpy()[0, 0]
    cell, anchor = 7, 1
    expected = hidden.numpy()[1].reshape(12, 512)[cell] @ kernel[:, 4 * anchor : 4 * anchor + 4]
    np.testing.assert_allclose(encodings[1, 2 * cell + anchor], expected, atol=1e-4)


def test_activation_is_relu6():
    head = rpn.RegionProposalHead(1, LayerHyperparams(), 3, first_stage_box_predictor_kernel_size=1)
    features = tf.ones([1, 1, 1, 1])
    head([features])
    head.first_conv.layers[0].kernel.assign([[[[-2.0, 5.0, 7.0]]]])
    np.testing.assert_array_equal(head([features])[0][0], [[[[0, 5, 6]]]])


def test_size_dilation_and_batch_norm_are_honored():
    hyperparams = LayerHyperparams(batch_norm={"momentum": 0.5, "epsilon": 0.01, "center": True, "scale": False})
    head = rpn.RegionProposalHead(
        1,
        hyperparams,
        first_stage_box_predictor_depth=3,
        first_stage_box_predictor_kernel_size=5,
        first_stage_atrous_rate=2,
    )
    head([tf.zeros([1, 4, 4, 2])])
    conv, batch_norm, _ = head.first_conv.layers
    assert conv.kernel.shape == (5, 5, 2, 3)
    assert conv.dilation_rate == (2, 2)
    assert not conv.use_bias
    assert head.box_encodings[0].use_bias
    before = batch_norm.moving_mean.numpy()
    head([tf.ones([1, 4, 4, 2])], training=False)
    np.testing.assert_array_equal(batch_norm.moving_mean, before)
    head([tf.ones([1, 4, 4, 2])], training=True)
    assert np.any(batch_norm.moving_mean.numpy() != before)


@pytest.mark.parametrize(("clip", "training", "num_anchors"), [(False, True, 1), (True, True, 4), (False, False, 4)])
def test_training_drops_anchors_that_cross_the_border_unless_they_are_clipped(clip, training, num_anchors):
    """2 x 2 cells, 16 px anchors at 0 and 16: of an image of 24 px only the one at (16, 16) is inside."""
    stage = network(clip_anchors_to_image=clip)
    features = tf.reshape(tf.range(4.0), [1, 2, 2, 1])
    out = stage.predict([features], tf.constant([1, 24, 24, 3]), training=training)
    assert out.anchors.shape == (num_anchors, 4)
    np.testing.assert_array_equal(out.anchors[-1], [8, 8, 24, 24])
    _, encodings, objectness = stage.head([features])
    np.testing.assert_array_equal(out.rpn_box_encodings, encodings[:, -num_anchors:])
    np.testing.assert_array_equal(out.rpn_objectness_predictions_with_background, objectness[:, -num_anchors:])


def test_proposals_are_the_best_anchors_when_nothing_is_shifted():
    logits = [[[0.0, 1.0], [0.0, 2.0], [0.0, -1.0]], [[0.0, 0.0]] * 3]
    raw, true_image_shapes = predictions(np.zeros([2, 3, 4]), logits), tf.constant([[30, 15, 3]] * 2)
    stage = network(first_stage_max_proposals=4)
    proposals = stage.propose(raw, true_image_shapes)
    best = np.array([[0, 0, 8, 8], [0, 2, 4, 10], [10, 10, 30, 15], [0, 0, 0, 0]], np.float32)
    np.testing.assert_allclose(proposals.proposal_boxes[0], best, atol=1e-5)
    np.testing.assert_array_equal(proposals.num_proposals, [3, 3])
    detections = stage.detections(raw, true_image_shapes)
    np.testing.assert_allclose(detections["detection_boxes"][0], best / [30, 15, 30, 15], atol=1e-6)
    np.testing.assert_allclose(detections["detection_scores"][0], [*tf.sigmoid([2.0, 1.0, -1.0]), 0.0], atol=1e-6)
    np.testing.assert_allclose(detections["raw_detection_boxes"][1, 0], ANCHORS[0] / [30, 15, 30, 15], atol=1e-6)
    limited = network(first_stage_nms_score_threshold=0.5, first_stage_max_proposals=4)
    np.testing.assert_array_equal(limited.propose(raw, true_image_shapes).num_proposals, [2, 0])


def test_no_gradient_flows_through_proposals():
    encodings = tf.zeros([1, 3, 4])
    raw = predictions(np.zeros([1, 3, 4]), np.zeros([1, 3, 2]))
    with tf.GradientTape() as tape:
        tape.watch(encodings)
        boxes = network().propose(raw._replace(rpn_box_encodings=encodings), tf.constant([[30, 15, 3]])).proposal_boxes
    assert tape.gradient(boxes, encodings) is None


def test_no_anchors():
    raw = predictions(np.zeros([1, 0, 4]), np.zeros([1, 0, 2]), np.zeros([0, 4]))
    proposals = network(first_stage_max_proposals=2).propose(raw, tf.constant([[8, 8, 3]]))
    assert proposals.num_proposals[0] == 0
    assert proposals.proposal_boxes.shape == (1, 2, 4)


FOUR_ANCHORS = [[0, 0, 10, 10], [0, 10, 10, 20], [0, 20, 10, 30], [90, 90, 100, 100]]
ONE_BOX = target_assigner.GroundTruth(
    tf.constant([[[0.0, 0.0, 10.0, 10.0]]]), tf.constant([[[0.0, 1.0]]]), tf.constant([[0.5]])
)
NO_BOX = target_assigner.GroundTruth(tf.zeros([1, 0, 4]), tf.zeros([1, 0, 2]), tf.zeros([1, 0]))


def loss_values(encodings, logits, groundtruth, **fields):
    """(localization, objectness) of the four anchors."""
    named = network(**fields).losses(predictions(encodings, logits, FOUR_ANCHORS), groundtruth)
    assert list(named) == [losses.RPN_LOCALIZATION_LOSS, losses.RPN_OBJECTNESS_LOSS]
    return tuple(float(value) for value in named.values())


def test_losses_by_hand():
    # All 4 anchors are sampled, logits 0: ln 2 each, objectness = ln 2. Anchor 0 is matched with weight 0.5, its code
    # is 0 and the prediction is 2 in one entry: (2 - 0.5) * 0.5 / 4 anchors.
    encodings = np.zeros([1, 4, 4])
    encodings[0, :, 0] = 2
    weights = {"first_stage_localization_loss_weight": 2.0, "first_stage_objectness_loss_weight": 3.0}
    localization, objectness = loss_values(encodings, np.zeros([1, 4, 2]), ONE_BOX, **weights)
    assert localization == pytest.approx(2 * 1.5 * 0.5 / 4, rel=1e-6)
    assert objectness == pytest.approx(3 * np.log(2), rel=1e-6)


def test_minibatch_limits_what_counts():
    # Minibatch 2, half positive: the only positive and one negative. Logits [0, 0] for the positive (ln 2) and
    # [100, 0] for the negatives (0): ln 2 / 2.
    logits = [[[0, 0], [100, 0], [100, 0], [100, 0]]]
    _, objectness = loss_values(np.zeros([1, 4, 4]), logits, ONE_BOX, first_stage_minibatch_size=2)
    assert objectness == pytest.approx(np.log(2) / 2, rel=1e-6)


def test_an_image_without_boxes_has_no_localization_loss():
    localization, objectness = loss_values(np.ones([1, 4, 4]), np.zeros([1, 4, 2]), NO_BOX)
    assert localization == 0
    assert objectness == pytest.approx(np.log(2), rel=1e-6)

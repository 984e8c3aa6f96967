import numpy as np
import tensorflow as tf

from tfod_csf.modeling import rpn
from tfod_csf.modeling.layer_hyperparams import LayerHyperparams

ANCHORS = np.array([[-4, 2, 4, 10], [0, 0, 8, 8], [10, 10, 40, 20]], np.float32)


def test_anchors_are_clipped_or_found_to_cross_the_border():
    np.testing.assert_array_equal(rpn.clip_anchors(ANCHORS, 20, 16), [[0, 2, 4, 10], [0, 0, 8, 8], [10, 10, 20, 16]])
    np.testing.assert_array_equal(rpn.is_inside_image(ANCHORS, 20, 16), [False, True, False])
    np.testing.assert_array_equal(rpn.is_inside_image(ANCHORS, 40, 20), [False, True, True])  # touching is inside


def test_outputs_are_ordered_by_row_column_anchor():
    """With kernels that copy channels, prediction n belongs to cell n // A and anchor n % A."""
    head = rpn.RegionProposalHead(num_anchors_per_location=2, hyperparams=LayerHyperparams())
    features = tf.random.stateless_uniform([2, 3, 4, 5], seed=[0, 1])
    out = head(features)
    assert out.rpn_box_predictor_features.shape == (2, 3, 4, 512)
    assert out.rpn_box_encodings.shape == (2, 3 * 4 * 2, 4)
    assert out.rpn_objectness_predictions_with_background.shape == (2, 3 * 4 * 2, 2)
    hidden = out.rpn_box_predictor_features.numpy()
    assert hidden.min() >= 0
    kernel = head.box_encodings.kernel.numpy()[0, 0]
    cell, anchor = 7, 1
    expected = hidden[1].reshape(12, 512)[cell] @ kernel[:, 4 * anchor : 4 * anchor + 4]
    np.testing.assert_allclose(out.rpn_box_encodings[1, 2 * cell + anchor], expected, atol=1e-4)


def test_activation_is_relu6():
    head = rpn.RegionProposalHead(1, LayerHyperparams(), first_stage_box_predictor_depth=3)
    assert np.max(head(tf.fill([1, 2, 2, 2], 1e4)).rpn_box_predictor_features) in (0.0, 6.0)


def test_size_dilation_and_batch_norm_are_honoured():
    hyperparams = LayerHyperparams(batch_norm={"momentum": 0.5, "epsilon": 0.01, "center": True, "scale": False})
    head = rpn.RegionProposalHead(
        1,
        hyperparams,
        first_stage_box_predictor_depth=3,
        first_stage_box_predictor_kernel_size=5,
        first_stage_atrous_rate=2,
    )
    head(tf.zeros([1, 4, 4, 2]))
    conv, batch_norm, _ = head.first_conv.layers
    assert conv.kernel.shape == (5, 5, 2, 3)
    assert conv.dilation_rate == (2, 2)
    assert not conv.use_bias
    assert head.box_encodings.use_bias
    before = batch_norm.moving_mean.numpy()
    head(tf.ones([1, 4, 4, 2]), training=False)
    np.testing.assert_array_equal(batch_norm.moving_mean, before)
    head(tf.ones([1, 4, 4, 2]), training=True)
    assert np.any(batch_norm.moving_mean.numpy() != before)


def test_proposals_are_the_best_anchors_when_nothing_is_shifted():
    logits = tf.constant([[[0.0, 1.0], [0.0, 2.0], [0.0, -1.0]], [[0.0, 0.0]] * 3])
    result = rpn.propose(
        tf.zeros([2, 3, 4]), logits, tf.constant(ANCHORS), tf.constant([[30, 15, 3]] * 2), first_stage_max_proposals=4
    )
    np.testing.assert_allclose(result.boxes[0, :3], [[0, 0, 8, 8], [0, 2, 4, 10], [10, 10, 30, 15]], atol=1e-5)
    np.testing.assert_allclose(result.scores[0, :3], tf.sigmoid([2.0, 1.0, -1.0]), atol=1e-6)
    np.testing.assert_array_equal(result.num_detections, [3, 3])
    limited = rpn.propose(
        tf.zeros([2, 3, 4]),
        logits,
        tf.constant(ANCHORS),
        tf.constant([[30, 15, 3]] * 2),
        first_stage_nms_score_threshold=0.5,
        first_stage_max_proposals=4,
    )
    np.testing.assert_array_equal(limited.num_detections, [2, 0])


def test_no_anchors():
    result = rpn.propose(
        tf.zeros([1, 0, 4]),
        tf.zeros([1, 0, 2]),
        tf.zeros([0, 4]),
        tf.constant([[8, 8, 3]]),
        first_stage_max_proposals=2,
    )
    assert result.num_detections[0] == 0
    assert result.boxes.shape == (1, 2, 4)

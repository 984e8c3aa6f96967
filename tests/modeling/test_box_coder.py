import numpy as np
import tensorflow as tf

from tfod_csf.modeling import box_coder


def test_code_by_hand():
    # Anchor: center (10, 20), 20 x 10. Box: center (15, 25), 40 x 5.
    # ty = 5/20 * 10, tx = 5/10 * 10, th = ln(40/20) * 5, tw = ln(5/10) * 5.
    code = box_coder.encode(tf.constant([[-5.0, 22.5, 35.0, 27.5]]), tf.constant([[0.0, 15.0, 20.0, 25.0]]))
    np.testing.assert_allclose(code, [[2.5, 5.0, 5 * np.log(2), -5 * np.log(2)]], rtol=1e-6)


def test_decode_undoes_encode_and_anchors_broadcast():
    rng = np.random.default_rng(0)
    top_left = rng.uniform(0, 50, [3, 7, 2])
    boxes = tf.constant(np.concatenate([top_left, top_left + rng.uniform(1, 50, [3, 7, 2])], -1), tf.float32)
    anchors = boxes[0, ::-1] + 3.0  # [7, 4] for [3, 7, 4] boxes
    codes = box_coder.encode(boxes, anchors)
    assert codes.shape == [3, 7, 4]
    np.testing.assert_allclose(box_coder.decode(codes, anchors), boxes, atol=1e-3)


def test_per_class_codes_of_proposals():
    proposals = tf.constant([[0.0, 0.0, 10.0, 10.0], [5.0, 5.0, 25.0, 45.0]])
    decoded = box_coder.decode(tf.zeros([2, 3, 4]), proposals[:, tf.newaxis])
    np.testing.assert_allclose(decoded, np.repeat(proposals[:, None], 3, axis=1))


def test_empty_box_and_empty_anchor_have_finite_codes():
    # 1e-8 in place of each size: ln(1e-8 / 1e-8) = 0; ln(1e-8 / 10) * 5 = -103.6.
    box = tf.zeros([1, 4])
    np.testing.assert_allclose(box_coder.encode(box, box), [[0, 0, 0, 0]])
    code = box_coder.encode(box, tf.constant([[-5.0, -5.0, 5.0, 5.0]]))
    np.testing.assert_allclose(code, [[0, 0, 5 * np.log(1e-9), 5 * np.log(1e-9)]], rtol=1e-6)


def test_no_boxes():
    assert box_coder.encode(tf.zeros([0, 4]), tf.zeros([0, 4])).shape == [0, 4]
    assert box_coder.decode(tf.zeros([2, 0, 4]), tf.zeros([0, 4])).shape == [2, 0, 4]

import numpy as np

from tfod_csf import np_box_ops

A = np.array([[0.0, 0, 2, 2], [1, 1, 1, 1]])  # 2 x 2, and a point
B = np.array([[0.0, 1, 2, 3], [5, 5, 6, 6], [0, 0, 4, 4]])
NONE = np.zeros((0, 4))


def test_area():
    np.testing.assert_array_equal(np_box_ops.area(B), [4, 1, 16])
    assert np_box_ops.area(NONE).shape == (0,)


def test_intersection():
    np.testing.assert_array_equal(np_box_ops.intersection(A, B), [[2, 0, 4], [0, 0, 0]])
    assert np_box_ops.intersection(NONE, B).shape == (0, 3)


def test_iou_by_hand():
    # [0, 0]: 2 / (4 + 4 - 2); [0, 2]: 4 / (4 + 16 - 4). A point has no overlap with anything.
    np.testing.assert_allclose(np_box_ops.iou(A, B), [[1 / 3, 0, 1 / 4], [0, 0, 0]])
    assert np_box_ops.iou(A, NONE).shape == (2, 0)


def test_two_points_at_one_place_do_not_overlap_and_do_not_divide_by_zero():
    with np.errstate(all="raise"):
        assert np_box_ops.iou(A[1:], A[1:]) == [[0]]


def test_float32_stays_float32():
    assert np_box_ops.iou(A.astype(np.float32), B.astype(np.float32)).dtype == np.float32

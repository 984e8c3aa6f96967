"""Crops of small maps, worked by hand: a map whose value is 10 * row + column, so a sample shows its position."""

import numpy as np
import pytest
import tensorflow as tf

from tfod_csf.modeling import roi_crop

FEATURES = np.array([[10.0 * row + column for column in range(5)] for row in range(4)], np.float32)[None, :, :, None]
WHOLE = [0.0, 0.0, 1.0, 1.0]


def crop(boxes, crop_size, kernel=1, stride=1, matmul=True, subsampling=1, features=FEATURES):
    boxes = np.asarray(boxes, np.float32).reshape(len(features), -1, 4)
    pooled = roi_crop.crop_and_pool(
        tf.constant(features), tf.constant(boxes), crop_size, kernel, stride, matmul, subsampling
    )
    return pooled.numpy()


@pytest.mark.parametrize("matmul", [True, False])
def test_corners_of_the_box_are_samples(matmul):
    # 4 rows, 5 columns: corners (0, 0), (0, 4), (3, 0), (3, 4).
    np.testing.assert_allclose(crop([WHOLE], 2, matmul=matmul)[0, :, :, 0], [[0, 4], [30, 34]], atol=1e-4)
    # Rows 0.25 * 3 = 0.75 to 0.75 * 3 = 2.25 in 3 steps: 0.75, 1.5, 2.25; columns 1, 2, 3.
    inner = crop([[0.25, 0.25, 0.75, 0.75]], 3, matmul=matmul)[0, :, :, 0]
    np.testing.assert_allclose(inner, [[8.5, 9.5, 10.5], [16, 17, 18], [23.5, 24.5, 25.5]], atol=1e-4)


@pytest.mark.parametrize("matmul", [True, False])
def test_pooling_takes_the_maximum_of_each_window(matmul):
    # Rows 0, 1, 2, 3 and columns 0, 4/3, 8/3, 4; windows of 2 end at rows 1 and 3 and at columns 4/3 and 4.
    pooled = crop([WHOLE], 4, kernel=2, stride=2, matmul=matmul)[0, :, :, 0]
    np.testing.assert_allclose(pooled, [[10 + 4 / 3, 14], [30 + 4 / 3, 34]], atol=1e-4)


@pytest.mark.parametrize("matmul", [True, False])
@pytest.mark.parametrize(("crop_size", "kernel", "stride"), [(14, 2, 2), (7, 1, 1), (10, 2, 2), (9, 3, 2), (2, 2, 2)])
def test_subsampling_gives_every_second_pooled_cell(crop_size, kernel, stride, matmul):
    boxes = [[0.1, 0.2, 0.7, 0.95], [0.0, 0.0, 0.0, 0.0], [0.3, 0.3, 0.35, 0.31]]
    features = np.random.RandomState(0).uniform(-1, 1, [1, 6, 7, 3]).astype(np.float32)
    whole = crop(boxes, crop_size, kernel, stride, matmul, features=features)
    part = crop(boxes, crop_size, kernel, stride, matmul, subsampling=2, features=features)
    np.testing.assert_allclose(part, whole[:, ::2, ::2], atol=1e-5)


def test_beyond_the_far_edge():
    box = [1.0, 0.0, 1.0 + 1 / 6, 1.0]  # rows 3 and 3.5 of 0..3
    np.testing.assert_allclose(crop([box], 2)[0, :, :, 0], [[30, 34], [15, 17]], atol=1e-4)  # fades within a cell
    np.testing.assert_allclose(crop([box], 2, matmul=False)[0, 1], 0.0)  # nothing at once


def test_each_box_is_cut_from_its_own_image():
    features = np.concatenate([FEATURES, FEATURES + 100])
    crops = crop([[WHOLE, [0, 0, 0, 0]], [WHOLE, WHOLE]], 2, features=features)
    assert crops.shape == (4, 2, 2, 1)
    np.testing.assert_allclose(crops[:, 0, 1, 0], [4, 0, 104, 104], atol=1e-3)


def test_one_sample_lies_in_the_middle():
    np.testing.assert_allclose(crop([WHOLE], 1)[0, 0, 0], 17.0, atol=1e-4)  # row 1.5, column 2


def test_no_proposals():
    assert crop(np.zeros([1, 0, 4]), 4, 2, 2).shape == (0, 2, 2, 1)


def test_gradient_of_padding_is_that_of_one_cell():
    """A box without area reads one cell only, so all its gradient arrives there, as with max pooling."""
    features = tf.constant(FEATURES)
    with tf.GradientTape() as tape:
        tape.watch(features)
        total = tf.reduce_sum(roi_crop.crop_and_pool(features, tf.zeros([1, 1, 4]), 4, 2, 2, True))
    expected = np.zeros_like(FEATURES)
    expected[0, 0, 0, 0] = 4.0
    np.testing.assert_allclose(tape.gradient(total, features), expected, atol=1e-5)


def gradient_of(features, boxes, weights, crop_size, kernel, stride, matmul):
    features = tf.constant(features)
    with tf.GradientTape() as tape:
        tape.watch(features)
        pooled = roi_crop.crop_and_pool(features, tf.constant(boxes), crop_size, kernel, stride, matmul)
        total = tf.reduce_sum(pooled * weights)
    return tape.gradient(total, features).numpy()


@pytest.mark.parametrize("matmul", [True, False])
@pytest.mark.parametrize(("crop_size", "kernel", "stride"), [(4, 1, 1), (4, 2, 2), (1, 1, 1)])
def test_gradient_is_the_slope_of_the_crops(crop_size, kernel, stride, matmul):
    """Against differences: crops are linear in the features, but for the maximum, whose choice small steps keep."""
    random = np.random.RandomState(0)
    features = random.uniform(-1, 1, [2, 4, 5, 2]).astype(np.float32)
    boxes = (
        [[0.1, 0.2, 0.7, 0.95], [0, 0, 0, 0], [0, 0, 1, 1]],
        [[0.9, 0.5, 1.2, 0.8], [0.3, 0.3, 0.31, 0.35], [1, 1, 1, 1]],
    )
    boxes = np.array(boxes, np.float32)
    side = (crop_size - kernel) // stride + 1
    weights = random.uniform(-1, 1, [6, side, side, 2]).astype(np.float32)
    found = gradient_of(features, boxes, weights, crop_size, kernel, stride, matmul)
    expected = np.zeros_like(features)
    for place in np.ndindex(features.shape):
        ends = []
        for step in (2**-8, -(2**-8)):
            moved = features.copy()
            moved[place] += step
            pooled = crop(boxes, crop_size, kernel, stride, matmul, features=moved)
            ends.append(np.sum(pooled.astype(np.float64) * weights))
        expected[place] = (ends[0] - ends[1]) * 2**7
    np.testing.assert_allclose(found, expected, atol=2e-4)


def test_gradient_without_proposals_is_zero():
    assert not gradient_of(FEATURES, np.zeros([1, 0, 4], np.float32), np.zeros([0, 2, 2, 1]), 4, 2, 2, True).any()


def test_gradient_loses_nothing_between_threads():
    """All boxes add to the same cells, from as many threads as there are: what arrives is what was sent."""
    num_boxes, channels = 256, 512
    boxes = np.tile(np.float32([0.2, 0.2, 0.8, 0.8]), [1, num_boxes, 1])
    weights = np.ones([num_boxes, 7, 7, channels], np.float32)
    features = np.zeros([1, 3, 3, channels], np.float32)
    for _ in range(5):
        found = gradient_of(features, boxes, weights, 7, 1, 1, True)
        np.testing.assert_allclose(found.sum(axis=(0, 1, 2)), num_boxes * 49, rtol=1e-4)


def square(side_px: float, image_px: float) -> list[float]:
    return [0.0, 0.0, side_px / image_px, side_px / image_px]


def test_levels_of_a_pyramid_follow_from_the_side_of_a_proposal():
    """In an input of 640 px: 224 px and more (root of the area) belong to the last level but one, and so by octaves."""
    sides = [500.0, 450.0, 440.0, 230.0, 220.0, 113.0, 100.0, 57.0, 50.0, 3.0]
    boxes = [square(side, 640) for side in sides]
    boxes.append([0.0, 0.0, 0.0, 0.0])  # a padding row
    boxes.append([0.1, 0.0, 0.1 + 100 / 640, 1.0])  # 100 x 640 px: the root is 253 px
    levels = roi_crop.feature_levels(tf.constant([boxes]), tf.constant([1, 640, 640, 3]), 5)
    assert levels[0].numpy().tolist() == [4, 4, 3, 3, 2, 2, 1, 1, 0, 0, 0, 3]
    # Sides count in pixels, so the same fractions of a larger input are one level higher.
    levels = roi_crop.feature_levels(tf.constant([boxes]), tf.constant([1, 1280, 1280, 3]), 5)
    assert levels[0].numpy().tolist() == [4, 4, 4, 4, 3, 3, 2, 2, 1, 0, 0, 4]


@pytest.mark.parametrize("matmul", [True, False])
def test_each_proposal_is_cropped_from_the_map_of_its_level(matmul):
    """Three levels in an input of 448 px: 224 to 448 px belong to level 1; the maps hold 1, 2 and 3, the last 1 x 1."""
    maps = [tf.fill([2, size, size, 1], value) for size, value in ((4, 1.0), (2, 2.0), (1, 3.0))]
    boxes = tf.constant([[square(100, 448), square(300, 448)], [WHOLE, square(200, 448)]])
    arguments = {"initial_crop_size": 4, "maxpool_kernel_size": 2, "maxpool_stride": 2}
    with tf.GradientTape() as tape:
        tape.watch(maps)
        crops = roi_crop.multilevel_crop_and_pool(
            maps, boxes, tf.constant([2, 448, 448, 3]), use_matmul_crop_and_resize=matmul, **arguments
        )
    assert crops.shape == (4, 2, 2, 1)
    for proposal, value in enumerate([1.0, 2.0, 3.0, 1.0]):
        np.testing.assert_allclose(crops[proposal], np.full([2, 2, 1], value), atol=1e-5)
    # Each of the 4 cells of a crop sends its gradient to the map it was cut from, image by image.
    sums = [tf.reduce_sum(gradient, axis=[1, 2, 3]).numpy() for gradient in tape.gradient(crops, maps)]
    np.testing.assert_allclose(sums, [[4, 4], [4, 0], [0, 4]], atol=1e-4)


def test_one_map_serves_proposals_of_every_size():
    boxes = tf.constant([[square(1, 448), WHOLE]])
    arguments = {"initial_crop_size": 2, "maxpool_kernel_size": 1, "maxpool_stride": 1}
    crops = roi_crop.multilevel_crop_and_pool(
        [tf.constant(FEATURES)], boxes, tf.constant([1, 448, 448, 3]), **arguments
    )
    np.testing.assert_array_equal(crops, roi_crop.crop_and_pool(tf.constant(FEATURES), boxes, **arguments))

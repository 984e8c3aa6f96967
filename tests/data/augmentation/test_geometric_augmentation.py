"""Flips, turns, scales and jitters worked by hand on an image of 2 x 3 pixels."""

import numpy as np
import pytest
import tensorflow as tf

from tfod_csf.config.protos import preprocessor_pb2
from tfod_csf.data.augmentation import geometric_augmentation as geometric

PIXELS = [[1, 2, 3], [4, 5, 6]]
BOX = [0.1, 0.2, 0.5, 0.6]
JitterMode = preprocessor_pb2.RandomJitterBoxes


class StatedSampler:
    """Every uniform number is this one, or these; notes from which range they were wanted."""

    def __init__(self, numbers):
        self.numbers = numbers

    def uniform(self, name, minval=0.0, maxval=1.0, shape=()):
        self.range = (minval, maxval)
        return tf.broadcast_to(tf.constant(self.numbers, tf.float32), shape)


def example_of(*boxes):
    image = np.repeat(np.array(PIXELS, np.float32)[:, :, np.newaxis], 3, axis=2)
    return {"image": tf.constant(image), "groundtruth_boxes": tf.constant(boxes, tf.float32, [len(boxes), 4])}


def result(example):
    return example["image"].numpy()[..., 0].tolist(), example["groundtruth_boxes"].numpy()


@pytest.mark.parametrize(
    ("step", "pixels", "box"),
    [
        (geometric.random_horizontal_flip, [[3, 2, 1], [6, 5, 4]], [0.1, 0.4, 0.5, 0.8]),
        (geometric.random_vertical_flip, [[4, 5, 6], [1, 2, 3]], [0.5, 0.2, 0.9, 0.6]),
        # Counter-clockwise: the last column becomes the first row, and y is 1 - x.
        (geometric.random_rotation90, [[3, 6], [2, 5], [1, 4]], [0.4, 0.1, 0.8, 0.5]),
    ],
)
def test_flips_and_turns(step, pixels, box):
    found_pixels, found_boxes = result(step(example_of(BOX), StatedSampler(0.49)))
    assert found_pixels == pixels
    np.testing.assert_allclose(found_boxes, [box], atol=1e-6)
    # A number that is not below the probability changes nothing.
    found_pixels, found_boxes = result(step(example_of(BOX), StatedSampler(0.5)))
    assert found_pixels == PIXELS
    np.testing.assert_allclose(found_boxes, [BOX])
    assert result(step(example_of(), StatedSampler(0.0)))[1].shape == (0, 4)


def test_scale_truncates_the_new_sides_and_leaves_boxes():
    sampler = StatedSampler(1.9)
    scaled = geometric.random_image_scale(example_of(BOX), sampler, 0.5, 2.0)
    assert scaled["image"].shape == (3, 5, 3)  # 2 * 1.9 = 3.8, 3 * 1.9 = 5.7
    assert sampler.range == (0.5, 2.0)
    # Corners are kept (align_corners), so the middle of the first row is its middle pixel.
    np.testing.assert_allclose(scaled["image"][0, :, 0], [1, 1.5, 2, 2.5, 3], atol=1e-6)
    np.testing.assert_allclose(scaled["groundtruth_boxes"], [BOX])


def jittered(box, numbers, mode, ratio=0.2):
    sampler = StatedSampler(numbers)
    boxes = geometric.random_jitter_boxes(example_of(box), sampler, ratio, mode)["groundtruth_boxes"].numpy()[0]
    return boxes.tolist(), sampler.range


def test_jitter_moves_each_side_by_its_own_number():
    # Center (0.5, 0.5), size (0.4, 0.2): a side is at 0.5 -/+ size * (1 + u) / 2.
    found, limits = jittered([0.3, 0.4, 0.7, 0.6], [0.1, -0.1, 0.2, 0.0], JitterMode.DEFAULT)
    assert found == pytest.approx([0.5 - 0.22, 0.5 - 0.09, 0.5 + 0.24, 0.6])
    assert limits == (-0.2, 0.2)


@pytest.mark.parametrize(
    ("mode", "limits"),
    [
        (JitterMode.EXPAND, (0.0, 0.2)),
        (JitterMode.SHRINK, (-0.2, 0.0)),
        (JitterMode.EXPAND_SYMMETRIC, (0.0, 0.2)),
        (JitterMode.SHRINK_SYMMETRIC_XY, (-0.2, 0.0)),
    ],
)
def test_modes_decide_from_which_range_numbers_come(mode, limits):
    assert jittered([0.3, 0.4, 0.7, 0.6], 0.0, mode)[1] == limits


def test_symmetric_modes_keep_the_center():
    box = [0.3, 0.4, 0.7, 0.6]
    found, _ = jittered(box, [0.1, 0.2], JitterMode.EXPAND_SYMMETRIC)
    assert found == pytest.approx([0.5 - 0.22, 0.5 - 0.12, 0.5 + 0.22, 0.5 + 0.12])
    found, _ = jittered(box, [0.1, 0.2], JitterMode.EXPAND_SYMMETRIC_XY)
    assert found == pytest.approx([0.5 - 0.22, 0.5 - 0.11, 0.5 + 0.22, 0.5 + 0.11])


def test_a_symmetric_box_does_not_grow_beyond_the_image():
    # Center (0.5, 0.1), size (0.4, 0.2): x already touches the border, so it cannot grow; y can, by 0.2.
    box = [0.3, 0.0, 0.7, 0.2]
    found, _ = jittered(box, [0.2, 0.2], JitterMode.EXPAND_SYMMETRIC)
    assert found == pytest.approx([0.5 - 0.24, 0.0, 0.5 + 0.24, 0.2], abs=1e-6)
    found, _ = jittered(box, [0.2, 0.2], JitterMode.EXPAND_SYMMETRIC_XY)
    assert found == pytest.approx(box, abs=1e-6)


def test_jitter_clips_to_the_image_and_takes_no_boxes():
    assert jittered([0.0, 0.0, 1.0, 1.0], 0.2, JitterMode.DEFAULT)[0] == [0, 0, 1, 1]
    none = geometric.random_jitter_boxes(example_of(), StatedSampler(0.1))
    assert none["groundtruth_boxes"].shape == (0, 4)
    # A box without area stays where it is.
    assert jittered([0.5, 0.5, 0.5, 0.5], 0.1, JitterMode.EXPAND_SYMMETRIC)[0] == [0.5] * 4

"""Crops and paddings worked out by hand on an image of 10 x 20 pixels, each pixel's value its column."""

import numpy as np
import pytest
import tensorflow as tf

from tfod_csf.data.augmentation import crop_augmentation


class ListedSampler:
    """Returns these numbers one after the other."""

    def __init__(self, *numbers):
        self.numbers = list(numbers)

    def integer(self, name, minval, maxval):
        number = self.numbers.pop(0)
        assert int(minval) <= number < max(int(maxval), int(minval) + 1), (name, int(minval), int(maxval))
        return tf.constant(number)


def example_of(*boxes):
    columns = np.broadcast_to(np.arange(20, dtype=np.float32)[None, :, None], (10, 20, 3))
    return {
        "image": tf.constant(columns),
        "groundtruth_boxes": tf.constant(boxes, tf.float32, [len(boxes), 4]),
        "groundtruth_classes": tf.range(1, len(boxes) + 1),
    }


def test_crop_keeps_boxes_by_their_share_inside():
    # The window is rows 0..9, columns 5..14 = x 0.25..0.75. The boxes lie in it by 1, 0.5, 0.2 and 0.
    boxes = [(0, 0.3, 1, 0.5), (0, 0.0, 1, 0.5), (0, 0.7, 1, 0.95), (0, 0.0, 1, 0.25)]
    example = crop_augmentation.crop(
        example_of(*boxes), tf.constant([0, 5]), tf.constant([10, 10]), overlap_thresh=0.3, clip_boxes=True
    )
    assert example["image"].shape == (10, 10, 3)
    assert example["image"][0, 0, 0] == 5
    assert example["groundtruth_classes"].numpy().tolist() == [1, 2]
    np.testing.assert_allclose(example["groundtruth_boxes"], [[0, 0.1, 1, 0.5], [0, 0, 1, 0.5]], atol=1e-6)


@pytest.mark.parametrize("boxes", [[], [(0.9, 0.9, 1.0, 1.0)]])
def test_crop_without_any_box_left(boxes):
    example = crop_augmentation.crop(example_of(*boxes), tf.constant([0, 0]), tf.constant([2, 2]), 0.0, False)
    assert example["groundtruth_boxes"].shape == (0, 4)
    assert example["groundtruth_classes"].shape == (0,)


def test_random_pad_image():
    # New size 14 x 30, image at row 3, column 6; the box 0..1 of the image is rows 3..13 of 14, columns 6..26 of 30.
    sampler = ListedSampler(14, 30, 3, 6)
    example = crop_augmentation.random_pad_image(example_of((0, 0, 1, 1)), sampler, pad_color=(1, 2, 3))
    assert example["image"].shape == (14, 30, 3)
    assert example["image"][0, 0].numpy().tolist() == [1, 2, 3]
    assert example["image"][3, 6].numpy().tolist() == [0, 0, 0]
    assert example["image"][12, 25].numpy().tolist() == [19, 19, 19]
    np.testing.assert_allclose(example["groundtruth_boxes"], [[3 / 14, 6 / 30, 13 / 14, 26 / 30]], rtol=1e-6)


def test_random_pad_image_takes_the_mean_color_and_twice_the_size_as_limit():
    example = crop_augmentation.random_pad_image(example_of(), ListedSampler(19, 39, 8, 18))
    assert example["image"][0, 0, 0] == 9.5
    example = crop_augmentation.random_pad_image(
        example_of(), ListedSampler(12, 20, 0, 0), 12, 5, 13, 5
    )  # a limit below the image's size leaves that side
    assert example["image"].shape == (12, 20, 3)


def test_random_absolute_pad_image():
    example = crop_augmentation.random_absolute_pad_image(example_of(), ListedSampler(14, 22, 0, 1), 5, 3)
    assert example["image"].shape == (14, 22, 3)


def test_random_crop_to_aspect_ratio():
    # Width / height 1 of 10 x 20: 10 columns, here from column 4: x 0.2..0.7.
    example = crop_augmentation.random_crop_to_aspect_ratio(example_of((0, 0.2, 1, 0.45)), ListedSampler(0, 4))
    assert example["image"].shape == (10, 10, 3)
    assert example["image"][0, 0, 0] == 4
    np.testing.assert_allclose(example["groundtruth_boxes"], [[0, 0, 1, 0.5]], atol=1e-6)
    # 4 of 10 x 20: 5 rows.
    assert crop_augmentation.random_crop_to_aspect_ratio(example_of(), ListedSampler(5, 0), 4.0)["image"].shape[0] == 5


def test_random_square_crop_by_scale():
    # Scale 0.6 of the longer side 20: a square of 12 around row 5, column 4: rows -1..10, columns -2..9. Only rows
    # 0..8 enter it (the image's last row never does, as in TFOD), below one row of black.
    sampler = ListedSampler(0, 5, 4)
    boxes = [(0, 0, 1, 0.5), (0.0, 0.6, 1.0, 0.9)]
    example = crop_augmentation.random_square_crop_by_scale(example_of(*boxes), sampler, max_border=4)
    image = example["image"][..., 0].numpy()
    assert image.shape == (12, 12)
    assert image[5].tolist() == [0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert not image[0].any()
    assert not image[10:].any()
    # Box 1 is rows 0..10, columns 0..10, that is rows 1..11 and columns 2..12 of the square; box 2 begins at column 12.
    np.testing.assert_allclose(example["groundtruth_boxes"], [[1 / 12, 2 / 12, 11 / 12, 1]], rtol=1e-6)


def test_border_is_halved_until_it_fits():
    # 128 exceeds half of 10: 128 / 2^5 = 4 is the first that does not; 20: 128 / 2^4 = 8.
    assert crop_augmentation.halved_border(128, tf.constant([10, 20])).numpy().tolist() == [4, 8]
    assert crop_augmentation.halved_border(128, tf.constant([1000, 256])).numpy().tolist() == [128, 128]


def test_ssd_random_crop_uses_zero_for_what_an_operation_does_not_name():
    seen = []

    class FirstChoice(ListedSampler):
        def window(self, name, image_shape, boxes, min_object_covered, aspect_ratio_range, area_range):
            seen.append((min_object_covered, aspect_ratio_range, area_range))
            return tf.constant([0, 0]), tf.constant([10, 20])

    operations = ({"min_object_covered": 0.5, "max_aspect_ratio": 2.0, "max_area": 1.0},)
    crop_augmentation.ssd_random_crop(example_of(), FirstChoice(0), operations)
    assert seen == [(0.5, (0.0, 2.0), (0.0, 1.0))]

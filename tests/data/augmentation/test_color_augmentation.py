import numpy as np
import tensorflow as tf

from tfod_csf.data.augmentation import color_augmentation


class ListedSampler:
    """Returns these numbers one after the other."""

    def __init__(self, *numbers):
        self.numbers = list(numbers)

    def uniform(self, name, minval=0.0, maxval=1.0, shape=()):
        return tf.constant(self.numbers.pop(0), tf.float32)


def gray(value, height=4, width=8):
    return {"image": tf.fill([height, width, 3], float(value))}


def test_brightness_is_clipped():
    assert color_augmentation.random_adjust_brightness(gray(250), ListedSampler(0.2))["image"][0, 0, 0] == 255


def test_adjust_gamma():
    # 51 / 255 = 0.2; 2 * 0.2 ** 2 = 0.08 -> 20.4 gray levels.
    image = color_augmentation.adjust_gamma(gray(51), None, gamma=2.0, gain=2.0)["image"]
    np.testing.assert_allclose(image, np.full((4, 8, 3), 20.4), rtol=1e-6)


def test_black_patches():
    # Side 0.5 * 4 = 2 px; the first try is applied at row 0.25 * 4 = 1, column 0.5 * 8 = 4, the second is not.
    sampler = ListedSampler(0.3, [0.25, 0.5], 0.6, [0.0, 0.0])
    image = color_augmentation.random_black_patches(gray(9), sampler, 2, 0.5, 0.5)["image"].numpy()
    expected = np.full((4, 8, 3), 9.0)
    expected[1:3, 4:6] = 0
    np.testing.assert_array_equal(image, expected)

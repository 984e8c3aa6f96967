import numpy as np
import tensorflow as tf

from tfod_csf.network_input import image_normalizer


def test_black_pixel_becomes_minus_the_mean():
    image = image_normalizer.subtract_channel_means(tf.zeros([1, 2, 3]))
    np.testing.assert_allclose(image[0, 1], [-123.68, -116.779, -103.939])


def test_one_channel_passes():
    np.testing.assert_array_equal(
        image_normalizer.subtract_channel_means(tf.fill([2, 2, 1], 7.0)), np.full((2, 2, 1), 7)
    )

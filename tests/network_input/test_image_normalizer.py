import numpy as np
import pytest
import tensorflow as tf

from tfod_csf.network_input import image_normalizer


def test_black_pixel_becomes_minus_the_mean():
    image = image_normalizer.subtract_channel_means(tf.zeros([1, 2, 3]))
    np.testing.assert_allclose(image[0, 1], [-123.68, -116.779, -103.939])


@pytest.mark.parametrize("channels", [1, 4])
def test_other_numbers_of_channels_are_refused(channels):
    with pytest.raises(ValueError, match="incompatible"):
        image_normalizer.subtract_channel_means(tf.zeros([2, 2, channels]))

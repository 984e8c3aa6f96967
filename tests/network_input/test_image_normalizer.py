import numpy as np
import pytest
import tensorflow as tf

from tfod_csf.network_input import image_normalizer


def test_black_pixel_becomes_minus_the_mean():
    image = image_normalizer.subtract_channel_means(tf.zeros([1, 2, 3]))
    np.testing.assert_allclose(image[0, 1], [-123.68, -116.779, -103.939])


def test_black_white_and_gray_become_minus_one_one_and_zero():
    image = image_normalizer.scale_to_minus_one_to_one(tf.constant([[[0.0, 255.0, 127.5]]]))
    np.testing.assert_allclose(image[0, 0], [-1.0, 1.0, 0.0], atol=1e-6)


@pytest.mark.parametrize("normalizer", [image_normalizer.of_extractor("faster_rcnn_resnet50_keras")])
def test_restore_gives_the_gray_levels_back(normalizer):
    image = np.array([[[0.0, 17.0, 255.0]]], np.float32)
    np.testing.assert_allclose(normalizer.restore(normalizer.normalize(tf.constant(image)).numpy()), image, atol=1e-4)


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize(
    "normalize", [image_normalizer.subtract_channel_means, image_normalizer.scale_to_minus_one_to_one]
)
def test_other_numbers_of_channels_are_refused(normalize, channels):
    with pytest.raises(ValueError, match="incompatible"):
        normalize(tf.zeros([2, 2, channels]))

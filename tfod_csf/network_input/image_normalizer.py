"""What the feature extractors expect of pixel values, from RGB images in 0..255."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfod_csf.config import extractor_types

# Red, green, blue, in gray levels of 0..255. The order is RGB and nothing is divided.
CHANNEL_MEANS = (123.68, 116.779, 103.939)


class ImageNormalizer(NamedTuple):
    """Pixel values as a network expects them, and back.

    Attributes:
      normalize: RGB images [..., 3] in 0..255 to the network's values. It comes after padding, so a pixel padded with 0
        becomes what a black pixel becomes.
      restore: network input [..., 3] back to gray levels of 0..255, float32, for pictures.
    """

    normalize: Callable[[tf.Tensor], tf.Tensor]
    restore: Callable[[np.ndarray], np.ndarray]


def of_extractor(extractor_type: str) -> ImageNormalizer:
    """The normalizer of a feature_extractor.type."""
    return _NORMALIZERS[extractor_types.TYPES[extractor_type].pixel_values]


def subtract_channel_means(image: tf.Tensor) -> tf.Tensor:
    """Subtracts CHANNEL_MEANS, the mean of ImageNet's pixels, from RGB images [..., 3] in 0..255 (the ResNets).

    Raises:
      ValueError: the images have another number of channels, which the subtraction would otherwise broadcast.
    """
    image.shape[-1:].assert_is_compatible_with([len(CHANNEL_MEANS)])
    return image - tf.constant(CHANNEL_MEANS, image.dtype)


def scale_to_minus_one_to_one(image: tf.Tensor) -> tf.Tensor:
    """Scales RGB images [..., 3] in 0..255 to -1..1 (the Inceptions).

    Raises:
      ValueError: the images have another number of channels.
    """
    image.shape[-1:].assert_is_compatible_with([len(CHANNEL_MEANS)])
    return (2.0 / 255.0) * image - 1.0


def _add_channel_means(network_input: np.ndarray) -> np.ndarray:
    return network_input + np.asarray(CHANNEL_MEANS, np.float32)


def _scale_to_gray_levels(network_input: np.ndarray) -> np.ndarray:
    return (network_input + 1.0) * (255.0 / 2.0)


_NORMALIZERS = {
    extractor_types.CHANNEL_MEANS: ImageNormalizer(subtract_channel_means, _add_channel_means),
    extractor_types.MINUS_ONE_TO_ONE: ImageNormalizer(scale_to_minus_one_to_one, _scale_to_gray_levels),
}

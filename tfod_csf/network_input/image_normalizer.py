"""What the ResNet v1 feature extractors expect of pixel values: RGB, 0..255, less the mean of ImageNet's pixels."""

import tensorflow as tf

# Red, green, blue, in gray levels of 0..255. The order is RGB and nothing is divided.
CHANNEL_MEANS = (123.68, 116.779, 103.939)


def subtract_channel_means(image: tf.Tensor) -> tf.Tensor:
    """Subtracts CHANNEL_MEANS from RGB images [..., 3] in 0..255.

    Padding comes before the subtraction, so a pixel padded with 0 becomes minus the mean.

    Raises:
      ValueError: the images have another number of channels, which the subtraction would otherwise broadcast.
    """
    image.shape[-1:].assert_is_compatible_with([len(CHANNEL_MEANS)])
    return image - tf.constant(CHANNEL_MEANS, image.dtype)

"""Augmentation steps that change pixel values and leave the boxes alone.

Shape shorthand in this module: h x w the image.

An example is a dict of one image's tensors under TFOD's names; here only `image` matters: float32 [h, w, 3], RGB,
0..255. Each step has the name and the arguments of its message in preprocessor.proto, takes its random numbers from
`sampler` (see random_numbers.py), and returns a new dict. Values are clipped to 0..255 after each change.
"""

from collections.abc import Callable

import tensorflow as tf

from tfod_csf.data.augmentation.random_numbers import StatelessSampler

Example = dict[str, tf.Tensor]

# Ranges of random_distort_color; the message has no fields for them.
_DISTORT_BRIGHTNESS = 32.0 / 255.0
_DISTORT_SATURATION = (0.5, 1.5)
_DISTORT_HUE = 0.2
_DISTORT_CONTRAST = (0.5, 1.5)


def _with_image(example: Example, change: Callable[[tf.Tensor], tf.Tensor]) -> Example:
    return {**example, "image": change(example["image"])}


def _with_unit_image(example: Example, change: Callable[[tf.Tensor], tf.Tensor]) -> Example:
    """Applies a change that is defined for pixel values 0..1, then clips."""
    return _with_image(example, lambda image: tf.clip_by_value(change(image / 255.0) * 255.0, 0.0, 255.0))


def random_adjust_brightness(example: Example, sampler: StatelessSampler, max_delta: float = 0.2) -> Example:
    """Adds one number from [-max_delta, max_delta) to all values; 1.0 is the whole range of gray levels."""
    delta = sampler.uniform("adjust_brightness", -max_delta, max_delta)
    return _with_unit_image(example, lambda image: image + delta)


def random_adjust_contrast(
    example: Example, sampler: StatelessSampler, min_delta: float = 0.8, max_delta: float = 1.25
) -> Example:
    """Multiplies the distance of each value from its channel's mean by one factor from [min_delta, max_delta)."""
    factor = sampler.uniform("adjust_contrast", min_delta, max_delta)
    return _with_unit_image(example, lambda image: tf.image.adjust_contrast(image, factor))


def random_adjust_hue(example: Example, sampler: StatelessSampler, max_delta: float = 0.02) -> Example:
    """Turns the hue by an angle from [-max_delta, max_delta); 1.0 is a full turn."""
    delta = sampler.uniform("adjust_hue", -max_delta, max_delta)
    return _with_unit_image(example, lambda image: tf.image.adjust_hue(image, delta))


def random_adjust_saturation(
    example: Example, sampler: StatelessSampler, min_delta: float = 0.8, max_delta: float = 1.25
) -> Example:
    """Multiplies the saturation (of HSV) by one factor from [min_delta, max_delta)."""
    factor = sampler.uniform("adjust_saturation", min_delta, max_delta)
    return _with_unit_image(example, lambda image: tf.image.adjust_saturation(image, factor))


def random_distort_color(example: Example, sampler: StatelessSampler, color_ordering: int = 0) -> Example:
    """Brightness, saturation, hue and contrast together.

    Args:
      example: one image's tensors.
      sampler: of the random numbers.
      color_ordering: 0 for brightness, saturation, hue, contrast; 1 for brightness, contrast, saturation, hue.
    """
    steps = {
        "brightness": lambda example: random_adjust_brightness(example, sampler, _DISTORT_BRIGHTNESS),
        "saturation": lambda example: random_adjust_saturation(example, sampler, *_DISTORT_SATURATION),
        "hue": lambda example: random_adjust_hue(example, sampler, _DISTORT_HUE),
        "contrast": lambda example: random_adjust_contrast(example, sampler, *_DISTORT_CONTRAST),
    }
    orders = {0: ("brightness", "saturation", "hue", "contrast"), 1: ("brightness", "contrast", "saturation", "hue")}
    for name in orders[color_ordering]:
        example = steps[name](example)
    return example


def random_rgb_to_gray(example: Example, sampler: StatelessSampler, probability: float = 0.1) -> Example:
    """Makes the three channels equal to the image's luminance, with this probability (random number <= probability)."""
    applied = (sampler.uniform("rgb_to_gray") <= probability) & (probability > 0)
    return _with_image(
        example,
        lambda image: tf.cond(applied, lambda: tf.repeat(tf.image.rgb_to_grayscale(image), 3, axis=2), lambda: image),
    )


def random_pixel_value_scale(
    example: Example, sampler: StatelessSampler, minval: float = 0.9, maxval: float = 1.1
) -> Example:
    """Multiplies each value (pixel and channel) by a factor of its own from [minval, maxval)."""
    factor = sampler.uniform("pixel_value_scale", minval, maxval, tf.shape(example["image"]))
    return _with_image(example, lambda image: tf.clip_by_value(image * factor, 0.0, 255.0))


def random_jpeg_quality(
    example: Example,
    sampler: StatelessSampler,
    random_coef: float = 0.0,
    min_jpeg_quality: int = 0,
    max_jpeg_quality: int = 100,
) -> Example:
    """Encodes and decodes the image as JPEG of a quality from [min_jpeg_quality, max_jpeg_quality).

    `random_coef` is the probability of leaving the image as it is.
    """
    applied = sampler.uniform("jpeg_quality_applied") >= random_coef
    quality = sampler.integer("jpeg_quality", min_jpeg_quality, max_jpeg_quality)

    def through_jpeg(image: tf.Tensor) -> tf.Tensor:
        return tf.cast(tf.image.adjust_jpeg_quality(tf.cast(image, tf.uint8), quality), tf.float32)

    return _with_image(example, lambda image: tf.cond(applied, lambda: through_jpeg(image), lambda: image))


def random_black_patches(
    example: Example,
    sampler: StatelessSampler,
    max_black_patches: int = 10,
    probability: float = 0.5,
    size_to_image_ratio: float = 0.1,
) -> Example:
    """Blackens up to max_black_patches squares, each with this probability (random number <= probability).

    Their side is size_to_image_ratio of the image's shorter side; they may overlap.
    """
    image = example["image"]
    height, width = tf.shape(image)[0], tf.shape(image)[1]
    image_size = tf.cast([height, width], tf.float32)
    side = tf.cast(tf.reduce_min(image_size) * size_to_image_ratio, tf.int32)
    for _ in range(max_black_patches):
        applied = (sampler.uniform("black_patches") <= probability) & (probability > 0)
        corner = sampler.uniform("add_black_patch", 0.0, 1.0 - size_to_image_ratio, [2])
        top, left = tf.unstack(tf.cast(corner * image_size, tf.int32))
        rows, columns = tf.range(height)[:, tf.newaxis], tf.range(width)[tf.newaxis]
        inside = (rows >= top) & (rows < top + side) & (columns >= left) & (columns < left + side)
        image = tf.where((inside & applied)[..., tf.newaxis], 0.0, image)
    return {**example, "image": image}


def adjust_gamma(example: Example, sampler: StatelessSampler, gamma: float = 1.0, gain: float = 1.0) -> Example:
    """Values 0..1 to the power gamma, times gain; not random."""
    return _with_unit_image(example, lambda image: gain * image**gamma)

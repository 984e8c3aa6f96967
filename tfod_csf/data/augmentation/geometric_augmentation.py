"""Augmentation steps that move pixels and boxes but keep every object.

Shape shorthand in this module: M objects of one image; h x w the image.

An example is a dict of one image's tensors under TFOD's names: `image` float32 [h, w, 3] in 0..255; `groundtruth_boxes`
float32 [M, 4] ymin, xmin, ymax, xmax, normalized to `image`, without padding rows. Each step has the name and the
arguments of its message in preprocessor.proto, takes its random numbers from `sampler` (see random_numbers.py) and
returns a new dict.
"""

import tensorflow as tf

from tfod_csf.config.protos import preprocessor_pb2
from tfod_csf.data.augmentation.random_numbers import StatelessSampler
from tfod_csf.network_input import image_resizer

Example = dict[str, tf.Tensor]
_JitterMode = preprocessor_pb2.RandomJitterBoxes


def _maybe(applied: tf.Tensor, example: Example, image: tf.Tensor, boxes: tf.Tensor) -> Example:
    """The example with image and boxes replaced by these where `applied` (bool scalar) holds."""
    new_image, new_boxes = tf.cond(
        applied, lambda: (image(), boxes()), lambda: (example["image"], example["groundtruth_boxes"])
    )
    return {**example, "image": new_image, "groundtruth_boxes": new_boxes}


def random_horizontal_flip(example: Example, sampler: StatelessSampler, probability: float = 0.5) -> Example:
    """Mirrors left and right, with this probability (random number < probability)."""
    ymin, xmin, ymax, xmax = tf.unstack(example["groundtruth_boxes"], axis=1)
    return _maybe(
        sampler.uniform("horizontal_flip") < probability,
        example,
        image=lambda: tf.image.flip_left_right(example["image"]),
        boxes=lambda: tf.stack([ymin, 1.0 - xmax, ymax, 1.0 - xmin], axis=1),
    )


def random_vertical_flip(example: Example, sampler: StatelessSampler, probability: float = 0.5) -> Example:
    """Mirrors top and bottom, with this probability (random number < probability)."""
    ymin, xmin, ymax, xmax = tf.unstack(example["groundtruth_boxes"], axis=1)
    return _maybe(
        sampler.uniform("vertical_flip") < probability,
        example,
        image=lambda: tf.image.flip_up_down(example["image"]),
        boxes=lambda: tf.stack([1.0 - ymax, xmin, 1.0 - ymin, xmax], axis=1),
    )


def random_rotation90(example: Example, sampler: StatelessSampler, probability: float = 0.5) -> Example:
    """Turns by 90 degrees counter-clockwise, with this probability (random number < probability); swaps the sides."""
    ymin, xmin, ymax, xmax = tf.unstack(example["groundtruth_boxes"], axis=1)
    return _maybe(
        sampler.uniform("rotation90") < probability,
        example,
        image=lambda: tf.image.rot90(example["image"]),
        boxes=lambda: tf.stack([1.0 - xmax, ymin, 1.0 - xmin, ymax], axis=1),
    )


def random_image_scale(
    example: Example, sampler: StatelessSampler, min_scale_ratio: float = 0.5, max_scale_ratio: float = 2.0
) -> Example:
    """Resizes both sides by one factor from [min_scale_ratio, max_scale_ratio); the new sides are truncated."""
    factor = sampler.uniform("image_scale", min_scale_ratio, max_scale_ratio)
    new_size = tf.cast(tf.cast(tf.shape(example["image"])[:2], tf.float32) * factor, tf.int32)
    resized = image_resizer.resize(example["image"], new_size[0], new_size[1], align_corners=True)
    return {**example, "image": resized}


def random_jitter_boxes(
    example: Example, sampler: StatelessSampler, ratio: float = 0.05, jitter_mode: int = _JitterMode.DEFAULT
) -> Example:
    """Moves the sides of each box, not the image; boxes are clipped to the image.

    How it works: with box center c, box size s (per axis) and a random number u, a side is put at c -/+ s * (1 + u) /
    2, so it moves by at most ratio / 2 of the box's size. u comes from [-ratio, ratio), for EXPAND modes from [0,
    ratio), for SHRINK modes from [-ratio, 0).

    Args:
      example: one image's tensors.
      sampler: of the random numbers.
      ratio: largest relative change of a box's size.
      jitter_mode: DEFAULT, EXPAND, SHRINK: each of the four sides has its own u. *_SYMMETRIC: one u per axis, so the
          center stays. *_SYMMETRIC_XY: one u for both axes. With one u, a box is never grown beyond the image: 1 + u is
          capped at 2 * min(c, 1 - c) / s.
    """
    boxes = example["groundtruth_boxes"]
    expands = jitter_mode in (_JitterMode.EXPAND, _JitterMode.EXPAND_SYMMETRIC, _JitterMode.EXPAND_SYMMETRIC_XY)
    shrinks = jitter_mode in (_JitterMode.SHRINK, _JitterMode.SHRINK_SYMMETRIC, _JitterMode.SHRINK_SYMMETRIC_XY)
    minval, maxval = (0.0 if expands else -ratio), (0.0 if shrinks else ratio)
    is_xy = jitter_mode in (_JitterMode.EXPAND_SYMMETRIC_XY, _JitterMode.SHRINK_SYMMETRIC_XY)
    is_symmetric = is_xy or jitter_mode in (_JitterMode.EXPAND_SYMMETRIC, _JitterMode.SHRINK_SYMMETRIC)

    center = (boxes[:, :2] + boxes[:, 2:]) / 2.0  # [M, (y, x)]
    size = boxes[:, 2:] - boxes[:, :2]
    if is_symmetric:
        factor = 1.0 + sampler.uniform("jitter_boxes", minval, maxval, [tf.shape(boxes)[0], 2])
        largest = tf.math.divide_no_nan(2.0 * tf.minimum(center, 1.0 - center), size)
        if is_xy:
            factor = tf.repeat(factor[:, :1], 2, axis=1)
            largest = tf.reduce_min(largest, axis=1, keepdims=True)
        factor = tf.minimum(factor, largest)
        factor = tf.concat([factor, factor], axis=1)
    else:
        factor = 1.0 + sampler.uniform("jitter_boxes", minval, maxval, tf.shape(boxes))
    low, high = center - size * factor[:, :2] / 2.0, center + size * factor[:, 2:] / 2.0
    return {**example, "groundtruth_boxes": tf.clip_by_value(tf.concat([low, high], axis=1), 0.0, 1.0)}

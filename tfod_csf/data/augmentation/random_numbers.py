"""Random numbers of the augmentation steps, repeatable and replaceable.

Steps ask a sampler for numbers by name. In training it is `StatelessSampler`, whose numbers depend only on a seed, not
on threads or on what was sampled for other images, so a run with a seed can be repeated. Tests pass an object with the
same three methods that returns given values.
"""

from collections.abc import Sequence

import tensorflow as tf


class StatelessSampler:
    """Random numbers for one step on one image: same seed, same numbers.

    Each call of a method takes the next stream of the seed, in the order of the calls in the code.

    Args:
      seed: integer tensor [2].
    """

    def __init__(self, seed: tf.Tensor):
        self._seed = seed
        self._num_calls = 0

    def _next_seed(self) -> tf.Tensor:
        self._num_calls += 1
        return tf.random.fold_in(self._seed, self._num_calls)

    def uniform(
        self, name: str, minval: float | tf.Tensor = 0.0, maxval: float | tf.Tensor = 1.0, shape: Sequence[int] = ()
    ) -> tf.Tensor:
        """float32 numbers in [minval, maxval); minval where the two are equal."""
        return tf.random.stateless_uniform(shape, self._next_seed(), minval, maxval)

    def integer(self, name: str, minval: int | tf.Tensor, maxval: int | tf.Tensor) -> tf.Tensor:
        """int32 scalar in minval, ..., maxval - 1; minval where that range is empty."""
        maxval = tf.maximum(maxval, minval + 1)
        return tf.random.stateless_uniform([], self._next_seed(), minval, maxval, tf.int32)

    def window(
        self,
        name: str,
        image_shape: tf.Tensor,
        boxes: tf.Tensor,
        min_object_covered: float,
        aspect_ratio_range: tuple[float, float],
        area_range: tuple[float, float],
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """A crop window that holds at least min_object_covered of one box; the whole image after 100 failed attempts.

        Args:
          name: of this random number, for tests.
          image_shape: int32 [3].
          boxes: [M, 4] ymin, xmin, ymax, xmax, normalized to the image, within 0..1; may be empty.
          min_object_covered: share of a box's area, 0..1.
          aspect_ratio_range: smallest and largest width / height of the window.
          area_range: smallest and largest share of the image's area.

        Returns:
          begin (y, x) and size (height, width) of the window in pixels of the image, int32 [2] each.
        """
        begin, size, _ = tf.image.stateless_sample_distorted_bounding_box(
            image_shape,
            boxes[:, tf.newaxis],
            self._next_seed(),
            min_object_covered=min_object_covered,
            aspect_ratio_range=aspect_ratio_range,
            area_range=area_range,
            max_attempts=100,
            use_image_if_no_bounding_boxes=True,
        )
        return begin[:2], size[:2]

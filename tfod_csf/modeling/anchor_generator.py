"""Grid anchors: the boxes the first stage starts from, the same ones around every cell of a feature map.

Shape shorthand in this module:

  h, w: size of the feature map in cells
  A: anchors per cell, len(scales) * len(aspect_ratios)
  N: anchors of one image, h * w * A

Anchors are ordered by row, then column, then aspect ratio, then scale; the channels of the first stage's box predictor
have the same order.
"""

from collections.abc import Sequence

import tensorflow as tf


class GridAnchorGenerator:
    """`grid_anchor_generator` of the config; arguments have the fields' names.

    Args:
      scales: factors of the base size.
      aspect_ratios: width divided by height. The area of an anchor depends on its scale alone.
      height, width: base size in pixels of the network input, of the anchor with scale 1 and aspect ratio 1.
      height_stride, width_stride: distance of neighboring anchor centers, px; the feature map's stride.
      height_offset, width_offset: center of the first anchor, px; 0 is the upper left corner of the image.
    """

    def __init__(
        self,
        scales: Sequence[float],
        aspect_ratios: Sequence[float],
        height: float = 256,
        width: float = 256,
        height_stride: float = 16,
        width_stride: float = 16,
        height_offset: float = 0,
        width_offset: float = 0,
    ):
        self.scales = tuple(scales)
        self.aspect_ratios = tuple(aspect_ratios)
        self.base_size = (float(height), float(width))
        self.stride = (float(height_stride), float(width_stride))
        self.offset = (float(height_offset), float(width_offset))

    @property
    def num_anchors_per_location(self) -> int:
        return len(self.scales) * len(self.aspect_ratios)

    def generate(self, feature_map_height: int | tf.Tensor, feature_map_width: int | tf.Tensor) -> tf.Tensor:
        """Anchors of one image, neither clipped nor rounded.

        Args:
          feature_map_height, feature_map_width: h and w, in cells.

        Returns:
          float32 [N, 4], ymin xmin ymax xmax in pixels of the (padded) network input.
        """
        scales = tf.tile(tf.constant(self.scales, tf.float32), [len(self.aspect_ratios)])
        ratio_roots = tf.repeat(tf.sqrt(tf.constant(self.aspect_ratios, tf.float32)), len(self.scales))
        sizes = tf.stack([scales / ratio_roots * self.base_size[0], scales * ratio_roots * self.base_size[1]], axis=-1)
        y_centers = tf.cast(tf.range(feature_map_height), tf.float32) * self.stride[0] + self.offset[0]
        x_centers = tf.cast(tf.range(feature_map_width), tf.float32) * self.stride[1] + self.offset[1]
        centers = tf.stack(tf.meshgrid(y_centers, x_centers, indexing="ij"), axis=-1)[:, :, tf.newaxis]  # [h, w, 1, 2]
        return tf.reshape(tf.concat([centers - 0.5 * sizes, centers + 0.5 * sizes], axis=-1), [-1, 4])


def multiscale_anchor_generators(
    min_level: int, max_level: int, anchor_scale: float, aspect_ratios: Sequence[float], scales_per_octave: int
) -> tuple[GridAnchorGenerator, ...]:
    """`multiscale_anchor_generator` of the config: the anchors of each level of a feature pyramid, the finest first.

    Level l has cells of 2^l px; its anchors lie around their centers and grow from anchor_scale * 2^l px in
    scales_per_octave equal ratios, up to the least ones of the next level.
    """
    scales = [2 ** (octave / scales_per_octave) for octave in range(scales_per_octave)]
    return tuple(
        GridAnchorGenerator(
            scales=scales,
            aspect_ratios=aspect_ratios,
            height=anchor_scale * 2**level,
            width=anchor_scale * 2**level,
            height_stride=2**level,
            width_stride=2**level,
            height_offset=2**level / 2,
            width_offset=2**level / 2,
        )
        for level in range(min_level, max_level + 1)
    )

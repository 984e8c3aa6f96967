"""Crops proposals from the feature map: a grid of samples inside each box, then max pooling.

Shape shorthand in this module:

  B: images; P: proposals of an image
  h, w, C: feature map
  crop: initial_crop_size, samples per side before pooling
  s: cells per side that are returned

Sample i of `crop` lies at y1*(h-1) + i*(y2-y1)*(h-1)/(crop-1) in cells (corner aligned, feature values as points), the
same for x, and is interpolated bilinearly. TFOD's two ways to compute it differ at the border only:

  use_matmul_crop_and_resize: true   beyond the last cell a sample fades to 0 within one cell;
  use_matmul_crop_and_resize: false  beyond the last cell a sample is 0 at once. A proposal that ends exactly on the far
                                     edge can lose its last row to float rounding.

Both are computed by tf.image.crop_and_resize here. On a map with a border of zeros it gives what TFOD's matrix product
gives, in a twentieth of its time on a CPU.

How the saving works. Where the second stage reads only every n-th pooled cell (FeatureExtractor.crop_subsampling), only
those are made. Pooled cell p is the maximum of samples p*stride .. p*stride + kernel - 1. For one offset j into that
window the samples of all wanted cells are evenly spaced, so one crop_and_resize with adjusted boxes makes them, and the
maximum over the offsets is the pooled result.

The gradient is our own. TensorFlow's, on a CPU, lets several threads add to the same cell of the map without a lock
(tensorflow issue 42033: "nondeterministic"), and what one thread adds is lost when another writes at the same time.
"""

from collections.abc import Sequence

import tensorflow as tf
from official.modeling import tf_utils

# Side of ImageNet's images: the size that a backbone knows objects in.
_UNIT_SIDE_PX = 224.0


def crop_and_pool(
    features_to_crop: tf.Tensor,
    proposal_boxes_normalized: tf.Tensor,
    initial_crop_size: int,
    maxpool_kernel_size: int,
    maxpool_stride: int,
    use_matmul_crop_and_resize: bool = False,
    subsampling: int = 1,
) -> tf.Tensor:
    """Pooled features of all proposals.

    Args:
      features_to_crop: float32 [B, h, w, C].
      proposal_boxes_normalized: [B, P, 4] ymin, xmin, ymax, xmax, normalized to the padded network input, 0..1;
          padding rows of zeros give the feature in the upper left corner.
      initial_crop_size, maxpool_kernel_size, maxpool_stride: as in the config; kernel 1 with stride 1 pools nothing.
      use_matmul_crop_and_resize: see the module's docstring.
      subsampling: return only every subsampling-th pooled cell, the first one included, in both directions.

    Returns:
      float32 [B*P, s, s, C] with s = ceil(((crop - kernel) // stride + 1) / subsampling).
    """
    num_images, num_proposals, _ = tf_utils.get_shape_list(proposal_boxes_normalized)
    image_of_box = tf.repeat(tf.range(num_images), num_proposals)
    boxes = tf.reshape(proposal_boxes_normalized, [-1, 4])
    if not use_matmul_crop_and_resize:
        # The whole grid in one call: TFOD's rounding at the far edge, which other boxes would change, is kept.
        size = [initial_crop_size, initial_crop_size]
        crops = _crop_and_resize(features_to_crop, boxes, image_of_box, size)
        if maxpool_kernel_size == maxpool_stride == subsampling == 1:
            return crops
        # A longer stride skips cells before they are pooled; slicing afterwards would cost more than the crop itself.
        return tf.nn.max_pool2d(crops, maxpool_kernel_size, maxpool_stride * subsampling, "VALID")
    features, boxes = _add_zero_border(features_to_crop, boxes)
    pooled_size = (initial_crop_size - maxpool_kernel_size) // maxpool_stride + 1
    size = -(-pooled_size // subsampling)
    last_offset = (size - 1) * subsampling * maxpool_stride
    pooled = None
    for y in range(maxpool_kernel_size):
        for x in range(maxpool_kernel_size):
            part = _part_of_boxes(boxes, initial_crop_size, (y, x), (y + last_offset, x + last_offset))
            crops = _crop_and_resize(features, part, image_of_box, [size, size])
            pooled = crops if pooled is None else tf.maximum(pooled, crops)
    return pooled


def multilevel_crop_and_pool(
    feature_maps: Sequence[tf.Tensor], proposal_boxes_normalized: tf.Tensor, image_shape: tf.Tensor, **arguments
) -> tf.Tensor:
    """crop_and_pool from the maps of a feature pyramid, each proposal from that of its size (feature_levels).

    Every map is cropped by all proposals and those of other levels are dropped, as in TFOD: cropping is a small part of
    the network's time, and the number of proposals of a level is not known before it runs.

    Args:
      feature_maps: float32 [B, h, w, C], the finest first; a single one serves all proposals.
      proposal_boxes_normalized: [B, P, 4], see crop_and_pool.
      image_shape: int32 [4] of the padded network input [B, H, W, 3], px.
      **arguments: crop_and_pool's others.

    Returns:
      float32 [B*P, s, s, C], see crop_and_pool.
    """
    if len(feature_maps) == 1:
        return crop_and_pool(feature_maps[0], proposal_boxes_normalized, **arguments)
    levels = tf.reshape(feature_levels(proposal_boxes_normalized, image_shape, len(feature_maps)), [-1, 1, 1, 1])
    pooled = [crop_and_pool(feature_map, proposal_boxes_normalized, **arguments) for feature_map in feature_maps]
    return tf.add_n([tf.where(levels == level, crops, 0.0) for level, crops in enumerate(pooled)])


def feature_levels(proposal_boxes_normalized: tf.Tensor, image_shape: tf.Tensor, num_levels: int) -> tf.Tensor:
    """The level of a feature pyramid that each proposal is cropped from: int32 [B, P], 0 for the finest.

    A proposal of 224 to 448 px (root of its area) is cropped from the last level but one; one of half that size from
    the level before it, and so on. Padding rows, which have no area, get level 0.

    Args:
      proposal_boxes_normalized: [B, P, 4], normalized to the padded network input.
      image_shape: int32 [4] of that input [B, H, W, 3], px.
      num_levels: how many there are.

    Source: Lin et al. 2017 (Feature Pyramid Networks), equation 1, with TFOD's choice of levels.
    """
    sides = proposal_boxes_normalized[..., 2:] - proposal_boxes_normalized[..., :2]
    image_ratio = tf.sqrt(tf.cast(image_shape[1] * image_shape[2], tf.float32)) / _UNIT_SIDE_PX
    log_side = tf.math.log(tf.sqrt(tf.reduce_prod(sides, axis=-1)) * image_ratio)
    levels = tf.math.floordiv(log_side, tf.math.log(2.0)) + num_levels - 2
    return tf.cast(tf.clip_by_value(levels, 0, num_levels - 1), tf.int32)


def _add_zero_border(features: tf.Tensor, boxes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Features [B, h+1, w+1, C] with zeros below and right, and the boxes [N, 4] normalized to that map."""
    size = tf.cast(tf.shape(features)[1:3], tf.float32)
    scale = (size - 1.0) / size
    return tf.pad(features, [[0, 0], [0, 1], [0, 1], [0, 0]]), boxes * tf.concat([scale, scale], axis=0)


def _part_of_boxes(boxes: tf.Tensor, crop: int, first: tuple[int, int], last: tuple[int, int]) -> tf.Tensor:
    """Boxes [N, 4] reduced to the samples first..last (row, column) of a grid of `crop` samples per side."""
    ymin, xmin, ymax, xmax = tf.unstack(boxes, axis=-1)
    if crop == 1:  # the only sample is in the middle
        return tf.stack([ymin, xmin, ymax, xmax], axis=-1)
    height, width = (ymax - ymin) / (crop - 1), (xmax - xmin) / (crop - 1)
    return tf.stack(
        [ymin + first[0] * height, xmin + first[1] * width, ymin + last[0] * height, xmin + last[1] * width], axis=-1
    )


def _crop_and_resize(features: tf.Tensor, boxes: tf.Tensor, image_of_box: tf.Tensor, size: list[int]) -> tf.Tensor:
    """tf.image.crop_and_resize with a gradient (to the features alone) in which no thread overwrites another.

    Args:
      features: float32 [B, h, w, C].
      boxes: [N, 4] ymin, xmin, ymax, xmax, normalized to the features.
      image_of_box: [N], the image that each box is cut from.
      size: [rows, columns] of samples.

    Returns:
      float32 [N, rows, columns, C].
    """

    @tf.custom_gradient
    def crop(features: tf.Tensor):
        def gradient(crops_gradient: tf.Tensor) -> tf.Tensor:
            weights = _sample_weights(features, boxes, image_of_box, size)
            samples = tf.reshape(crops_gradient, [-1, tf.shape(features)[3]])
            return tf.reshape(tf.sparse.sparse_dense_matmul(weights, samples), tf.shape(features))

        return tf.image.crop_and_resize(features, boxes, image_of_box, size), gradient

    return crop(features)


def _sample_weights(features: tf.Tensor, boxes: tf.Tensor, image_of_box: tf.Tensor, size: list[int]) -> tf.SparseTensor:
    """[B*h*w, N*rows*columns]: what each cell of the maps contributes to each sample; four entries per sample."""
    num_images, height, width = tf.unstack(tf.shape(features)[:3])
    ymin, xmin, ymax, xmax = tf.unstack(boxes, axis=-1)
    rows, row_weights = _neighbors(ymin, ymax, size[0], height)
    columns, column_weights = _neighbors(xmin, xmax, size[1], width)
    cells = tf.cast(image_of_box, tf.int64)[:, None, None] * tf.cast(height, tf.int64) + rows  # [N, rows, 2]
    cells = cells[:, :, None, :, None] * tf.cast(width, tf.int64) + columns[:, None, :, None, :]
    # A sample that the forward pass found outside of the map is 0. Asking it, and not the positions here, keeps the two
    # together where a position on the edge is rounded.
    inside = tf.image.crop_and_resize(tf.ones_like(features[..., :1]), boxes, image_of_box, size)
    weights = row_weights[:, :, None, :, None] * column_weights[:, None, :, None, :] * inside[..., None]
    samples = tf.repeat(tf.range(tf.size(inside, tf.int64)), 4)
    shape = [num_images * height * width, tf.size(inside)]
    indices = tf.stack([tf.reshape(cells, [-1]), samples], axis=1)
    return tf.SparseTensor(indices, tf.reshape(weights, [-1]), tf.cast(shape, tf.int64))


def _neighbors(low: tf.Tensor, high: tf.Tensor, samples: int, cells: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The two cells beside each sample of one direction, and their weights: int64 and float32 [N, samples, 2]."""
    last = tf.cast(cells - 1, tf.float32)
    if samples == 1:
        positions = (0.5 * (low + high) * last)[:, None]
    else:
        steps = (high - low) * last / (samples - 1)
        positions = (low * last)[:, None] + tf.range(samples, dtype=tf.float32) * steps[:, None]
    first = tf.floor(positions)
    neighbors = tf.clip_by_value(tf.stack([first, first + 1], axis=-1), 0, last)
    fraction = positions - first
    return tf.cast(neighbors, tf.int64), tf.stack([1 - fraction, fraction], axis=-1)

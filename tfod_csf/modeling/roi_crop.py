"""Cuts proposals out of the feature map: a grid of samples inside each box, then max pooling.

Shape shorthand in this module:

  B: images; P: proposals of an image
  h, w, C: feature map
  crop: initial_crop_size, samples per side before pooling
  s: cells per side that are returned

Sample i of `crop` lies at y1*(h-1) + i*(y2-y1)*(h-1)/(crop-1) in cells (corner aligned, feature values as points), the
same for x, and is interpolated bilinearly. The two ways of TFOD to compute it differ at the border only:

  use_matmul_crop_and_resize: true   beyond the last cell a sample fades to 0 within one cell;
  use_matmul_crop_and_resize: false  beyond the last cell a sample is 0 at once (tf.image.crop_and_resize). A proposal
                                     that ends exactly on the far edge can lose its last row to float rounding.

How the saving works. Where the second stage reads only every n-th pooled cell (FeatureExtractor.crop_subsampling), only
those cells are made. Pooled cell p reads samples p*stride .. p*stride + kernel - 1, so the samples of the wanted cells
are computed one group after the other, and pooled with a stride equal to the kernel.
"""

import numpy as np
import tensorflow as tf


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
      proposal_boxes_normalized: [B, P, 4], ymin xmin ymax xmax, normalised to the padded network input, 0..1; padding
          rows of zeros give the feature in the upper left corner.
      initial_crop_size, maxpool_kernel_size, maxpool_stride: as in the config; kernel 1 with stride 1 pools nothing.
      use_matmul_crop_and_resize: see the module's docstring.
      subsampling: return only every subsampling-th pooled cell, the first one included, in both directions.

    Returns:
      float32 [B*P, s, s, C] with s = ceil(((crop - kernel) // stride + 1) / subsampling).
    """
    pooled_size = (initial_crop_size - maxpool_kernel_size) // maxpool_stride + 1
    wanted_cells = np.arange(0, pooled_size, subsampling)
    samples = (wanted_cells[:, np.newaxis] * maxpool_stride + np.arange(maxpool_kernel_size)).reshape(-1)
    if use_matmul_crop_and_resize:
        crops = _crop_by_matmul(features_to_crop, proposal_boxes_normalized, initial_crop_size, samples)
    else:
        crops = _crop_natively(features_to_crop, proposal_boxes_normalized, initial_crop_size, samples)
    if maxpool_kernel_size > 1:
        crops = tf.nn.max_pool2d(crops, maxpool_kernel_size, maxpool_kernel_size, "VALID")
    return crops


def _crop_by_matmul(features: tf.Tensor, boxes: tf.Tensor, crop_size: int, samples: np.ndarray) -> tf.Tensor:
    """Samples [B*P, S, S, C] at the S grid positions `samples` (0..crop_size-1) of boxes [B, P, 4]."""
    ymin, xmin, ymax, xmax = tf.unstack(boxes, axis=-1)
    height, width = features.shape[1] or tf.shape(features)[1], features.shape[2] or tf.shape(features)[2]
    y_weights = _interpolation_weights(ymin, ymax, height, crop_size, samples)  # [B, P, S, h]
    x_weights = _interpolation_weights(xmin, xmax, width, crop_size, samples)  # [B, P, S, w]
    rows = tf.einsum("bpyh,bhwc->bpywc", y_weights, features)
    crops = tf.einsum("bpxw,bpywc->bpyxc", x_weights, rows)
    return tf.reshape(crops, [-1, len(samples), len(samples), features.shape[3]])


def _interpolation_weights(start, end, num_cells, crop_size: int, samples: np.ndarray) -> tf.Tensor:
    """Weights [..., S, num_cells] of the cells for samples of the intervals start..end [...], normalised to 0..1."""
    last_cell = tf.cast(num_cells - 1, tf.float32)
    if crop_size > 1:
        steps = tf.constant(samples, tf.float32) * ((end - start) * last_cell / (crop_size - 1))[..., tf.newaxis]
        position = (start * last_cell)[..., tf.newaxis] + steps
    else:
        position = (0.5 * (start + end) * last_cell)[..., tf.newaxis]
    cells = tf.range(tf.cast(num_cells, tf.float32))
    return tf.maximum(1.0 - tf.abs(position[..., tf.newaxis] - cells), 0.0)


def _crop_natively(features: tf.Tensor, boxes: tf.Tensor, crop_size: int, samples: np.ndarray) -> tf.Tensor:
    """As `_crop_by_matmul`, by tf.image.crop_and_resize on the whole grid: its rounding at the far edge is kept."""
    num_proposals = boxes.shape[1] or tf.shape(boxes)[1]
    image_of_box = tf.repeat(tf.range(tf.shape(boxes)[0]), num_proposals)
    crops = tf.image.crop_and_resize(features, tf.reshape(boxes, [-1, 4]), image_of_box, [crop_size, crop_size])
    if len(samples) < crop_size or list(samples) != list(range(crop_size)):
        crops = tf.gather(tf.gather(crops, samples, axis=1), samples, axis=2)
    return crops

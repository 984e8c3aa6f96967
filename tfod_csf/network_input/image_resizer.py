"""Brings an image of any size to the network's input size, as `image_resizer` of the config says.

A resizer takes one image, float32 [h, w, 3] in 0..255, and returns two tensors:

  resized_image: float32 [H, W, 3]. Values are neither rounded nor clipped. Padding, where a resizer pads, is at the
      bottom and the right, so coordinates of the image stay what they are.
  true_image_shape: int32 [3], (height, width, channels) of the part of resized_image that is image, not padding.

Boxes normalized to the image stay valid for the true image; they change only when they are expressed relative to the
padded one.

All resizing samples as TensorFlow 1 did: `tf.compat.v1.image.resize` with align_corners false, which puts the center
of the first pixel at 0, not at 0.5, and does not smooth when shrinking. TensorFlow 2's `tf.image.resize` gives
different pixels, and a checkpoint trained on one sampling loses accuracy on the other.
"""

import functools
from collections.abc import Callable, Sequence

import tensorflow as tf

from tfod_csf.config.protos import image_resizer_pb2
from tfod_csf.errors import UserError

Resized = tuple[tf.Tensor, tf.Tensor]
ImageResizer = Callable[[tf.Tensor], Resized]

_METHODS = {
    image_resizer_pb2.BILINEAR: "bilinear",
    image_resizer_pb2.NEAREST_NEIGHBOR: "nearest",
    image_resizer_pb2.BICUBIC: "bicubic",
    image_resizer_pb2.AREA: "area",
}


class ImageResizerError(UserError):
    """`image_resizer` of a config cannot be honored."""


def resize(
    image: tf.Tensor,
    height: int | tf.Tensor,
    width: int | tf.Tensor,
    method: str = "bilinear",
    align_corners: bool = False,
) -> tf.Tensor:
    """Resizes one image [h, w, c] to [height, width, c] float32, with TensorFlow 1's sampling.

    Args:
      image: one image, any numeric type.
      height: new height in pixels.
      width: new width in pixels.
      method: "bilinear", "nearest", "bicubic" or "area".
      align_corners: let the centers of the corner pixels of both images coincide. No image_resizer does; some
          augmentation steps of TFOD do.
    """
    resized = tf.compat.v1.image.resize_images(
        tf.cast(image, tf.float32)[tf.newaxis], [height, width], method=method, align_corners=align_corners
    )
    return tf.cast(resized[0], tf.float32)


def size_in_range(
    height: int | tf.Tensor, width: int | tf.Tensor, min_dimension: int, max_dimension: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Size that keeps the aspect ratio: shorter side min_dimension, unless the longer side then exceeds max_dimension.

    Both sides are scaled in float32 and rounded half to even (22.5 px becomes 22), as TFOD rounds.

    Returns:
      (height, width) in pixels, int32 scalars.
    """
    size = tf.cast(tf.stack([height, width]), tf.float32)
    # The same quotient as with "/", which OpenVINO 2026.4 turns upside down here (measured: 128 / 64 for 64 / 128).
    by_shorter_side = tf.round(size * tf.math.divide_no_nan(tf.cast(min_dimension, tf.float32), tf.reduce_min(size)))
    by_longer_side = tf.round(size * tf.math.divide_no_nan(tf.cast(max_dimension, tf.float32), tf.reduce_max(size)))
    too_long = tf.reduce_max(by_shorter_side) > tf.cast(max_dimension, tf.float32)
    new_size = tf.cast(tf.where(too_long, by_longer_side, by_shorter_side), tf.int32)
    return new_size[0], new_size[1]


def resize_to_range(
    image: tf.Tensor,
    min_dimension: int,
    max_dimension: int,
    method: str = "bilinear",
    pad_to_max_dimension: bool = False,
    per_channel_pad_value: Sequence[float] = (0.0, 0.0, 0.0),
) -> Resized:
    """`keep_aspect_ratio_resizer`: see `size_in_range` for the size rule.

    Args:
      image: [h, w, c], c = len(per_channel_pad_value) when padding.
      min_dimension: length the shorter side is scaled to, px.
      max_dimension: upper limit of the longer side, px.
      method: see `resize`.
      pad_to_max_dimension: pad to [max_dimension, max_dimension], so that images of different shapes share a batch.
      per_channel_pad_value: value of padded pixels, one per channel, in the image's units.

    Returns:
      resized_image and true_image_shape, see the module's docstring.
    """
    height, width = size_in_range(tf.shape(image)[0], tf.shape(image)[1], min_dimension, max_dimension)
    resized = resize(image, height, width, method)
    true_image_shape = tf.stack([height, width, tf.shape(image)[2]])
    if pad_to_max_dimension:
        resized = pad_bottom_right(resized, max_dimension, max_dimension, per_channel_pad_value)
    return resized, true_image_shape


def resize_to_fixed(image: tf.Tensor, height: int, width: int, method: str = "bilinear") -> Resized:
    """`fixed_shape_resizer`: exactly [height, width] px; the aspect ratio changes with the image's."""
    resized = resize(image, height, width, method)
    return resized, tf.stack([height, width, tf.shape(image)[2]])


def keep_size(image: tf.Tensor) -> Resized:
    """`identity_resizer`: the image as it is, in float32."""
    return tf.cast(image, tf.float32), tf.shape(image)


def pad_bottom_right(
    image: tf.Tensor, height: int | tf.Tensor, width: int | tf.Tensor, per_channel_pad_value: Sequence[float]
) -> tf.Tensor:
    """Pads [h, w, c] to [height, width, c] at the bottom and the right with one value per channel."""
    shape = tf.shape(image)
    paddings = [[0, height - shape[0]], [0, width - shape[1]], [0, 0]]
    is_image = tf.pad(tf.ones_like(image, tf.bool), paddings)
    padded = tf.where(is_image, tf.pad(image, paddings), tf.constant(per_channel_pad_value, tf.float32))
    static = [size if isinstance(size, int) else None for size in (height, width)]
    return tf.ensure_shape(padded, [*static, len(per_channel_pad_value)])


def from_config(image_resizer_config: image_resizer_pb2.ImageResizer) -> ImageResizer:
    """The resizer that a config describes.

    Args:
      image_resizer_config: `model.faster_rcnn.image_resizer`.

    Returns:
      A function of one image [h, w, 3]; see the module's docstring for what it returns.

    Raises:
      ImageResizerError: no resizer is set, one that is not supported, or values that contradict each other.
    """
    kind = image_resizer_config.WhichOneof("image_resizer_oneof")
    if kind == "identity_resizer":
        return keep_size
    if kind not in ("keep_aspect_ratio_resizer", "fixed_shape_resizer"):
        given = f"{kind} is not supported" if kind else "is empty"
        raise ImageResizerError(
            f"image_resizer: {given}; use keep_aspect_ratio_resizer, fixed_shape_resizer or identity_resizer."
        )
    config = getattr(image_resizer_config, kind)
    if config.convert_to_grayscale:
        raise ImageResizerError(
            f"image_resizer.{kind}.convert_to_grayscale: true is not supported (the feature extractors take three "
            "channels); leave it out."
        )
    method = _METHODS[config.resize_method]
    if kind == "fixed_shape_resizer":
        return functools.partial(resize_to_fixed, height=config.height, width=config.width, method=method)
    return _keep_aspect_ratio_from_config(config, method)


def _keep_aspect_ratio_from_config(config: image_resizer_pb2.KeepAspectRatioResizer, method: str) -> ImageResizer:
    if config.min_dimension > config.max_dimension:
        raise ImageResizerError(
            f"image_resizer.keep_aspect_ratio_resizer: min_dimension {config.min_dimension} is greater than "
            f"max_dimension {config.max_dimension}; swap them."
        )
    pad_value = tuple(config.per_channel_pad_value) or (0.0, 0.0, 0.0)
    if len(pad_value) != 3:
        raise ImageResizerError(
            f"image_resizer.keep_aspect_ratio_resizer.per_channel_pad_value: has {len(pad_value)} values; give three, "
            "for red, green and blue."
        )
    return functools.partial(
        resize_to_range,
        min_dimension=config.min_dimension,
        max_dimension=config.max_dimension,
        method=method,
        pad_to_max_dimension=config.pad_to_max_dimension,
        per_channel_pad_value=pad_value,
    )

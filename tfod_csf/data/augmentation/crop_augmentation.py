"""Augmentation steps that crop or extend the image and therefore may lose objects.

Shape shorthand in this module: M objects before a step, M' <= M after it; h x w the image.

An example is a dict of one image's tensors under TFOD's names: `image` float32 [h, w, 3] in 0..255; `groundtruth_boxes`
float32 [M, 4] ymin, xmin, ymax, xmax, normalized to `image`, without padding rows; every other `groundtruth_*` tensor
of OBJECT_FIELDS has M rows too and loses the rows that the boxes lose. Each step has the name and the arguments of its
message in preprocessor.proto, takes its random numbers from `sampler` (see random_numbers.py) and returns a new dict.
"""

from collections.abc import Mapping, Sequence

import tensorflow as tf

from tfod_csf.data.augmentation.random_numbers import StatelessSampler

Example = dict[str, tf.Tensor]

OBJECT_FIELDS = (
    "groundtruth_boxes",
    "groundtruth_classes",
    "groundtruth_weights",
    "groundtruth_area",
    "groundtruth_is_crowd",
    "groundtruth_difficult",
    "groundtruth_group_of",
)

# A crop of the SSD paper (Liu et al. 2016, section 2.2): one of seven minimal overlaps, or the image as it is.
_SSD_OVERLAPS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
_SSD_OPERATIONS = tuple(
    {
        "min_object_covered": overlap,
        "min_aspect_ratio": 0.5,
        "max_aspect_ratio": 2.0,
        "min_area": 0.1,
        "max_area": 1.0,
        "overlap_thresh": overlap,
        "random_coef": 0.15,
    }
    for overlap in _SSD_OVERLAPS
)


def keep_objects(example: Example, keep: tf.Tensor) -> Example:
    """The example with only the objects for which `keep` (bool [M]) is true."""
    kept = {field: tf.boolean_mask(example[field], keep) for field in OBJECT_FIELDS if field in example}
    return {**example, **kept}


def change_coordinate_frame(boxes: tf.Tensor, window: tf.Tensor) -> tf.Tensor:
    """Boxes [M, 4] relative to `window` ([4], in the boxes' frame); what is outside it gets values outside 0..1."""
    origin, size = window[:2], window[2:] - window[:2]
    return (boxes - tf.tile(origin, [2])) / tf.tile(size, [2])


def _relative_window(begin: tf.Tensor, size: tf.Tensor, image: tf.Tensor) -> tf.Tensor:
    """Window [4], normalized to the image, from pixels."""
    window = tf.cast(tf.concat([begin, begin + size], axis=0), tf.float32)
    return window / tf.tile(tf.cast(tf.shape(image)[:2], tf.float32), [2])


def _overlaps(boxes: tf.Tensor, window: tf.Tensor, overlap_thresh: float) -> tf.Tensor:
    """bool [M]: the box touches the window and at least overlap_thresh of its area lies in it."""
    low = tf.maximum(boxes[:, :2], window[:2])
    high = tf.minimum(boxes[:, 2:], window[2:])
    touches = tf.reduce_all(high > low, axis=1)
    common_area = tf.reduce_prod(tf.maximum(high - low, 0.0), axis=1)
    box_area = tf.reduce_prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    return touches & (common_area / box_area >= overlap_thresh)


def crop(example: Example, begin: tf.Tensor, size: tf.Tensor, overlap_thresh: float, clip_boxes: bool) -> Example:
    """Crops the image to a window.

    Args:
      example: one image's tensors.
      begin: int32 [2], first row and column of the window, px.
      size: int32 [2], height and width of the window, px.
      overlap_thresh: an object is kept if at least this share of its box lies in the window.
      clip_boxes: whether kept boxes are clipped to the window.
    """
    image = example["image"]
    window = _relative_window(begin, size, image)
    example = keep_objects(example, _overlaps(example["groundtruth_boxes"], window, overlap_thresh))
    boxes = change_coordinate_frame(example["groundtruth_boxes"], window)
    if clip_boxes:
        boxes = tf.clip_by_value(boxes, 0.0, 1.0)
    cropped = tf.slice(image, tf.concat([begin, [0]], axis=0), tf.concat([size, [-1]], axis=0))
    return {**example, "image": tf.ensure_shape(cropped, [None, None, image.shape[2]]), "groundtruth_boxes": boxes}


def random_crop_image(
    example: Example,
    sampler: StatelessSampler,
    min_object_covered: float = 1.0,
    min_aspect_ratio: float = 0.75,
    max_aspect_ratio: float = 1.33,
    min_area: float = 0.1,
    max_area: float = 1.0,
    overlap_thresh: float = 0.3,
    random_coef: float = 0.0,
    clip_boxes: bool = True,
) -> Example:
    """Crops to a random window that holds at least min_object_covered of one object; see `StatelessSampler.window`.

    `random_coef` is the probability of leaving the image as it is (random number <= random_coef).
    """

    def cropped() -> Example:
        begin, size = sampler.window(
            "strict_crop_image",
            tf.shape(example["image"]),
            tf.clip_by_value(example["groundtruth_boxes"], 0.0, 1.0),
            min_object_covered,
            (min_aspect_ratio, max_aspect_ratio),
            (min_area, max_area),
        )
        return crop(example, begin, size, overlap_thresh, clip_boxes)

    if random_coef <= 0.0:
        return cropped()
    return tf.cond(sampler.uniform("crop_image") > random_coef, cropped, lambda: dict(example))


def ssd_random_crop(
    example: Example, sampler: StatelessSampler, operations: Sequence[Mapping[str, float]] = ()
) -> Example:
    """One of several `random_crop_image`, chosen with equal probability.

    Args:
      example: one image's tensors.
      sampler: of the random numbers.
      operations: arguments of each choice, those of random_crop_image; arguments that are not named are 0. Empty: the
          choices of the SSD paper.
    """
    absent = dict.fromkeys(_SSD_OPERATIONS[0], 0.0)
    choices = [{**absent, **operation} for operation in operations or _SSD_OPERATIONS]
    chosen = sampler.integer("ssd_crop_selector_id", 0, len(choices))

    def crop_by(operation: Mapping[str, float]):
        return lambda: random_crop_image(example, sampler, **operation)

    return tf.switch_case(chosen, [crop_by(operation) for operation in choices])


def random_crop_to_aspect_ratio(
    example: Example,
    sampler: StatelessSampler,
    aspect_ratio: float = 1.0,
    overlap_thresh: float = 0.3,
    clip_boxes: bool = True,
) -> Example:
    """Crops to the largest window with this width / height, at a random place."""
    image_size = tf.shape(example["image"])[:2]
    height, width = tf.unstack(tf.cast(image_size, tf.float32))
    is_wide = width / height >= aspect_ratio
    size = tf.where(is_wide, [height, tf.round(height * aspect_ratio)], [tf.round(width / aspect_ratio), width])
    size = tf.minimum(tf.cast(size, tf.int32), image_size)
    last = image_size - size
    begin = [sampler.integer("crop_to_aspect_ratio", 0, last[axis] + 1) for axis in (0, 1)]
    return crop(example, tf.stack(begin), size, overlap_thresh, clip_boxes)


def _pad(example: Example, begin: tf.Tensor, size: tf.Tensor, pad_color: tf.Tensor) -> Example:
    """Puts the image at `begin` (row, column) of a canvas of this size in px, filled with pad_color [3]."""
    image = example["image"]
    image_size = tf.shape(image)[:2]
    paddings = tf.concat([tf.stack([begin, size - begin - image_size], axis=1), [[0, 0]]], axis=0)
    is_image = tf.pad(tf.ones_like(image, tf.bool), paddings)
    padded = tf.where(is_image, tf.pad(image, paddings), pad_color)
    boxes = change_coordinate_frame(example["groundtruth_boxes"], _relative_window(-begin, size, image))
    return {**example, "image": padded, "groundtruth_boxes": boxes}


def _random_pad(
    example: Example, sampler: StatelessSampler, min_size: tf.Tensor, max_size: tf.Tensor, pad_color: Sequence[float]
) -> Example:
    """Pads to a size from [min_size, max_size) with the image at a random place; see random_pad_image."""
    image_size = tf.shape(example["image"])[:2]
    min_size, max_size = tf.maximum(min_size, image_size), tf.maximum(max_size, image_size)
    size = tf.stack([sampler.integer("pad_image_size", min_size[axis], max_size[axis]) for axis in (0, 1)])
    begin = tf.stack([sampler.integer("pad_image_offset", 0, size[axis] - image_size[axis]) for axis in (0, 1)])
    color = tf.constant(pad_color, tf.float32) if len(pad_color) else tf.reduce_mean(example["image"], axis=[0, 1])
    return _pad(example, begin, size, color)


def random_pad_image(
    example: Example,
    sampler: StatelessSampler,
    min_image_height: int | None = None,
    min_image_width: int | None = None,
    max_image_height: int | None = None,
    max_image_width: int | None = None,
    pad_color: Sequence[float] = (),
) -> Example:
    """Extends the image to a random size, at a random place of the larger one.

    Args:
      example: one image's tensors.
      sampler: of the random numbers.
      min_image_height: smallest new height, px; the image's if it is larger or this is None.
      min_image_width: as min_image_height.
      max_image_height: limit of the new height, px, itself not reached; twice the image's if None.
      max_image_width: as max_image_height.
      pad_color: RGB of the new pixels, 0..255; empty: the image's mean color.
    """
    image_size = tf.shape(example["image"])[:2]
    min_size = [size or image_size[axis] for axis, size in enumerate((min_image_height, min_image_width))]
    max_size = [size or 2 * image_size[axis] for axis, size in enumerate((max_image_height, max_image_width))]
    return _random_pad(example, sampler, tf.stack(min_size), tf.stack(max_size), pad_color)


def random_absolute_pad_image(
    example: Example,
    sampler: StatelessSampler,
    max_height_padding: int,
    max_width_padding: int,
    pad_color: Sequence[float] = (),
) -> Example:
    """Extends the image by fewer than max_height_padding rows and max_width_padding columns; see random_pad_image."""
    image_size = tf.shape(example["image"])[:2]
    max_size = image_size + tf.constant([max_height_padding, max_width_padding])
    return _random_pad(example, sampler, image_size, max_size, pad_color)


def random_crop_pad_image(
    example: Example,
    sampler: StatelessSampler,
    min_padded_size_ratio: Sequence[float] = (),
    max_padded_size_ratio: Sequence[float] = (),
    pad_color: Sequence[float] = (),
    **crop_arguments: float,
) -> Example:
    """`random_crop_image`, then padding to a random size.

    Args:
      example: one image's tensors.
      sampler: of the random numbers.
      min_padded_size_ratio: smallest new height and width as shares of the image's before the crop; empty: (1, 1).
      max_padded_size_ratio: their limits, not reached; empty: (2, 2).
      pad_color: RGB of the new pixels, 0..255; empty: the cropped image's mean color.
      **crop_arguments: arguments of random_crop_image.
    """
    image_size = tf.cast(tf.shape(example["image"])[:2], tf.float32)
    example = random_crop_image(example, sampler, **crop_arguments)
    min_size = tf.cast(image_size * tuple(min_padded_size_ratio or (1.0, 1.0)), tf.int32)
    max_size = tf.cast(image_size * tuple(max_padded_size_ratio or (2.0, 2.0)), tf.int32)
    return _random_pad(example, sampler, min_size, max_size, pad_color)


def random_square_crop_by_scale(
    example: Example,
    sampler: StatelessSampler,
    max_border: int = 128,
    scale_min: float = 0.6,
    scale_max: float = 1.3,
    num_scales: int = 8,
) -> Example:
    """Crops to a square around a random center; what lies outside the image is black (from CenterNet).

    Objects that touch the square are kept and clipped.

    Args:
      example: one image's tensors.
      sampler: of the random numbers.
      max_border: the center keeps this distance from the image's edge, px; for a side shorter than twice this
          distance it is halved until it fits.
      scale_min: smallest side of the square as a share of the image's longer side.
      scale_max: largest share.
      num_scales: number of equally spaced shares to choose from.
    """
    image = example["image"]
    image_size = tf.shape(image)[:2]
    scale = tf.linspace(scale_min, scale_max, num_scales)[sampler.integer("square_crop_scale", 0, num_scales)]
    side = tf.cast(scale * tf.cast(tf.reduce_max(image_size), tf.float32), tf.int32)
    border = halved_border(max_border, image_size)
    center = [
        sampler.integer("square_crop_center", border[axis], image_size[axis] - border[axis] + 1) for axis in (0, 1)
    ]
    low = tf.stack(center) - side // 2
    # As in TFOD the last row and column of the image never enter, and an odd square ends one pixel early.
    inner_low = tf.maximum(low, 0)
    inner_high = tf.maximum(tf.minimum(low + 2 * (side // 2), image_size - 1), inner_low)
    cropped = image[inner_low[0] : inner_high[0], inner_low[1] : inner_high[1]]
    offset = inner_low - low
    after = side - offset - (inner_high - inner_low)
    squared = tf.pad(cropped, tf.concat([tf.stack([offset, after], axis=1), [[0, 0]]], axis=0))

    window = _relative_window(low, tf.stack([side, side]), image)
    example = keep_objects(example, _overlaps(example["groundtruth_boxes"], window, 0.0))
    boxes = tf.clip_by_value(change_coordinate_frame(example["groundtruth_boxes"], window), 0.0, 1.0)
    return {**example, "image": squared, "groundtruth_boxes": boxes}


def halved_border(max_border: int, image_size: tf.Tensor) -> tf.Tensor:
    """max_border / 2**k with the smallest k that makes it at most half of each side; int32 [2]."""
    size = tf.cast(image_size, tf.float32)
    halvings = tf.math.ceil(tf.math.log(2.0 * max_border / size) / tf.math.log(2.0))
    divisor = tf.clip_by_value(tf.pow(2.0, halvings), 1.0, float(max_border))
    return max_border // tf.cast(divisor, tf.int32)

"""Augmentation: `train_config.data_augmentation_options`, applied to one image in the order they are written.

The steps themselves are in color_augmentation, geometric_augmentation and crop_augmentation: one function per option,
named as the option, with arguments named as the option's fields. They run before resizing, on the original image.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import tensorflow as tf
from google.protobuf.message import Message

from tfod_csf.config.protos import preprocessor_pb2
from tfod_csf.data.augmentation import color_augmentation, crop_augmentation, geometric_augmentation
from tfod_csf.data.augmentation.random_numbers import StatelessSampler
from tfod_csf.errors import UserError

Example = dict[str, tf.Tensor]
Step = tuple[Callable[..., Example], Mapping[str, Any]]

OPTIONS: dict[str, Callable[..., Example]] = {
    function.__name__: function
    for function in (
        color_augmentation.adjust_gamma,
        color_augmentation.random_adjust_brightness,
        color_augmentation.random_adjust_contrast,
        color_augmentation.random_adjust_hue,
        color_augmentation.random_adjust_saturation,
        color_augmentation.random_black_patches,
        color_augmentation.random_distort_color,
        color_augmentation.random_jpeg_quality,
        color_augmentation.random_pixel_value_scale,
        color_augmentation.random_rgb_to_gray,
        crop_augmentation.random_absolute_pad_image,
        crop_augmentation.random_crop_image,
        crop_augmentation.random_crop_pad_image,
        crop_augmentation.random_crop_to_aspect_ratio,
        crop_augmentation.random_pad_image,
        crop_augmentation.random_square_crop_by_scale,
        crop_augmentation.ssd_random_crop,
        geometric_augmentation.random_horizontal_flip,
        geometric_augmentation.random_image_scale,
        geometric_augmentation.random_jitter_boxes,
        geometric_augmentation.random_rotation90,
        geometric_augmentation.random_vertical_flip,
    )
}

# Fields of honored options that are for keypoints, which Faster R-CNN does not have.
_REFUSED_FIELDS = ("keypoint_flip_permutation", "keypoint_rot_permutation")


class PreprocessorError(UserError):
    """`data_augmentation_options` cannot be honored."""


def from_config(data_augmentation_options: Iterable[preprocessor_pb2.PreprocessingStep]) -> list[Step]:
    """The steps that a config lists, as (function, its arguments).

    Raises:
      PreprocessorError: an option or a field of it that is not supported, or a value outside its range.
    """
    return [_step_from_config(index, option) for index, option in enumerate(data_augmentation_options)]


def _step_from_config(index: int, option: preprocessor_pb2.PreprocessingStep) -> Step:
    path = f"train_config.data_augmentation_options[{index}]"
    name = option.WhichOneof("preprocessing_step")
    if name not in OPTIONS:
        given = f"{name} is not supported" if name else "is empty"
        raise PreprocessorError(f"{path}: {given}; use one of {', '.join(OPTIONS)}.")
    arguments = _arguments(getattr(option, name))
    for field in _REFUSED_FIELDS:
        if arguments.pop(field, ()):
            raise PreprocessorError(f"{path}.{name}.{field} is not supported: there are no keypoints; remove it.")
    problem = _problem_with(name, arguments)
    if problem:
        raise PreprocessorError(f"{path}.{name}.{problem}.")
    return OPTIONS[name], arguments


def _arguments(config: Message) -> dict[str, Any]:
    """Fields that are set or have a default, by name; a field without either leaves the function's own default."""
    arguments = {}
    for field in config.DESCRIPTOR.fields:
        value = getattr(config, field.name)
        if field.is_repeated:
            is_message = field.message_type is not None
            arguments[field.name] = tuple(_arguments(part) for part in value) if is_message else tuple(value)
        elif config.HasField(field.name) or field.has_default_value:
            arguments[field.name] = value
    return arguments


def _problem_with(name: str, arguments: Mapping[str, Any]) -> str | None:
    """What is wrong with an option's arguments, beginning with the field's name; None if nothing."""
    for field, value in arguments.items():
        is_share = field in ("probability", "random_coef", "min_object_covered", "overlap_thresh")
        if is_share and not 0.0 <= value <= 1.0:
            return f"{field}: {value:g} is outside 0..1"
        if field == "pad_color" and len(value) not in (0, 3):
            return f"pad_color: has {len(value)} values; give three, for red, green and blue, or none"
        if field.endswith("padded_size_ratio") and len(value) not in (0, 2):
            return f"{field}: has {len(value)} values; give two, for height and width, or none"
        greatest = field.replace("min", "max", 1)
        if "min" in field and greatest in arguments and not value <= arguments[greatest]:
            return f"{field}: {value} is greater than {greatest} {arguments[greatest]}"
    if name == "random_distort_color" and arguments.get("color_ordering", 0) not in (0, 1):
        return f"color_ordering: {arguments['color_ordering']} is not supported; use 0 or 1"
    if name == "random_absolute_pad_image":
        for field in ("max_height_padding", "max_width_padding"):
            if arguments.get(field, 0) <= 0:
                return f"{field}: is required and must be above 0"
    return None


def preprocess(tensor_dict: Example, preprocess_options: Iterable[Step], seed: tf.Tensor) -> Example:
    """Applies the steps one after the other.

    Args:
      tensor_dict: one image's tensors under TFOD's names. `image` [h, w, 3] in 0..255, any numeric type;
          `groundtruth_boxes` [M, 4] normalized to it, without padding rows; other tensors of
          `crop_augmentation.OBJECT_FIELDS`, each with M rows.
      preprocess_options: steps, see `from_config`.
      seed: integer tensor [2]. The same seed gives the same result; step i samples from the seed's i-th stream.

    Returns:
      The changed tensors; `image` is float32.
    """
    example = {**tensor_dict, "image": tf.cast(tensor_dict["image"], tf.float32)}
    for index, (function, arguments) in enumerate(preprocess_options):
        example = function(example, StatelessSampler(tf.random.fold_in(seed, index)), **arguments)
    return example

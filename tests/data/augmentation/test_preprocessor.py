"""All options: they run on any number of objects, repeat with a seed, and are refused by name when they cannot."""

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format

from tfod_csf.config import supported_fields
from tfod_csf.config.protos import preprocessor_pb2
from tfod_csf.data.augmentation import preprocessor
from tfod_csf.data.augmentation.crop_augmentation import OBJECT_FIELDS

BOXES = [[0.1, 0.2, 0.5, 0.6], [0.0, 0.0, 1.0, 1.0], [0.55, 0.7, 0.9, 0.95]]
# Arguments that an option needs, or that make it act on every image.
ARGUMENTS = {
    "random_absolute_pad_image": "max_height_padding: 5 max_width_padding: 7",
    "random_horizontal_flip": "probability: 1",
    "random_vertical_flip": "probability: 1",
    "random_rotation90": "probability: 1",
    "random_rgb_to_gray": "probability: 1",
    "random_square_crop_by_scale": "max_border: 4",
    "adjust_gamma": "gamma: 2",
}


def option(text):
    return text_format.Parse(text, preprocessor_pb2.PreprocessingStep())


def steps_of(*texts):
    return preprocessor.from_config([option(text) for text in texts])


def example_of(num_boxes, seed=0):
    image = np.random.default_rng(seed).integers(0, 256, (16, 20, 3), np.uint8)
    return {
        "image": tf.constant(image),
        "groundtruth_boxes": tf.constant(BOXES[:num_boxes], tf.float32, [num_boxes, 4]),
        "groundtruth_classes": tf.range(1, num_boxes + 1, dtype=tf.int64),
        "groundtruth_difficult": tf.range(num_boxes, dtype=tf.int64),
    }


def preprocess(example, steps, seed=0):
    return preprocessor.preprocess(example, steps, tf.constant([seed, 7], tf.int64))


@pytest.mark.parametrize("name", preprocessor.OPTIONS)
def test_option(name):
    steps = steps_of(f"{name} {{ {ARGUMENTS.get(name, '')} }}")
    results = []
    for num_boxes in (0, 1, 3):
        example = example_of(num_boxes)
        result = preprocess(example, steps)
        assert result["image"].dtype == tf.float32
        assert result["image"].shape[2] == 3
        image, boxes = result["image"].numpy(), result["groundtruth_boxes"].numpy()
        assert image.min() >= 0
        assert image.max() <= 255
        assert len({len(result[field]) for field in OBJECT_FIELDS if field in result}) == 1
        assert len(boxes) <= num_boxes
        assert np.isfinite(boxes).all()
        assert (boxes >= 0).all()
        assert (boxes <= 1).all()
        assert (boxes[:, 2:] > boxes[:, :2]).all()
        np.testing.assert_array_equal(result["groundtruth_difficult"], result["groundtruth_classes"] - 1)
        again = preprocess(example, steps)
        np.testing.assert_array_equal(image, again["image"])
        np.testing.assert_array_equal(boxes, again["groundtruth_boxes"])
        results.append(result)
    changes_boxes_only = name == "random_jitter_boxes"
    if changes_boxes_only:
        assert not np.allclose(results[1]["groundtruth_boxes"], BOXES[:1])
    elif name not in ("random_crop_image", "random_crop_pad_image", "ssd_random_crop"):  # may keep the whole image
        assert not np.array_equal(results[2]["image"], example_of(3)["image"])


def test_all_options_trace_in_one_graph():
    names = [name for name in preprocessor.OPTIONS if name != "ssd_random_crop"]  # seven times random_crop_image
    steps = steps_of(*(f"{name} {{ {ARGUMENTS.get(name, '')} }}" for name in names))
    traced = tf.autograph.experimental.do_not_convert(lambda example: preprocess(example, steps))
    dataset = tf.data.Dataset.from_tensors(example_of(3)).map(traced)
    assert dataset.element_spec["groundtruth_boxes"].shape[1] == 4
    assert len(list(dataset)) == 1


@pytest.mark.parametrize("name", ["random_horizontal_flip", "random_vertical_flip", "random_rotation90"])
def test_probability_zero_never_applies(name):
    example = example_of(2)
    for seed in range(20):
        result = preprocess(example, steps_of(f"{name} {{ probability: 0.0 }}"), seed)
        np.testing.assert_array_equal(result["image"], example["image"])
        np.testing.assert_array_equal(result["groundtruth_boxes"], example["groundtruth_boxes"])


def test_default_probability_is_half():
    steps = steps_of("random_horizontal_flip {}")
    example = example_of(1)
    flipped = sum(
        not np.array_equal(preprocess(example, steps, seed)["image"], example["image"]) for seed in range(200)
    )
    assert 70 < flipped < 130  # 200 draws: mean 100, standard deviation 7


def test_steps_draw_independently_of_each_other():
    brightness = "random_adjust_brightness { max_delta: 0.1 }"
    gray = {**example_of(0), "image": tf.fill([2, 2, 3], 127.5)}
    once = preprocess(gray, steps_of(brightness))["image"][0, 0, 0] - 127.5
    twice = preprocess(gray, steps_of(brightness, brightness))["image"][0, 0, 0] - 127.5
    assert abs(twice - 2 * once) > 0.1


def test_steps_run_in_the_order_of_the_config():
    crop = "random_square_crop_by_scale { scale_min: 1.0 scale_max: 1.0 num_scales: 1 max_border: 1 }"
    flip = "random_vertical_flip { probability: 1.0 }"
    first = preprocess(example_of(1), steps_of(crop, flip))["image"]
    second = preprocess(example_of(1), steps_of(flip, crop))["image"]
    assert not np.array_equal(first, second)


def test_supported_options_are_those_of_the_table():
    rules = supported_fields.FIELDS["PreprocessingStep"]
    assert {name for name, rule in rules.items() if rule.kind == "honored"} == set(preprocessor.OPTIONS)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", r"options\[0\]: is empty; use one of "),
        ("autoaugment_image {}", "autoaugment_image is not supported"),
        ("random_horizontal_flip { keypoint_flip_permutation: 1 }", "keypoint_flip_permutation is not supported"),
        ("random_horizontal_flip { probability: 1.5 }", r"random_horizontal_flip.probability: 1.5 is outside 0\.\.1"),
        ("random_adjust_contrast { min_delta: 2 }", r"min_delta: 2.0 is greater than max_delta 1.25"),
        ("random_pad_image { pad_color: [1, 2] }", "pad_color: has 2 values"),
        ("random_crop_pad_image { min_padded_size_ratio: 1 }", "min_padded_size_ratio: has 1 values"),
        ("random_distort_color { color_ordering: 2 }", "color_ordering: 2 is not supported; use 0 or 1"),
        ("random_absolute_pad_image { max_width_padding: 3 }", "max_height_padding: is required"),
    ],
)
def test_refusals_name_the_field(text, words):
    with pytest.raises(preprocessor.PreprocessorError, match=words):
        steps_of(text)

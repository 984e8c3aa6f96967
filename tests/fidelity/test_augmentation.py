"""Augmentation steps against TFOD's recorded results for stated draws."""

import json
import re

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format

from tfod_csf.config.protos import preprocessor_pb2
from tfod_csf.data.augmentation import preprocessor

GREY_LEVELS_TOLERANCE = 0.05
BOXES_TOLERANCE = 1e-6
MOVES_PIXELS_ONLY = ("random_horizontal_flip", "random_vertical_flip", "random_rotation90", "random_crop_image")


class StatedDraws:
    """Returns what the recording states and keeps what was asked for: (name, minval, maxval)."""

    def __init__(self, stated):
        self.stated = stated
        self.requests = []

    def uniform(self, name, minval=0.0, maxval=1.0, shape=()):
        self.requests.append((name, minval, maxval))
        assert name in self.stated or minval == maxval, name
        return tf.fill(shape, tf.constant(self.stated.get(name, minval), tf.float32))

    def window(self, name, *_):
        self.requests.append((name,))
        top, left, height, width = map(int, re.findall(r"\d+", self.stated[name]))
        return tf.constant([top, left]), tf.constant([height, width])


class UnitDraws:
    """Turns recorded numbers 0..1 into numbers of the range asked for."""

    def __init__(self, unit_of_columns):
        self.unit_of_columns = unit_of_columns

    def uniform(self, name, minval, maxval, shape):
        return minval + (maxval - minval) * tf.constant(self.unit_of_columns[int(shape[1])])


def step_of(text):
    option = text_format.Parse(text, preprocessor_pb2.PreprocessingStep())
    ((function, arguments),) = preprocessor.from_config([option])
    return function, arguments


def example_of(arrays):
    example = {"image": tf.cast(arrays["in/image"], tf.float32)}
    for field in ("boxes", "classes", "weights"):
        example[f"groundtruth_{field}"] = tf.constant(arrays[f"in/{field}"])
    return example


@pytest.mark.recorded("augmentation*.npz")
def test_stated_draws(recorded):
    record = json.loads(recorded.with_suffix(".json").read_text())
    with np.load(recorded) as arrays:
        if "cases" in record:
            check_image_cases(arrays, record["cases"])
            check_default_ranges(arrays, record["defaults"])
        else:
            check_jitter_cases(arrays, record)


def check_image_cases(arrays, cases):
    assert cases
    for name, case in cases.items():
        function, arguments = step_of(case["step"])
        draws = StatedDraws(case["draws"])
        result = function(example_of(arrays), draws, **arguments)
        assert list(result["image"].shape) == case["output_shape"], name
        tolerance = 0 if function.__name__ in MOVES_PIXELS_ONLY else GREY_LEVELS_TOLERANCE
        np.testing.assert_allclose(result["image"], arrays[f"{name}/image"], rtol=0, atol=tolerance, err_msg=name)
        for field in ("boxes", "classes"):
            key = f"{name}/{field}" if f"{name}/{field}" in arrays else f"in/{field}"
            np.testing.assert_allclose(
                result[f"groundtruth_{field}"], arrays[key], rtol=0, atol=BOXES_TOLERANCE, err_msg=name
            )
        check_requests(draws, case["draws_requested"], name)


def check_default_ranges(arrays, defaults):
    for name, default in defaults.items():
        draws = StatedDraws(dict.fromkeys((draw["id"] for draw in default["draws"]), 0.7))
        draws.stated["strict_crop_image"] = "(4,3) (12,20)"
        function, arguments = step_of(f"{name} {{ }}")
        function(example_of(arrays), draws, **arguments)
        check_requests(draws, default["draws"], name)
        for field in arguments.keys() & default["args_from_empty_proto"].keys():
            assert arguments[field] == pytest.approx(default["args_from_empty_proto"][field]), (name, field)


def check_jitter_cases(arrays, record):
    draws = UnitDraws({4: arrays["draws/unit_4"], 2: arrays["draws/unit_2"]})
    names = [key.removesuffix("/boxes") for key in arrays if key.endswith("/boxes") and key != "in/boxes"]
    assert names
    for name in names:
        function, arguments = step_of(record[name]["step"])
        example = {"groundtruth_boxes": tf.constant(arrays["in/boxes"])}
        boxes = function(example, draws, **arguments)["groundtruth_boxes"]
        np.testing.assert_allclose(boxes, arrays[f"{name}/boxes"], rtol=0, atol=BOXES_TOLERANCE, err_msg=name)


def check_requests(draws, recorded_requests, name):
    """The same numbers were asked for, from the same ranges, in the same order."""
    assert [request[0] for request in draws.requests] == [request["id"] for request in recorded_requests], name
    for request, recorded_request in zip(draws.requests, recorded_requests):
        bounds = [recorded_request[bound] for bound in ("minval", "maxval") if bound in recorded_request]
        bounds = bounds or recorded_request["args"]
        if bounds:
            np.testing.assert_allclose(request[1:], bounds, rtol=1e-6, err_msg=name)

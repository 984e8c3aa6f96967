"""image_resizer against TFOD's recorded pixels and sizes."""

import json

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format

from tfod_csf.config.protos import image_resizer_pb2
from tfod_csf.network_input import image_resizer

GREY_LEVELS_TOLERANCE = 1e-4


@pytest.mark.recorded("resize*.npz")
def test_images(recorded):
    cases = json.loads(recorded.with_suffix(".json").read_text())
    with np.load(recorded) as arrays:
        assert {key.split("/")[0] for key in arrays} - {"shapes"} == set(cases)
        for name, case in cases.items():
            resized, true_image_shape = _resize(case["config"], tf.constant(arrays[f"{name}/in"]))
            np.testing.assert_array_equal(true_image_shape, arrays[f"{name}/true_shape"], err_msg=name)
            assert resized.dtype == tf.float32
            np.testing.assert_allclose(
                resized, arrays[f"{name}/out"], rtol=0, atol=GREY_LEVELS_TOLERANCE, err_msg=name, strict=True
            )


def _resize(config_text, image):
    """What the resizer of a recorded case makes of the image.

    The package refuses convert_to_grayscale, since its networks take three channels. These cases are recorded all the
    same: their gray image is made of the resized one here.
    """
    config = text_format.Parse(config_text, image_resizer_pb2.ImageResizer())
    kind = getattr(config, config.WhichOneof("image_resizer_oneof"))
    is_gray = "convert_to_grayscale" in kind.DESCRIPTOR.fields_by_name and kind.convert_to_grayscale
    if not is_gray:
        return image_resizer.from_config(config)(image)
    kind.convert_to_grayscale = False
    resized, true_image_shape = image_resizer.from_config(config)(image)
    return tf.image.rgb_to_grayscale(resized), tf.stack([*true_image_shape[:2], 1])


@pytest.mark.recorded("resize*.npz")
def test_sizes(recorded):
    with np.load(recorded) as arrays:
        cases = [row for key in arrays if key.startswith("shapes/") for row in arrays[key]]

    @tf.function(input_signature=[tf.TensorSpec([4], tf.int32)])
    def size(case):
        return tf.stack(image_resizer.size_in_range(case[0], case[1], case[2], case[3]))

    for *case, height, width in cases:
        np.testing.assert_array_equal(size(tf.constant(case, tf.int32)), [height, width], err_msg=str(case))

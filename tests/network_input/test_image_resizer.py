import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format

from tfod_csf.config.protos import image_resizer_pb2
from tfod_csf.network_input import image_resizer


def resizer_of(text):
    return image_resizer.from_config(text_format.Parse(text, image_resizer_pb2.ImageResizer()))


def test_legacy_sampling_by_hand():
    # Output column i looks at input column i * 2/4, without the half pixel: 0, 0.5, 1, 1.5 (clamped to column 1).
    image = tf.constant([[[0.0], [10.0]]])
    np.testing.assert_allclose(image_resizer.resize(image, 1, 4)[0, :, 0], [0, 5, 10, 10])


def test_half_is_rounded_to_even():
    # 10 x 15 with shorter side 15: factor 1.5, 15 * 1.5 = 22.5 -> 22.
    assert [int(side) for side in image_resizer.size_in_range(10, 15, 15, 99)] == [15, 22]


def test_longer_side_decides_when_it_would_exceed_the_maximum():
    # 600/400 = 1.5 would make 400 x 1200 into 600 x 1800; 1024/1200 = 0.8533 makes 341.33 x 1024.
    assert [int(side) for side in image_resizer.size_in_range(400, 1200, 600, 1024)] == [341, 1024]


def test_padding_is_below_and_right_with_its_value_per_channel():
    resizer = resizer_of(
        "keep_aspect_ratio_resizer { min_dimension: 4 max_dimension: 4 pad_to_max_dimension: true"
        " per_channel_pad_value: [1, 2, 3] }"
    )
    resized, true_image_shape = resizer(tf.fill([2, 4, 3], 9.0))
    np.testing.assert_array_equal(true_image_shape, [2, 4, 3])
    np.testing.assert_array_equal(resized[:2], np.full((2, 4, 3), 9))
    np.testing.assert_array_equal(resized[2:], np.broadcast_to([1, 2, 3], (2, 4, 3)))


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("keep_aspect_ratio_resizer { min_dimension: 4 max_dimension: 8 pad_to_max_dimension: true }", [8, 8, 3]),
        ("fixed_shape_resizer { height: 5 width: 6 }", [5, 6, 3]),
        ("keep_aspect_ratio_resizer { min_dimension: 4 max_dimension: 8 }", [None, None, 3]),
        ("identity_resizer { }", [None, None, 3]),
    ],
)
def test_shape_known_without_the_image(text, shape):
    resizer = resizer_of(text)
    graph = tf.function(lambda image: resizer(image)[0], input_signature=[tf.TensorSpec([None, None, 3], tf.uint8)])
    assert graph.get_concrete_function().output_shapes.as_list() == shape


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("conditional_shape_resizer { }", "conditional_shape_resizer is not supported"),
        ("pad_to_multiple_resizer { multiple: 32 }", "pad_to_multiple_resizer is not supported"),
        ("keep_aspect_ratio_resizer { min_dimension: 9 max_dimension: 8 }", "min_dimension 9 is greater"),
        ("keep_aspect_ratio_resizer { per_channel_pad_value: [1, 2] }", "has 2 values"),
        ("fixed_shape_resizer { convert_to_grayscale: true }", "fixed_shape_resizer.convert_to_grayscale: true is not"),
        ("keep_aspect_ratio_resizer { convert_to_grayscale: true }", "resizer.convert_to_grayscale: true is not"),
    ],
)
def test_refusals_name_the_field(text, words):
    with pytest.raises(image_resizer.ImageResizerError, match=words):
        resizer_of(text)

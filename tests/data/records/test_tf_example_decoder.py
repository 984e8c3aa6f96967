import numpy as np
import pytest
import tensorflow as tf

from tfod_csf.data.records.tf_example_decoder import TfExampleDecoder
from tfod_csf.label_map import LabelMap, LabelMapItem

LABEL_MAP = LabelMap([LabelMapItem(1, "lymphocyte", "Lymphocyte (Ly)"), LabelMapItem(2, "monocyte")])
BOXES = [(0.1, 0.2, 0.3, 0.4), (0.5, 0.5, 1.0, 1.0)]


def classes_of(record, label_map=LABEL_MAP):
    return TfExampleDecoder(label_map).decode(record)["groundtruth_classes"].numpy().tolist()


@pytest.mark.parametrize(
    ("labels", "texts", "expected"),
    [
        ([1, 1], ["monocyte", "lymphocyte"], [2, 1]),  # the text wins over the number
        ([2, 1], [], [2, 1]),
        ([2, 1], ["", "lymphocyte"], [2, 1]),
        ([1, 1], ["platelet", "Lymphocyte (Ly)"], [-1, 1]),
        ([], ["monocyte", "monocyte"], [2, 2]),
        ([1], ["", ""], [1, -1]),
    ],
)
def test_classes(serialized, labels, texts, expected):
    assert classes_of(serialized(BOXES, labels, texts)) == expected


def test_without_a_label_map_the_number_counts(serialized):
    assert classes_of(serialized(BOXES, [2, 2], ["lymphocyte", "lymphocyte"]), None) == [2, 2]


def test_object_fields(serialized):
    record = serialized(
        BOXES,
        [1, 2],
        image__object__difficult=[0, 1],
        image__object__is_crowd=[1, 0],
        image__object__group_of=[0, 1],
        image__object__area=[3.0, 4.0],
        image__object__weight=[0.5, 1.0],
    )
    example = TfExampleDecoder().decode(record)
    np.testing.assert_allclose(example["groundtruth_boxes"], BOXES)
    for field, expected in {
        "difficult": [0, 1],
        "is_crowd": [True, False],
        "group_of": [False, True],
        "area": [3, 4],
        "weights": [0.5, 1],
    }.items():
        assert example[f"groundtruth_{field}"].numpy().tolist() == expected, field


def test_no_objects_and_no_texts_at_all(serialized):
    example = TfExampleDecoder(LABEL_MAP).decode(serialized())
    assert example["groundtruth_boxes"].shape == (0, 4)
    assert example["groundtruth_weights"].shape == (0,)
    assert example["groundtruth_classes"].shape == (0,)


@pytest.mark.parametrize("encode", [tf.io.encode_jpeg, tf.io.encode_png])
def test_image_is_decoded_by_content_to_three_channels(serialized, encode):
    image = encode(np.full((4, 5, 1), 7, np.uint8)).numpy()
    example = TfExampleDecoder().decode(serialized(image=image, image__format="jpeg"))
    np.testing.assert_array_equal(example["image"], np.full((4, 5, 3), 7))
    np.testing.assert_array_equal(example["original_image_spatial_shape"], [4, 5])

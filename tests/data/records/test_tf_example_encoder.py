import hashlib
import pathlib

import numpy as np

from tfod_csf.data.records import tf_example_encoder as encoder
from tfod_csf.data.records.ready_image import ReadyImage
from tfod_csf.data.records.tf_example_decoder import TfExampleDecoder
from tfod_csf.files.example_pb2 import Example
from tfod_csf.label_map import label_map_from_names
from tfod_csf.study import image_io
from tfod_csf.study.labelimg import LabeledObject
from tfod_csf.study.patients import ImageFile

LABEL_MAP = label_map_from_names(["lymphocyte", "monocyte", "单核"])
JPEG = image_io.encode_jpeg(np.zeros((48, 64, 3), np.uint8))


def ready(objects=(), ignored=()) -> ReadyImage:
    key = "患者/IMG 1.jpg"
    image = ImageFile(pathlib.Path(key), "患者", "IMG 1.jpg", key)
    return ReadyImage(image, 64, 48, JPEG, list(objects), list(ignored))


def values(example: Example) -> dict[str, list]:
    features = example.features.feature
    return {key: list(getattr(f, f.WhichOneof("kind") or "int64_list").value) for key, f in features.items()}


def test_one_box_by_hand():
    box = LabeledObject("单核", 16, 12, 48, 36, difficult=1, truncated=1, pose="Left")
    found = values(encoder.create_tf_example(ready([box]), LABEL_MAP))
    assert found.pop("image/encoded") == [JPEG]
    assert found.pop("image/key/sha256") == [hashlib.sha256(JPEG).hexdigest().encode()]
    assert found == {
        "image/height": [48],
        "image/width": [64],
        "image/filename": ["患者/IMG 1.jpg".encode()],
        "image/source_id": ["患者/IMG 1.jpg".encode()],
        "image/format": [b"jpeg"],
        "image/object/bbox/xmin": [16 / 64],
        "image/object/bbox/xmax": [48 / 64],
        "image/object/bbox/ymin": [12 / 48],
        "image/object/bbox/ymax": [36 / 48],
        "image/object/class/text": ["单核".encode()],
        "image/object/class/label": [3],
        "image/object/difficult": [1],
        "image/object/truncated": [1],
        "image/object/view": [b"Left"],
    }


def test_no_boxes_leave_every_list_empty_but_there():
    found = values(encoder.create_tf_example(ready(), LABEL_MAP))
    assert {key for key, value in found.items() if not value} == {
        *(f"image/object/bbox/{side}" for side in ("xmin", "xmax", "ymin", "ymax")),
        *(f"image/object/{name}" for name in ("class/text", "class/label", "difficult", "truncated", "view")),
    }


def test_an_ignored_box_is_written_once_for_every_class_with_weight_0():
    cell, unknown = LabeledObject("monocyte", 0, 0, 32, 24), LabeledObject("unknown", 32, 24, 64, 48)
    example = encoder.create_tf_example(ready([cell], [unknown]), LABEL_MAP)
    found = values(example)
    assert found["image/object/class/label"] == [2, 1, 2, 3]
    assert found["image/object/weight"] == [1, 0, 0, 0]
    assert found["image/object/is_crowd"] == [0, 1, 1, 1]
    assert found["image/object/difficult"] == [0, 1, 1, 1]
    assert found["image/object/bbox/xmin"] == [0, 0.5, 0.5, 0.5]
    decoded = TfExampleDecoder(LABEL_MAP).decode(encoder.serialize(example))
    np.testing.assert_array_equal(decoded["groundtruth_weights"], [1, 0, 0, 0])
    np.testing.assert_array_equal(decoded["groundtruth_classes"], [2, 1, 2, 3])
    np.testing.assert_array_equal(decoded["groundtruth_is_crowd"], [False, True, True, True])

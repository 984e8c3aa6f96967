import math
import re

import pytest
import tensorflow as tf

from tfod_csf.files import example_pb2
from tfod_csf.files.tf_example import Features
from tfod_csf.files.tfrecord import TFRecordError


def feature(values):
    if isinstance(values[0], bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
    if isinstance(values[0], float):
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


def by_tensorflow(**features):
    """A serialized Example; in names, __ is written for /."""
    made = {name.replace("__", "/"): feature(values) for name, values in features.items()}
    return tf.train.Example(features=tf.train.Features(feature=made))


def test_reads_what_tensorflow_writes():
    example = by_tensorflow(a=[b"x", "王".encode(), b"\xff"], b=[0.1, -1.0], c=[-1, 2**40])
    features = Features(example.SerializeToString(), "here")
    assert list(features.bytes("a")) == [b"x", "王".encode(), b"\xff"]
    assert features.texts("a") == ["x", "王", "\ufffd"]
    assert list(features.floats("b")) == [pytest.approx(0.1, abs=1e-8), -1.0]
    assert list(features.ints("c")) == [-1, 2**40]


def test_the_same_bytes_as_tensorflow():
    example = by_tensorflow(a=[b"x"], b=[0.1], c=[1, 2])
    own = example_pb2.Example.FromString(example.SerializeToString())
    assert own.SerializeToString(deterministic=True) == example.SerializeToString(deterministic=True)


def test_what_is_not_there_is_empty():
    empty = tf.train.Example(features=tf.train.Features(feature={"a": tf.train.Feature()}))
    features = Features(empty.SerializeToString(), "here")
    assert [len(values) for values in (features.bytes("a"), features.floats("a"), features.ints("b"))] == [0, 0, 0]
    assert features.image_name == ""
    assert features.where == "here"


def test_another_kind_is_an_error():
    features = Features(by_tensorflow(image__filename=[b"a.png"], a=[1]).SerializeToString(), "f, record 1")
    with pytest.raises(
        TFRecordError, match=r"f, record 1 \(a\.png\): a holds whole numbers \(int64_list\), expected decimal numbers"
    ):
        features.floats("a")


@pytest.mark.parametrize(
    ("features", "words"),
    [
        ({"image__object__class__text": [1]}, "image/object/class/text holds numbers (int64_list), expected text"),
        ({"image__encoded": [0.5]}, "image/encoded holds numbers (float_list), expected an encoded JPEG or PNG"),
        (
            {"image__object__is_crowd": [1.0]},
            "image/object/is_crowd holds decimal numbers (float_list), expected whole",
        ),
        ({"image__height": [b"300"]}, "image/height holds text (bytes_list), expected whole numbers"),
        ({"image__object__area": [1]}, "image/object/area holds whole numbers (int64_list), expected decimal numbers"),
        ({"image__object__weight": [1.0, 1.0]}, "image/object/weight has 2 values for 1 objects"),
    ],
)
def test_values_that_training_cannot_read_are_named(features, words):
    example = Features(by_tensorflow(**features).SerializeToString(), "here")
    with pytest.raises(TFRecordError, match=re.escape(f"here: {words}")):
        (example.check_kinds(1), example.bytes("image/encoded"))


def with_boxes(*boxes):
    """An Example with these boxes (ymin, xmin, ymax, xmax)."""
    sides = zip(("ymin", "xmin", "ymax", "xmax"), zip(*boxes))
    sides = {f"image__object__bbox__{name}": list(map(float, side)) for name, side in sides}
    return Features(by_tensorflow(**sides).SerializeToString(), "here")


def test_boxes_may_poke_out_by_a_tenth():
    # 0.1 and 1.1 themselves are no numbers of binary fractions; the next below are inside.
    boxes = [(-0.0999, 0, 0.5, 1.0999), (0, 0, 0, 0)]
    assert with_boxes(*boxes).boxes(2).tolist() == [[pytest.approx(side) for side in box] for box in boxes]


@pytest.mark.parametrize(
    ("box", "words"),
    [
        ((0, 0, 0.5, 1.35), "here, object 2: ymin 0, xmin 0, ymax 0.5, xmax 1.35: a side is above 1.1"),
        (
            (30, 31, 60, 62),
            "a side is above 1.1, but sides are fractions of the image's width and height; are these pix",
        ),
        ((-0.2, 0, 0.5, 0.5), "a side is below -0.1"),
        ((0, math.nan, 1, 1), "xmin nan, ymax 1, xmax 1 is not a box"),
        ((0, 0.6, 0.5, 0.5), "is not a box"),
        ((0, 0, math.inf, 0.5), "is not a box"),
    ],
)
def test_what_is_no_box_is_named(box, words):
    with pytest.raises(TFRecordError, match=re.escape(words)):
        with_boxes((0, 0, 1, 1), box).boxes(2)


def test_not_an_example():
    with pytest.raises(TFRecordError, match=r"here: not a tf\.train\.Example"):
        Features(b"\xff\xff\xff", "here")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({"image__source_id": [b"s"], "image__filename": [b"f"]}, "s"),
        ({"image__source_id": [b""], "image__filename": [b"f"]}, "f"),
        ({"image__key__sha256": [b"k"]}, "k"),
        ({}, ""),
    ],
)
def test_name_of_the_image(names, expected):
    assert Features(by_tensorflow(**names).SerializeToString(), "here").image_name == expected

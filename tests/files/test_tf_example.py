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
    with pytest.raises(TFRecordError, match=r"f, record 1 \(a\.png\): a is a int64_list, expected a float_list"):
        features.floats("a")


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

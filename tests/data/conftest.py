"""Small TFRecords made on the spot."""

import numpy as np
import pytest
import tensorflow as tf

from tfod_csf.config.protos import input_reader_pb2, model_pb2


def _feature(value):
    if isinstance(value, (bytes, str, int, float)):
        value = [value]
    if not len(value):
        return tf.train.Feature()
    if isinstance(value[0], (bytes, str)):
        value = [part.encode() if isinstance(part, str) else part for part in value]
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=value))
    if isinstance(value[0], float):
        return tf.train.Feature(float_list=tf.train.FloatList(value=value))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=value))


def _serialized(boxes=(), labels=(), texts=(), name="a.png", size=(8, 10), image=None, **features):
    """A tf.train.Example; `features` are further ones, with __ for /; boxes are (ymin, xmin, ymax, xmax)."""
    pixels = np.arange(size[0] * size[1] * 3, dtype=np.uint8).reshape(*size, 3)
    values = {
        "image/encoded": tf.io.encode_png(pixels).numpy() if image is None else image,
        "image/source_id": name,
        "image/filename": name,
        "image/height": size[0],
        "image/width": size[1],
        "image/object/class/label": labels,
        "image/object/class/text": texts,
    }
    for index, side in enumerate(("ymin", "xmin", "ymax", "xmax")):
        values[f"image/object/bbox/{side}"] = [float(box[index]) for box in boxes]
    values |= {name.replace("__", "/"): value for name, value in features.items()}
    feature = {name: _feature(value) for name, value in values.items() if value is not None}
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


@pytest.fixture
def serialized():
    return _serialized


@pytest.fixture
def write_records(tmp_path):
    """Function of a file name and serialized examples; returns the path as text."""

    def write(name, records):
        path = str(tmp_path / name)
        with tf.io.TFRecordWriter(path) as writer:
            for record in records:
                writer.write(record)
        return path

    return write


@pytest.fixture
def reader_of():
    """Function of paths and fields to an InputReader, in the order of the records."""

    def make(*paths, **fields):
        config = input_reader_pb2.InputReader(**{"shuffle": False, "num_readers": 1, **fields})
        config.tf_record_input_reader.input_path.extend(paths)
        return config

    return make


@pytest.fixture
def model_config():
    """Images go to 16 x 16, padded; three classes."""
    config = model_pb2.DetectionModel()
    config.faster_rcnn.num_classes = 3
    config.faster_rcnn.feature_extractor.type = "faster_rcnn_resnet50_keras"
    resizer = config.faster_rcnn.image_resizer.keep_aspect_ratio_resizer
    resizer.min_dimension = resizer.max_dimension = 16
    resizer.pad_to_max_dimension = True
    return config

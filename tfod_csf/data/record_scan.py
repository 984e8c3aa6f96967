"""Counts and box sizes read from TFRecords themselves, for records that came without an annotations.csv."""

import os

import tensorflow as tf

from tfod_csf.config.record_statistics import RecordStatistics, from_boxes

_SIDES = ("xmin", "ymin", "xmax", "ymax")


def statistics_of_records(input_paths: list[str]) -> RecordStatistics:
    """Statistics of every tf.train.Example in the files that the patterns match.

    Args:
      input_paths: paths or glob patterns, as in tf_record_input_reader.input_path.
    """
    files = [os.fspath(path) for pattern in input_paths for path in sorted(tf.io.gfile.glob(pattern))]
    features = {f"image/object/bbox/{side}": tf.io.VarLenFeature(tf.float32) for side in _SIDES}
    features |= {f"image/{name}": tf.io.FixedLenFeature([], tf.int64) for name in ("width", "height")}

    def images():
        for record in tf.data.TFRecordDataset(files):
            example = tf.io.parse_single_example(record, features)
            width, height = float(example["image/width"]), float(example["image/height"])
            xmin, ymin, xmax, ymax = (example[f"image/object/bbox/{side}"].values.numpy() for side in _SIDES)
            boxes = zip(xmin * width, ymin * height, xmax * width, ymax * height, strict=True)
            yield width, height, [tuple(map(float, box)) for box in boxes]

    return from_boxes(images())

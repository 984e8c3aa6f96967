"""Images for the comparison of SavedModel and checkpoint: synthetic ones, and the first of the test records."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfod_csf.config.protos import pipeline_pb2
from tfod_csf.files import tfrecord


def from_records(pipeline_config: pipeline_pb2.TrainEvalPipelineConfig, count: int = 2) -> tuple[np.ndarray, ...]:
    """The first images, uint8 [h, w, 3], of the records that the config evaluates on; none if they are absent."""
    patterns = [
        pattern for reader in pipeline_config.eval_input_reader for pattern in reader.tf_record_input_reader.input_path
    ]
    images = []
    try:
        paths = [path for pattern in patterns for path in tfrecord.find_files(pattern)]
        for record in tf.data.TFRecordDataset(paths).take(count):
            example = tf.io.parse_single_example(record, {"image/encoded": tf.io.FixedLenFeature([], tf.string)})
            images.append(tf.io.decode_image(example["image/encoded"], channels=3, expand_animations=False).numpy())
    except (tfrecord.TFRecordError, tf.errors.OpError):
        return ()
    return tuple(images)


def synthetic(sizes: Sequence[tuple[int, int]] = ((240, 320), (200, 150))) -> tuple[np.ndarray, ...]:
    """Pictures of discs on a bright field, uint8 [h, w, 3], of these heights and widths."""
    images = []
    for seed, (height, width) in enumerate(sizes):
        generator = np.random.default_rng(seed)
        y, x = np.mgrid[:height, :width]
        image = np.full([height, width, 3], 225.0) + generator.normal(0, 4, [height, width, 3])
        for _ in range(12):
            center_y, center_x = generator.uniform(0, height), generator.uniform(0, width)
            radius = generator.uniform(8, 28)
            inside = (y - center_y) ** 2 + (x - center_x) ** 2 < radius**2
            image[inside] = image[inside] * 0.4 + 0.6 * generator.uniform([90, 40, 90], [200, 130, 200])
        images.append(np.clip(image, 0, 255).astype(np.uint8))
    return tuple(images)

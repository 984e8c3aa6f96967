"""`InputReader` to a stream of serialized examples: files, order, epochs, share of each worker.

Records are shuffled while their images are still compressed: 2048 decoded microscope images are tens of gigabytes, 2048
JPEG records a few hundred megabytes. No more than SHUFFLE_BUFFER_BYTES are held in any case.
"""

import logging
from collections.abc import Sequence

import tensorflow as tf

from tfod_csf.config.protos import input_reader_pb2
from tfod_csf.data.records.record_files import record_files
from tfod_csf.errors import UserError
from tfod_csf.files import tfrecord

SHUFFLE_BUFFER_BYTES = 1 << 30
_READ_BUFFER_BYTES = 1 << 20

_log = logging.getLogger("tfod_csf")


class RecordDatasetError(UserError):
    """An input reader with values that contradict each other."""


def read_dataset(
    input_reader_config: input_reader_pb2.InputReader,
    num_epochs: int | None,
    seed: int,
    input_context: tf.distribute.InputContext | None = None,
) -> tf.data.Dataset:
    """Serialized examples of an input reader.

    An epoch holds every record once (with `sample_1_of_n_examples`, every n-th), in an order that depends on the seed
    and the epoch when `shuffle` is set.

    Args:
      input_reader_config: the message; every supported field acts here, except those about batches and boxes.
      num_epochs: None for endless repetition.
      seed: of the order.
      input_context: of a distributed run; each input pipeline gets its own share of the files, or of the records where
          there are fewer files than pipelines.

    Returns:
      Dataset of string scalars.

    Raises:
      TFRecordError: a path that matches no file, or a file whose first record is damaged.
      RecordDatasetError: weights that do not fit the paths.
    """
    paths = list(input_reader_config.tf_record_input_reader.input_path)
    weights = list(input_reader_config.sample_from_datasets_weights)
    if not weights:
        files = record_files(paths)
        num_readers = max(1, input_reader_config.num_readers)
        return _read_files(files, num_readers, input_reader_config, num_epochs, seed, input_context)
    if len(weights) != len(paths) or min(weights) < 0 or sum(weights) == 0:
        raise RecordDatasetError(
            f"sample_from_datasets_weights: has {len(weights)} values for {len(paths)} input_path; give each "
            "input_path one weight, 0 or more, and at least one above 0."
        )
    datasets, used_weights = [], []
    for index, (path, weight) in enumerate(zip(paths, weights)):
        files = record_files([path])
        if weight > 0:
            num_readers = max(1, round(input_reader_config.num_readers * weight / sum(weights)))
            datasets.append(
                _read_files(files, num_readers, input_reader_config, num_epochs, seed + index, input_context)
            )
            used_weights.append(weight)
    return tf.data.Dataset.sample_from_datasets(datasets, used_weights, seed, rerandomize_each_iteration=False)


def _read_files(
    files: Sequence[str],
    num_readers: int,
    config: input_reader_pb2.InputReader,
    num_epochs: int | None,
    seed: int,
    input_context: tf.distribute.InputContext | None,
) -> tf.data.Dataset:
    num_shards, shard = (
        (input_context.num_input_pipelines, input_context.input_pipeline_id) if input_context else (1, 0)
    )
    shards_files = len(files) >= num_shards
    dataset = tf.data.Dataset.from_tensor_slices(list(files))
    if shards_files:
        dataset = dataset.shard(num_shards, shard)
    if config.shuffle:
        dataset = dataset.shuffle(max(1, config.filenames_shuffle_buffer_size), seed)
    # One thread reads: reading is not the bottleneck, and parallel interleaving would hold read_block_length records of
    # every file in memory.
    dataset = dataset.interleave(
        lambda path: tf.data.TFRecordDataset(path, buffer_size=_READ_BUFFER_BYTES),
        cycle_length=min(num_readers, len(files)),
        block_length=max(1, config.read_block_length),
    )
    if not shards_files:
        dataset = dataset.shard(num_shards, shard)
    if config.shuffle:
        dataset = dataset.shuffle(shuffle_buffer_records(files, config.shuffle_buffer_size), seed)
    if config.sample_1_of_n_examples > 1:
        dataset = dataset.shard(config.sample_1_of_n_examples, 0)
    return dataset.repeat(num_epochs)


def shuffle_buffer_records(files: Sequence[str], shuffle_buffer_size: int) -> int:
    """How many records the shuffle buffer holds: shuffle_buffer_size, or fewer if they exceed SHUFFLE_BUFFER_BYTES.

    The length of a record is taken from the first record of up to 20 files.
    """
    step = max(1, len(files) // 20)
    lengths = [len(next(tfrecord.read_records(path), b"")) for path in files[::step]]
    mean_bytes = max(1, sum(lengths) // len(lengths))
    fitting = max(1, SHUFFLE_BUFFER_BYTES // mean_bytes)
    if fitting < shuffle_buffer_size:
        _log.warning(
            "shuffle_buffer_size: %d records of %.1f MB would take %.1f GB of memory; %d are held.",
            shuffle_buffer_size,
            mean_bytes / 1e6,
            shuffle_buffer_size * mean_bytes / 1e9,
            fitting,
        )
    return max(1, min(fitting, shuffle_buffer_size))

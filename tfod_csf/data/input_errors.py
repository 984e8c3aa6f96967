"""Turns TensorFlow's error about an input pipeline into a sentence that names the record.

TensorFlow says what is wrong ("Input to DecodeImage is not ...") but not in which file. The records are therefore read
once more, one by one, until the culprit is found; that happens only after a run has already failed.
"""

import re

import tensorflow as tf

from tfod_csf.config.protos import input_reader_pb2, model_pb2
from tfod_csf.data import inputs, record_files
from tfod_csf.errors import UserError


class InputDataError(UserError):
    """A record that cannot be read, decoded or used."""


def is_input_error(error: Exception) -> bool:
    """Whether TensorFlow raised this while fetching a batch, not while computing with it."""
    return isinstance(error, tf.errors.OpError) and "IteratorGetNext" in str(error)


def explain(
    error: tf.errors.OpError,
    input_reader_config: input_reader_pb2.InputReader,
    model_config: model_pb2.DetectionModel,
) -> InputDataError:
    """The error in words, with file, record and image where a record is to blame.

    Args:
      error: what was raised while fetching a batch.
      input_reader_config: the reader it was raised for.
      model_config: image_resizer and num_classes.

    Returns:
      An error to raise in its place.
    """
    read_example = inputs.example_reader(input_reader_config, model_config)
    for path in record_files.record_files(list(input_reader_config.tf_record_input_reader.input_path)):
        records = iter(tf.data.TFRecordDataset(path))
        number = 0
        while True:
            number += 1
            where = f"{path}, record {number}"
            record = None
            try:
                record = next(records)
                read_example(record)
            except StopIteration:
                break
            except tf.errors.OpError as found:
                image = _image_name(record)
                where = f"{where} ({image})" if image else where
                return InputDataError(
                    f"{where}: {_first_sentence(found)}; mend the image or its annotation and write the record again."
                )
    return InputDataError(
        f"{', '.join(input_reader_config.tf_record_input_reader.input_path)}: {_first_sentence(error)}"
    )


def _image_name(record: tf.Tensor | None) -> str:
    if record is None:
        return ""
    try:
        features = record_files.parse_features(record.numpy(), "")
    except record_files.RecordFileError:
        return ""
    return record_files.image_name(features)


def _first_sentence(error: tf.errors.OpError) -> str:
    """TensorFlow's message without the names of its operations."""
    our_own = re.search(r"['\[]([^'\[\]]*); image:", error.message)
    if our_own:
        return our_own.group(1)
    message = re.sub(r"\{\{.*?\}\}|\[Op:.*", "", error.message, flags=re.DOTALL).strip()
    return message.splitlines()[0].rstrip(" .") if message else type(error).__name__

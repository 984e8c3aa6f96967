"""Turns TensorFlow's error about an input pipeline into a sentence that names the record.

TensorFlow says what is wrong ("Input to DecodeImage is not ...") but not in which file. The records are therefore read
again, one by one, until the faulty one is found; this happens only after a run has failed.
"""

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence

import tensorflow as tf

from tfod_csf.config.protos import input_reader_pb2, model_pb2
from tfod_csf.data import inputs
from tfod_csf.data.records.record_files import record_files
from tfod_csf.errors import UserError
from tfod_csf.files import record_set
from tfod_csf.files.tf_example import Features
from tfod_csf.files.tfrecord import TFRecordError


class InputDataError(UserError):
    """A record that cannot be read, decoded or used."""


@contextlib.contextmanager
def explained(
    input_reader_configs: Sequence[input_reader_pb2.InputReader], model_config: model_pb2.DetectionModel
) -> Iterator[None]:
    """Replaces an error about a batch that is raised in the block by one that names the record; see `explain`.

    Args:
      input_reader_configs: readers whose batches are fetched in the block.
      model_config: image_resizer and num_classes.
    """
    try:
        yield
    except tf.errors.OpError as error:
        if not is_input_error(error):
            raise
        raise explain(error, input_reader_configs, model_config) from error


def is_input_error(error: Exception) -> bool:
    """Whether TensorFlow raised this while fetching a batch, not while computing with it."""
    return isinstance(error, tf.errors.OpError) and "IteratorGetNext" in str(error)


def explain(
    error: tf.errors.OpError,
    input_reader_configs: Sequence[input_reader_pb2.InputReader],
    model_config: model_pb2.DetectionModel,
) -> InputDataError:
    """The error in words, with file, record and image where a record is to blame.

    Args:
      error: raised while fetching a batch.
      input_reader_configs: the readers that were in use.
      model_config: image_resizer and num_classes.

    Returns:
      The error to raise instead.
    """
    if isinstance(error, tf.errors.OutOfRangeError):
        return InputDataError(
            "train_input_reader: the records are used up before the last step; remove num_epochs or lower num_steps."
        )
    for config in input_reader_configs:
        for path in record_files(list(config.tf_record_input_reader.input_path)):
            problem = _first_problem(path, inputs.example_reader(config, model_config))
            if problem:
                return InputDataError(problem)
    paths = [path for config in input_reader_configs for path in config.tf_record_input_reader.input_path]
    return InputDataError(f"{', '.join(paths)}: {_first_sentence(error)}")


def _first_problem(path: str, read_example: Callable[[tf.Tensor], object]) -> str:
    """The first thing in a file that cannot be used, with record and image, and what to do; "" if there is none."""
    try:
        for number, record in enumerate(record_set.read_records(path), start=1):
            where = f"{path}, record {number}"
            try:
                read_example(tf.constant(record))
            except tf.errors.OpError as found:
                where = Features(record, where).where
                remedy = "repair the image or its annotation and write the record again"
                return f"{where}: {_first_sentence(found)}; {remedy}."
    except TFRecordError as damage:
        return str(damage)
    return ""


def _first_sentence(error: tf.errors.OpError) -> str:
    """TensorFlow's message without the names of its operations."""
    our_own = re.search(r"['\[]([^'\[\]]*); image:", error.message)
    if our_own:
        return our_own.group(1)
    message = re.sub(r"\[\[.*?\]\]|\{\{.*?\}\}|\[Op:.*", "", error.message, flags=re.DOTALL)
    lines = [line.strip(" .\t") for line in message.splitlines()]
    is_about_code = ("File ", "Graph execution error", "Detected at node")
    lines = [line for line in lines if line and not line.startswith(is_about_code)]
    return lines[0] if lines else type(error).__name__

"""Reads the numbers of TensorBoard event files without TensorFlow.

An event file is a TFRecord file of Event messages. Only the message types come from the tensorboard package; its own
reader would load TensorFlow. A file that is still being written simply ends early; a damaged one is read up to the
damage, with a warning in the log.
"""

import dataclasses
import logging
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from tensorboard.compat.proto import event_pb2, types_pb2

from tfod_csf.files import tfrecord

_DTYPES: dict[int, np.dtype] = {
    types_pb2.DT_FLOAT: np.dtype("<f4"),
    types_pb2.DT_DOUBLE: np.dtype("<f8"),
    types_pb2.DT_INT32: np.dtype("<i4"),
    types_pb2.DT_INT64: np.dtype("<i8"),
}
_VALUE_FIELDS = {
    types_pb2.DT_FLOAT: "float_val",
    types_pb2.DT_DOUBLE: "double_val",
    types_pb2.DT_INT32: "int_val",
    types_pb2.DT_INT64: "int64_val",
}

_log = logging.getLogger("tfod_csf")


@dataclasses.dataclass(frozen=True)
class Series:
    """One number over a run.

    Attributes:
      steps: int64 [N], rising.
      values: float64 [N].
      wall_times: float64 [N], seconds since 1970.
    """

    steps: np.ndarray
    values: np.ndarray
    wall_times: np.ndarray


def read_scalars(folder: str | os.PathLike) -> dict[str, Series]:
    """All scalars of the event files directly in a folder, {tag: series}; empty without event files.

    After a restart steps may have been written again, perhaps into another file: the latest value of a step counts.
    """
    found: dict[str, dict[int, tuple[float, float]]] = {}
    for path in sorted(pathlib.Path(folder).glob("*.tfevents.*")):
        for event in _events(path):
            for value in event.summary.value:
                number = _number(value)
                if number is None:
                    continue
                of_tag = found.setdefault(value.tag, {})
                if event.step not in of_tag or of_tag[event.step][1] <= event.wall_time:
                    of_tag[event.step] = (number, event.wall_time)
    return {tag: _series(of_tag) for tag, of_tag in sorted(found.items())}


def _series(of_tag: dict[int, tuple[float, float]]) -> Series:
    steps = sorted(of_tag)
    pairs = np.array([of_tag[step] for step in steps], float)
    return Series(np.array(steps, np.int64), pairs[:, 0], pairs[:, 1])


def _events(path: pathlib.Path) -> Iterator[event_pb2.Event]:
    """The events of a file, up to its end or the first damage."""
    try:
        for record in tfrecord.read_records(path):
            yield event_pb2.Event.FromString(record)
    except tfrecord.TruncatedTFRecordError:
        return  # the event that is just being written
    except tfrecord.TFRecordError as error:
        _log.warning("%s What comes after it is not read.", error)
    except DecodeError:
        _log.warning("%s: a record is not a TensorBoard event; what comes after it is not read.", path)


def _number(value: Any) -> float | None:
    """The scalar in a summary value, None for pictures, text and histograms."""
    if value.HasField("simple_value"):
        return float(value.simple_value)
    tensor = value.tensor
    if not value.HasField("tensor") or tensor.dtype not in _DTYPES or tensor.tensor_shape.dim:
        return None
    if tensor.tensor_content:
        return float(np.frombuffer(tensor.tensor_content, _DTYPES[tensor.dtype], count=1)[0])
    numbers = getattr(tensor, _VALUE_FIELDS[tensor.dtype])
    return float(numbers[0]) if numbers else 0.0  # a zero is stored as no value at all

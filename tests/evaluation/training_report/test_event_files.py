"""Event files are made here byte by byte, as TensorBoard's documentation of the format has it."""

import math
import struct

import numpy as np
import pytest
from tensorboard.compat.proto import event_pb2, types_pb2

from tests.support.tfrecord_frames import frame
from tfod_csf.evaluation.training_report.event_files import read_scalars


def record(event):
    return frame(event.SerializeToString())


def tensor_event(tag, step, value, wall_time=0.0, dtype=types_pb2.DT_FLOAT, code="<f"):
    event = event_pb2.Event(step=step, wall_time=wall_time)
    added = event.summary.value.add(tag=tag)
    added.tensor.dtype = dtype
    added.tensor.tensor_content = struct.pack(code, value)
    return event


def test_reads_both_ways_of_writing_a_number_and_leaves_pictures_out(tmp_path):
    old = event_pb2.Event(step=3, wall_time=7.0)
    old.summary.value.add(tag="old", simple_value=0.25)
    picture = event_pb2.Event(step=3)
    picture.summary.value.add(tag="picture").tensor.dtype = types_pb2.DT_STRING
    zero = event_pb2.Event(step=1)
    zero.summary.value.add(tag="zero").tensor.dtype = types_pb2.DT_FLOAT
    events = [event_pb2.Event(file_version="brain.Event:2"), old, picture, zero]
    events += [tensor_event("a/b", step, 1 / step) for step in (2, 4)]
    events += [tensor_event("double", 1, 0.1, dtype=types_pb2.DT_DOUBLE, code="<d")]
    events += [tensor_event("long", 1, 12, dtype=types_pb2.DT_INT64, code="<q")]
    (tmp_path / "events.out.tfevents.1.v2").write_bytes(b"".join(map(record, events)))
    found = read_scalars(tmp_path)
    assert sorted(found) == ["a/b", "double", "long", "old", "zero"]
    np.testing.assert_array_equal(found["a/b"].steps, [2, 4])
    np.testing.assert_allclose(found["a/b"].values, [0.5, 0.25])
    assert [found[tag].values[0] for tag in ("double", "long", "old", "zero")] == [0.1, 12, 0.25, 0]
    assert found["old"].wall_times[0] == 7


def test_a_restart_overwrites_steps_and_an_unfinished_file_ends_early(tmp_path):
    first = [tensor_event("loss", step, 1.0, wall_time=step) for step in (1, 2, 3)]
    second = [tensor_event("loss", step, 2.0, wall_time=10 + step) for step in (2, 3, 4)]
    (tmp_path / "events.out.tfevents.1").write_bytes(b"".join(map(record, first)))
    cut = b"".join(map(record, second))[:-3]
    (tmp_path / "events.out.tfevents.2").write_bytes(cut)
    found = read_scalars(tmp_path)["loss"]
    assert found.steps.tolist() == [1, 2, 3]
    assert found.values.tolist() == [1, 2, 2]


@pytest.mark.parametrize("data", [b"", b"abc", struct.pack("<Q", 1 << 60) + bytes(100), bytes(11)])
def test_broken_files_hold_nothing(tmp_path, data):
    (tmp_path / "events.out.tfevents.1").write_bytes(data)
    assert read_scalars(tmp_path) == {}


def test_a_damaged_file_is_read_up_to_the_damage_and_named(tmp_path, caplog):
    path = tmp_path / "events.out.tfevents.1"
    whole = bytearray(b"".join(record(tensor_event("loss", step, 1.0)) for step in (1, 2, 3)))
    whole[len(whole) // 2] ^= 1
    path.write_bytes(whole)
    assert read_scalars(tmp_path)["loss"].steps.tolist() == [1]
    assert f"{path}: the data of record 2 (at byte {len(whole) // 3}) are damaged" in caplog.text
    caplog.clear()
    path.write_bytes(record(tensor_event("loss", 1, 1.0)) + frame(b"\xff\xff\xff"))
    assert read_scalars(tmp_path)["loss"].steps.tolist() == [1]
    assert f"{path}: a record is not a TensorBoard event" in caplog.text
    caplog.clear()
    path.write_bytes(record(tensor_event("loss", 1, 1.0)) + whole[:20])
    assert read_scalars(tmp_path)["loss"].steps.tolist() == [1]
    assert caplog.text == ""  # still being written


def test_not_a_number_is_kept_as_it_is(tmp_path):
    (tmp_path / "events.out.tfevents.1").write_bytes(record(tensor_event("loss", 1, math.nan)))
    assert math.isnan(read_scalars(tmp_path)["loss"].values[0])

import numpy as np
import pytest
import tensorflow as tf

from tfod_csf.config.protos import eval_pb2
from tfod_csf.data import input_errors, inputs


def explanation(reader, model_config):
    dataset = inputs.eval_input(eval_pb2.EvalConfig(), reader, model_config)
    with pytest.raises(tf.errors.OpError) as error:
        list(dataset)
    assert input_errors.is_input_error(error.value)
    return str(input_errors.explain(error.value, reader, model_config))


def test_truncated_image(serialized, write_records, reader_of, model_config):
    whole = tf.io.encode_jpeg(np.zeros((64, 64, 3), np.uint8)).numpy()
    path = write_records("a.record", [serialized(), serialized(name="cut.jpg", image=whole[: len(whole) // 2])])
    message = explanation(reader_of(path), model_config)
    assert message.startswith(f"{path}, record 2 (cut.jpg): ")
    assert "{{" not in message


def test_box_that_is_none(serialized, write_records, reader_of, model_config):
    path = write_records("a.record", [serialized([(0.5, 0.0, 0.4, 1.0)], [1], name="odd.png")])
    message = explanation(reader_of(path), model_config)
    assert message.startswith(f"{path}, record 1 (odd.png): a box has a side that is no number")


def test_damaged_file(serialized, write_records, reader_of, model_config):
    path = write_records("a.record", [serialized(), serialized()])
    with open(path, "r+b") as file:
        file.seek(-30, 2)
        file.write(b"damage")
    assert explanation(reader_of(path), model_config).startswith(f"{path}, record 2: corrupted record")


def test_error_of_another_kind_is_not_the_inputs():
    with pytest.raises(tf.errors.InvalidArgumentError) as error:
        tf.debugging.Assert(False, ["loss is not finite"])
    assert not input_errors.is_input_error(error.value)

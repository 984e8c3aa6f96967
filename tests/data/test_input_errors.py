import numpy as np
import pytest
import tensorflow as tf

from tfod_csf.config.protos import eval_pb2
from tfod_csf.data import input_errors, inputs


def explanation(reader, model_config):
    dataset = inputs.eval_input(eval_pb2.EvalConfig(), reader, model_config)
    with pytest.raises(input_errors.InputDataError) as error, input_errors.explained([reader], model_config):
        list(dataset)
    return str(error.value)


def test_truncated_image(serialized, write_records, reader_of, model_config):
    whole = tf.io.encode_jpeg(np.zeros((64, 64, 3), np.uint8)).numpy()
    path = write_records("a.record", [serialized(), serialized(name="cut.jpg", image=whole[: len(whole) // 2])])
    message = explanation(reader_of(path), model_config)
    assert message.startswith(f"{path}, record 2 (cut.jpg): ")
    assert "{{" not in message


def test_box_that_is_none(serialized, write_records, reader_of, model_config):
    path = write_records("a.record", [serialized([(0.5, 0.0, 0.4, 1.0)], [1], name="odd.png")])
    message = explanation(reader_of(path), model_config)
    assert message.startswith(f"{path}, record 1 (odd.png): a box has a side that is not a number")


def test_damaged_file(serialized, write_records, reader_of, model_config):
    path = write_records("a.record", [serialized(), serialized()])
    with open(path, "r+b") as file:
        file.seek(-30, 2)
        file.write(b"damage")
    assert explanation(reader_of(path), model_config).startswith(f"{path}: the data of record 2 (at byte ")


def test_within_a_graph(serialized, write_records, reader_of, model_config):
    """As the training loop fetches batches."""
    records = [serialized(name="good.png"), serialized([(0.0, 0.0, 1.0, 1.0)], [9], name="odd.png")]
    reader = reader_of(write_records("a.record", records))
    iterator = iter(inputs.eval_input(eval_pb2.EvalConfig(), reader, model_config))

    @tf.function
    def count():
        return tf.shape(next(iterator)[0]["image"])[0]

    count()
    explained = input_errors.explained([reader], model_config)
    with (
        pytest.raises(input_errors.InputDataError, match=r"record 2 \(odd.png\): a class id is not in 1\.\.3"),
        explained,
    ):
        count()
    explained = input_errors.explained([reader], model_config)
    with pytest.raises(input_errors.InputDataError, match="used up before the last step; remove"), explained:
        count()


def test_error_of_another_kind_passes(reader_of, model_config):
    explained = input_errors.explained([reader_of()], model_config)
    with pytest.raises(tf.errors.InvalidArgumentError, match="loss"), explained:
        tf.debugging.Assert(False, ["loss is not finite"])

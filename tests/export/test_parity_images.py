import numpy as np

from tfod_csf.config.protos import pipeline_pb2
from tfod_csf.export import parity_images


def config_of(*patterns):
    config = pipeline_pb2.TrainEvalPipelineConfig()
    for pattern in patterns:
        config.eval_input_reader.add().tf_record_input_reader.input_path.append(str(pattern))
    return config


def test_the_first_images_of_the_evaluation_records(records_dir):
    images = parity_images.from_records(config_of(records_dir / "eval.record"))
    assert [image.shape for image in images] == [(48, 60, 3)] * 2
    assert {image.dtype for image in images} == {np.dtype(np.uint8)}
    (one,) = parity_images.from_records(config_of(records_dir / "none.record", records_dir / "eval.rec*"), count=1)
    np.testing.assert_array_equal(one, images[0])


def test_no_records_no_images(tmp_path):
    assert parity_images.from_records(config_of()) == ()
    assert parity_images.from_records(config_of(tmp_path / "*.record")) == ()


def test_records_that_cannot_be_read_are_not_an_error(tmp_path):
    (tmp_path / "a.record").write_bytes(b"no record" * 10)
    assert parity_images.from_records(config_of(tmp_path / "a.record")) == ()


def test_synthetic_images_are_the_same_each_time_and_hold_something():
    first, again = parity_images.synthetic(), parity_images.synthetic()
    assert [image.shape for image in first] == [(240, 320, 3), (200, 150, 3)]
    for image, same in zip(first, again, strict=True):
        np.testing.assert_array_equal(image, same)
        assert image.min() < 180 < 215 < image.max()

"""The comparison of SavedModel and checkpoint, on outputs that are stated here instead of computed by a network."""

import contextlib
import subprocess
import time

import numpy as np
import pytest
import tensorflow as tf

from tfod_csf.export import parity

IMAGES = [np.full([2, 3, 3], 10, np.uint8), np.full([4, 2, 3], 20, np.uint8)]


class Reference:
    """Stands in for a DetectionModule: its only output is the mean of each image."""

    def __call__(self, images):
        return {"scores": tf.reduce_mean(tf.cast(images, tf.float32), axis=[1, 2, 3])}

    def batch_function(self):
        return self.__call__


def compare(monkeypatch, changed=lambda outputs: outputs, **options):
    """Differences where the SavedModel gives what the reference gives, after `changed` has had its way with it."""
    seen = []

    @contextlib.contextmanager
    def run(saved_model_dir, calls):
        seen.extend((signature, np.shape(value)) for signature, value in calls)
        outputs = {f"{n:03d}|scores": Reference()(value)["scores"].numpy() for n, (_, value) in enumerate(calls)}
        yield lambda: changed(outputs)

    monkeypatch.setattr(parity, "_in_fresh_process", run)
    return parity.compare("model", Reference, "image_tensor", IMAGES, **options).differences, seen


def test_equal_outputs_differ_by_0_and_every_way_to_call_is_tried(monkeypatch):
    differences, calls = compare(monkeypatch)
    assert differences == {"scores": 0.0}
    assert calls == [("serving_default", (1, 2, 3, 3)), ("serving_default", (1, 4, 2, 3)), ("", (1, 2, 3, 3))]
    differences, calls = compare(monkeypatch, has_batch_signature=True)
    assert differences == {"scores": 0.0}
    assert calls[3] == ("serving_batch", (2, 2, 3, 3))


def test_the_largest_difference_of_all_calls_counts_against_the_tolerance(monkeypatch):
    def last_call_is_off(outputs):
        return outputs | {"002|scores": outputs["002|scores"] + 1e-3}

    with pytest.raises(
        parity.ParityError, match=r"model: scores differs from the checkpoint by 0\.001 \(allowed 1e-04\)"
    ):
        compare(monkeypatch, last_call_is_off)
    differences, _ = compare(monkeypatch, last_call_is_off, compute_dtype="bfloat16")
    assert differences["scores"] == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.parametrize(
    "changed",
    [
        lambda outputs: {key: value for key, value in outputs.items() if not key.startswith("001")},
        lambda outputs: outputs | {"001|another": np.zeros(1)},
        lambda outputs: outputs | {"001|scores": np.zeros([1, 2])},
        lambda outputs: outputs | {"001|scores": np.array([np.nan])},
    ],
    ids=["missing", "surplus", "shape", "nan"],
)
def test_outputs_that_cannot_be_compared_are_never_equal(monkeypatch, changed):
    with pytest.raises(parity.ParityError, match="differs from the checkpoint by inf"):
        compare(monkeypatch, changed, compute_dtype="bfloat16")


def test_outputs_without_rows_are_equal():
    differences = {}
    parity._add_differences(differences, {"boxes": np.zeros([1, 0, 4])}, {"boxes": np.zeros([1, 0, 4])})
    assert differences == {"boxes": 0.0}


def test_encoded_inputs_hold_the_images_pixels():
    image = np.random.default_rng(0).integers(0, 255, [4, 5, 3]).astype(np.uint8)
    np.testing.assert_array_equal(parity.encode(image, "image_tensor"), image[np.newaxis])
    as_float = parity.encode(image, "float_image_tensor")
    assert as_float.dtype == np.float32
    np.testing.assert_array_equal(as_float, image[np.newaxis])
    (encoded,) = parity.encode(image, "encoded_image_string_tensor")
    np.testing.assert_array_equal(tf.io.decode_image(encoded), image)
    (serialized,) = parity.encode(image, "tf_example")
    example = tf.train.Example.FromString(serialized)
    encoded = example.features.feature["image/encoded"].bytes_list.value[0]
    np.testing.assert_array_equal(tf.io.decode_image(encoded), image)


def test_a_model_that_tensorflow_cannot_load_is_an_error(tmp_path):
    with pytest.raises(parity.ParityError, match="cannot be run by TensorFlow alone"):
        parity.compare(tmp_path, Reference, "image_tensor", IMAGES)


@pytest.fixture
def slow_program(monkeypatch, tmp_path):
    """In place of run_saved_model.py: a program that says something and sleeps."""
    program = tmp_path / "program.py"
    program.write_text("import sys, time; print('said', file=sys.stderr, flush=True); time.sleep(60)")
    monkeypatch.setattr(parity.run_saved_model, "__file__", str(program))
    return program


def test_the_process_ends_with_an_error_of_the_reference(monkeypatch, slow_program):
    started = []
    popen = subprocess.Popen
    monkeypatch.setattr(parity.subprocess, "Popen", lambda *a, **k: started.append(popen(*a, **k)) or started[0])

    def fails():
        raise ZeroDivisionError

    begin = time.monotonic()
    with pytest.raises(ZeroDivisionError):
        parity.compare("model", fails, "image_tensor", IMAGES)
    assert started[0].poll() is not None
    assert time.monotonic() - begin < 30  # it would sleep for a minute


def test_a_savedmodel_that_cannot_be_run_is_one_sentence(slow_program):
    slow_program.write_text("raise ValueError('no such op')")
    with pytest.raises(
        parity.ParityError, match=r"model: cannot be run by TensorFlow alone \(ValueError: no such op\)"
    ):
        parity.compare("model", Reference, "image_tensor", IMAGES)

"""Detections are computed once for a model and an image, whatever its labels and folder."""

import contextlib
import dataclasses
import pathlib

import numpy as np
import pytest

from tests.support.constant_detector import CountingDetector
from tests.support.gray_images import save_gray
from tfod_csf.benchmarks.csf_small.kept_detections import KeptDetections, KeptDetectionsError
from tfod_csf.benchmarks.csf_small.source_images import SourceImage
from tfod_csf.model_folder import ModelFolder


def model(folder: pathlib.Path, weights: str = "1", **info) -> ModelFolder:
    network = folder / "saved_model"
    network.mkdir(parents=True)
    (network / "saved_model.pb").write_text(weights)
    return ModelFolder(folder, CountingDetector.label_map, info, network_dir=network)


def image(folder: pathlib.Path, gray: int) -> SourceImage:
    path = folder / f"{gray}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    save_gray(path, gray, 60, 40)
    return SourceImage(path, "pbc_mgg", "block_00", [])


@pytest.fixture
def detector():
    return CountingDetector()


def test_an_image_is_detected_once_and_what_is_kept_is_the_same(tmp_path, detector):
    images = [image(tmp_path / "data", gray) for gray in (20, 30)]
    first = KeptDetections(model(tmp_path / "m"), tmp_path / "kept", lambda folder: detector).of_all(images)
    assert detector.asked == 2
    detector.fails = True
    moved = [dataclasses.replace(images[1], block="block_07", fold=3)]
    again = KeptDetections(model(tmp_path / "same"), tmp_path / "kept", lambda folder: detector).of_all(moved)
    expected = CountingDetector().detect(np.full((40, 60, 3), 30, np.uint8), moved[0].key)
    for found in (first[1], again[0]):
        assert (found.width, found.height, found.num_at_limit) == (60, 40, False)
        for name in ("boxes", "classes", "scores", "multiclass_scores"):
            np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    assert (first[1].image, again[0].image) == (images[1].key, moved[0].key)


def test_a_model_is_not_loaded_where_everything_is_kept(tmp_path, detector):
    images = [image(tmp_path / "data", 20)]
    KeptDetections(model(tmp_path / "m"), tmp_path / "kept", lambda folder: detector).of_all(images)

    def refused(folder):
        raise AssertionError("loaded")

    kept = KeptDetections(model(tmp_path / "same"), tmp_path / "kept", refused)
    assert len(kept.of_all(images)[0]) == 1


@pytest.mark.parametrize(("weights", "info"), [("2", {}), ("1", {"calibration": {"temperature": 1.5}})])
def test_other_weights_and_temperatures_are_computed_again(tmp_path, detector, weights, info):
    images = [image(tmp_path / "data", 20)]
    KeptDetections(model(tmp_path / "m"), tmp_path / "kept", lambda folder: detector).of_all(images)
    other = model(tmp_path / "other", weights, **info)
    KeptDetections(other, tmp_path / "kept", lambda folder: detector).of_all(images)
    assert detector.asked == 2


def test_another_image_under_the_same_name_is_computed(tmp_path, detector):
    kept = KeptDetections(model(tmp_path / "m"), tmp_path / "kept", lambda folder: detector)
    one = image(tmp_path / "data", 20)
    before = kept.of(one)
    save_gray(one.path, 30, 60, 40)
    assert kept.of(one).boxes[0, 1] != before.boxes[0, 1]


def test_what_cannot_be_used_is_named(tmp_path, detector):
    kept = KeptDetections(model(tmp_path / "m"), tmp_path / "kept", lambda folder: detector)
    one = image(tmp_path / "data", 20)
    kept.of(one)
    [path] = (tmp_path / "kept").rglob("*.npz")
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    with pytest.raises(KeptDetectionsError, match=r"\.npz: is damaged .*; delete it"):
        kept.of(one)
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        with contextlib.suppress(KeptDetectionsError):  # any other error ends the test; some bytes say nothing
            kept.of(one)
    broken = tmp_path / "data" / "broken.jpg"
    broken.write_bytes(b"no image")
    with pytest.raises(KeptDetectionsError, match=r"broken\.jpg: cannot be read \(.+\); copy the data again"):
        kept.of(SourceImage(broken, "pbc_mgg", "block_00", []))


def test_a_model_without_scores_of_every_class_is_refused(tmp_path, detector):
    class Silent(CountingDetector):
        def detect(self, pixels, image="", jpeg=None):
            return dataclasses.replace(super().detect(pixels, image, jpeg), multiclass_scores=None)

    kept = KeptDetections(model(tmp_path / "m"), tmp_path / "kept", lambda folder: Silent())
    with pytest.raises(KeptDetectionsError, match="has no output detection_multiclass_scores"):
        kept.of(image(tmp_path / "data", 20))

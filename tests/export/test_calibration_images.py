import numpy as np
import pytest

from tests.support import hand_made_model as by_hand
from tfod_csf.export import calibration_images
from tfod_csf.label_map import label_map_from_names
from tfod_csf.problems import ProblemLog

LABELS = label_map_from_names(["red", "blue"])


@pytest.fixture
def images_dir(tmp_path):
    for value in range(10):
        by_hand.save_gray(tmp_path / "images" / "p1" / f"{value}.png", 20 * value)
    return tmp_path / "images"


def test_images_are_spread_evenly_and_read_again_in_each_pass(images_dir):
    images = calibration_images.of_folder(str(images_dir), LABELS, 4, ProblemLog())
    # Of ten images, numbers 0, 10 / 4, 20 / 4 and 30 / 4, rounded down.
    for _ in range(2):
        assert [int(image[0, 0, 0]) for image in images] == [0, 40, 100, 140]
    assert images.num_images == 4
    assert [image.shape for image in images.first(1)] == [(72, 96, 3)]


def test_the_fingerprint_follows_the_pixels(images_dir):
    def fingerprint():
        return calibration_images.of_folder(str(images_dir), LABELS, 100, ProblemLog()).fingerprint

    before = fingerprint()
    assert fingerprint() == before
    by_hand.save_gray(images_dir / "p1" / "9.png", 3)
    assert fingerprint() != before


def test_an_unreadable_image_is_reported_and_none_at_all_is_an_error(images_dir):
    (images_dir / "p1" / "0.png").write_bytes(b"x")
    problems = ProblemLog()
    images = calibration_images.of_folder(str(images_dir), LABELS, 5, problems)
    assert (images.num_images, len(problems.problems)) == (4, 1)
    for path in images_dir.rglob("*.png"):
        path.write_bytes(b"x")
    with pytest.raises(calibration_images.CalibrationError, match="no image can be used"):
        calibration_images.of_folder(str(images_dir), LABELS, 5, ProblemLog())


def test_records(records_dir):
    pattern = f"{records_dir}/train.record-*"
    images = calibration_images.of_records(pattern, LABELS, 3, ProblemLog())
    assert images.num_images == 3
    assert all(image.dtype == np.uint8 and image.shape[2] == 3 for image in images)
    with pytest.raises(calibration_images.CalibrationError, match="no such file"):
        calibration_images.of_records("/absent/x.record", LABELS, 3, ProblemLog())

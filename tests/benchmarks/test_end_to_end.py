import numpy as np
import pytest
from PIL import Image

from tfod_csf.benchmarks import end_to_end
from tfod_csf.cell_classes import STUDY_CLASSES


@pytest.fixture
def slides_dir(tmp_path):
    for patient in ("a", "b"):
        (tmp_path / patient).mkdir()
        for number in range(2):
            Image.new("RGB", (99, 80), (200 + 20 * number, 9, ord(patient))).save(tmp_path / patient / f"{number}.jpg")
    return tmp_path


def test_both_settings_are_measured_in_every_repeat(slides_dir):
    detector = end_to_end.StandInNetwork(0.01)
    row = end_to_end.measure(detector, slides_dir, 2, 0, num_repeats=3)
    assert (row["workers"], row["compared_workers"], row["repeats"], row["images"]) == (2, 0, 3, 12)
    assert 0.01 <= row["fastest_seconds_per_image"] <= row["seconds_per_image"] <= row["slowest_seconds_per_image"]
    assert 0 < row["network_percent"] <= 100
    assert row["times_compared"] > 0
    assert sorted(path.name for path in slides_dir.rglob("*") if path.is_file()) == ["0.jpg"] * 2 + ["1.jpg"] * 2


def test_the_stand_in_finds_a_field_of_cells_inside_the_image():
    found = end_to_end.StandInNetwork(0).detect(np.zeros([80, 120, 3], np.uint8), "a.jpg")
    assert len(found) == 20
    assert (found.boxes >= 0).all()
    assert (found.boxes[:, 2] <= 80).all()
    assert (found.boxes[:, 3] <= 120).all()
    assert (found.boxes[:, 2:] > found.boxes[:, :2]).all()
    assert set(found.classes) == set(range(1, len(STUDY_CLASSES) + 1))
    assert (found.scores >= 0.6).all()

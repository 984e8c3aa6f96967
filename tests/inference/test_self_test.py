import dataclasses
import json

import numpy as np
import pytest

from tfod_csf.detections import Detections
from tfod_csf.inference import self_test
from tfod_csf.inference.self_test import SelfTest, SelfTestError, Tolerance

IMAGES = [np.random.default_rng(seed).integers(0, 255, [40, 60, 3]).astype(np.uint8) for seed in range(3)]
TOLERANCE = Tolerance(missing_fraction=0.3, largest_score=0.05, largest_box_px=1.0)
NOTHING = Detections("", 60, 40, np.zeros([0, 4]), [], [])
ONE = Detections("", 60, 40, [[1, 2, 11, 12]], [2], [0.9])
THREE = Detections("", 60, 40, [[1, 2, 11, 12], [20, 20, 30, 30], [5, 40, 15, 50]], [1, 2, 1], [0.8, 0.7, 0.2])
FOUND = (NOTHING, ONE, THREE)


class Detector:
    """Finds the given detections in each of IMAGES."""

    def __init__(self, found):
        self._found = {image.tobytes(): detections for image, detections in zip(IMAGES, found)}

    def detect(self, pixels):
        return self._found[pixels.tobytes()]


@pytest.fixture
def stored(tmp_path):
    SelfTest.made_of(IMAGES, FOUND, 0.5, TOLERANCE).write(tmp_path)
    return SelfTest.read(tmp_path)


def with_three(**changes):
    return Detector((NOTHING, ONE, dataclasses.replace(THREE, **changes)))


def test_the_same_detections_do_not_differ(stored):
    differences = stored.run(Detector(FOUND))
    # One cell and two, each looked for in the other direction too; 0.2 is below min_score.
    assert (differences.num_cells, differences.num_missing) == (6, 0)
    assert (differences.largest_score, differences.largest_box_px) == (pytest.approx(0, abs=1e-6), 0)
    assert stored.faults(differences) == []
    assert stored.tolerance == TOLERANCE


def test_what_exceeds_the_tolerance_is_named(stored):
    differences = stored.run(with_three(scores=[0.8, 0.62, 0.2]))
    assert stored.faults(differences) == ["a score differs by 0.08 (allowed 0.05)"]
    differences = stored.run(with_three(boxes=[[1, 2, 11, 12], [20, 22, 30, 30], [5, 40, 15, 50]]))
    assert stored.faults(differences) == ["a box differs by 2 px (allowed 1)"]
    # Compared are the one cell, in both directions, and the two that are expected and not found.
    differences = stored.run(Detector((NOTHING, ONE, NOTHING)))
    assert stored.faults(differences) == [
        "2 of 4 detections (the export's and today's) are missing in the other run (allowed 30%)"
    ]
    differences = stored.run(with_three(classes=[1, 1, 1]))
    assert stored.faults(differences) == ["a score differs by 0.7 (allowed 0.05)"]


def test_a_score_that_rises_above_the_threshold_is_compared_with_what_was_a_little_below():
    below = dataclasses.replace(THREE, scores=[1.0, 0.48, 0.2])
    test = SelfTest.made_of(IMAGES, (NOTHING, ONE, below), 0.5, TOLERANCE)
    assert test.min_score == 0.5
    differences = test.run(with_three(scores=[1.0, 0.51, 0.2]))
    assert differences.num_missing == 0
    assert test.faults(differences) == []


def test_a_model_that_is_sure_of_nothing_is_tested_with_lower_scores():
    unsure = dataclasses.replace(ONE, scores=[0.3])
    assert SelfTest.made_of(IMAGES[1:2], [unsure], 0.5, TOLERANCE).min_score == pytest.approx(0.15)
    assert SelfTest.made_of(IMAGES[:1], [NOTHING], 0.5, TOLERANCE).min_score == 0.05
    assert SelfTest.made_of([], [], 0.5, TOLERANCE).run(Detector(FOUND)).num_cells == 0


def test_padding_is_not_part_of_the_detections():
    outputs = {
        "detection_boxes": np.array([[[0.25, 0.5, 0.5, 1.0], [0, 0, 0, 0]]]),
        "detection_scores": np.array([[0.9, 0.0]]),
        "detection_classes": np.array([[2.0, 1.0]]),
        "num_detections": np.array([1.0]),
    }
    found = self_test.detections_of(outputs, IMAGES[0])
    assert found.boxes.tolist() == [[10, 30, 20, 60]]
    assert (found.classes.tolist(), found.scores.tolist()) == ([2], [pytest.approx(0.9)])
    assert len(self_test.detections_of(outputs | {"num_detections": np.array([0.0])}, IMAGES[0])) == 0


def test_a_folder_without_or_with_a_damaged_self_test(stored, tmp_path):
    with pytest.raises(SelfTestError, match=r"absent/self_test/expected\.json: no such file; a model that TFOD or"):
        SelfTest.read(tmp_path / "absent")
    path = tmp_path / "self_test" / "expected.json"
    contents = json.loads(path.read_text())
    for changed in (
        {**contents, "tolerance": {}},
        {**contents, "images": [{"file": "../drawn_1.png", "detections": []}]},
        {**contents, "images": [{"file": "drawn_1.png", "detections": [{"box": [1, 2], "class": 1, "score": 0.5}]}]},
        {"images": []},
    ):
        path.write_text(json.dumps(changed))
        with pytest.raises(SelfTestError, match=r"expected\.json: cannot be read .*; copy or export the model again"):
            SelfTest.read(tmp_path)
    path.write_text(json.dumps(contents))
    (tmp_path / "self_test" / "drawn_2.png").write_bytes(b"no image")
    with pytest.raises(SelfTestError, match=r"cannot be read"):
        SelfTest.read(tmp_path)

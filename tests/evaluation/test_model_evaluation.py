import json

import numpy as np
import pytest

from tfod_csf.evaluation.model_evaluation import ModelEvaluation

CATEGORIES = [{"id": 1, "name": "lymphocyte"}]
BOX = [[0, 0, 10, 10]]


def groundtruth(boxes):
    number = len(boxes)
    return {
        "groundtruth_boxes": np.array(boxes, np.float32).reshape(-1, 4),
        "groundtruth_classes": np.ones(number, np.int32),
        "groundtruth_difficult": np.zeros(number, bool),
        "groundtruth_is_crowd": np.zeros(number, bool),
    }


def detections(boxes):
    return {
        "detection_boxes": np.array(boxes, np.float32).reshape(-1, 4),
        "detection_scores": np.full(len(boxes), 0.9, np.float32),
        "detection_classes": np.ones(len(boxes), np.int32),
    }


def test_one_reading_is_written_when_no_cell_is_unknown(tmp_path):
    evaluation = ModelEvaluation(CATEGORIES, ["ignored", "counted"])
    evaluation.add_image("a", {"ignored": groundtruth(BOX), "counted": groundtruth(BOX)}, *[detections(BOX)] * 2, False)
    evaluation.add_image("b", {"ignored": groundtruth([]), "counted": groundtruth([])}, *[detections([])] * 2, False)
    (text,) = evaluation.write(tmp_path, "m", {"data": "there"})
    assert text.startswith("m on 2 images:\n")
    assert evaluation.num_images == 2
    written = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))
    assert (written["data"], written["cells_labelled_unknown"]) == ("there", "none")
    assert written["metrics"]["PascalBoxes_Precision/mAP@0.5IOU"] == pytest.approx(1)
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".csv", ".png"}
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


def test_both_readings_are_written_when_a_cell_is_unknown(tmp_path):
    """One labeled cell, found, and a detection on an unknown one: right or wrong, as it is read."""
    evaluation = ModelEvaluation(CATEGORIES, ["counted", "ignored"])
    two = [*BOX, [20, 20, 40, 40]]
    ignoring = groundtruth(two) | {"groundtruth_difficult": np.array([False, True])}
    evaluation.add_image("a", {"counted": groundtruth(BOX), "ignored": ignoring}, *[detections(two)] * 2, True)
    first, second = evaluation.write(tmp_path, "m", {})
    assert first.startswith("m on 1 images (cells labeled unknown are counted):\n")
    assert second.startswith("m on 1 images (cells labeled unknown are ignored):\n")
    for folder, reading, false_positives in ((tmp_path, "counted", 1), (tmp_path / "unknown_ignored", "ignored", 0)):
        written = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        assert written["cells_labelled_unknown"] == reading
        assert written["per_class"][0]["false_positives"] == false_positives


@pytest.mark.parametrize("name", ["unknown_ignored", "unknown_counted"])
def test_the_other_reading_of_an_earlier_evaluation_does_not_stay(tmp_path, name):
    (tmp_path / name).mkdir()
    (tmp_path / name / "metrics.json").write_text("{}")
    evaluation = ModelEvaluation(CATEGORIES, ["counted", "ignored"])
    evaluation.add_image("a", dict.fromkeys(("counted", "ignored"), groundtruth(BOX)), *[detections(BOX)] * 2, False)
    evaluation.write(tmp_path, "m", {})
    assert not (tmp_path / name).exists()

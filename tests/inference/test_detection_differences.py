import numpy as np
import pytest

from tfod_csf.detections import Detections
from tfod_csf.inference.detection_differences import DetectionDifferences


def found(*rows, **fields):
    """Detections of a 200 x 100 image from rows (box, class, score)."""
    boxes, classes, scores = zip(*rows) if rows else ([], [], [])
    return Detections("a.png", 200, 100, np.array(boxes), np.array(classes), np.array(scores), **fields)


CELL = (0, 0, 20, 20)
MOVED = (0, 2, 20, 22)
FAR = (50, 50, 70, 70)


def test_equal_detections_in_another_order():
    differences = DetectionDifferences(0.5)
    differences.add(found((CELL, 1, 0.9), (FAR, 2, 0.8)), found((FAR, 2, 0.8), (CELL, 1, 0.9)))
    assert (differences.num_cells, differences.num_missing) == (4, 0)
    assert (differences.largest_score, differences.largest_box_px) == (0, 0)


def test_scores_and_boxes_of_a_cell_that_moved():
    differences = DetectionDifferences(0.5)
    # Below min_score in the second: compared from the first's side only, and not missing.
    differences.add(found((CELL, 1, 0.52)), found((MOVED, 1, 0.48)))
    assert (differences.num_cells, differences.num_missing) == (1, 0)
    assert differences.largest_score == pytest.approx(0.04, abs=1e-6)
    assert differences.mean_score == pytest.approx(0.04, abs=1e-6)
    assert (differences.largest_box_px, differences.largest_box_share) == (2.0, 0.01)


def test_a_cell_that_only_one_has():
    differences = DetectionDifferences(0.5)
    differences.add(found((CELL, 1, 0.9), (FAR, 1, 0.9)), found((CELL, 1, 0.9)))
    assert (differences.num_cells, differences.num_missing, differences.missing_fraction) == (3, 1, 1 / 3)
    differences.add(found((CELL, 1, 0.9)), found())
    assert (differences.num_cells, differences.num_missing) == (4, 2)


def test_the_score_of_the_cells_own_class_counts():
    differences = DetectionDifferences(0.5)
    scores = np.array([[0.1, 0.2, 0.7]])
    differences.add(found((CELL, 1, 0.6)), found((CELL, 2, 0.7), multiclass_scores=scores))
    # 0.6 for class 1 and 0.2; the other way round the first tells no score of class 2: 0.7 and 0.
    assert differences.largest_score == pytest.approx(0.7, abs=1e-6)
    assert differences.sum_score == pytest.approx(0.4 + 0.7, abs=1e-6)
    of_two_classes = DetectionDifferences(0.65)
    of_two_classes.add(found((CELL, 1, 0.7)), found((CELL, 2, 0.3), (MOVED, 1, 0.6)))
    assert of_two_classes.largest_score == pytest.approx(0.1, abs=1e-6)


def test_a_temperature_does_not_count():
    differences = DetectionDifferences(0.5)
    raw, calibrated = np.array([[0.1, 0.9]]), np.array([[0.3, 0.7]])
    with_temperature = found((CELL, 1, 0.7), multiclass_scores=calibrated, raw_multiclass_scores=raw)
    differences.add(with_temperature, found((CELL, 1, 0.9), multiclass_scores=raw))
    assert differences.largest_score == pytest.approx(0.0, abs=1e-6)

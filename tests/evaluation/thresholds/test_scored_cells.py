import math

import numpy as np
import pytest

from tests.support.scored_cells import scored_cells
from tfod_csf.evaluation.thresholds.scored_cells import IGNORED, NO_LABEL, ScoredCellsCollector, class_points

CATEGORIES = [{"id": 1, "name": "lymphocyte"}, {"id": 3, "name": "monocyte"}]


def groundtruth(*cells):
    """(class id, left side, difficult, is_crowd)."""
    return {
        "groundtruth_boxes": np.array([[0, x, 10, x + 10] for _, x, _, _ in cells]).reshape(-1, 4),
        "groundtruth_classes": np.array([cell[0] for cell in cells], int),
        "groundtruth_difficult": np.array([cell[2] for cell in cells], bool),
        "groundtruth_is_crowd": np.array([cell[3] for cell in cells], bool),
    }


def found(*cells):
    """(class id, left side, score), and the scores before a temperature."""
    boxes = np.array([[0, x, 10, x + 10] for _, x, _ in cells], np.float32).reshape(-1, 4)
    scores = np.array([cell[2] for cell in cells], np.float32)
    classes = np.array([cell[0] for cell in cells], int)
    return {"detection_boxes": boxes, "detection_classes": classes, "detection_scores": scores}


def test_cells_take_the_labels_that_they_overlap_most_best_score_first():
    collector = ScoredCellsCollector(CATEGORIES)
    truth = groundtruth((1, 0, False, False), (3, 100, False, False), (3, 200, True, False), (1, 300, True, True))
    cells = found((3, 1, 0.6), (1, 0, 0.9), (3, 103, 0.7), (1, 200, 0.5), (1, 900, 0.4))
    collector.add_image("p", truth, cells, np.array([0.65, 0.95, 0.7, 0.5, 0.4], np.float32))
    collector.add_image("", groundtruth(), found(), np.zeros(0))
    result = collector.cells()
    assert result.classes == ("lymphocyte", "monocyte")
    assert result.predicted.tolist() == [1, 0, 1, 0, 0]
    # The first cell finds its label taken by the better one; the fourth is on a difficult label.
    assert result.labeled.tolist() == [NO_LABEL, 0, 1, IGNORED, NO_LABEL]
    assert result.raw_scores.tolist() == [0.65, 0.95, 0.7, 0.5, 0.4]  # as written: a float32 of 0.7 is below 0.7
    assert result.scores.tolist() == [0.6, 0.9, 0.7, 0.5, 0.4]
    assert result.patients.tolist() == [0] * 5
    assert result.patient_ids == ("p", "")
    assert result.num_labels.tolist() == [1, 1]
    assert result.labels_of_patients.tolist() == [[1, 2], [0, 0]]  # the difficult monocyte is there; a crowd is no cell


def test_nothing_added():
    result = ScoredCellsCollector(CATEGORIES).cells()
    assert (len(result.predicted), result.labels_of_patients.shape) == (0, (0, 2))
    point = class_points(result, 0.5)["lymphocyte"]
    assert all(math.isnan(value) for value in (point.precision, point.recall, point.f1))


def test_points_of_a_class_by_hand():
    cells = [("L", "L", 0.9), ("L", "M", 0.6), ("M", "M", 0.4), ("L", "-", 0.3), ("M", "?", 0.8)]
    points = class_points(scored_cells({"p": ("LLMM", cells)}), 0.5)
    lymphocyte, monocyte = points["lymphocyte"], points["monocyte"]
    assert (lymphocyte.true_positives, lymphocyte.false_positives, lymphocyte.false_negatives) == (1, 1, 1)
    assert (lymphocyte.precision, lymphocyte.recall, lymphocyte.f1) == (0.5, 0.5, 0.5)
    # The one on an ignored label counts neither way.
    assert (monocyte.true_positives, monocyte.false_positives, monocyte.false_negatives) == (0, 0, 2)
    assert math.isnan(monocyte.precision)
    assert (monocyte.recall, monocyte.f1) == (0, 0)
    at_all = class_points(scored_cells({"p": ("LLMM", cells)}), 0.3)
    assert at_all["lymphocyte"].f1 == pytest.approx(2 / 5)
    assert at_all["monocyte"].f1 == pytest.approx(2 / 3)

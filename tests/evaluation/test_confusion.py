import math

import numpy as np

from tfod_csf.evaluation import confusion

CATEGORIES = [{"id": 1, "name": "lymphocyte"}, {"id": 2, "name": "monocyte"}]


def test_counts_by_hand():
    matrix = confusion.ConfusionMatrix(CATEGORIES, min_score=0.5)
    groundtruth = {
        "groundtruth_boxes": np.array([[0, 0, 10, 10], [0, 20, 10, 30], [0, 40, 10, 50], [0, 60, 10, 70]]),
        "groundtruth_classes": np.array([1, 2, 2, 1]),
        "groundtruth_difficult": np.array([0, 0, 0, 1]),
    }
    detections = {
        # right; monocyte taken for lymphocyte; nothing there; on the difficult cell; below min_score
        "detection_boxes": np.array(
            [[0, 0, 10, 10], [0, 21, 10, 31], [50, 0, 60, 10], [0, 60, 10, 70], [0, 40, 10, 50]]
        ),
        "detection_classes": np.array([1, 1, 2, 2, 2]),
        "detection_scores": np.array([0.9, 0.8, 0.7, 0.6, 0.4]),
    }
    matrix.add_image(groundtruth, detections)
    assert matrix.row_names == ["lymphocyte", "monocyte", "spurious"]
    assert matrix.column_names == ["lymphocyte", "monocyte", "missed"]
    np.testing.assert_array_equal(matrix.counts, [[1, 0, 0], [1, 0, 1], [0, 1, 0]])
    assert matrix.num_ignored == 1
    assert matrix.rows()[1] == {"true_class": "monocyte", "lymphocyte": 1, "monocyte": 0, "missed": 1}
    assert matrix.accuracy() == 0.5


def test_empty_image():
    matrix = confusion.ConfusionMatrix(CATEGORIES)
    matrix.add_image(
        {"groundtruth_boxes": np.zeros([0, 4]), "groundtruth_classes": np.zeros(0)},
        {"detection_boxes": np.zeros([0, 4]), "detection_classes": np.zeros(0), "detection_scores": np.zeros(0)},
    )
    assert not matrix.counts.any()
    assert math.isnan(matrix.accuracy())


def test_what_was_counted_where():
    matrix = confusion.ConfusionMatrix(CATEGORIES)
    groundtruth = {"groundtruth_boxes": [[0, 0, 10, 10], [0, 40, 10, 50]], "groundtruth_classes": [2, 1]}
    detections = {
        "detection_boxes": [[0, 80, 10, 90], [0, 60, 10, 70], [0, 1, 10, 11]],
        "detection_classes": [1, 1, 1],
        "detection_scores": [0.4, 0.9, 0.8],
    }
    nothing = confusion.NOTHING
    assert matrix.add_image(groundtruth, detections) == [(1, 0, 0, 2), (0, 2, 1, nothing), (2, 0, nothing, 1)]


def test_what_counts_as_a_cell_does_so_below_the_score():
    """A temperature lowers the scores of cells that were chosen by those before it."""
    groundtruth = {"groundtruth_boxes": [[0, 0, 10, 10]], "groundtruth_classes": [1]}
    cells = {"detection_boxes": [[0, 0, 10, 10]], "detection_classes": [1], "detection_scores": [0.4]}
    for are_cells, expected in ((False, [0, 1]), (True, [1, 0])):
        matrix = confusion.ConfusionMatrix(CATEGORIES)
        matrix.add_image(groundtruth, cells, are_cells)
        assert matrix.counts[0, [0, 2]].tolist() == expected


def test_a_crowd_is_neither_missed_nor_are_the_detections_in_it_spurious():
    matrix = confusion.ConfusionMatrix(CATEGORIES)
    groundtruth = {
        "groundtruth_boxes": [[0, 0, 40, 40], [50, 0, 60, 10], [0, 60, 10, 70]],
        "groundtruth_classes": [1, 2, 1],
        "groundtruth_difficult": [0, 0, 0],
        "groundtruth_is_crowd": [1, 0, 0],
    }
    detections = {
        # two in the crowd; one of which four tenths lie in it; the monocyte
        "detection_boxes": [[0, 0, 10, 10], [20, 20, 30, 30], [10, 36, 20, 46], [50, 0, 60, 10]],
        "detection_classes": [1, 2, 1, 2],
        "detection_scores": [0.9, 0.8, 0.7, 0.6],
    }
    nothing = confusion.NOTHING
    assert matrix.add_image(groundtruth, detections) == [(1, 1, 1, 3), (0, 2, 2, nothing), (2, 0, nothing, 2)]
    assert matrix.num_ignored == 2


def test_a_crowd_takes_no_detection_from_a_cell_in_it():
    matrix = confusion.ConfusionMatrix(CATEGORIES)
    groundtruth = {
        "groundtruth_boxes": [[0, 0, 10, 12], [0, 0, 10, 8]],
        "groundtruth_classes": [1, 2],
        "groundtruth_is_crowd": [1, 0],
    }
    found = {"detection_boxes": [[0, 0, 10, 11]], "detection_classes": [2], "detection_scores": [0.9]}
    assert matrix.add_image(groundtruth, found) == [(1, 1, 1, 0)]

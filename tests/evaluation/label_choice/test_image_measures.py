"""What an image is measured by, worked out by hand."""

import numpy as np
import pytest

from tfod_csf.detections import Detections
from tfod_csf.evaluation.label_choice import image_measures
from tfod_csf.evaluation.label_choice.image_measures import NO_CELL
from tfod_csf.label_map import LabelMap, LabelMapItem, label_map_from_names

LABEL_MAP = label_map_from_names(["lymphocyte", "monocyte"])
GRAY = np.full((48, 64, 3), 100, np.uint8)


def found(multiclass_scores, classes, scores=None):
    rows = np.array(multiclass_scores, float).reshape(-1, 3)
    scores = rows.max(axis=1) if scores is None else scores
    return Detections("a.jpg", 64, 48, np.zeros([len(classes), 4]), classes, scores, rows if len(rows) else None)


def measured(detections, label_map=LABEL_MAP):
    return image_measures.measure("a.jpg", "p", GRAY, detections, label_map)


def test_a_sure_cell_and_one_between_two_classes():
    one = measured(found([[0.0, 1.0, 0.0], [0.0, 0.5, 0.5]], [1, 1]))
    assert one.expected.tolist() == [1.5, 0.5]
    # The doubt of 1 about the second cell is of both classes.
    assert one.doubts == pytest.approx([0.5, 0.5])
    assert one.doubtful == {("lymphocyte", "monocyte"): 1}
    assert one.description.cells == pytest.approx([1.5**0.5, 0.5**0.5])


def test_doubt_whether_there_is_a_cell_is_of_its_class():
    # Margin 0.2: (1 - 0.2)^2.
    one = measured(found([[0.6, 0.0, 0.4]], [2]))
    assert one.doubts == pytest.approx([0, 0.64])
    assert one.doubtful == {(NO_CELL, "monocyte"): 1}


def test_image_without_cells():
    one = measured(found([], []))
    assert one.expected.tolist() == one.doubts.tolist() == [0, 0]
    assert not one.doubtful


def test_a_model_that_gives_one_score_and_a_label_map_with_a_gap():
    label_map = LabelMap([LabelMapItem(2, "lymphocyte"), LabelMapItem(5, "monocyte")])
    one = measured(found([], [5], [0.75]), label_map)
    assert one.expected == pytest.approx([0, 0.75])
    assert one.doubts == pytest.approx([0, 0.25])  # margin 0.75 - 0.25
    assert one.doubtful == {("monocyte", NO_CELL): 1}


def test_labels_are_described_like_what_is_found():
    described = image_measures.describe_labeled(GRAY, [2, 2, 2, 2], LABEL_MAP)
    assert described.cells.tolist() == [0, 2]
    assert described.colors.tolist() == [100, 100, 100, 0, 0, 0]


def test_colors_of_a_field_that_is_a_quarter_dark():
    pixels = np.full((64, 64, 3), (200, 100, 50), np.uint8)
    pixels[:32, :32] = 0
    # Standard deviation of a quarter zeros: value * sqrt(1/4 * 3/4).
    assert image_measures.colors(pixels) == pytest.approx([200, 100, 50, *(np.array([200, 100, 50]) * 0.1875**0.5)])


def test_weights_of_classes_without_any_label():
    assert image_measures.class_weights(np.zeros(3)).tolist() == [1, 1, 1]

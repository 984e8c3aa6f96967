"""Confusion matrices and balanced accuracy by hand."""

import numpy as np
import pytest

from tests.support.held_out_images import figure, held
from tfod_csf.benchmarks.csf_small import cell_types
from tfod_csf.benchmarks.csf_small.cell_types import (
    ANY_CLASS,
    BALANCED_ACCURACY,
    COUNTED_AS,
    DECIDED_WRONGLY,
    PREDICTED,
    RECALL,
    THREE_CLASSES,
)
from tfod_csf.benchmarks.csf_small.source_images import NOT_SURE

# Two lymphocytes: right, and a monocyte of 0.7. Two monocytes: right, and missed, because 0.4 is no cell. Three
# neutrophils: right, unknown, and taken for a red cell. An unknown cell that is counted as a neutrophil.
IMAGES = (
    ([("lymphocyte", 0), ("lymphocyte", 100)], [("lymphocyte", 0.9, 0), ("monocyte", 0.7, 100)]),
    ([("monocyte", 0), ("monocyte", 100)], [("monocyte", 0.6, 3), ("monocyte", 0.4, 100)]),
    (
        [("neutrophil", 0), ("neutrophil", 100), ("neutrophil", 200), ("erythrocyte", 300)],
        [("neutrophil", 0.9, 0), ("unknown", 0.9, 100), ("erythrocyte", 0.9, 200), ("erythrocyte", 0.9, 300)],
    ),
    ([("unknown", 0), (NOT_SURE, 100)], [("neutrophil", 0.95, 0), ("lymphocyte", 0.9, 100), ("lymphocyte", 0.9, 300)]),
)


def test_labeled_cells_by_predicted_class():
    rows = cell_types.figures(held(*IMAGES), replicates=50)
    matrix = cell_types.matrix_of(rows, PREDICTED)
    assert {label: list(given.values()) for label, given in matrix.items()} == {
        "lymphocyte": [1, 1, 0, 0, 0, 0],
        "monocyte": [0, 1, 0, 0, 0, 1],
        "neutrophil": [0, 0, 1, 1, 1, 0],
        "unknown": [0, 0, 1, 0, 0, 0],
    }
    assert list(matrix["monocyte"]) == ["lymphocyte", "monocyte", "neutrophil", "unknown", "erythrocyte", "missed"]
    # Of found cells: 1/2, 1/1, 1/3; among the three classes: 1/2, 1/1, 1/1.
    assert figure(rows, BALANCED_ACCURACY, ANY_CLASS).estimate.value == pytest.approx((1 / 2 + 1 + 1 / 3) / 3)
    assert figure(rows, BALANCED_ACCURACY, THREE_CLASSES).estimate.value == pytest.approx((1 / 2 + 1 + 1) / 3)
    assert figure(rows, BALANCED_ACCURACY, ANY_CLASS).cells == 6
    without_cells = cell_types.figures(held(*IMAGES, ([], [])), replicates=50)
    for row, same in zip(rows, without_cells, strict=True):
        assert (row.units, row.cells) == (same.units, same.cells)
    assert figure(rows, RECALL, ANY_CLASS, "neutrophil").estimate.value == pytest.approx(1 / 3)


def test_labeled_cells_as_they_are_counted():
    rows = cell_types.figures(held(*IMAGES), replicates=50)
    matrix = cell_types.matrix_of(rows, COUNTED_AS)
    assert list(matrix["lymphocyte"].values()) == [1, 0, 0, 1, 0, 0]  # 0.7 is unknown
    assert list(matrix["monocyte"].values()) == [0, 0, 0, 1, 0, 1]
    assert figure(rows, DECIDED_WRONGLY, COUNTED_AS, "lymphocyte").estimate.value == 0
    assert figure(rows, DECIDED_WRONGLY, COUNTED_AS, "unknown").estimate.value == 1
    wrong = cell_types.figures(held(*IMAGES, unknown_below=0.65), replicates=50)
    assert figure(wrong, DECIDED_WRONGLY, COUNTED_AS, "lymphocyte").estimate.value == 0.5


def test_a_class_without_found_cells_leaves_balanced_accuracy_undefined():
    rows = cell_types.figures(held(*IMAGES[:2]), replicates=50)
    found = figure(rows, BALANCED_ACCURACY, ANY_CLASS)
    assert np.isnan(found.estimate.value)
    assert found.note == "a class has no cell that was found"


def test_an_interval_samples_units():
    image = [(label, 0.0) for label in ("lymphocyte", "monocyte", "neutrophil")]
    image = [(name, 100 * place) for place, (name, _) in enumerate(image)]
    right = (image, [(name, 0.9, left) for name, left in image])
    wrong = (image, [("unknown", 0.9, left) for _, left in image])
    found = figure(cell_types.figures(held(*[right, wrong] * 10), replicates=400), BALANCED_ACCURACY, ANY_CLASS)
    # The three classes of an image are right or wrong together: a share of 20 images.
    assert found.estimate.value == 0.5
    assert (found.estimate.low, found.estimate.high) == pytest.approx((0.26, 0.74), abs=0.06)
    assert found.note == ""


def test_an_image_without_cells_has_none():
    rows = cell_types.figures(held(([], [])), replicates=50)
    assert {row.estimate.value for row in rows if row.name == cell_types.CELLS} == {0}
    assert np.isnan(figure(rows, BALANCED_ACCURACY, THREE_CLASSES).estimate.value)

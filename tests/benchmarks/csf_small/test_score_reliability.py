"""Calibration of white cells by hand."""

import math

import pytest

from tests.support.held_out_images import figure, held
from tfod_csf.benchmarks.csf_small import score_reliability
from tfod_csf.benchmarks.csf_small.score_reliability import (
    ACCURACY,
    ALL_SCORES,
    BIN_ACCURACY,
    BIN_SCORE,
    CALIBRATION_ERROR,
    COVERAGE,
)
from tfod_csf.benchmarks.csf_small.source_images import NOT_SURE
from tfod_csf.label_map import label_map_from_names

AT = "score of 0.8 or more"
# Taken for white cells: 0.9 right; 0.9 wrong class; 0.7 right; 0.6 without a label. Not counted: a cell that nobody is
# sure of, a red cell, and what is predicted to be unknown.
IMAGES = (
    ([("lymphocyte", 0), ("monocyte", 100)], [("lymphocyte", 0.9, 0), ("lymphocyte", 0.9, 100)]),
    ([("neutrophil", 0)], [("neutrophil", 0.7, 0), ("neutrophil", 0.6, 100)]),
    ([(NOT_SURE, 0), ("erythrocyte", 100)], [("monocyte", 0.9, 0), ("erythrocyte", 0.9, 100), ("unknown", 0.9, 200)]),
)


def test_white_cells_by_hand():
    rows = score_reliability.figures(held(*IMAGES))
    # Bins: 0.9 with 1 of 2 right, 0.7 with 1 of 1, 0.6 with 0 of 1.
    error = figure(rows, CALIBRATION_ERROR, ALL_SCORES)
    assert error.estimate.value == pytest.approx((2 * 0.4 + 0.3 + 0.6) / 4, abs=2e-4)
    assert (error.cells, error.units) == (4, 2)
    assert figure(rows, ACCURACY, ALL_SCORES).estimate.value == 0.5
    assert figure(rows, COVERAGE, AT).estimate.value == 0.5
    assert figure(rows, ACCURACY, AT).estimate.value == 0.5
    assert figure(rows, ACCURACY, AT).cells == 2
    scores = {row.reading: round(row.estimate.value, 3) for row in rows if row.name == BIN_SCORE}
    assert scores == {"0.55 to 0.60": 0.6, "0.65 to 0.70": 0.7, "0.85 to 0.90": 0.9}
    assert [row.estimate.value for row in rows if row.name == BIN_ACCURACY] == [0, 1, 0.5]


def test_an_unknown_cell_is_wrong_whether_the_model_has_that_class_or_not():
    four = label_map_from_names(["lymphocyte", "monocyte", "neutrophil", "erythrocyte"])
    image = ([("unknown", 0)], [("neutrophil", 0.9, 0)])
    for found in (held(image), held(image, label_map=four)):
        row = figure(score_reliability.figures(found), ACCURACY, ALL_SCORES)
        assert (row.estimate.value, row.cells) == (0, 1)


def test_no_white_cells():
    rows = score_reliability.figures(held(([], [])))
    assert math.isnan(figure(rows, CALIBRATION_ERROR, ALL_SCORES).estimate.value)
    assert figure(rows, COVERAGE, AT).note == "no such cell"

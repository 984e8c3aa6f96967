"""Undecided cells, worked by hand."""

import pytest

from tfod_csf.cytology.counting.unknown_cells import UnnamedCells, unknown_cells

# 5 lymphocytes an image, 1 monocyte, 6 unknown that are most likely neutrophils, 100 erythrocytes, on 8 images.
HIDDEN = UnnamedCells(
    {"m": {"lymphocyte": 40, "monocyte": 8, "erythrocyte": 800}}, {"m": {"neutrophil": 48, "erythrocyte": 9}}
)


def test_erythrocytes_do_not_dilute_the_share_of_unknown_cells():
    found = unknown_cells(HIDDEN, 30)
    assert found.likely == {"lymphocyte": 0, "monocyte": 0, "neutrophil": 48, "erythrocyte": 9, "other": 0}
    assert found.white_percent == 50  # 48 of 48 + 48


def test_both_readings_and_the_worst_case():
    readings = unknown_cells(HIDDEN, 30).readings
    neutrophil = readings["neutrophil"]
    assert (neutrophil.apart, neutrophil.as_predicted, neutrophil.worst_low, neutrophil.worst_high) == (0, 50, 0, 50)
    lymphocyte = readings["lymphocyte"]
    assert lymphocyte.apart == pytest.approx(100 * 40 / 48)
    assert (lymphocyte.worst_low, lymphocyte.worst_high) == (pytest.approx(100 * 40 / 96), pytest.approx(100 * 88 / 96))


def test_unknown_and_further_classes_may_be_white():
    found = unknown_cells(UnnamedCells({"m": {"lymphocyte": 30}}, {"m": {"unknown": 6, "eosinophil": 4}}), 30)
    assert (found.likely["other"], found.maybe_white, found.white_percent) == (10, 10, 25)
    assert found.readings["neutrophil"].as_predicted == 0
    assert found.readings["neutrophil"].worst_high == 25


def test_cells_that_a_person_left_unknown_are_in_the_worst_case_and_in_no_class():
    left = {"m": {"unknown": 6, "erythrocyte": 3}}
    found = unknown_cells(UnnamedCells({"m": {"lymphocyte": 30}}, {"m": {"neutrophil": 4}}, left), 30)
    assert (found.likely["neutrophil"], found.likely["other"], found.likely["erythrocyte"]) == (4, 6, 3)
    assert (found.maybe_white, found.left_unknown, found.white_percent) == (10, 6, 25)
    neutrophil = found.readings["neutrophil"]
    assert (neutrophil.as_predicted, neutrophil.worst_high) == (pytest.approx(100 * 4 / 34), 25)


def test_counts_alone_take_unknown_cells_for_undecided():
    found = unknown_cells(UnnamedCells.of_counts({"m": {"Unknown": 10, "lymphocyte": 30}}), 30)
    assert (found.likely["other"], found.white_cells, found.white_percent) == (10, 30, 25)


def test_models_are_averaged():
    cells = UnnamedCells(
        {"a": {"lymphocyte": 80, "monocyte": 20}, "b": {"lymphocyte": 30, "monocyte": 30}}, {"a": {"monocyte": 100}}
    )
    found = unknown_cells(cells, 30)
    assert (found.likely["monocyte"], found.white_cells) == (50, 80)
    assert found.readings["lymphocyte"].apart == pytest.approx((80 + 50) / 2)
    assert found.readings["lymphocyte"].worst_low == pytest.approx((40 + 50) / 2)


@pytest.mark.parametrize("decided", [{}, {"m": {}}, {"m": {"erythrocyte": 4}}])
def test_no_white_cell(decided):
    found = unknown_cells(UnnamedCells(decided, {}), 0)
    assert (found.maybe_white, found.white_percent) == (0, None)
    assert found.readings["lymphocyte"].apart is None


def test_a_reading_has_its_own_minimum():
    readings = unknown_cells(UnnamedCells({"m": {"lymphocyte": 20}}, {"m": {"lymphocyte": 15}}), 30).readings
    assert (readings["lymphocyte"].apart, readings["lymphocyte"].as_predicted) == (None, 100)

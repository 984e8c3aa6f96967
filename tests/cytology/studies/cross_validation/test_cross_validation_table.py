import dataclasses
import math

import numpy as np
import pytest

from tests.support.cross_validation_folds import ALL_RIGHT, CLASSES, FEW, SIX_TWO_TWO, fold
from tfod_csf.cytology.studies.cross_validation import cross_validation_table as table
from tfod_csf.errors import UserError
from tfod_csf.files import csv_schemas


def rows_of(rows, measure, class_name=""):
    return {row.fold or row.scope: row for row in rows if (row.measure, row.class_name) == (measure, class_name)}


def test_shares_are_of_each_fold_of_their_mean_and_of_all_patients():
    rows = table.measure_rows([fold(1, [SIX_TWO_TWO]), fold(2, [ALL_RIGHT, ALL_RIGHT])])
    recall = rows_of(rows, "recall", "lymphocyte")
    assert recall[1].estimate.value == pytest.approx(5 / 6)
    assert recall[2].estimate.value == 1
    assert recall["mean_of_folds"].estimate.value == pytest.approx((5 / 6 + 1) / 2)
    assert recall["all_patients"].estimate.value == pytest.approx(25 / 26)
    assert (recall["all_patients"].units, recall["all_patients"].cells) == (3, 26)
    assert recall[1].note == "no interval: fewer than 5 patients have such cells"
    # Two folds: t of one degree of freedom is 12.706, the spread sqrt(1/2 + 1), so the interval is cut at 1.
    spread = 12.706205 * np.std([5 / 6, 1], ddof=1) * math.sqrt(1.5)
    assert recall["mean_of_folds"].estimate.low == pytest.approx(max(0, 11 / 12 - spread))
    assert recall["mean_of_folds"].estimate.high == 1
    precision = rows_of(rows, "precision", "lymphocyte")
    assert precision["all_patients"].estimate.value == pytest.approx(25 / 28)
    assert precision["all_patients"].cells == 28
    monocytes = rows_of(rows, "precision", "monocyte")  # none was found
    assert math.isnan(monocytes["mean_of_folds"].estimate.value)
    assert monocytes["mean_of_folds"].note == "no fold has a value"


def test_error_of_percentages_is_of_decided_cells_and_of_patients_with_ten_white_labels():
    """Labels 60, 20 and 20 %, decided cells 50, 50 and 0 %: 10, 30 and 20 points, on average 20."""
    rows = table.measure_rows([fold(1, [SIX_TWO_TWO, FEW]), fold(2, [ALL_RIGHT])])
    error = rows_of(rows, "error_points")
    assert (error[1].estimate.value, error[1].units, error[1].cells) == (pytest.approx(20), 1, 10)
    assert error[2].estimate.value == 0
    assert (error["all_patients"].estimate.value, error["all_patients"].units) == (pytest.approx(10), 2)
    only_few = rows_of(table.measure_rows([fold(1, [FEW]), fold(2, [FEW])]), "error_points")
    assert math.isnan(only_few["all_patients"].estimate.value)
    assert only_few[1].note == "no patient with 10 labeled white cells"


def test_what_classes_are_displayed_as_does_not_change_the_error_of_percentages():
    shown = ("Lymphozyt", "Monozyt", "Granulozyt")
    folds = [fold(1, [SIX_TWO_TWO]), fold(2, [ALL_RIGHT])]
    displayed = [dataclasses.replace(one, classes=shown) for one in folds]
    of_names, of_displayed = (rows_of(table.measure_rows(one), "error_points") for one in (folds, displayed))
    assert of_displayed == of_names
    assert of_displayed[1].estimate.value == pytest.approx(20)


def test_interval_of_the_patients_widens_with_their_differences():
    alike, unlike = [SIX_TWO_TWO] * 6, [SIX_TWO_TWO, ALL_RIGHT] * 3
    rows = table.measure_rows([fold(1, alike), fold(2, unlike)])
    recall = rows_of(rows, "recall", "lymphocyte")
    assert recall[1].estimate.low == pytest.approx(recall[1].estimate.high)
    assert recall[2].estimate.low < 15 / 16 < recall[2].estimate.high
    assert recall[2].estimate.value == pytest.approx(45 / 48)


def test_average_precision_has_an_interval_over_folds_only():
    """0.6, 0.8, 0.7, 0.7: t(3) 3.1824 x 0.08165 x sqrt(1/4 + 1/3) = 0.1985."""
    folds = [fold(n, [ALL_RIGHT], m, (m, math.nan, 0.1)) for n, m in enumerate([0.6, 0.8, 0.7, 0.7], start=1)]
    rows = table.measure_rows(folds)
    mean = rows_of(rows, "mean_average_precision")
    assert mean["mean_of_folds"].estimate.low == pytest.approx(0.7 - 0.1985, abs=1e-4)
    assert mean[2].note.startswith("no interval: average precision is not a sum over patients; without monocyte")
    assert mean["mean_of_folds"].note == "4 of 4 folds have no labeled cell of some class, which is not in their mAP"
    assert "all_patients" not in mean
    absent = rows_of(rows, "average_precision", "monocyte")
    assert (absent[1].note, absent["mean_of_folds"].note) == ("no labeled cell", "no fold has a value")
    alike = rows_of(rows, "average_precision", "neutrophil")["mean_of_folds"]
    assert math.isnan(alike.estimate.low)
    assert alike.note == "no interval: all folds have the same value"


def test_folds_without_a_value_are_named():
    found, note = table.mean_of_folds([0.5, math.nan, 0.7], 3)
    assert found.value == pytest.approx(0.6)
    # Two values, each of a training on two thirds of the patients: 1/2 + (1/3) / (2/3) = 1.
    assert found.high == 1
    assert note == "1 of 3 folds have no value"
    assert table.mean_of_folds([math.nan, 0.7], 2)[1] == "no interval: one fold alone has a value"


def test_the_table_fits_its_schema_and_is_printed(tmp_path):
    rows = table.measure_rows([fold(1, [SIX_TWO_TWO] * 5, 0.61), fold(2, [ALL_RIGHT] * 5, 0.65)])
    table.write(tmp_path, rows)
    # mAP and 3 average precisions: 2 folds and a mean each; 6 shares and the error: all patients too.
    assert csv_schemas.load("cross_validation").check(tmp_path / "cross_validation.csv") == 4 * 3 + 7 * 4
    lines = table.text(rows, "patient").splitlines()
    # Half the interval is 12.706 x 0.02828 x sqrt(1/2 + 1) = 0.4402, cut at 1.
    assert " ".join(lines[1].split()) == "mean average precision 0.630 (0.190 to 1.000) 0.610 0.650"
    assert next(line for line in lines if line.startswith("error points")).split()[2:4] == ["10.0", "(0.0"]
    assert "(Nadeau and Bengio 2003)" in table.text(rows, "patient")
    assert "in other laboratories" in table.text(rows, "laboratory")
    assert "that other laboratories differ" in " ".join(table.text(rows, "laboratory").split())


def test_folds_of_other_classes_are_refused():
    with pytest.raises(UserError, match="fold 2 has the classes lymphocyte, monocyte, fold 1 "):
        table.measure_rows([fold(1, [ALL_RIGHT]), fold(2, [], 0.5, (0.5, 0.5), CLASSES[:2])])

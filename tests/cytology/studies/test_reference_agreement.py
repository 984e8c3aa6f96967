"""Small cohorts by hand; exact intervals as published tables of Clopper and Pearson have them."""

import numpy as np
import pytest

from tfod_csf.cytology.counting.reference_ranges import ReferenceRange
from tfod_csf.cytology.studies.agreement import Differentials
from tfod_csf.cytology.studies.reference_agreement import decision_levels, level_rows, limit_rows, two_by_two

RANGES = {"lymphocyte": ReferenceRange(63, 99), "monocyte": ReferenceRange(3, 37), "neutrophil": ReferenceRange(0, 2)}


def differentials(percent):
    return Differentials(tuple(map(str, range(len(percent)))), np.array(percent, float), np.full(len(percent), 200.0))


def test_two_by_two_by_hand():
    # The made-up cohort of 32: 25 abnormal by both, 2 by the machine only, none by the hospital only, 5 normal.
    machine = np.array([True] * 27 + [False] * 5)
    hospital = np.array([True] * 25 + [False] * 7)
    row = two_by_two(machine, hospital)
    assert [row[k] for k in ("both_abnormal", "machine_only", "hospital_only", "both_normal")] == [25, 2, 0, 5]
    assert (row["sensitivity_percent"], row["sensitivity_ci_high_percent"]) == (100, 100)
    assert row["sensitivity_ci_low_percent"] == pytest.approx(100 * 0.025 ** (1 / 25))
    assert row["specificity_percent"] == pytest.approx(500 / 7)
    # 5 of 7: 29.04 to 96.33 %.
    assert row["specificity_ci_low_percent"] == pytest.approx(29.04, abs=0.01)
    assert row["specificity_ci_high_percent"] == pytest.approx(96.33, abs=0.01)
    nobody = two_by_two(np.empty(0, bool), np.empty(0, bool))
    assert [name for name in nobody if "percent" in name] == []


def test_ends_of_a_range_are_normal_and_classes_without_a_range_are_not_judged():
    machine, hospital = differentials([[63, 35, 2]]), differentials([[62, 36, 2]])
    rows = {row["class"]: row for row in limit_rows(machine, hospital, RANGES)}
    assert (rows["lymphocyte"]["hospital_only"], rows["neutrophil"]["both_normal"]) == (1, 1)
    assert rows["any"]["hospital_only"] == 1
    # 99 % is within 10 points of 100: pure lymphocytes are as normal as nearly pure ones.
    assert (rows["lymphocyte"]["low_percent"], rows["lymphocyte"]["high_percent"]) == (63, 100)
    only = list(limit_rows(machine, hospital, {"neutrophil": RANGES["neutrophil"]}))
    assert [row["class"] for row in only] == ["neutrophil"]
    assert list(limit_rows(machine, hospital, {})) == []


def test_levels_are_the_ends_inside_the_scale_and_the_given_ones():
    found = list(decision_levels(RANGES, {"neutrophil": [10.0]}))
    assert [level[:2] for level in found] == [
        ("lymphocyte", 63),
        ("monocyte", 37),
        ("neutrophil", 2),
        ("neutrophil", 10),
    ]


def test_bias_at_a_level_of_a_known_line():
    # The machine says 2 + 0.9 times the hospital's percentage of lymphocytes, without any error.
    lymphocytes = np.linspace(10, 95, 18)
    hospital = np.column_stack([lymphocytes, 100 - lymphocytes, 0 * lymphocytes])
    by_machine = 2 + 0.9 * lymphocytes
    machine = np.column_stack([by_machine, 100 - by_machine, 0 * lymphocytes])
    rows = list(level_rows(differentials(machine), differentials(hospital), [("lymphocyte", 63, "given")]))
    row = rows[0]
    assert row["deming_bias"] == pytest.approx(2 - 6.3)
    assert row["weighted_deming_bias"] == pytest.approx(2 - 6.3)
    assert row["deming_ci_low"] == pytest.approx(-4.3, abs=1e-6)
    # Differences fall with the mean, all on one line: the limits are that line. Mean m: 2 + 0.9 x = y, x + y = 2 m.
    x = (2 * 63 - 2) / 1.9
    assert row["limits"] == "regression"
    assert (row["limit_low"], row["limit_high"]) == pytest.approx((2 - 0.1 * x, 2 - 0.1 * x))
    assert (row["note"], row["patients"]) == ("", 18)


def test_outliers_are_named_where_they_may_move_the_bias():
    # The machine adds 1 or 2 points in turn; on the last of 20 patients it is 40 points too high.
    lymphocytes = np.linspace(5, 50, 20)
    added = np.where(np.arange(20) % 2, 1.0, 2.0)
    added[-1] = 40
    hospital = np.column_stack([lymphocytes, 90 - lymphocytes, np.full(20, 10.0)])
    machine = hospital + np.column_stack([added, -added, 0 * added])
    levels = [("lymphocyte", 40, "given"), ("neutrophil", 10, "given")]
    with_outlier, without = level_rows(differentials(machine), differentials(hospital), levels)
    last = differentials(machine).patient_ids[-1]
    assert with_outlier["note"] == f"outliers may move the bias: {last}"
    assert "outliers" not in without["note"]


def test_one_patient_has_no_bias_and_a_level_outside_is_extrapolated():
    one = differentials([[80, 15, 5]])
    (row,) = level_rows(one, one, [("neutrophil", 2, "reference_high")])
    assert "limits" not in row
    assert "extrapolated: the hospital has 5 to 5 %" in row["note"]
    assert "at least three patients" in row["note"]

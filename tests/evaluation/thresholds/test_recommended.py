"""Recommended thresholds worked out by hand."""

import dataclasses
import math

import numpy as np
import pytest

from tests.support.scored_cells import scored_cells
from tfod_csf.evaluation.thresholds import recommended
from tfod_csf.evaluation.thresholds.recommended import recommend

FEW = {"p": ("LLMM", [("L", "L", 0.9), ("L", "M", 0.6), ("M", "M", 0.4), ("L", "-", 0.3)])}

HALVES = "LLLLLMMMMM"  # 50 % lymphocytes, 50 % monocytes
RIGHT = [("L", "L", 0.9)] * 5 + [("M", "M", 0.9)] * 5


def false_neutrophils(number):
    return [("N", "-", 0.6)] * number


def test_f1_by_hand():
    """Mean F1 of the two classes: (0.4 + 2/3) / 2 up to 0.3, (0.5 + 2/3) / 2 up to 0.4, (0.5 + 0) / 2 up to 0.6."""
    cells = scored_cells(FEW)
    means = [recommended.mean_f1(cells, score) for score in (0.3, 0.4, 0.6, 0.9, 0.95)]
    assert means == pytest.approx([8 / 15, 7 / 12, 1 / 4, 1 / 3, 0])
    found = recommend(cells, 0.5, 0.8)
    # 0.35 and 0.4 are equal, and 0.4 is nearer to 0.5.
    assert found.by_f1.min_score == 0.4
    assert found.by_f1.mean_f1 == pytest.approx(7 / 12)
    # From 0.4 on: lymphocytes one right, one wrong (2/3), monocytes one right (1); from 0.45 on the monocyte is a miss.
    assert found.by_f1.unknown_below == 0.4
    assert found.by_f1.decision_f1 == pytest.approx((2 / 3 + 1) / 2)
    assert found.in_use.mean_f1 == pytest.approx(1 / 4)
    assert (found.in_use.min_score, found.in_use.unknown_below) == (0.5, 0.8)


def test_f1_of_deciding_by_hand():
    cells = scored_cells(FEW)
    # Unknown below 0.65: the wrong lymphocyte and the right monocyte are left unknown.
    assert recommended.decision_f1(cells, 0.4, 0.65) == pytest.approx((1 + 0) / 2)
    assert recommended.decision_f1(cells, 0.4, 0.95) == 0
    assert math.isnan(recommended.decision_f1(cells, 0.95, 0))


def test_unknown_white_cells_by_hand():
    cells = scored_cells(FEW)
    assert recommended.unknown_percent(cells, 0.4, 0.65) == pytest.approx(100 * 2 / 3)
    assert recommended.unknown_percent(cells, 0.3, 0) == 0
    assert math.isnan(recommended.unknown_percent(cells, 0.95, 0))


def test_error_of_percentages_by_hand():
    patients = {
        # 5, 5 and 10 cells: 25, 25, 50 %, away by 25, 25 and 50; then 33.3 % each; then right.
        "a": (HALVES, RIGHT + false_neutrophils(10)),
        "b": (HALVES, RIGHT + false_neutrophils(5)),
        "c": (HALVES, RIGHT),
        "too few labels": ("L" * 9, []),
        "": (HALVES, []),
    }
    cells = scored_cells(patients)
    own = [100 / 3, (50 / 3 + 50 / 3 + 100 / 3) / 3, 0]
    assert recommended.percentage_errors(cells, 0.5, 0.5) == pytest.approx(own)
    assert recommended.percentage_errors(cells, 0.65, 0.5) == pytest.approx([0, 0, 0])
    assert recommended.percentage_errors(cells, 0.5, 0.95) == pytest.approx([100 / 3] * 3)  # nothing is counted
    found = recommend(cells, 0.5, 0.5)
    assert found.num_patients == 3
    best = found.by_differential
    assert (best.min_score, best.unknown_below) == (0.5, 0.65)  # the nearest to those in use without an error
    assert (best.error.mean, best.error.low, best.error.high) == (0, 0, 0)
    # Student's quantile for 2 degrees of freedom is 4.302653; standard deviation 16.9725.
    half = 4.302653 * 16.9725 / math.sqrt(3)
    assert found.in_use.error.mean == pytest.approx(500 / 27)
    assert found.in_use.error.low == 0
    assert found.in_use.error.high == pytest.approx(500 / 27 + half, abs=1e-3)
    assert found.difference.mean == pytest.approx(-500 / 27)
    assert found.difference.low == pytest.approx(-500 / 27 - half, abs=1e-3)
    assert found.difference.high == pytest.approx(-500 / 27 + half, abs=1e-3)
    assert not found.is_certainly_better
    assert found.curve.shape == (19, 20)
    assert found.curve[0, 0] == pytest.approx(500 / 27)


def test_the_same_gain_in_every_patient_is_certain():
    patients = {name: (HALVES, RIGHT + false_neutrophils(10)) for name in "abc"}
    found = recommend(scored_cells(patients), 0.5, 0.5)
    assert found.difference.high == pytest.approx(-100 / 3)
    assert found.is_certainly_better


def test_the_error_is_of_patients_that_the_thresholds_were_not_chosen_on():
    """Patient a needs more than 0.6 and the others at most 0.55, where half of their cells are.

    Chosen on all: 0.55, with errors of 33.3, 0 and 0. Without b or c it is a draw (33.3 and 0, or 0 and 33.3) that the
    threshold in use, 0.65, decides: 33.3 for the one that was not asked. Without a it is 0.55: 33.3 for a.
    """
    sure_and_not = [("L", "L", 0.9)] * 5 + [("M", "M", 0.55)] * 5
    patients = {"a": (HALVES, RIGHT + false_neutrophils(10)), "b": (HALVES, sure_and_not), "c": (HALVES, sure_and_not)}
    found = recommend(scored_cells(patients), 0.5, 0.65)
    assert (found.by_differential.min_score, found.by_differential.unknown_below) == (0.5, 0.55)
    assert found.curve.min() == pytest.approx(100 / 9)
    assert found.by_differential.error.mean == pytest.approx(100 / 3)
    # In use: 0, 33.3 and 33.3.
    assert found.difference.mean == pytest.approx(100 / 9)


def test_every_pair_of_thresholds_is_searched_with_the_numbers_of_a_single_one():
    rng = np.random.default_rng(3)
    cells = [("LMN"[p], "LMN"[t], round(float(s), 2)) for p, t, s in zip(*rng.integers(0, 3, (2, 60)), rng.random(60))]
    study = scored_cells({name: (HALVES, cells[20 * i : 20 * i + 20]) for i, name in enumerate("abc")})
    # Scores after a temperature are others than those before it.
    study = dataclasses.replace(study, scores=np.sqrt(study.raw_scores).round(3))
    found = recommend(study, 0.5, 0.8)
    for row in range(0, 19, 3):
        for column in range(0, 20, 4):
            pair = recommended.MIN_SCORES[row], recommended.UNKNOWN_BELOW[column]
            assert found.curve[row, column] == pytest.approx(recommended.percentage_errors(study, *pair).mean())


def test_too_few_patients_and_no_labels_recommend_nothing():
    found = recommend(scored_cells(dict.fromkeys("ab", (HALVES, RIGHT))), 0.5, 0.8)
    assert (found.by_differential, found.difference, found.num_patients) == (None, None, 2)
    assert found.by_f1.error is None
    assert not found.is_certainly_better
    nothing = recommend(scored_cells({}), 0.5, 0.8)
    assert (nothing.by_f1, nothing.by_differential) == (None, None)
    assert nothing.as_json() == {"f1": None, "differential": None}
    false_alarms = recommend(scored_cells({"p": ("", [("L", "-", 0.9)])}), 0.5, 0.8)
    assert false_alarms.by_f1 is None
    one_missed = recommend(scored_cells({"p": ("L", [])}), 0.5, 0.8)
    assert (one_missed.by_f1.min_score, one_missed.by_f1.unknown_below) == (0.5, 0.8)
    assert one_missed.as_json()["f1"]["decision_f1"] is None


def test_a_recommendation_at_the_end_of_the_search():
    """A monocyte that is found with 0.06 alone pulls min_score to the lowest one; nothing is known of the patients."""
    found = recommend(scored_cells({"p": ("LM", [("L", "L", 0.9), ("M", "M", 0.06)])}), 0.5, 0.8)
    assert found.by_f1.min_score == 0.05
    assert (found.is_at_edge("f1"), found.is_at_edge("differential")) == (True, False)
    assert not recommend(scored_cells(FEW), 0.5, 0.8).is_at_edge("f1")


def test_an_unknown_below_at_the_end_of_the_search():
    """After a temperature a wrong lymphocyte scores 0.94 and a right one 0.96: only 0.95 tells them apart."""
    cells = scored_cells({"p": ("LM", [("L", "L", 0.9), ("L", "M", 0.9)])})
    found = recommend(dataclasses.replace(cells, scores=np.array([0.96, 0.94])), 0.5, 0.8)
    assert found.by_f1.unknown_below == 0.95
    assert (found.is_highest_unknown_below("f1"), found.is_highest_unknown_below("differential")) == (True, False)
    none = dataclasses.replace(found, by_f1=dataclasses.replace(found.by_f1, unknown_below=0.0))
    assert not none.is_highest_unknown_below("f1")


def test_a_class_unknown_is_never_decided():
    cells = scored_cells(FEW)
    cells = dataclasses.replace(cells, classes=("unknown", "monocyte", "neutrophil"))
    assert recommended.decision_f1(cells, 0.4, 0) == 1  # the monocyte's alone

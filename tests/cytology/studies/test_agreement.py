"""The paper's Table 2 and small tables worked by hand; scikit-learn's kappa is not needed: 2 x 2 by hand."""

import math

import numpy as np
import pytest
from scipy import stats

from tfod_csf.cytology.studies.agreement import (
    Differentials,
    absolute_differences,
    class_measures,
    common_patients,
    difference_p_values,
    holm,
    kappa_of_pairs,
    paper_accuracy,
)

IDS = ("190931", "191155", "191172", "191158")
HOSPITAL = np.array([[5, 3, 92], [1, 7, 91], [18, 23, 59], [87, 6, 7]], float)
MACHINE = np.array([[7, 18, 75], [4, 7, 90], [27, 20, 53], [89, 8, 3]], float)


def both(cells=200):
    return tuple(Differentials(IDS, percent, np.full(4, float(cells))) for percent in (MACHINE, HOSPITAL))


def test_table_2_of_the_paper():
    # The paper prints 16, 16 and 3 where its own percentages differ by 15, 17 and 4; its averages are 4, 5 and 7.
    assert absolute_differences(MACHINE, HOSPITAL).mean(axis=0).tolist() == [4, 5, 7]
    assert paper_accuracy(MACHINE, HOSPITAL) == pytest.approx(94.7, abs=0.05)
    assert absolute_differences(MACHINE, HOSPITAL)[1].mean() == pytest.approx(1.3, abs=0.05)  # "only ~1.3 %"
    assert absolute_differences(MACHINE, HOSPITAL)[2].mean() == pytest.approx(6)


def test_only_patient_1_differs_by_more_than_counting_200_cells_explains():
    p_values = difference_p_values(*both())
    # Patient 1 by hand: counts 14, 36, 150 against 10, 6, 184; chi-square 24 * ... = 25.56 with 2 degrees of freedom.
    table = np.array([[14, 36, 150], [10, 6, 184]])
    assert p_values[0] == pytest.approx(stats.chi2_contingency(table).pvalue, rel=1e-9)
    assert p_values[0] == pytest.approx(2.8e-6, rel=0.02)
    assert (p_values[1:] > 0.05).all()
    assert (holm(p_values) < 0.05).tolist() == [True, False, False, False]


def test_fewer_cells_prove_less_and_no_cells_nothing():
    few = difference_p_values(*both(cells=20))
    assert few[0] > 0.05
    machine, hospital = both()
    nothing = Differentials(IDS, machine.percent, np.array([0, 200, 200, 200.0]))
    assert math.isnan(difference_p_values(nothing, hospital)[0])
    assert holm(np.array([math.nan, 0.01]))[1] == 0.01


def test_small_tables_use_exact_margins():
    # 3 of one class against 3 of another: of the 20 tables with these margins 2 are as far apart, p = 0.1.
    machine = Differentials(("a",), np.array([[100.0, 0, 0]]), np.array([3.0]))
    hospital = Differentials(("a",), np.array([[0, 100.0, 0]]), np.array([3.0]))
    assert difference_p_values(machine, hospital)[0] == pytest.approx(0.1, abs=0.01)
    assert difference_p_values(machine, machine)[0] == 1


def test_rows_of_all_measures_and_what_one_patient_cannot_have():
    rows = {(row["class"], row["measure"]): row for row in class_measures(*both())}
    assert rows["lymphocyte", "mean_absolute_difference"]["value"] == 4
    assert rows["lymphocyte", "bias"]["value"] == 4  # machine - hospital: 2, 3, 9, 2
    assert rows["neutrophil", "bias"]["value"] == -7
    assert rows["neutrophil", "sd_of_differences"]["value"] == pytest.approx(math.sqrt(146 / 3))  # -17, -1, -6, -4
    assert rows["all", "paper_accuracy"]["value"] == pytest.approx(94.667, abs=1e-3)
    machine, hospital = both()
    one = [Differentials(IDS[:1], side.percent[:1], side.cells[:1]) for side in (machine, hospital)]
    rows = {(row["class"], row["measure"]): row for row in class_measures(*one)}
    assert rows["monocyte", "bias"]["value"] is None
    assert "needs at least three patients" in rows["monocyte", "deming_slope"]["note"]


def test_kappa_by_hand():
    # 20 + 15 of 50 agree: po = 0.7; margins 25 / 25 and 30 / 20: pe = 0.5 * 0.6 + 0.5 * 0.4 = 0.5; kappa = 0.4.
    pairs = {("a", "a"): 20, ("a", "b"): 5, ("b", "a"): 10, ("b", "b"): 15}
    kappa = kappa_of_pairs(pairs)
    assert kappa.value == pytest.approx(0.4)
    assert kappa.low < 0.4 < kappa.high
    assert math.isnan(kappa_of_pairs({}).value)
    assert math.isnan(kappa_of_pairs({("a", "a"): 3}).value)


def test_patients_are_joined_by_id_in_the_machines_order():
    machine, _ = both()
    shuffled = Differentials(("x", *IDS[::-1]), np.vstack([[1, 2, 97], HOSPITAL[::-1]]), np.full(5, 200.0))
    ours, theirs, only_machine, only_hospital = common_patients(machine, shuffled)
    assert ours.patient_ids == theirs.patient_ids == IDS
    np.testing.assert_array_equal(theirs.percent, HOSPITAL)
    assert (only_machine, only_hospital) == ([], ["x"])

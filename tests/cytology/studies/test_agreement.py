"""The paper's Table 2, small tables worked by hand, and SciPy's multivariate hypergeometric distribution."""

import dataclasses
import math

import numpy as np
import pytest
from scipy import stats

from tfod_csf.cytology.studies.agreement import (
    SMALLEST_P,
    Differentials,
    absolute_differences,
    class_measures,
    common_patients,
    counting_variance,
    difference_p_values,
    freeman_halton,
    holm,
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
    assert difference_p_values(machine, hospital)[0] == pytest.approx(0.1, rel=1e-9)
    assert difference_p_values(machine, machine)[0] == 1


def all_tables(table):
    """(probability of the table, p value) by going through all tables with the same margins, with SciPy's density."""
    columns, first = table.sum(axis=0), table[0].sum()
    of = stats.multivariate_hypergeom(m=columns, n=first)
    found = [
        of.pmf([a, b, first - a - b])
        for a in range(columns[0] + 1)
        for b in range(columns[1] + 1)
        if 0 <= first - a - b <= columns[2]
    ]
    seen = of.pmf(table[0])
    return sum(found), sum(p for p in found if p <= seen * (1 + 1e-7))


@pytest.mark.parametrize("table", [[[3, 1, 9], [0, 7, 12]], [[30, 2, 1], [25, 0, 9]], [[1, 0, 0], [40, 3, 20]]])
def test_exact_p_values_against_all_tables(table):
    total, expected = all_tables(np.array(table))
    assert total == pytest.approx(1)
    for order in ([0, 1, 2], [2, 0, 1]):
        assert freeman_halton(np.array(table)[:, order]) == pytest.approx(expected, rel=1e-9)
    # Two classes: Fisher's exact test.
    two = np.array(table)[:, [0, 2]]
    assert freeman_halton(two) == pytest.approx(stats.fisher_exact(two).pvalue, rel=1e-9)
    assert freeman_halton(np.array([[2_000, 2_000, 9], [2_000, 2_000, 3]])) is not None
    assert freeman_halton(np.full((2, 3), 2_000)) is None


def test_the_wrong_one_of_601_patients_is_found():
    # 600 patients whose fluids hold 90 / 8 / 2 % by both methods within counting error, and one that is another fluid.
    rng = np.random.default_rng(2)
    ids = tuple(f"p{i}" for i in range(601))
    sides = [100 * rng.multinomial(200, [0.9, 0.08, 0.02], 601) / 200 for _ in range(2)]
    sides[0][300], sides[1][300] = (20, 0, 80), (98, 2, 0)
    machine, hospital = (Differentials(ids, percent, np.full(601, 200.0)) for percent in sides)
    adjusted = holm(difference_p_values(machine, hospital))
    assert np.flatnonzero(adjusted < 0.05).tolist() == [300]
    # 10,000 random tables could not go below 1e-4, times 601 patients 0.06. Chi-square on 2 degrees of freedom says
    # exp(-263 / 2): 56 * 56 / 236 * 2 + 80 * 80 / 80 * 2 + 2 with the columns 236, 4 and 160.
    assert stats.chi2_contingency(np.array([[40, 0, 160], [196, 4, 0]])).pvalue < 1e-55
    assert adjusted[300] < 1e-55


def test_far_apart_differentials_of_many_cells_have_a_p_value_above_zero():
    percents = np.array([[100.0, 0, 0]]), np.array([[0.0, 100, 0]])
    p_values = difference_p_values(*(Differentials(("a",), percent, np.array([5000.0])) for percent in percents))
    assert p_values[0] == SMALLEST_P


def test_effective_cells_make_the_test_of_a_patient_milder():
    machine, hospital = both()
    clustered = dataclasses.replace(machine, effective_cells=np.array([40, np.nan, np.nan, np.nan]))
    table = np.array([[3, 7, 30], [10, 6, 184]])  # 7, 18 and 75 % of 40 are 2.8, 7.2 and 30
    found = difference_p_values(clustered, hospital)
    assert found[0] == pytest.approx(all_tables(table)[1], rel=1e-9)
    np.testing.assert_array_equal(found[1:], difference_p_values(machine, hospital)[1:])


def test_spread_that_counting_alone_gives():
    # One patient, 50 % of 100 and 50 % of 300 cells: 2500 (1 / 100 + 1 / 300) * 400 / 399.
    ids = ("a",)
    machine = Differentials(ids, np.array([[50.0, 50, 0]]), np.array([100.0]))
    hospital = Differentials(ids, np.array([[50.0, 50, 0]]), np.array([300.0]))
    expected = 2500 * (1 / 100 + 1 / 300) * 400 / 399
    assert counting_variance(machine, hospital).tolist() == [[pytest.approx(expected), pytest.approx(expected), 0]]
    # By simulation: two counts of the same fluid.
    rng = np.random.default_rng(1)
    many = tuple(map(str, range(20_000)))
    first, second = (100 * rng.multinomial(n, [0.7, 0.2, 0.1], 20_000) / n for n in (60, 200))
    variance = counting_variance(
        Differentials(many, first, np.full(20_000, 60.0)), Differentials(many, second, np.full(20_000, 200.0))
    )
    assert variance.mean(axis=0) == pytest.approx((first - second).var(axis=0), rel=0.04)


def test_spread_of_clustered_cells():
    machine, hospital = both()
    design_effect = np.array([4, 0.5, np.nan, 1])
    clustered = dataclasses.replace(machine, design_effect=design_effect)
    assert clustered.independent_cells.tolist() == [50, 200, 200, 200]
    # Patient 1, lymphocytes: 7 % of 50 and 5 % of 200 cells: p = 13.5 / 250 (with 7 % of 50: 3.5).
    share = (3.5 + 10) / 250
    expected = 1e4 * share * (1 - share) * (1 / 50 + 1 / 200) * 250 / 249
    assert counting_variance(clustered, hospital, is_clustered=True)[0, 0] == pytest.approx(expected)
    np.testing.assert_array_equal(counting_variance(clustered, hospital), counting_variance(machine, hospital))
    rows = {(row["class"], row["measure"]): row["value"] for row in class_measures(clustered, hospital)}
    assert rows["lymphocyte", "sd_counting_clustered"] > rows["lymphocyte", "sd_counting_only"]
    assert rows["lymphocyte", "sd_beyond_counting"] ** 2 + rows["lymphocyte", "sd_counting_clustered"] ** 2 == (
        pytest.approx(34 / 3)
    )
    assert ("lymphocyte", "sd_counting_clustered") not in {
        (row["class"], row["measure"]) for row in class_measures(machine, hospital)
    }


def test_counting_only_and_beyond_it_in_the_rows():
    rows = {(row["class"], row["measure"]): row for row in class_measures(*both())}
    # Lymphocytes of Table 2: means 6, 2.5, 22.5 and 88 %; 200 + 200 cells: m (100 - m) / 100 * 400 / 399.
    expected = np.mean([m * (100 - m) / 100 * 400 / 399 for m in (6, 2.5, 22.5, 88)])
    assert rows["lymphocyte", "sd_counting_only"]["value"] == pytest.approx(math.sqrt(expected))
    # Differences 2, 3, 9, 2: variance 34 / 3, which is more than counting gives.
    assert rows["lymphocyte", "sd_beyond_counting"]["value"] == pytest.approx(math.sqrt(34 / 3 - expected))
    assert rows["lymphocyte", "difference_slope"]["value"] is None
    assert "at least 10 patients" in rows["lymphocyte", "difference_slope"]["note"]
    # Four patients: Passing-Bablok's order statistics do not exist.
    slope = rows["lymphocyte", "passing_bablok_slope"]
    assert (math.isnan(slope["ci_low"]), slope["value"] > 0) == (True, True)
    assert "too few different patients for an interval" in slope["note"]


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


def test_patients_are_joined_by_id_in_the_machines_order():
    machine, _ = both()
    shuffled = Differentials(("x", *IDS[::-1]), np.vstack([[1, 2, 97], HOSPITAL[::-1]]), np.full(5, 200.0))
    ours, theirs, only_machine, only_hospital = common_patients(machine, shuffled)
    assert ours.patient_ids == theirs.patient_ids == IDS
    np.testing.assert_array_equal(theirs.percent, HOSPITAL)
    assert (only_machine, only_hospital) == ([], ["x"])

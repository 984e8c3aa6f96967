"""Expected numbers: worked by hand, or from scipy's hypergeometric and binomial distributions."""

import math

import numpy as np
import pytest
from scipy import stats

from tfod_csf.cytology.counting.clustering import measure_clustering
from tfod_csf.cytology.counting.enough_cells import first_lasting
from tfod_csf.cytology.counting.saturation import (
    SaturationRules,
    planner_rows,
    saturation,
    summarize_cases,
    typical_clustering,
)

MANY = SaturationRules(replicates=4000)


def test_two_pure_images_by_hand():
    # 30 lymphocytes on one image, 30 neutrophils on the other: after n >= 30 cells the first class has 30 / n of them,
    # within 10 points of 50 % from n = 50 on. 50 is beyond 70 % of 60, so it is believed only where that rule is off.
    counts = [[30, 0, 0], [0, 0, 30]]
    assert saturation("p", counts, SaturationRules(max_fraction=1)).n_sat_orders == 50
    result = saturation("p", counts)
    assert result.n_sat_orders is None
    assert result.bootstrap is None  # two images are too few
    assert result.orders.within[:40].max() == 0


def test_n_sat_of_the_orders_is_exact_to_the_cell():
    # 1,000 images of one cell, half of each class: without replacement the error is within 10 points in 95 % of orders
    # from some n of about 90 on; every n is looked at, not only the 200 of the band.
    counts = np.zeros((1000, 3), int)
    counts[:500, 0] = counts[500:, 1] = 1
    x = [stats.hypergeom(1000, 500, n) for n in range(1, 201)]
    within = [
        x[n - 1].cdf(math.floor(0.6 * n + 1e-9)) - x[n - 1].cdf(math.ceil(0.4 * n - 1e-9) - 1) for n in range(1, 201)
    ]
    exact = first_lasting(np.array(within), 0.95) + 1
    assert saturation("p", counts, MANY).n_sat_orders == pytest.approx(exact, abs=8)


def test_random_orders_against_the_hypergeometric_distribution():
    # 100 images of one cell each, 50 of each of two classes: cells are drawn without replacement.
    counts = np.zeros((100, 3), int)
    counts[:50, 0] = counts[50:, 1] = 1
    result = saturation("p", counts, MANY)
    for n in (20, 50, 80):
        x = stats.hypergeom(100, 50, n)
        expected = x.cdf(math.floor(0.6 * n + 1e-9)) - x.cdf(math.ceil(0.4 * n - 1e-9) - 1)
        index = int(np.flatnonzero(result.orders.cells == n)[0])
        assert result.orders.within[index] == pytest.approx(expected, abs=0.025)
        assert result.orders.low[index, 0] == pytest.approx(100 * x.ppf(0.025) / n, abs=100 / n + 1e-3)
        assert result.orders.high[index, 0] == pytest.approx(100 * x.ppf(0.975) / n, abs=100 / n + 1e-3)
    assert result.orders.within[-1] == 1
    np.testing.assert_allclose(result.orders.low[-1], result.percent, atol=1e-3)


def test_drawn_images_against_the_binomial_distribution():
    # 10 images of 40 cells, each of one class: drawing j images is Binomial(j, 1/2) / j.
    counts = [[40, 0, 0]] * 5 + [[0, 40, 0]] * 5
    result = saturation("p", counts, MANY)
    for j in (10, 20, 30):
        x = stats.binom(j, 0.5)
        expected = x.cdf(math.floor(0.6 * j + 1e-9)) - x.cdf(math.ceil(0.4 * j - 1e-9) - 1)
        assert result.bootstrap.within[j - 1] == pytest.approx(expected, abs=0.025)


def test_mixed_images_saturate_near_the_number_of_independent_cells():
    rng = np.random.default_rng(3)
    result = saturation("p", rng.multinomial(25, [0.6, 0.25, 0.15], size=40), MANY)
    # One class of 60 % alone: 1.96^2 * 0.24 / 0.1^2 = 92 cells.
    assert 60 <= result.n_sat_orders <= 110
    assert 75 <= 25 * (first_lasting(result.bootstrap.within, 0.95) + 1) <= 150


@pytest.mark.parametrize("counts", [np.zeros((0, 3)), np.zeros((4, 3))])
def test_no_cell_has_no_curve(counts):
    result = saturation("p", counts)
    assert (result.n_sat_orders, result.orders, result.bootstrap, len(result.percent)) == (None, None, None, 0)


@pytest.mark.parametrize("counts", [[[1, 0, 0]], [[10, 9, 10]]])
def test_too_few_cells_have_a_curve_but_do_not_saturate(counts):
    result = saturation("p", np.asarray(counts))
    assert result.orders.cells[-1] == np.sum(counts)
    assert result.n_sat_orders is None


def test_n_sat_is_never_below_the_minimum():
    # 2 % of 500 cells: the first cell is within 10 points of the final 98, 1 and 1 % in nearly all orders.
    result = saturation("p", [[49, 1, 0], [49, 0, 1]] * 5)
    assert result.n_sat_orders == 30


def test_one_class_only_shows_nothing():
    result = saturation("p", [[20, 0, 0]] * 6)
    assert result.has_one_class
    assert result.n_sat_orders is None


def test_every_patient_has_its_own_reproducible_stream():
    counts = np.random.default_rng(1).multinomial(25, [0.5, 0.3, 0.2], size=8)
    first, again, other = (saturation(name, counts) for name in ("a", "a", "b"))
    np.testing.assert_array_equal(first.orders.within, again.orders.within)
    assert not np.array_equal(first.orders.within, other.orders.within)


def test_averaged_counts_are_refused():
    with pytest.raises(ValueError, match="whole numbers of one model"):
        saturation("p", [[0.5, 1, 1]])


def test_patients_that_did_not_saturate_push_the_median_up():
    low, *_, everybody = summarize_cases([100, 200, 300, None, None, None], ["a", "a", "a", "b", "b", "b"])
    assert (low.case, low.patients, low.saturated, low.median) == ("a", 3, 3, 200)
    assert (everybody.case, everybody.saturated, everybody.median) == ("all", 3, 300)  # the lower one in the middle
    assert everybody.high == math.inf
    assert 100 <= everybody.low <= 300
    assert math.isinf(summarize_cases([None], ["x"])[0].median)


def test_medians_of_fewer_than_six_patients_have_no_interval():
    (few, _) = summarize_cases([100, 110, 120, 130, 140], ["a"] * 5)
    assert (few.median, few.low, few.high) == (120, None, None)
    (six, _) = summarize_cases([100, 110, 120, 130, 140, 150], ["a"] * 6)
    assert (six.median, six.low, six.high) == (120, 100, 140)
    (none, _) = summarize_cases([100, 110, None, None, None, None, None], ["a"] * 7)
    assert (none.median, none.low, none.high) == (math.inf, None, None)


def test_the_planner_asks_what_enough_cells_asks():
    rows = {row["plan"]: row for row in planner_rows([10, 5], [0.5, 0.25, 0.25])}
    assert (rows["within 10 points"]["cells_needed"], rows["within 10 points"]["cells_needed_worst"]) == (138, 153)
    assert rows["within 5 points"]["cells_needed_worst"] == 593
    paper = [round(row["reach_points"], 1) for name, row in rows.items() if name.startswith("paper")]
    assert paper == [10.1, 8.7, 6.9]  # 150, 200 and 315 independent cells


def test_the_planner_multiplies_with_the_design_effect():
    images = np.random.default_rng(0).dirichlet([2, 1, 1], 40)
    clustered = measure_clustering(np.array([np.random.default_rng(1).multinomial(20, p) for p in images]))
    typical = typical_clustering([clustered, measure_clustering([[1, 0, 0]])])
    assert typical.design_effect == clustered.design_effect
    (row, *_) = planner_rows([10], [0.5, 0.25, 0.25], typical)
    assert row["cells_needed"] == pytest.approx(138 * clustered.design_effect, rel=0.15)
    assert typical_clustering([]) is None

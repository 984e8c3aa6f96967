"""Expected numbers: worked by hand, or from scipy's hypergeometric and binomial distributions."""

import math

import numpy as np
import pytest
from scipy import stats

from tfod_csf.cytology.counting.saturation import SaturationRules, planner_rows, saturation, summarize_cases

MANY = SaturationRules(replicates=4000)


def test_two_pure_images_by_hand():
    # 30 lymphocytes on one image, 30 neutrophils on the other: after n >= 30 cells the first class has 30 / n of them,
    # within 10 points of 50 % from n = 50 on. 50 is beyond 70 % of 60, so it is believed only where that rule is off.
    counts = [[30, 0, 0], [0, 0, 30]]
    assert saturation("p", counts, SaturationRules(max_fraction=1)).n_sat_orders == 50
    result = saturation("p", counts)
    assert result.n_sat_orders is None
    assert result.saturated is None  # two images are too few for the bootstrap
    assert "fewer than 5 images" in result.note
    assert result.orders.within[:40].max() == 0


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


def test_bootstrap_against_the_binomial_distribution_and_design_effect_by_hand():
    # 10 images of 40 cells, each of one class: drawing j images is Binomial(j, 1/2) / j.
    counts = [[40, 0, 0]] * 5 + [[0, 40, 0]] * 5
    result = saturation("p", counts, MANY)
    for j in (10, 20, 30):
        x = stats.binom(j, 0.5)
        expected = x.cdf(math.floor(0.6 * j + 1e-9)) - x.cdf(math.ceil(0.4 * j - 1e-9) - 1)
        assert result.bootstrap.within[j - 1] == pytest.approx(expected, abs=0.025)
    # Variance at 10 images (1/4) / 10 * 10 / 9; of 400 independent cells (1/4) / 400: 400 / 9 = 44.4.
    assert result.design_effect == pytest.approx(44.4, rel=0.08)
    assert result.saturated is False
    assert result.n_sat_bootstrap is None
    assert result.note == "not saturated"


def test_mixed_images_saturate_near_the_number_of_independent_cells():
    rng = np.random.default_rng(3)
    result = saturation("p", rng.multinomial(25, [0.6, 0.25, 0.15], size=40), MANY)
    # One class of 60 % alone: 1.96^2 * 0.24 / 0.1^2 = 92 cells; images of 25 cells make it 75 to 150.
    assert 75 <= result.n_sat_bootstrap <= 150
    assert 60 <= result.n_sat_orders <= 110
    assert result.images_needed == pytest.approx(result.n_sat_bootstrap / 25, abs=1)
    assert 0.6 < result.design_effect < 1.4


@pytest.mark.parametrize("counts", [np.zeros((0, 3)), np.zeros((4, 3)), [[1, 0, 0]], [[10, 9, 10]]])
def test_no_cell_one_cell_and_too_few_cells_do_not_saturate(counts):
    result = saturation("p", np.asarray(counts))
    assert (result.n_sat_orders, result.n_sat_bootstrap, result.orders) == (None, None, None)
    assert "fewer than 30 white cells: not saturated" in result.note


def test_one_class_only_says_that_resampling_shows_nothing():
    result = saturation("p", [[20, 0, 0]] * 6)
    assert (result.n_sat_orders, result.n_sat_bootstrap) == (1, 20)
    assert result.design_effect is None
    assert "all white cells are of one class" in result.note


def test_images_without_white_cells_cost_images():
    full = saturation("p", [[15, 10, 5]] * 10)
    half_empty = saturation("p", [[15, 10, 5], [0, 0, 0]] * 10)
    assert half_empty.images_needed >= full.images_needed
    assert half_empty.cells_per_image == 15


def test_every_patient_has_its_own_reproducible_stream():
    counts = np.random.default_rng(1).multinomial(25, [0.5, 0.3, 0.2], size=8)
    first, again, other = (saturation(name, counts) for name in ("a", "a", "b"))
    np.testing.assert_array_equal(first.orders.within, again.orders.within)
    assert not np.array_equal(first.orders.within, other.orders.within)


def test_averaged_counts_are_refused():
    with pytest.raises(ValueError, match="whole numbers of one model"):
        saturation("p", [[0.5, 1, 1]])


def test_patients_that_did_not_saturate_push_the_median_up():
    low, *_, everybody = summarize_cases([100, 200, 300, None, None], ["a", "a", "a", "b", "b"])
    assert (low.case, low.patients, low.saturated, low.median) == ("a", 3, 3, 200)
    assert (everybody.case, everybody.saturated, everybody.median) == ("all", 3, 300)
    assert everybody.high == math.inf
    assert 100 <= everybody.low <= 300
    assert math.isinf(summarize_cases([None], ["x"])[0].median)


def test_planner_stands_beside_the_papers_numbers():
    rows = {row["plan"]: row for row in planner_rows([10, 5], [0.4, 0.35, 0.25])}
    assert (rows["+-10 points"]["cells_thompson"], rows["+-10 points"]["cells_goodman"]) == (128, 133)
    assert rows["+-5 points"]["cells_thompson"] == 510
    paper = [round(row["half_width_points"], 1) for name, row in rows.items() if name.startswith("paper")]
    assert paper == [9.2, 8.0, 6.4]  # 150, 200 and 315 cells

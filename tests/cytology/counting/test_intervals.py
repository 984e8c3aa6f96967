"""Expected numbers: Thompson (1987) and Rumke's tables as cited in the literature, and formulas worked by hand."""

import numpy as np
import pytest
from scipy import optimize, stats

from tfod_csf.cytology.counting import intervals


def test_goodman_by_hand():
    # Counts 77, 66, 50 (n = 193); A = chi2 quantile (1 df) at 1 - 0.05 / 3 = 5.73113.
    # 77: (A + 2 * 77 -+ sqrt(A (A + 4 * 77 * 116 / 193))) / (2 (193 + A)) = (159.731 -+ 33.072) / 397.462
    bounds, method = intervals.simultaneous_intervals([77, 66, 50])
    assert method == "goodman"
    np.testing.assert_allclose(bounds[0], [(159.731 - 33.072) / 397.462, (159.731 + 33.072) / 397.462], atol=1e-4)


def test_exact_intervals_where_a_count_is_under_five():
    # No cell of 40: upper end 1 - (alpha / 3 / 2)^(1/40) = 1 - 0.0083333^(0.025) = 0.112802, the lower end is 0.
    bounds, method = intervals.simultaneous_intervals([40, 0, 0])
    assert method == "clopper_pearson"
    np.testing.assert_allclose(bounds[1], [0, 1 - (0.05 / 6) ** (1 / 40)], atol=1e-12)
    np.testing.assert_allclose(bounds[0], [(0.05 / 6) ** (1 / 40), 1], atol=1e-12)


def test_clopper_pearson_reproduces_rumke():
    # Rumke's table for one class, 95 %, n = 100: 0 % -> 0 .. 4. Two classes at alpha 0.10 are one class at 0.05.
    bounds, _ = intervals.simultaneous_intervals([0, 100], alpha=0.10)
    assert (100 * bounds[0]).round().tolist() == [0, 4]
    bounds, _ = intervals.simultaneous_intervals([4, 96], alpha=0.10)
    np.testing.assert_allclose(bounds[0], [stats.beta.ppf(0.025, 4, 97), stats.beta.ppf(0.975, 5, 96)], atol=1e-12)


def test_one_cell_has_a_very_wide_interval():
    bounds, _ = intervals.simultaneous_intervals([1, 0, 0])
    assert bounds[0][0] == pytest.approx(0.05 / 6)
    assert bounds[0][1] == 1


def test_no_cell_has_no_interval():
    with pytest.raises(ValueError, match="at least one cell"):
        intervals.simultaneous_intervals([0, 0, 0])


def goodman_reach(shares, n):
    """Farthest end of Goodman's intervals, from the quadratic equation (p - x)^2 n = A x (1 - x) of each class."""
    a = stats.chi2.ppf(1 - 0.05 / 3, 1)
    ends = [np.roots([n + a, -(2 * n * p + a), n * p * p]) for p in shares]
    return max(np.abs(end - p).max() for p, end in zip(shares, ends, strict=True))


def exact_reach(shares, n):
    """Farthest end of Clopper-Pearson intervals at alpha / 3, by solving the binomial tails."""
    reach = 0.0
    for p in shares:
        x = round(n * p)
        low = 0.0 if x == 0 else optimize.brentq(lambda q, x=x: stats.binom.sf(x - 1, n, q) - 0.05 / 6, 1e-9, 1)
        high = 1.0 if x == n else optimize.brentq(lambda q, x=x: stats.binom.cdf(x, n, q) - 0.05 / 6, 0, 1 - 1e-9)
        reach = max(reach, p - low, high - p)
    return reach


@pytest.mark.parametrize("shares", [(0.4, 0.35, 0.25), (0.8, 0.1, 0.1), (1 / 3, 1 / 3, 1 / 3)])
@pytest.mark.parametrize("reach", [0.03, 0.10])
def test_cells_needed_is_the_smallest_number_with_goodman(shares, reach):
    cells = intervals.cells_needed(shares, reach)
    assert goodman_reach(shares, cells) <= reach + 1e-9 < goodman_reach(shares, cells - 1)


def test_cells_needed_is_the_smallest_number_with_rare_classes():
    # One class: 0 of 46 cells has the upper end 1 - (0.05 / 6)^(1 / 46) = 9.89 %, of 45 10.10 %.
    assert intervals.cells_needed((1, 0, 0), 0.10) == 46
    assert exact_reach((1, 0, 0), 46) <= 0.10 < exact_reach((1, 0, 0), 45)
    # 77 / 18 / 1 of 96 have an end 12 points away; Goodman's half-width would ask for 89 cells, fewer than there are.
    shares = np.array([77, 18, 1]) / 96
    assert exact_reach(shares, 96) > 0.10
    assert intervals.cells_needed(shares, 0.10) > 96


@pytest.mark.parametrize("counts", [[30, 0, 0], [31, 1, 0], [77, 18, 1], [12, 12, 6], [2, 35, 63], [1, 0, 0]])
def test_cells_needed_and_reach_never_contradict_each_other(counts):
    shares = np.array(counts) / sum(counts)
    for cells in (sum(counts), 3 * sum(counts), 10 * sum(counts)):
        bounds, _ = intervals.simultaneous_intervals(shares * cells)
        is_within = intervals.reach_points(shares, bounds) <= 10
        assert is_within == (cells >= intervals.cells_needed(shares, 0.10))


def test_reach_is_more_than_the_half_width_near_zero():
    bounds, _ = intervals.simultaneous_intervals([30, 0, 0])
    # 0 of 30: the upper end is 1 - (0.05 / 6)^(1 / 30) = 14.75 %.
    assert intervals.reach_points([1, 0, 0], bounds) == pytest.approx(14.75, abs=0.01)
    assert intervals.half_width_points(bounds) == pytest.approx(7.37, abs=0.01)


def test_effective_cells_multiply_the_number():
    shares = (0.5, 0.25, 0.25)
    assert intervals.cells_needed(shares, 0.10) == 138
    assert intervals.cells_needed(shares, 0.10, effective_cells=lambda cells: cells / 2) == 276
    assert goodman_reach(shares, 138) <= 0.10 < goodman_reach(shares, 137.5)


def test_the_worst_shares_need_the_most_cells():
    worst = intervals.cells_needed_worst(0.10)
    rng = np.random.default_rng(0)
    assert all(intervals.cells_needed(shares, 0.10) <= worst for shares in rng.dirichlet([1, 1, 1], 20))
    assert intervals.reach_points_worst(worst) <= 10 < intervals.reach_points_worst(worst - 2)

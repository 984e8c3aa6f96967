"""Expected numbers: Thompson (1987) and Rumke's tables as cited in the literature, and formulas worked by hand."""

import numpy as np
import pytest
from scipy import stats

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


@pytest.mark.parametrize("shares", [(0.4, 0.35, 0.25), (0.9, 0.05, 0.05), (1 / 3, 1 / 3, 1 / 3), (1, 0, 0)])
@pytest.mark.parametrize("half_width", [0.03, 0.10])
def test_goodman_planner_is_the_smallest_sufficient_number(shares, half_width):
    def widest(n):
        quantile = stats.chi2.ppf(1 - 0.05 / 3, 1)
        return max(np.sqrt(quantile * (quantile + 4 * n * p * (1 - p))) / (2 * (n + quantile)) for p in shares)

    cells = intervals.cells_needed_goodman(shares, half_width)
    assert widest(cells) <= half_width + 1e-9 < widest(cells - 1)


def test_thompson_table():
    # Thompson (1987): n = 1.27359 / d^2 at alpha = 0.05 (m = 3), 1.00635 at 0.10, 1.96986 at 0.01 (m = 2 there).
    assert intervals.cells_needed_thompson(0.05) == 510
    assert intervals.cells_needed_thompson(0.001) == pytest.approx(1.27359e6, rel=1e-5)
    assert intervals.cells_needed_thompson(0.001, alpha=0.10) == pytest.approx(1.00635e6, rel=1e-5)
    assert intervals.cells_needed_thompson(0.001, alpha=0.01) == pytest.approx(1.96986e6, rel=1e-4)


def test_half_width_is_the_inverse_of_the_planner():
    assert intervals.half_width_thompson(intervals.cells_needed_thompson(0.07)) <= 0.07

"""How often a mark that is looked at again and again is wrong, by exact enumeration."""

import numpy as np
import pytest
from scipy import stats

from tfod_csf.cytology.counting.certain_marks import is_excluded
from tfod_csf.cytology.counting.intervals import simultaneous_intervals


def ever(is_certain, share, last, step):
    """Probability that `is_certain(x, n)` holds at some look: the chain of x over n, absorbed where it holds."""
    alive, total, absorbed = np.array([1.0]), 0, 0.0
    while total < last:
        alive = np.convolve(alive, stats.binom.pmf(np.arange(step + 1), step, share))
        total += step
        for x in np.flatnonzero(alive > 1e-9):
            if is_certain(int(x), total):
                absorbed, alive[x] = absorbed + alive[x], 0
    return absorbed


def test_excluded_shares_by_hand():
    # (n + 1) C(n, x) p^x (1 - p)^(n - x) for 2 of 2 cells at p = 0.1: 3 * 0.01 = 0.03.
    assert is_excluded(0.1, 2, 2, 0.0301)
    assert not is_excluded(0.1, 2, 2, 0.0299)
    assert not is_excluded(0.1, 0, 0, 0.05)
    assert is_excluded(0, 1, 1, 0.05)
    assert is_excluded(1, 0, 1, 0.05)


def test_looking_every_five_cells_is_wrong_too_often_with_intervals_and_seldom_with_the_rule():
    def interval_is_above(x, n):
        others = np.array([0.35, 0.63]) / 0.98 * (n - x)
        return n >= 30 and simultaneous_intervals([x, *others])[0][0, 0] > 0.02

    assert ever(interval_is_above, 0.02, 400, 5) == pytest.approx(0.088, abs=0.01)
    alpha = 0.05 / 3
    assert ever(lambda x, n: x > 0.02 * n and is_excluded(0.02, x, n, alpha), 0.02, 400, 5) <= 0.017


@pytest.mark.parametrize("share", [0.02, 0.3, 0.63])
def test_a_true_share_is_excluded_with_at_most_alpha_at_every_single_cell(share):
    assert ever(lambda x, n: is_excluded(share, x, n, 0.05), share, 300, 1) <= 0.05

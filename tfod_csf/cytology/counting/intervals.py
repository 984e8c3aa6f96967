"""Simultaneous confidence intervals of a differential, and how many cells a given width needs.

Shape shorthand in this module:
  k: classes (three white-cell types).
  n: white cells.
  p_i: share of class i.

A simultaneous interval holds for all k shares at once with probability 1 - alpha; a single 95 % interval per class
would miss at least one of three classes in up to 15 % of patients.

The intervals describe the sampling of cells from one slide and assume that cells are sampled independently; given
effective cells (see clustering.py) instead of cells they hold when cells of one kind lie together. They do not include
the detector's mistakes.
"""

import functools
from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

GOODMAN = "goodman"
CLOPPER_PEARSON = "clopper_pearson"
GOODMAN_MIN_COUNT = 5
# Shares among which the worst ones are looked for.
_GRID = np.linspace(0, 0.5, 11)


def simultaneous_intervals(counts: Sequence[float] | np.ndarray, alpha: float = 0.05) -> tuple[np.ndarray, str]:
    """Simultaneous intervals of all shares.

    Goodman's (1965) intervals rest on a chi-square approximation that needs every count to be at least 5; below that
    the exact Clopper-Pearson interval of each class at alpha / k is used, which is wider but never misses more often.

    Args:
      counts: [k] cells per class; need not be whole (means over models).
      alpha: probability that at least one interval misses its share.

    Returns:
      ([k, 2] lower and upper ends as fractions, "goodman" or "clopper_pearson").

    Raises:
      ValueError: no cells at all; a share of nothing has no interval.

    >>> intervals, method = simultaneous_intervals([77, 66, 50])
    >>> method, (100 * intervals).round(1).tolist()
    ('goodman', [[31.9, 48.5], [26.6, 42.7], [19.1, 34.1]])
    """
    counts = np.asarray(counts, dtype=float)
    total = counts.sum()
    if total <= 0:
        raise ValueError("intervals need at least one cell")
    if counts.min() >= GOODMAN_MIN_COUNT:
        return _goodman(counts, alpha), GOODMAN
    # Array arithmetic can leave a share a rounding error above n; the beta quantile would then be NaN.
    low, high = proportion_confint(np.minimum(counts, total), total, alpha=alpha / len(counts), method="beta")
    return np.stack([low, high], axis=1), CLOPPER_PEARSON


def _goodman(counts: np.ndarray, alpha: float) -> np.ndarray:
    """[k, 2] intervals; a patient needs a dozen, and statsmodels' take ten times as long for their quantile alone."""
    total, quantile = counts.sum(), _quantile(alpha / len(counts))
    shares = counts / total
    reach = np.sqrt(quantile**2 + (4 * total * shares * quantile * (1 - shares)))
    return ((2 * total * shares + quantile + np.array([-reach, reach])) / (2 * (quantile + total))).T


@functools.lru_cache(maxsize=64)
def _quantile(alpha: float) -> float:
    """Upper quantile of chi-square with one degree of freedom."""
    return float(stats.chi2.ppf(1 - alpha, 1))


def half_width_points(intervals: np.ndarray) -> float:
    """Half the width, in percentage points, of the widest of the [k, 2] intervals (fractions)."""
    return float(100 * np.max(intervals[:, 1] - intervals[:, 0]) / 2)


def reach_points(shares: Sequence[float] | np.ndarray, intervals: np.ndarray) -> float:
    """Largest distance, in percentage points, from a share to the farther end of its interval.

    Near 0 and 100 % an interval lies to one side, and half its width says too little: 0 of 30 cells have the interval
    0 to 14.7 %, whose half-width is 7.4 points while the true share may be 14.7 points away.

    Args:
      shares: [k] fractions.
      intervals: [k, 2] fractions.
    """
    shares = np.asarray(shares, dtype=float)
    return float(100 * np.max(np.maximum(shares - intervals[:, 0], intervals[:, 1] - shares)))


def cells_needed(
    shares: Sequence[float] | np.ndarray,
    reach: float,
    alpha: float = 0.05,
    effective_cells: Callable[[float], float] = float,
) -> int:
    """Smallest n from which on `simultaneous_intervals` reach at most `reach`, if the shares stay as they are.

    The same intervals as those printed, so the number never contradicts them: with n or more cells of these shares the
    reach is kept. Within each of the two methods the reach falls with n, so each is searched by halving.

    Args:
      shares: [k] fractions that add up to 1.
      reach: farthest end of an interval from its share, as a fraction (0.10 for 10 points).
      alpha: simultaneous error probability.
      effective_cells: effective cells of so many cells, rising with them (`Clustering.effective_cells`).

    >>> cells_needed([1, 0, 0], 0.10), cells_needed([0.5, 0.25, 0.25], 0.10)
    (46, 138)
    """
    shares = np.asarray(shares, dtype=float)

    def is_goodman(cells: int) -> bool:
        return bool(effective_cells(cells) * shares.min() >= GOODMAN_MIN_COUNT)

    def is_within(cells: int) -> bool:
        bounds, _ = simultaneous_intervals(shares * effective_cells(cells), alpha)
        return reach_points(shares, bounds) <= 100 * reach + 1e-9

    first_goodman = _first(is_goodman) if shares.min() > 0 else None
    if first_goodman is None:
        return _first(is_within)
    if is_within(first_goodman):
        return _first(is_within, first_goodman)
    return _first(lambda cells: cells > first_goodman and is_within(cells))


def _first(holds: Callable[[int], bool], known: int | None = None) -> int:
    """Smallest n >= 1 for which `holds`, which stays true once it is; `known` is one for which it does."""
    high = known or 1
    while known is None and not holds(high):
        high *= 2
    low = 0
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def cells_needed_worst(reach: float, alpha: float = 0.05, effective_cells: Callable[[float], float] = float) -> int:
    """`cells_needed` whatever the shares are: the largest number over all shares.

    Clopper-Pearson, used where a class is rare, needs the most cells; the worst are two classes of 40 to 60 % and a
    third that is hardly there.

    >>> cells_needed_worst(0.10), cells_needed_worst(0.05)
    (153, 593)
    """
    return max(cells_needed([share, 1 - share, 0], reach, alpha, effective_cells) for share in _GRID)


def reach_points_worst(cells: float, alpha: float = 0.05) -> float:
    """Largest reach, in percentage points, that so many (effective) cells can have, whatever the shares are.

    >>> [round(reach_points_worst(n), 1) for n in (150, 200, 315)]
    [10.1, 8.7, 6.9]
    """
    shares = [np.array([share, 1 - share, 0]) for share in _GRID]
    return max(reach_points(share, simultaneous_intervals(share * cells, alpha)[0]) for share in shares)

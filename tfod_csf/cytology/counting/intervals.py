"""Simultaneous confidence intervals of a differential, and how many cells a given width needs.

Shape shorthand in this module:
  k: classes (three white-cell types).
  n: white cells.
  p_i: share of class i.

A simultaneous interval holds for all k shares at once with probability 1 - alpha; a single 95 % interval per class
would miss at least one of three classes in up to 15 % of patients.

The intervals describe the sampling of cells from one slide and assume that cells are sampled independently. They do not
include the detector's mistakes, and cells that cluster within images make them somewhat too narrow (see saturation.py,
whose bootstrap samples whole images).
"""

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats
from statsmodels.stats.proportion import multinomial_proportions_confint, proportion_confint

GOODMAN = "goodman"
CLOPPER_PEARSON = "clopper_pearson"
GOODMAN_MIN_COUNT = 5


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
        return np.asarray(multinomial_proportions_confint(counts, alpha, method="goodman")), GOODMAN
    # Array arithmetic can leave a share a rounding error above n; the beta quantile would then be NaN.
    low, high = proportion_confint(np.minimum(counts, total), total, alpha=alpha / len(counts), method="beta")
    return np.stack([low, high], axis=1), CLOPPER_PEARSON


def half_width_points(intervals: np.ndarray) -> float:
    """Half the width, in percentage points, of the widest of the [k, 2] intervals (fractions)."""
    return float(100 * np.max(intervals[:, 1] - intervals[:, 0]) / 2)


def cells_needed_goodman(shares: Sequence[float] | np.ndarray, half_width: float, alpha: float = 0.05) -> int:
    """Smallest n at which all Goodman intervals are within +- `half_width` if the shares stay as they are.

    How it works: with A = chi2 quantile (1 df) at 1 - alpha / k, the half-width of class i is
    sqrt(A (A + 4 n p (1 - p))) / (2 (n + A)). Setting it equal to d gives a quadratic in m = n + A:
    4 d^2 m^2 - 4 A q m - A^2 (1 - 4 q) = 0 with q = p (1 - p); the largest root over the classes decides.

    Args:
      shares: [k] fractions that add up to 1.
      half_width: d as a fraction (0.10 for +- 10 points).
      alpha: simultaneous error probability.

    >>> cells_needed_goodman([0.4, 0.35, 0.25], 0.10)
    133
    """
    shares = np.asarray(shares, dtype=float)
    quantile = stats.chi2.ppf(1 - alpha / len(shares), 1)
    variance = shares * (1 - shares)
    b = 4 * quantile * variance
    c = quantile**2 * (1 - 4 * variance)
    a = 4 * half_width**2
    cells = (b + np.sqrt(b**2 + 4 * a * c)) / (2 * a) - quantile
    return max(1, math.ceil(cells.max() - 1e-9))


def cells_needed_thompson(half_width: float, alpha: float = 0.05, max_classes: int = 100) -> int:
    """Cells with which all shares are within +- `half_width` whatever the shares are (Thompson 1987).

    The worst case are m equal shares, with m as bad as it gets: n = max over m of z^2 (1/m) (1 - 1/m) / d^2 with z the
    normal quantile at 1 - alpha / (2 m). For alpha = 0.05 the worst m is 3 and n = 1.27359 / d^2.

    >>> [cells_needed_thompson(d) for d in (0.10, 0.07, 0.05, 0.03)]
    [128, 260, 510, 1416]
    """
    m = np.arange(2, max_classes + 1)
    z = stats.norm.ppf(1 - alpha / (2 * m))
    return math.ceil(np.max(z**2 * (1 / m) * (1 - 1 / m)) / half_width**2 - 1e-9)


def half_width_thompson(cells: float, alpha: float = 0.05, max_classes: int = 100) -> float:
    """Worst-case simultaneous half-width (fraction) that `cells` white cells give; the inverse of the planner.

    >>> [round(100 * half_width_thompson(n), 1) for n in (150, 200, 315)]
    [9.2, 8.0, 6.4]
    """
    m = np.arange(2, max_classes + 1)
    z = stats.norm.ppf(1 - alpha / (2 * m))
    return float(np.sqrt(np.max(z**2 * (1 / m) * (1 - 1 / m)) / cells))

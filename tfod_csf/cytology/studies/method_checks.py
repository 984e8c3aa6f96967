"""Checks of what a method comparison presupposes: constant differences, a straight line, no outliers (CLSI EP09).

Shape shorthand in this module:
  n: patients.

x is the reference method (the hospital), y the method under test (the machine), both [n] in the same unit.
"""

import dataclasses
import math

import numpy as np
from scipy import stats

from tfod_csf.cytology.studies.method_comparison import Estimate, Line

# Below this a straight line through differences or their sizes is not looked for.
MIN_PATIENTS = 10
# A trend is taken for real from this p value on; the tests are two-sided.
SIGNIFICANT = 0.05
# SD of a normal error from the mean of its absolute value.
_SD_OF_ABSOLUTE = math.sqrt(math.pi / 2)
_Z = 1.959963984540054


@dataclasses.dataclass(frozen=True)
class Trend:
    """Straight line through values against the mean of both methods.

    Attributes:
      slope: with its 95 % interval, per unit of the mean.
      intercept: at a mean of 0.
      p_value: two-sided t test of the slope against 0.
    """

    slope: Estimate
    intercept: float
    p_value: float

    @property
    def is_real(self) -> bool:
        """Whether the slope differs from 0 by more than chance."""
        return self.p_value < SIGNIFICANT

    def at(self, mean: np.ndarray | float) -> np.ndarray:
        """The line's value."""
        return self.intercept + self.slope.value * np.asarray(mean, float)


@dataclasses.dataclass(frozen=True)
class RegressionLimits:
    """Limits of agreement that change with the mean of both methods (Bland and Altman 1999, section 3.2).

    Attributes:
      difference: y - x on the mean; where its slope is not real, the constant bias stays.
      spread: absolute residuals of the differences on the mean; where its slope is not real, the constant SD stays.
      bias: constant, the mean of y - x.
      sd: constant, of the differences about the bias or, where it changes, about its line.
    """

    difference: Trend
    spread: Trend
    bias: float
    sd: float

    @property
    def are_needed(self) -> bool:
        """Whether constant limits of agreement would be wrong."""
        return self.difference.is_real or self.spread.is_real

    def at(self, mean: np.ndarray | float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(lower limit, bias, upper limit) where the mean of both methods is `mean`, each of its shape."""
        bias = self.difference.at(mean) if self.difference.is_real else np.full_like(mean, self.bias, dtype=float)
        sd = np.maximum(self.spread.at(mean), 0) * _SD_OF_ABSOLUTE if self.spread.is_real else self.sd
        return bias - _Z * sd, bias, bias + _Z * sd


def regression_limits(x: np.ndarray, y: np.ndarray) -> RegressionLimits:
    """Looks whether differences and their spread change with the mean of both methods.

    Differences D are regressed on the means A by least squares, then the absolute residuals on A. 1.96 times
    sqrt(pi / 2) times the fitted absolute residual, 2.46 of it, replaces 1.96 SD. The test of the spread's slope is
    Glejser's (1969).

    Raises:
      ValueError: fewer than `MIN_PATIENTS` patients, or all means are equal.
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    if len(x) < MIN_PATIENTS:
        raise ValueError(f"a trend of differences needs at least {MIN_PATIENTS} patients")
    mean, difference = (x + y) / 2, y - x
    if np.ptp(mean) == 0:
        raise ValueError("a trend of differences needs patients with different values")
    of_difference = _trend(mean, difference)
    bias = float(difference.mean())
    residual = difference - (of_difference.at(mean) if of_difference.is_real else bias)
    used = 2 if of_difference.is_real else 1
    sd = float(np.sqrt((residual**2).sum() / (len(x) - used)))
    return RegressionLimits(of_difference, _trend(mean, np.abs(residual)), bias, sd)


def _trend(x: np.ndarray, y: np.ndarray) -> Trend:
    """Least squares of y on x."""
    if np.ptp(y) == 0:
        return Trend(Estimate(0.0, 0.0, 0.0), float(y[0]), 1.0)
    found = stats.linregress(x, y)
    half_width = stats.t.ppf(0.975, len(x) - 2) * found.stderr
    slope = Estimate(float(found.slope), float(found.slope - half_width), float(found.slope + half_width))
    return Trend(slope, float(found.intercept), float(found.pvalue))


def linearity_cusum(x: np.ndarray, y: np.ndarray, line: Line) -> tuple[float, float]:
    """Passing and Bablok's (1983) cusum test of linearity: do patients above and below the line alternate at random?

    How it works: the patients are ordered along the line. Each above it scores sqrt(below / above), each below it
    -sqrt(above / below), each on it 0; the largest absolute sum of the scores so far, divided by sqrt(below + 1), is
    compared with the limiting distribution of Kolmogorov and Smirnov (1.36 at p = 0.05).

    Args:
      line: with a slope above 0.

    Returns:
      (statistic, p value); NaN where all patients are on one side of the line or on it.
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    slope, intercept = line.slope.value, line.intercept.value
    residual = y - intercept - slope * x
    residual[np.abs(residual) < 1e-9 * (1 + np.abs(y).max())] = 0
    above, below = int((residual > 0).sum()), int((residual < 0).sum())
    if not above or not below:
        return math.nan, math.nan
    score = np.select([residual > 0, residual < 0], [math.sqrt(below / above), -math.sqrt(above / below)], 0.0)
    order = np.argsort(y + x / slope, kind="stable")
    statistic = float(np.abs(np.cumsum(score[order])).max() / math.sqrt(below + 1))
    return statistic, float(stats.kstwobign.sf(statistic))


def outliers(values: np.ndarray, max_fraction: float = 0.05, alpha: float = 0.05) -> list[int]:
    """Rosner's (1983) generalized extreme studentized deviates, which EP09 asks for: places of values too far away.

    The largest deviation from the mean, in standard deviations, is compared with its critical value, the value is
    removed, and so on; the last one that was too large and all before it are outliers, so that several cannot hide one
    another. Nothing is removed from an analysis for it: EP09 wants the cause looked for first.

    Args:
      max_fraction: of values that can be outliers; at least one is looked for.

    Returns:
      Places in `values`, the farthest first; none with fewer than `MIN_PATIENTS` values.
    """
    values = np.asarray(values, float)
    n = len(values)
    if n < MIN_PATIENTS:
        return []
    left, removed, found = np.arange(n), [], 0
    for i in range(1, max(1, int(max_fraction * n)) + 1):
        sd = values[left].std(ddof=1)
        if sd == 0:
            break
        deviation = np.abs(values[left] - values[left].mean())
        place = int(deviation.argmax())
        freedom = n - i - 1
        t = stats.t.ppf(1 - alpha / (2 * (n - i + 1)), freedom)
        critical = (n - i) * t / math.sqrt((freedom + t**2) * (n - i + 1))
        removed.append(int(left[place]))
        if deviation[place] / sd > critical:
            found = i
        left = np.delete(left, place)
    return removed[:found]

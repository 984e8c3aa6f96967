"""Comparison of two methods on the same patients: Bland-Altman, Passing-Bablok, Deming, Lin's concordance.

Shape shorthand in this module:
  n: patients.

x is the reference method (the hospital), y the method under test (the machine), both [n] in the same unit. Differences
are always y - x. All intervals are 95 % unless `alpha` says otherwise.
"""

import dataclasses
import math

import numpy as np
from scipy import stats

# All n (n - 1) / 2 slopes are in memory at once: 12.5 million for 5,000 patients (100 MB). Above this, a random subset
# is used.
MAX_PASSING_BABLOK = 5000


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A number with its interval; the ends are NaN where there are too few patients for one."""

    value: float
    low: float
    high: float


def number_columns(value: float | Estimate | None) -> dict[str, float | None]:
    """The columns value, ci_low and ci_high of a study's table; a plain number has no interval."""
    if isinstance(value, Estimate):
        return {"value": value.value, "ci_low": value.low, "ci_high": value.high}
    return {"value": value}


@dataclasses.dataclass(frozen=True)
class Line:
    """y = intercept + slope * x."""

    slope: Estimate
    intercept: Estimate


@dataclasses.dataclass(frozen=True)
class BlandAltman:
    """Bias and limits of agreement.

    Attributes:
      bias: mean of y - x.
      sd: standard deviation (n - 1) of y - x.
      lower, upper: limits between which 95 % of differences lie if they are normal.
    """

    bias: Estimate
    sd: float
    lower: Estimate
    upper: Estimate


def bland_altman(x: np.ndarray, y: np.ndarray, alpha: float = 0.05) -> BlandAltman:
    """Bias and limits of agreement with the intervals of Bland and Altman (1999).

    The standard error of a limit is sd * sqrt(1 / n + z^2 / (2 (n - 1))); t quantiles with n - 1 degrees of freedom.

    Raises:
      ValueError: fewer than two patients.
    """
    difference = np.asarray(y, float) - np.asarray(x, float)
    n = len(difference)
    if n < 2:
        raise ValueError("Bland-Altman needs at least two patients")
    bias, sd = float(difference.mean()), float(difference.std(ddof=1))
    z, t = stats.norm.ppf(1 - alpha / 2), stats.t.ppf(1 - alpha / 2, n - 1)
    of_bias = t * sd / math.sqrt(n)
    of_limit = t * sd * math.sqrt(1 / n + z**2 / (2 * (n - 1)))

    def around(value: float, half_width: float) -> Estimate:
        return Estimate(float(value), float(value - half_width), float(value + half_width))

    return BlandAltman(around(bias, of_bias), sd, around(bias - z * sd, of_limit), around(bias + z * sd, of_limit))


def passing_bablok(x: np.ndarray, y: np.ndarray, alpha: float = 0.05, seed: int = 0) -> Line:
    """Passing and Bablok's (1983) regression: no distribution assumed, both methods may err, outliers matter little.

    How it works: the slope is the median of the slopes of all pairs of patients, shifted by K, the number of slopes
    below -1, so that swapping x and y gives the same line. Pairs of equal points and slopes of exactly -1 carry no
    information and are ignored; a vertical pair has an infinite slope. The interval is made of the order statistics
    C = z * sqrt(n (n - 1) (2 n + 5) / 18) / 2 places on either side. The intercept is the median of y - slope * x.

    Args:
      seed: of the random subset of `MAX_PASSING_BABLOK` patients that is used where there are more.

    Raises:
      ValueError: fewer than three patients, or no pair has a slope.
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    if len(x) > MAX_PASSING_BABLOK:
        chosen = np.random.default_rng(seed).choice(len(x), MAX_PASSING_BABLOK, replace=False)
        x, y = x[chosen], y[chosen]
    n = len(x)
    if n < 3:
        raise ValueError("Passing-Bablok needs at least three patients")
    slopes = _pair_slopes(x, y)
    if not len(slopes):
        raise ValueError("Passing-Bablok needs two different patients")
    count, shift = len(slopes), int((slopes < -1).sum())
    # Half of C on either side: N - C slopes split into a lower and an upper tail.
    c = stats.norm.ppf(1 - alpha / 2) * math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    lowest = round((count - c) / 2)
    highest = count - lowest + 1

    def at(place: int) -> float:
        return float(slopes[min(max(place + shift, 1), count) - 1])

    slope = (at((count + 1) // 2) + at(count // 2 + 1)) / 2
    low, high = at(lowest), at(highest)

    def intercept(b: float) -> float:
        return float(np.median(y - b * x)) if math.isfinite(b) else math.nan

    return Line(Estimate(slope, low, high), Estimate(intercept(slope), intercept(high), intercept(low)))


def _pair_slopes(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Sorted slopes of all pairs of patients but equal points and slopes of exactly -1; vertical pairs are +-inf."""
    n = len(x)
    slopes = np.empty(n * (n - 1) // 2)
    end = 0
    for i in range(n - 1):  # patient by patient: only the slopes themselves are held for all pairs
        dx, dy = x[i + 1 :] - x[i], y[i + 1 :] - y[i]
        known = (dx != 0) | (dy != 0)
        with np.errstate(divide="ignore"):
            found = dy[known] / dx[known]
        found = found[found != -1]
        slopes[end : end + len(found)] = found
        end += len(found)
    slopes = slopes[:end]
    slopes.sort()
    return slopes


def deming(x: np.ndarray, y: np.ndarray, error_ratio: float = 1.0, alpha: float = 0.05) -> Line:
    """Deming regression (both methods err, normally), intervals by the jackknife (Linnet 1993).

    b = (Syy - r Sxx + sqrt((Syy - r Sxx)^2 + 4 r Sxy^2)) / (2 Sxy), r the ratio of the error variances of y and x.

    Args:
      error_ratio: r; 1 treats both methods as equally precise.

    Raises:
      ValueError: fewer than three patients, or x and y do not vary together (no line).
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    n = len(x)
    if n < 3:
        raise ValueError("Deming regression needs at least three patients")

    def line(sx, sy, sxx, syy, sxy, m):
        syy, sxx, sxy = syy - sy * sy / m, sxx - sx * sx / m, sxy - sx * sy / m
        u = syy - error_ratio * sxx
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = (u + np.sqrt(u**2 + 4 * error_ratio * sxy**2)) / (2 * sxy)
            return slope, (sy - slope * sx) / m

    # Centered first: sums of squares of percentages near 99 would otherwise lose digits.
    cx, cy = x - x.mean(), y - y.mean()
    sums = cx.sum(), cy.sum(), (cx * cx).sum(), (cy * cy).sum(), (cx * cy).sum()
    slope, offset = line(*sums, n)
    if not np.isfinite(slope):
        raise ValueError("Deming regression needs x and y to vary together")
    sx, sy, sxx, syy, sxy = sums
    slopes, offsets = line(
        sx - cx, sy - cy, sxx - cx * cx, syy - cy * cy, sxy - cx * cy, n - 1
    )  # each without one patient
    intercept = offset + y.mean() - slope * x.mean()
    intercepts = offsets + y.mean() - slopes * x.mean()
    t = stats.t.ppf(1 - alpha / 2, n - 2)

    def estimate(value: float, without: np.ndarray) -> Estimate:
        pseudo = n * value - (n - 1) * without
        half_width = t * pseudo.std(ddof=1) / math.sqrt(n)
        return Estimate(float(value), float(value - half_width), float(value + half_width))

    return Line(estimate(slope, slopes), estimate(intercept, intercepts))


def concordance(x: np.ndarray, y: np.ndarray, alpha: float = 0.05) -> Estimate:
    """Lin's (1989, corrected 2000) concordance correlation: 1 only when every y equals its x.

    2 Sxy / (Sxx + Syy + (mean x - mean y)^2) with moments over n; interval through Fisher's z.

    Returns:
      NaN where neither method varies and they agree in their means; NaN ends where the interval is not defined
      (fewer than three patients, or perfect agreement).
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    n = len(x)
    dx, dy = x - x.mean(), y - y.mean()
    sxx, syy, sxy = (dx * dx).mean(), (dy * dy).mean(), (dx * dy).mean()
    shift = y.mean() - x.mean()
    total = sxx + syy + shift**2
    if total == 0:
        return Estimate(math.nan, math.nan, math.nan)
    value = float(2 * sxy / total)
    if n < 3 or abs(value) >= 1 - 1e-12 or sxx * syy == 0 or sxy == 0:
        return Estimate(value, math.nan, math.nan)
    r = sxy / math.sqrt(sxx * syy)
    u2 = shift**2 / math.sqrt(sxx * syy)
    variance = (
        (1 - r**2) * value**2 / ((1 - value**2) * r**2)
        + 2 * value**3 * (1 - value) * u2 / (r * (1 - value**2) ** 2)
        - value**4 * u2**2 / (2 * r**2 * (1 - value**2) ** 2)
    ) / (n - 2)
    half_width = stats.norm.ppf(1 - alpha / 2) * math.sqrt(max(variance, 0))
    z = math.atanh(value)
    return Estimate(value, math.tanh(z - half_width), math.tanh(z + half_width))

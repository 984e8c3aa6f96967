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
# Weights that the weighted regression holds at once, 8 bytes each, a few arrays of them.
_MAX_WEIGHTS = 100_000
_MAX_ITERATIONS = 500
# Of more patients the jackknife of the weighted regression leaves out groups of them: without each patient, the time
# would grow with the square of their number, to days for 100,000.
_MAX_JACKKNIFE = 5000
_GROUPS = 400


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
    """y = intercept + slope * x.

    Attributes:
      note: why an end of an interval is missing, "" where none is.
      without: [n, 2] slope and intercept without one patient each, of a line whose intervals come from the jackknife.
    """

    slope: Estimate
    intercept: Estimate
    note: str = ""
    without: np.ndarray | None = None

    def bias_at(self, level: float, alpha: float = 0.05) -> Estimate:
        """y - x where x is `level`, with its jackknife interval; NaN ends for a line without `without`."""
        value = self.intercept.value + (self.slope.value - 1) * level
        if self.without is None:
            return Estimate(value, math.nan, math.nan)
        return _jackknife(value, self.without[:, 1] + (self.without[:, 0] - 1) * level, alpha)


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

    With three or four patients, or where many values are equal, there are no such order statistics and there is no
    interval; the extreme slopes would cover 67 % (three patients) or 92 % (four), not 95 %. Where the upper one is
    infinite or beyond the last slope, the interval has no upper end: it includes a vertical line, as that of the
    swapped methods includes a slope of 0.

    Args:
      seed: of the random subset of `MAX_PASSING_BABLOK` patients that is used where there are more.

    Returns:
      The line; ends that do not exist are NaN, and `note` says why.

    Raises:
      ValueError: fewer than three patients; no two of them differ; x and y do not rise together (Kendall's tau is not
        above 0), which the shift by K presupposes; or so many values of one method are equal that the line would be
        vertical or horizontal.
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
    if np.ptp(x) == 0 or np.ptp(y) == 0 or stats.kendalltau(x, y).statistic <= 0:
        raise ValueError("Passing-Bablok: the two methods do not rise together")
    count, shift = len(slopes), int((slopes < -1).sum())
    # Half of C on either side: N - C slopes split into a lower and an upper tail.
    c = stats.norm.ppf(1 - alpha / 2) * math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    lowest = round((count - c) / 2)

    def at(place: int) -> float:
        """The slope at a place; beyond the last one are those below -1, on the far side of a vertical line."""
        return float(slopes[place + shift - 1]) if place + shift <= count else math.inf

    slope = (at((count + 1) // 2) + at(count // 2 + 1)) / 2
    if not 0 < slope < math.inf:
        raise ValueError("Passing-Bablok: too many patients have the same value by one of the methods")
    low, high = (at(lowest), at(count - lowest + 1)) if lowest >= 1 else (math.nan, math.nan)
    note = "" if lowest >= 1 else "too few different patients for an interval"
    if math.isinf(high):
        high, note = math.nan, "the interval has no upper end: it includes a vertical line"

    def intercept(b: float) -> float:
        return float(np.median(y - b * x))

    return Line(Estimate(slope, low, high), Estimate(intercept(slope), intercept(high), intercept(low)), note)


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
      ValueError: fewer than three patients; x and y do not vary together; or all x but at most one are equal (no line).
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    n = len(x)
    if n < 3:
        raise ValueError("Deming regression needs at least three patients")
    values, counts = np.unique(x, return_counts=True)
    if counts.max() >= n - 1:
        raise ValueError(
            "Deming regression needs x and y to vary together, and the hospital's values vary too little: "
            f"{counts.max()} of {n} are {values[counts.argmax()]:g}"
        )

    def line(sx, sy, sxx, syy, sxy, m):
        syy, sxx, sxy = syy - sy * sy / m, sxx - sx * sx / m, sxy - sx * sy / m
        # What rounding leaves of 0 would give a line of any slope.
        sxy = np.where(np.abs(sxy) <= 1e-12 * math.sqrt(scale), 0.0, sxy)
        u = syy - error_ratio * sxx
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = (u + np.sqrt(u**2 + 4 * error_ratio * sxy**2)) / (2 * sxy)
            return slope, (sy - slope * sx) / m

    # Centered first: sums of squares of percentages near 99 would otherwise lose digits.
    cx, cy = x - x.mean(), y - y.mean()
    sums = cx.sum(), cy.sum(), (cx * cx).sum(), (cy * cy).sum(), (cx * cy).sum()
    scale = sums[2] * sums[3]
    slope, offset = line(*sums, n)
    if not np.isfinite(slope):
        raise ValueError("Deming regression needs x and y to vary together")
    sx, sy, sxx, syy, sxy = sums
    slopes, offsets = line(
        sx - cx, sy - cy, sxx - cx * cx, syy - cy * cy, sxy - cx * cy, n - 1
    )  # each without one patient
    intercept = offset + y.mean() - slope * x.mean()
    return _jackknifed_line(slope, intercept, slopes, offsets + y.mean() - slopes * x.mean(), alpha)


def _jackknifed_line(slope: float, intercept: float, slopes: np.ndarray, intercepts: np.ndarray, alpha: float) -> Line:
    """A line with the intervals that [n] slopes and intercepts without one patient each give."""
    without = np.column_stack([slopes, intercepts])
    ends = _jackknife(slope, slopes, alpha), _jackknife(intercept, intercepts, alpha)
    note = "" if np.isfinite(without).all() else "no interval: without one of the patients there is no line"
    return Line(*ends, note, without)


def _jackknife(value: float, without: np.ndarray, alpha: float) -> Estimate:
    """A value with the interval of its [n] values without one patient each: t with n - 2 degrees of freedom."""
    n = len(without)
    if not np.isfinite(without).all():
        return Estimate(float(value), math.nan, math.nan)
    pseudo = n * value - (n - 1) * without
    half_width = stats.t.ppf(1 - alpha / 2, n - 2) * pseudo.std(ddof=1) / math.sqrt(n)
    return Estimate(float(value), float(value - half_width), float(value + half_width))


def weighted_deming(
    x: np.ndarray,
    y: np.ndarray,
    x_variance: np.ndarray,
    y_variance: np.ndarray,
    alpha: float = 0.05,
    seed: int = 0,
) -> Line:
    """Deming regression with an error variance of its own for every value (York 1969), intervals by the jackknife.

    With more than 5,000 patients the jackknife leaves out one of 400 random groups of (nearly) equal size at a time.

    Minimizes the sum of (y - a - b x)^2 / (y_variance + b^2 x_variance), which are the distances to the line in units
    of their errors. A constant ratio of variances, as `deming` has it, would let the patients with the largest
    counting error, those near 50 %, decide on the line near 0 %.

    Args:
      x_variance, y_variance: [n] above 0, in squared units of x and y; only their ratios matter.
      seed: of the groups.

    Raises:
      ValueError: fewer than three patients, or x and y do not vary together (no line).
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    n = len(x)
    start = deming(x, y, float(np.mean(y_variance) / np.mean(x_variance))).slope.value
    slope, intercept = _york(x, y, x_variance, y_variance, np.ones((1, n)), start)
    if not np.isfinite(slope[0]):
        raise ValueError("weighted Deming regression finds no line")
    group = np.arange(n)
    if n > _MAX_JACKKNIFE:
        group = np.random.default_rng(seed).permutation(n) % _GROUPS
    groups = np.arange(group.max() + 1)
    found = [
        _york(x, y, x_variance, y_variance, (group != of_part[:, None]).astype(float), slope[0])
        for of_part in np.array_split(groups, math.ceil(len(groups) * n / _MAX_WEIGHTS))
    ]
    slopes, intercepts = (np.concatenate(part) for part in zip(*found, strict=True))
    return _jackknifed_line(float(slope[0]), float(intercept[0]), slopes, intercepts, alpha)


def _york(
    x: np.ndarray, y: np.ndarray, x_variance: np.ndarray, y_variance: np.ndarray, chosen: np.ndarray, start: float
) -> tuple[np.ndarray, np.ndarray]:
    """York's iteration from a slope, for every row of `chosen` [m, n] (1: patient used); NaN where it does not end.

    Returns:
      ([m] slopes, [m] intercepts).
    """
    slope = np.full((len(chosen), 1), start)
    with np.errstate(divide="ignore", invalid="ignore"):
        for _ in range(_MAX_ITERATIONS):
            weight = chosen / (y_variance + slope**2 * x_variance)
            total = weight.sum(axis=1, keepdims=True)
            mean_x, mean_y = (weight @ x[:, None]) / total, (weight @ y[:, None]) / total
            u, v = x - mean_x, y - mean_y
            beta = weight**2 * (u * y_variance + slope * v * x_variance)
            found = (beta * v).sum(axis=1, keepdims=True) / (beta * u).sum(axis=1, keepdims=True)
            # A slope that has become NaN stays so and ends the waiting for it.
            moving = np.abs(found - slope) > 1e-10 * np.maximum(1, np.abs(found))
            slope = found
            if not moving.any():
                return slope[:, 0], (mean_y - slope * mean_x)[:, 0]
    slope = np.where(moving, np.nan, slope)
    return slope[:, 0], (mean_y - slope * mean_x)[:, 0]


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
    if n < 3 or abs(value) >= 1 - 1e-12 or np.ptp(x) == 0 or np.ptp(y) == 0 or sxy == 0:
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

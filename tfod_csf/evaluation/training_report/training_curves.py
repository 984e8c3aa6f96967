"""Did training saturate (Figure 3)? Precision and losses against steps, with the curve a - b / x through them.

The paper writes that precision over steps "takes on a 1/x, asymptotic relationship with saturation quickly established
within the first few thousand steps". The fit is a straight line in 1 / x, so it needs no starting values; it does
not tell why a curve is flat, and a falling learning rate can flatten it early.
"""

import dataclasses
import math

import numpy as np
from scipy import stats

# A curve with two parameters passes close to any three points, so it would show nothing.
MIN_POINTS = 4


@dataclasses.dataclass(frozen=True)
class AsymptoteFit:
    """y = a - b / x; a falling loss has b below 0.

    Attributes:
      a, a_low, a_high: asymptote with its 95 % interval.
      b: slope of the curve, in steps times the unit of y.
      r_squared: share of the variation that the curve explains; NaN where y does not vary.
      fit_step: first step from which the curve itself stays within the tolerance of its asymptote.
      observed_step: first step from which all measured values stay within the tolerance of the last one; None when only
        the last value does: then nothing shows that the curve is flat.
      saturated: whether both lie within the run.
      count: points used.
    """

    a: float
    a_low: float
    a_high: float
    b: float
    r_squared: float
    fit_step: float
    observed_step: int | None
    saturated: bool
    count: int

    def at(self, steps: np.ndarray) -> np.ndarray:
        """The curve at steps above 0."""
        return self.a - self.b / np.asarray(steps, float)


def fit_asymptote(steps: np.ndarray, values: np.ndarray, tolerance: float) -> AsymptoteFit | None:
    """Fits a - b / x by least squares.

    Args:
      steps: [N]; step 0 has no place on the curve and is ignored.
      values: [N]; values that are not finite are ignored.
      tolerance: in the unit of the values; 0.01 is one point of precision.

    Returns:
      None with fewer than `MIN_POINTS` usable points.

    >>> fit = fit_asymptote(np.array([100, 200, 400, 800]), 0.9 - 30 / np.array([100, 200, 400, 800]), 0.01)
    >>> round(fit.a, 3), round(fit.b, 3), round(fit.fit_step)
    (0.9, 30.0, 3000)
    """
    steps, values = np.asarray(steps, float), np.asarray(values, float)
    usable = (steps > 0) & np.isfinite(values)
    steps, values = steps[usable], values[usable]
    if len(steps) < MIN_POINTS or np.ptp(steps) == 0:
        return None
    line = stats.linregress(1 / steps, values)
    t = stats.t.ppf(0.975, len(steps) - 2)
    settled = np.abs(values - values[-1]) <= tolerance
    outside = np.flatnonzero(~settled)
    first = int(outside[-1]) + 1 if len(outside) else 0
    observed = int(steps[first]) if first < len(steps) - 1 else None
    fit_step = abs(line.slope) / tolerance
    return AsymptoteFit(
        a=float(line.intercept),
        a_low=float(line.intercept - t * line.intercept_stderr),
        a_high=float(line.intercept + t * line.intercept_stderr),
        b=float(-line.slope),
        r_squared=float(line.rvalue**2) if np.ptp(values) else math.nan,
        fit_step=float(fit_step),
        observed_step=observed,
        saturated=bool(observed is not None and fit_step <= steps[-1]),
        count=len(steps),
    )


def smoothed(values: np.ndarray, window: int) -> np.ndarray:
    """Running median of odd width, shorter at the ends; for the eye only."""
    values, half = np.asarray(values, float), max(window, 1) // 2
    return np.array([np.median(values[max(0, i - half) : i + half + 1]) for i in range(len(values))])

"""Time saved (Table 3): minutes per patient and per day, by hand and with the machine, with propagated errors.

An error is a standard error of the mean (how well the mean is known) or a standard deviation (how far patients or days
differ); the first shrinks with the number of patients, the second does not. The paper does not say which its "+-" are;
errors of 12 % of a mean of many days are most likely standard deviations.

A quantity is a mean with an error. Two ways of adding errors are given side by side, because the paper mixes them:
  independent   the parts vary on their own: errors add as squares. The paper's "243 +- 38.8 minutes saved" is this.
  worst case    the parts vary together (a busy day is busy for every step): errors add as they are. The paper's totals
                (25.3 + 13.4 printed as 38.5; 4.5 + 0.3 = 4.8) and its "86 +- 4 %" are this.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

# Theil-Sen's slope needs all pairs of images. Above this, a random subset is used.
_MAX_PAIRED = 1500


@dataclasses.dataclass(frozen=True)
class Quantity:
    """A mean with its error under both assumptions, in the same unit.

    Attributes:
      independent: error if the parts vary independently.
      worst_case: error if they all vary together.
    """

    mean: float
    independent: float
    worst_case: float

    @classmethod
    def with_error(cls, mean: float, error: float) -> "Quantity":
        """A single measured mean."""
        return cls(mean, error, error)

    def __add__(self, other: "Quantity") -> "Quantity":
        return Quantity(
            self.mean + other.mean,
            math.hypot(self.independent, other.independent),
            self.worst_case + other.worst_case,
        )

    def __sub__(self, other: "Quantity") -> "Quantity":
        added = self + other
        return Quantity(self.mean - other.mean, added.independent, added.worst_case)

    def __mul__(self, other: "Quantity") -> "Quantity":
        a, b = self, other
        return Quantity(
            a.mean * b.mean,
            math.hypot(a.independent * b.mean, b.independent * a.mean),
            a.worst_case * abs(b.mean) + b.worst_case * abs(a.mean),
        )


def percent_saved(by_hand: Quantity, machine: Quantity) -> Quantity:
    """100 (1 - machine / by hand); the error is that of the ratio.

    >>> saved = percent_saved(Quantity.with_error(281, 38.5), Quantity.with_error(37, 4.8))  # the paper's Table 3
    >>> round(saved.mean, 1), round(saved.independent, 1), round(saved.worst_case, 1)
    (86.8, 2.5, 3.5)
    """
    ratio = machine.mean / by_hand.mean

    def relative(name: str) -> tuple[float, float]:
        return getattr(machine, name) / by_hand.mean, ratio * getattr(by_hand, name) / by_hand.mean

    return Quantity(100 * (1 - ratio), 100 * math.hypot(*relative("independent")), 100 * sum(relative("worst_case")))


@dataclasses.dataclass(frozen=True)
class Measured:
    """Single measurements of one thing, for example minutes of report writing of every patient.

    Attributes:
      sd: standard deviation (n - 1), NaN with one measurement.
      standard_error: of the mean.
    """

    mean: float
    sd: float
    standard_error: float
    count: int

    @property
    def quantity(self) -> Quantity:
        """The mean with its standard error (0 where there is only one measurement)."""
        return Quantity.with_error(self.mean, 0.0 if math.isnan(self.standard_error) else self.standard_error)

    @property
    def spread(self) -> Quantity:
        """The mean with the standard deviation of single measurements (0 where there is only one)."""
        return Quantity.with_error(self.mean, 0.0 if math.isnan(self.sd) else self.sd)


def measured(values: Sequence[float] | np.ndarray) -> Measured:
    """Mean, standard deviation and standard error of at least one value."""
    numbers = np.asarray(values, float)
    sd = float(numbers.std(ddof=1)) if len(numbers) > 1 else math.nan
    return Measured(float(numbers.mean()), sd, sd / math.sqrt(len(numbers)), len(numbers))


def percent_saved_paired(by_hand: np.ndarray, machine: np.ndarray) -> Measured:
    """100 (1 - sum of machine / sum of by hand) of the same patients, both [P] minutes, with its standard error.

    The standard error is that of a ratio of sums (Cochran 1977, section 6.4): a patient who takes long both ways does
    not count as an error of the ratio.

    Raises:
      ValueError: fewer than two patients, or no time by hand.
    """
    if len(by_hand) < 2 or by_hand.sum() <= 0:
        raise ValueError("a saving of paired patients needs two of them and time by hand")
    ratio = machine.sum() / by_hand.sum()
    residual = machine - ratio * by_hand
    n = len(by_hand)
    error = 100 * math.sqrt(n / (n - 1) * (residual**2).sum()) / by_hand.sum()
    return Measured(float(100 * (1 - ratio)), math.nan, float(error), n)


@dataclasses.dataclass(frozen=True)
class Trend:
    """How seconds per image depend on something (cells on the image, position in the run).

    Attributes:
      spearman: rank correlation, -1 .. 1; NaN where nothing varies.
      p_value: of the rank correlation.
      slope, slope_low, slope_high: Theil-Sen's median slope (seconds per unit) with its 95 % interval.
      count: images.
    """

    spearman: float
    p_value: float
    slope: float
    slope_low: float
    slope_high: float
    count: int


def trend(x: np.ndarray, seconds: np.ndarray, seed: int = 0) -> Trend:
    """Rank correlation and robust slope; single slow images (start-up, a busy disk) change neither much."""
    x, seconds = np.asarray(x, float), np.asarray(seconds, float)
    if len(x) < 3 or np.ptp(x) == 0:
        return Trend(math.nan, math.nan, math.nan, math.nan, math.nan, len(x))
    rank = stats.spearmanr(x, seconds) if np.ptp(seconds) else None
    chosen: slice | np.ndarray = slice(None)
    if len(x) > _MAX_PAIRED:
        chosen = np.random.default_rng(seed).choice(len(x), _MAX_PAIRED, replace=False)
    if rank is None or np.ptp(x[chosen]) == 0 or np.ptp(seconds[chosen]) == 0:
        return Trend(math.nan, math.nan, 0.0, 0.0, 0.0, len(x))
    slope = stats.theilslopes(seconds[chosen], x[chosen])
    return Trend(
        spearman=float(rank.statistic),
        p_value=float(rank.pvalue),
        slope=float(slope.slope),
        slope_low=float(slope.low_slope),
        slope_high=float(slope.high_slope),
        count=len(x),
    )


def slowdown_percent(seconds: np.ndarray) -> float:
    """Median of the last tenth of the run against that of the second tenth, in percent; NaN with under 20 images.

    The first tenth is ignored: the first image of a run builds the program and is always slow.
    """
    seconds = np.asarray(seconds, float)
    tenth = len(seconds) // 10
    if tenth < 2:
        return math.nan
    early, late = np.median(seconds[tenth : 2 * tenth]), np.median(seconds[-tenth:])
    return float(100 * (late / early - 1)) if early > 0 else math.nan

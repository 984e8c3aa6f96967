"""When has the training loss saturated? A rule in NumPy for the recorded losses, applied by the training loop.

(Whether enough cells were counted is another saturation: `cytology.counting.saturation`.)

The rule works on block means: the mean total loss over each stretch of steps between two log lines.

How it works. A loss curve looks like a + b / step with noise on it: it never stops falling, it only falls more and more
slowly. So "saturated" needs a size below which a fall no longer counts, and a length over which to look. The length
grows with the run: the last quarter of all steps is compared with the quarter before it. That makes the rule free of
scale (nobody has to know beforehand whether the run takes 2,000 or 200,000 steps), averages more noise away the longer
the run is, and lets a temporary plateau pass unless it has lasted as long as everything before it. With
    fall        = mean(older quarter) - mean(newer quarter)
    uncertainty = Z * sqrt(var(older) / n_older + var(newer) / n_newer),      var over the block means of a quarter
the loss has saturated when fall + uncertainty <= min_relative_fall * |mean(older quarter)|, that is when we are
fairly sure (one-sided 95 %) that the true fall is smaller than what counts, and when this holds at several checks in a
row. Too noisy to tell therefore means "go on", not "stop". A loss that rises has saturated too.

What it does not know: a learning rate that will drop later can set the loss falling again.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

MIN_RELATIVE_FALL = 0.02
MIN_STEPS = 2000
MIN_BLOCKS_PER_QUARTER = 5
CHECKS_IN_A_ROW = 5
_Z_ONE_SIDED_95_PERCENT = 1.6449


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The last quarter of a run compared with the quarter before it.

    Attributes:
      first_step, middle_step, last_step: the older quarter is (first_step, middle_step], the newer one
        (middle_step, last_step].
      older_mean, newer_mean: mean loss of each quarter, every step with the same weight.
      uncertainty: how much larger the true fall may be than the measured one (one-sided 95 %), in units of the loss.
    """

    first_step: int
    middle_step: int
    last_step: int
    older_mean: float
    newer_mean: float
    uncertainty: float

    @property
    def relative_fall(self) -> float:
        """Fall from the older to the newer quarter as a fraction of the older mean; negative when the loss rose."""
        return (self.older_mean - self.newer_mean) / abs(self.older_mean) if self.older_mean else 0.0

    def is_flat(self, min_relative_fall: float) -> bool:
        """True when even the largest plausible fall is too small to count."""
        largest_fall = self.older_mean - self.newer_mean + self.uncertainty
        return largest_fall <= min_relative_fall * abs(self.older_mean)


def _mean_and_squared_error(losses: np.ndarray, lengths: np.ndarray) -> tuple[float, float]:
    """Mean over steps, and the square of its standard error, estimated from the scatter of the block means."""
    mean = float(np.average(losses, weights=lengths))
    variance = float(np.average((losses - mean) ** 2, weights=lengths)) * len(losses) / (len(losses) - 1)
    return mean, variance / len(losses)


def compare_quarters(steps: Sequence[int], losses: Sequence[float]) -> Comparison | None:
    """Compares the last quarter of a run with the one before it.

    Args:
      steps: [N] last step of each block, rising.
      losses: [N] mean loss of each block, finite.

    Returns:
      None when a quarter has fewer than `MIN_BLOCKS_PER_QUARTER` blocks.
    """
    steps, losses = np.asarray(steps, np.int64), np.asarray(losses, np.float64)
    if len(steps) < 4 * MIN_BLOCKS_PER_QUARTER:
        return None
    lengths = np.diff(steps, prepend=0)
    last = int(steps[-1])
    newer = steps > 0.75 * last
    older = (steps > 0.5 * last) & ~newer
    if min(newer.sum(), older.sum()) < MIN_BLOCKS_PER_QUARTER:
        return None
    older_mean, older_error = _mean_and_squared_error(losses[older], lengths[older])
    newer_mean, newer_error = _mean_and_squared_error(losses[newer], lengths[newer])
    return Comparison(
        first_step=int(steps[older][0] - lengths[older][0]),
        middle_step=int(steps[older][-1]),
        last_step=last,
        older_mean=older_mean,
        newer_mean=newer_mean,
        uncertainty=_Z_ONE_SIDED_95_PERCENT * float(np.sqrt(older_error + newer_error)),
    )


def why_saturated(
    steps: Sequence[int],
    losses: Sequence[float],
    min_relative_fall: float = MIN_RELATIVE_FALL,
    min_steps: int = MIN_STEPS,
    checks_in_a_row: int = CHECKS_IN_A_ROW,
) -> str:
    """Decides whether the loss has saturated, by the rule in the module's docstring.

    The decision depends on the recorded blocks alone, so a resumed run decides as an uninterrupted one would.

    Args:
      steps: [N] last step of each block, rising.
      losses: [N] mean loss of each block, finite.
      min_relative_fall: a fall from quarter to quarter below this fraction of the loss does not count as learning.
      min_steps: nothing is decided before this step.
      checks_in_a_row: the rule must hold after each of so many blocks, the last one included.

    Returns:
      "" when the loss still falls, or it is too early or too noisy to tell; else one sentence with the numbers.
    """
    comparison = None
    for blocks_left_out in range(checks_in_a_row - 1, -1, -1):
        end = len(steps) - blocks_left_out
        if end <= 0 or steps[end - 1] < min_steps:
            return ""
        comparison = compare_quarters(steps[:end], losses[:end])
        if comparison is None or not comparison.is_flat(min_relative_fall):
            return ""
    change = comparison.relative_fall
    moved = f"fell by {100 * change:.1f} %" if change >= 0 else f"rose by {-100 * change:.1f} %"
    return (
        f"the smoothed loss {moved}, from {comparison.older_mean:.4g} (steps {comparison.first_step + 1:,} to "
        f"{comparison.middle_step:,}) to {comparison.newer_mean:.4g} (steps {comparison.middle_step + 1:,} to "
        f"{comparison.last_step:,}), give or take {comparison.uncertainty:.2g}; "
        f"a fall of less than {100 * min_relative_fall:g} % counts as saturated"
    )

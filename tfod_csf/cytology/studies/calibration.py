"""Are scores probabilities? Reliability, expected calibration error, temperature, coverage against accuracy.

"Below 80 % the cell is unknown" means something only if cells scored 80 % are right in 80 % of cases.

Shape shorthand in this module:
  N: machine cells on annotated images.
  K: classes of the model, background not counted.

A machine cell is right when an annotated cell is at its place (IoU >= 0.5) and has its class. One without an annotated
cell is background: wrong, unless the caller ignores such cells because the annotations are incomplete.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy import optimize
from statsmodels.stats.proportion import proportion_confint

from tfod_csf.score_temperature import SMALLEST_SCORE, with_temperature

_LOG_TEMPERATURE_BOUNDS = (np.log(0.05), np.log(20))


@dataclasses.dataclass(frozen=True)
class ScoredCells:
    """Cells with known truth.

    Attributes:
      scores: [N, K + 1] background at 0; rows add up to 1.
      truth: int [N], column of the true class, 0 for background.
    """

    scores: np.ndarray
    truth: np.ndarray

    @property
    def confidence(self) -> np.ndarray:
        """[N] score of the predicted class, which is the best of the foreground."""
        return self.scores[:, 1:].max(axis=1) if len(self.scores) else np.empty(0)

    @property
    def is_right(self) -> np.ndarray:
        """[N] whether the predicted class is the true one."""
        return self.scores[:, 1:].argmax(axis=1) + 1 == self.truth if len(self.scores) else np.empty(0, bool)

    def at(self, temperature: float) -> "ScoredCells":
        """The same cells with scores at a temperature."""
        return ScoredCells(with_temperature(self.scores, temperature), self.truth)


def scored_cells(class_scores: np.ndarray, classes: Sequence[str], annotated: Sequence[str]) -> ScoredCells:
    """Cells whose truth is a class of the model or background; the others can be neither right nor wrong.

    Args:
      class_scores: [N, K] foreground scores as in cells.csv.
      classes: their K names.
      annotated: [N] the annotator's class, "" for background.
    """
    class_scores = np.asarray(class_scores, float).reshape(-1, len(classes))
    columns = {"": 0} | {name: k for k, name in enumerate(classes, start=1)}
    truth = np.array([columns.get(name, -1) for name in annotated], dtype=int)
    kept = (truth >= 0) & np.isfinite(class_scores).all(axis=1)
    background = np.clip(1 - class_scores.sum(axis=1, keepdims=True), 0, 1)
    scores = np.maximum(np.concatenate([background, class_scores], axis=1), SMALLEST_SCORE)[kept]
    return ScoredCells(scores / scores.sum(axis=1, keepdims=True), truth[kept])


@dataclasses.dataclass(frozen=True)
class Bin:
    """Cells with scores in (low, high]; the first bin includes its lower end.

    Attributes:
      mean_score, accuracy: fractions.
      accuracy_low, accuracy_high: Wilson's 95 % interval.
    """

    low: float
    high: float
    count: int
    mean_score: float
    accuracy: float
    accuracy_low: float
    accuracy_high: float


def reliability(cells: ScoredCells, num_bins: int = 20) -> list[Bin]:
    """Bins of equal width that hold cells, by rising score."""
    confidence, right = cells.confidence, cells.is_right
    edges = np.linspace(0, 1, num_bins + 1)
    of_bin = np.clip(np.ceil(confidence * num_bins - 1e-9).astype(int) - 1, 0, num_bins - 1)
    bins = []
    for b in np.unique(of_bin):
        chosen = of_bin == b
        count, hits = int(chosen.sum()), int(right[chosen].sum())
        low, high = proportion_confint(hits, count, method="wilson")
        bins.append(
            Bin(
                low=float(edges[b]),
                high=float(edges[b + 1]),
                count=count,
                mean_score=float(confidence[chosen].mean()),
                accuracy=hits / count,
                accuracy_low=float(low),
                accuracy_high=float(high),
            )
        )
    return bins


def expected_calibration_error(cells: ScoredCells, num_bins: int = 20) -> float:
    """Mean distance of score and accuracy over bins, weighted by cells; NaN without cells.

    >>> cells = ScoredCells(np.array([[0.1, 0.9], [0.1, 0.9]]), np.array([1, 0]))  # sure at 90 %, right in 50 %
    >>> round(expected_calibration_error(cells), 3)
    0.4
    """
    bins = reliability(cells, num_bins)
    total = sum(b.count for b in bins)
    return sum(b.count * abs(b.accuracy - b.mean_score) for b in bins) / total if total else float("nan")


def negative_log_likelihood(cells: ScoredCells, temperature: float = 1.0) -> float:
    """Mean of -log score of the true class (background included); what the temperature is fitted to make small."""
    scores = with_temperature(cells.scores, temperature)
    return float(-np.log(np.maximum(scores[np.arange(len(scores)), cells.truth], 1e-12)).mean())


def fit_temperature(cells: ScoredCells) -> float:
    """The temperature with the smallest negative log likelihood, between 0.05 and 20.

    Raises:
      ValueError: there are no cells.
    """
    if not len(cells.truth):
        raise ValueError("a temperature needs annotated cells")
    found = optimize.minimize_scalar(
        lambda log_t: negative_log_likelihood(cells, float(np.exp(log_t))),
        bounds=_LOG_TEMPERATURE_BOUNDS,
        method="bounded",
        options={"xatol": 1e-5},
    )
    return float(np.exp(found.x))


@dataclasses.dataclass(frozen=True)
class ThresholdPoint:
    """What a threshold of `unknown_below` would give.

    Attributes:
      coverage: fraction of cells with score >= threshold: those that need no person.
      accuracy: fraction of them that are right; NaN where there are none.
      accuracy_low, accuracy_high: Wilson's 95 % interval.
    """

    threshold: float
    cells: int
    coverage: float
    accuracy: float
    accuracy_low: float
    accuracy_high: float


def coverage_accuracy(cells: ScoredCells, thresholds: Sequence[float]) -> list[ThresholdPoint]:
    """Coverage and accuracy at every threshold; empty without cells."""
    confidence, right = cells.confidence, cells.is_right
    points = []
    for threshold in thresholds if len(confidence) else ():
        chosen = confidence >= threshold - 1e-12
        count, hits = int(chosen.sum()), int(right[chosen].sum())
        low, high = proportion_confint(hits, count, method="wilson") if count else (np.nan, np.nan)
        accuracy = hits / count if count else np.nan
        points.append(ThresholdPoint(threshold, count, count / len(confidence), accuracy, float(low), float(high)))
    return points

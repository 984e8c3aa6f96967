"""Are scores probabilities? Reliability, expected calibration error, temperature, coverage against accuracy.

"Below 80 % the cell is unknown" means something only if cells scored 80 % are right in 80 % of cases.

Shape shorthand in this module:
  N: machine cells on annotated images.
  K: classes of the model, background not counted.

A machine cell is right when an annotated cell is at its place (IoU >= 0.5) and has its class. One without an annotated
cell is background: wrong, unless the caller ignores such cells because the annotations are incomplete.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import optimize
from statsmodels.stats.proportion import proportion_confint

from tfod_csf import cell_classes
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

    def select(self, chosen: np.ndarray) -> "ScoredCells":
        """The cells that a bool mask [N] keeps."""
        return ScoredCells(self.scores[chosen], self.truth[chosen])

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


ALL_CELLS = "all"


def groups_of(cells: ScoredCells, classes: Sequence[str]) -> dict[str, np.ndarray]:
    """{group: bool [N]}: all cells, those predicted to be white cells, and those of each predicted class.

    Half of the cells of a study may be erythrocytes, which are easy; what holds over all cells need not hold for white
    ones.
    """
    names = np.array(["", *map(cell_classes.canonical_name, classes)], dtype=object)
    predicted = names[cells.scores[:, 1:].argmax(axis=1) + 1] if len(cells.scores) else np.empty(0, object)
    groups = {ALL_CELLS: np.ones(len(predicted), bool)}
    groups[cell_classes.GROUP_WHITE_CELLS] = np.isin(predicted, list(cell_classes.WHITE_CELLS))
    return groups | {str(name): predicted == name for name in names[1:]}


@dataclasses.dataclass(frozen=True)
class GroupCalibration:
    """Calibration of one group of cells; fractions, NaN where there are no cells to divide by.

    Attributes:
      cells: machine cells of the group (by predicted class).
      accuracy: those whose predicted class is the annotated one.
      ece_before, ece_after: expected calibration error.
      counted_before, counted_after: cells with scores from the threshold on, before and after the temperature.
      predictive_value_before, predictive_value_after: those of them that are right.
      annotated: annotated cells of the group, missed ones included.
      sensitivity_before, sensitivity_after: those that were counted under their class.
    """

    group: str
    cells: int
    accuracy: float
    ece_before: float
    ece_after: float
    counted_before: int
    counted_after: int
    predictive_value_before: float
    predictive_value_after: float
    annotated: int
    sensitivity_before: float
    sensitivity_after: float


def calibrate_groups(
    before: ScoredCells,
    after: ScoredCells,
    classes: Sequence[str],
    missed: Mapping[str, int],
    unknown_below: float,
) -> list[GroupCalibration]:
    """Calibration of every group, at the threshold in use.

    Args:
      before, after: the same cells before and after the temperature.
      classes: K names, background not counted.
      missed: {class: annotated cells that the machine did not find}.
      unknown_below: cells with lower scores are unknown.
    """
    names = [cell_classes.canonical_name(name) for name in classes]
    of_group = {ALL_CELLS: names, cell_classes.GROUP_WHITE_CELLS: [n for n in names if n in cell_classes.WHITE_CELLS]}
    found = []
    for group, chosen in groups_of(before, classes).items():
        columns = [names.index(name) + 1 for name in of_group.get(group, [group])]
        annotated = int(np.isin(before.truth, columns).sum()) + sum(missed.get(names[k - 1], 0) for k in columns)
        values: dict[str, Any] = {}
        for side, cells in (("before", before.select(chosen)), ("after", after.select(chosen))):
            counted = cells.select(cells.confidence >= unknown_below)
            right = int(counted.is_right.sum())
            values |= {
                f"ece_{side}": expected_calibration_error(cells),
                f"counted_{side}": len(counted.truth),
                f"predictive_value_{side}": right / len(counted.truth) if len(counted.truth) else math.nan,
                f"sensitivity_{side}": right / annotated if annotated else math.nan,
            }
        accuracy = float(before.is_right[chosen].mean()) if chosen.any() else math.nan
        found.append(GroupCalibration(group, int(chosen.sum()), accuracy, annotated=annotated, **values))
    return found


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

"""min_score and unknown_below that labeled images recommend, by one of two criteria.

f1           min_score: the largest mean F1 of the classes, every cell counting under its predicted class.
             unknown_below: the largest mean F1 of deciding, in which a cell that is rightly named and decided is a
             hit, a cell that is decided and wrong a false alarm, and a cell that is rightly named and left unknown a
             miss: a wrong cell weighs as much as a needless question. Means are over the classes that have labels, or
             cells that are rightly named.
differential min_score and unknown_below: the smallest error of the patients' percentages, the mean over patients and
             white-cell classes of |percentage from the cells that are counted - percentage from the labels|. Unknown
             cells are in no percentage. A patient of whom no white cell is counted has percentages of 0. Patients with
             fewer than MIN_WHITE_LABELS labeled white cells are not used, and fewer than MIN_PATIENTS give nothing.

Thresholds are searched in steps of 0.05, because finer ones would follow chance; of equal ones the nearest to those in
use is taken. Thresholds that were chosen on patients look better on them than on others, so the error that is given for
differential is that of each patient at the thresholds that the other patients recommend. Its 95 % interval, and that of
the difference from the thresholds in use, is Student's over patients.

Shape shorthand in this module:
  D, K, P: as in `scored_cells`.
  S, U: values of min_score and of unknown_below.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import stats

from tfod_csf import cell_classes
from tfod_csf.cell_classes import UNKNOWN, WHITE_CELLS
from tfod_csf.evaluation.thresholds.scored_cells import IGNORED, ScoredCells, class_points

F1, DIFFERENTIAL = "f1", "differential"
CRITERIA = (F1, DIFFERENTIAL)
MIN_SCORES = tuple(round(0.05 * step, 2) for step in range(1, 20))  # from scored_cells.LOWEST_SCORE on
UNKNOWN_BELOW = (0.0, *MIN_SCORES)
MIN_PATIENTS = 3
MIN_WHITE_LABELS = 10
MIN_LABELS_TO_STORE = 30

_EQUAL = 1e-9


@dataclasses.dataclass(frozen=True)
class MeanWithInterval:
    """A mean over patients with its 95 % interval."""

    mean: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class Measured:
    """What two thresholds give on the labeled images.

    Attributes:
      min_score, unknown_below: the thresholds.
      mean_f1: mean F1 of the classes at min_score; NaN without labels.
      decision_f1: mean F1 of deciding; NaN where no cell is rightly named.
      unknown_percent: of the white cells that are found, how many are unknown; NaN where none is found.
      error: points of the percentages; None where the patients are too few.
    """

    min_score: float
    unknown_below: float
    mean_f1: float
    decision_f1: float
    unknown_percent: float
    error: MeanWithInterval | None


@dataclasses.dataclass(frozen=True)
class Recommendations:
    """The thresholds in use and those that are recommended.

    Attributes:
      in_use: of the model, or the user's.
      by_f1: None where no cell is labeled.
      by_differential: None where the patients are too few; its error is that of patients the thresholds were not chosen
        on.
      difference: points that the error by_differential is above (or, negative, below) that of the thresholds in use.
      num_patients: that the error is of.
      white_labels: {white-cell class: labels that count}.
      curve: [S, U] mean error of the patients at MIN_SCORES and UNKNOWN_BELOW; empty where they are too few.
    """

    in_use: Measured
    by_f1: Measured | None
    by_differential: Measured | None
    difference: MeanWithInterval | None
    num_patients: int
    white_labels: Mapping[str, int]
    curve: np.ndarray

    def too_few_to_store(self, criterion: str) -> str:
        """Which white-cell classes have so few labels that f1 follows chance, in words; "" where none has."""
        few = {name: number for name, number in self.white_labels.items() if number < MIN_LABELS_TO_STORE}
        return ", ".join(f"{number} {name}" for name, number in few.items()) if criterion == F1 else ""

    def is_at_edge(self, criterion: str) -> bool:
        """Whether its min_score is the lowest or highest that is searched: some class is hardly found, or right."""
        chosen = self.of(criterion)
        return chosen is not None and chosen.min_score in (MIN_SCORES[0], MIN_SCORES[-1])

    def is_highest_unknown_below(self, criterion: str) -> bool:
        """Whether its unknown_below is the highest that is searched; 0, the lowest one, is the lowest there is."""
        chosen = self.of(criterion)
        return chosen is not None and chosen.unknown_below == UNKNOWN_BELOW[-1]

    @property
    def is_certainly_better(self) -> bool:
        """Whether by_differential beats the thresholds in use by more than chance."""
        return self.difference is not None and self.difference.high < 0

    def as_json(self) -> dict[str, Any]:
        """For metrics.json: {criterion: thresholds and what they give}, None where it recommends nothing."""
        return {criterion: _json_of(self.of(criterion)) for criterion in CRITERIA}

    def of(self, criterion: str) -> Measured | None:
        """What a criterion recommends."""
        return self.by_f1 if criterion == F1 else self.by_differential


def _json_of(measured: Measured | None) -> dict[str, Any] | None:
    """JSON has no NaN: None there."""
    if measured is None:
        return None
    values = dataclasses.asdict(measured)
    return {name: None if value != value else value for name, value in values.items()}


def recommend(cells: ScoredCells, min_score: float, unknown_below: float) -> Recommendations:
    """What labeled images recommend.

    Args:
      cells: from the labeled images.
      min_score, unknown_below: the thresholds in use.
    """
    truth, patients = _true_percentages(cells)
    errors = _errors_of_patients(cells, truth, patients)  # [P', S, U]
    enough = len(errors) >= MIN_PATIENTS
    own = percentage_errors(cells, min_score, unknown_below)
    in_use = _measured(cells, min_score, unknown_below, _mean_with_interval(own) if enough else None)
    by_differential = difference = None
    if enough:
        chosen = _smallest(errors.mean(axis=0), min_score, unknown_below)
        honest = _left_out_errors(errors, min_score, unknown_below)
        by_differential = _measured(cells, *chosen, _mean_with_interval(honest))
        difference = _mean_with_interval(honest - own, smallest=-math.inf)
    return Recommendations(
        in_use=in_use,
        by_f1=_by_f1(cells, min_score, unknown_below, enough),
        by_differential=by_differential,
        difference=difference,
        num_patients=len(errors),
        white_labels={
            name: int(number)
            for name, number in zip(cells.classes, cells.num_labels, strict=True)
            if cell_classes.canonical_name(name) in WHITE_CELLS
        },
        curve=errors.mean(axis=0) if enough else np.zeros((0, 0)),
    )


def _measured(cells: ScoredCells, min_score: float, unknown_below: float, error: MeanWithInterval | None) -> Measured:
    return Measured(
        min_score=min_score,
        unknown_below=unknown_below,
        mean_f1=mean_f1(cells, min_score),
        decision_f1=decision_f1(cells, min_score, unknown_below),
        unknown_percent=unknown_percent(cells, min_score, unknown_below),
        error=error,
    )


def mean_f1(cells: ScoredCells, min_score: float) -> float:
    """Mean F1 of the classes that have labels; NaN without any."""
    points = class_points(cells, min_score)
    values = [points[name].f1 for name, number in zip(cells.classes, cells.num_labels, strict=True) if number]
    return float(np.mean(values)) if values else math.nan


def decision_f1(cells: ScoredCells, min_score: float, unknown_below: float) -> float:
    """Mean F1 of deciding over the predicted classes with a rightly named cell; NaN without any."""
    found = (cells.raw_scores >= min_score) & (cells.labeled != IGNORED)
    is_right, is_decided = cells.predicted == cells.labeled, cells.scores >= unknown_below
    values = []
    for row, name in enumerate(cells.classes):
        of_class = found & (cells.predicted == row)
        hits, alarms = (int((of_class & is_decided & right).sum()) for right in (is_right, ~is_right))
        misses = int((of_class & is_right & ~is_decided).sum())
        if hits + misses and cell_classes.canonical_name(name) != UNKNOWN:
            values.append(2 * hits / (2 * hits + alarms + misses))
    return float(np.mean(values)) if values else math.nan


def unknown_percent(cells: ScoredCells, min_score: float, unknown_below: float) -> float:
    """Of the cells that are found and most likely white, how many are unknown; NaN without any."""
    white = (_white_rows(cells)[cells.predicted] >= 0) & (cells.raw_scores >= min_score)
    return float(100 * (cells.scores[white] < unknown_below).mean()) if white.any() else math.nan


def percentage_errors(cells: ScoredCells, min_score: float, unknown_below: float) -> np.ndarray:
    """[P'] error in points of each patient with enough labeled white cells; 0 of them where no class is white."""
    truth, patients = _true_percentages(cells)
    white = _white_rows(cells)[cells.predicted]
    is_counted = (white >= 0) & (cells.raw_scores >= min_score) & (cells.scores >= unknown_below)
    counts = np.zeros((len(cells.patient_ids), len(WHITE_CELLS)))
    np.add.at(counts, (cells.patients[is_counted], white[is_counted]), 1)
    return errors_of_counts(counts[patients], truth)


def _white_rows(cells: ScoredCells) -> np.ndarray:
    """int [K] row of WHITE_CELLS of each class, else -1."""
    names = [cell_classes.canonical_name(name) for name in cells.classes]
    return np.array([WHITE_CELLS.index(name) if name in WHITE_CELLS else -1 for name in names], int)


def _true_percentages(cells: ScoredCells) -> tuple[np.ndarray, np.ndarray]:
    """([P', 3] percentages by the labels, int [P'] rows of the patients with enough labeled white cells)."""
    white = _white_rows(cells)
    counts = np.zeros((len(cells.patient_ids), len(WHITE_CELLS)))
    for row in np.flatnonzero(white >= 0):
        counts[:, white[row]] += cells.labels_of_patients[:, row]
    is_known = np.array([patient_id != "" for patient_id in cells.patient_ids], bool)
    patients = np.flatnonzero(is_known & (counts.sum(axis=1) >= MIN_WHITE_LABELS))
    return 100 * counts[patients] / counts[patients].sum(axis=1, keepdims=True), patients


def errors_of_counts(counts: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """[...] mean |percentage - true percentage| over the white-cell classes.

    Args:
      counts: [..., 3] counted cells in the order of WHITE_CELLS; without any, the percentages are 0.
      truth: [..., 3] true percentages.
    """
    shares = 100 * counts / np.maximum(counts.sum(axis=-1, keepdims=True), 1)
    return np.abs(shares - truth).mean(axis=-1)


def _errors_of_patients(cells: ScoredCells, truth: np.ndarray, patients: np.ndarray) -> np.ndarray:
    """[P', S, U] error of each patient at every pair of thresholds."""
    white = _white_rows(cells)[cells.predicted]
    # How many thresholds each score reaches: counts from a threshold on are sums from the end.
    reached = np.searchsorted(MIN_SCORES, cells.raw_scores + _EQUAL) - 1
    decided = np.searchsorted(UNKNOWN_BELOW, cells.scores + _EQUAL) - 1
    errors = np.zeros((len(patients), len(MIN_SCORES), len(UNKNOWN_BELOW)))
    for row, patient in enumerate(patients):
        counts = np.zeros((len(MIN_SCORES), len(UNKNOWN_BELOW), len(WHITE_CELLS)))
        own = (cells.patients == patient) & (white >= 0) & (reached >= 0)
        np.add.at(counts, (reached[own], decided[own], white[own]), 1)
        counts = counts[::-1, ::-1].cumsum(axis=0).cumsum(axis=1)[::-1, ::-1]
        errors[row] = errors_of_counts(counts, truth[row])
    return errors


def _left_out_errors(errors: np.ndarray, min_score: float, unknown_below: float) -> np.ndarray:
    """[P'] each patient's error at the thresholds that the others recommend."""
    total = errors.sum(axis=0)
    own = []
    for of_patient in errors:
        chosen = _smallest((total - of_patient) / (len(errors) - 1), min_score, unknown_below)
        own.append(of_patient[MIN_SCORES.index(chosen[0]), UNKNOWN_BELOW.index(chosen[1])])
    return np.array(own)


def _smallest(values: np.ndarray, min_score: float, unknown_below: float) -> tuple[float, float]:
    """(min_score, unknown_below) of the smallest of [S, U]; of equal ones the nearest to those in use."""
    away = np.abs(np.array(MIN_SCORES)[:, None] - min_score) + np.abs(np.array(UNKNOWN_BELOW)[None, :] - unknown_below)
    row, column = np.unravel_index(np.argmin(np.where(values <= values.min() + _EQUAL, away, np.inf)), values.shape)
    return MIN_SCORES[int(row)], UNKNOWN_BELOW[int(column)]


def _by_f1(cells: ScoredCells, min_score: float, unknown_below: float, enough: bool) -> Measured | None:
    if not cells.num_labels.any():
        return None
    score = _largest(MIN_SCORES, [mean_f1(cells, score) for score in MIN_SCORES], min_score)
    values = [decision_f1(cells, score, below) for below in UNKNOWN_BELOW]
    below = unknown_below if np.isnan(values).all() else _largest(UNKNOWN_BELOW, values, unknown_below)
    error = _mean_with_interval(percentage_errors(cells, score, below)) if enough else None
    return _measured(cells, score, below, error)


def _largest(thresholds: tuple[float, ...], values: list[float], in_use: float) -> float:
    best = max(values) - _EQUAL
    return min((t for t, value in zip(thresholds, values, strict=True) if value >= best), key=lambda t: abs(t - in_use))


def _mean_with_interval(values: np.ndarray, smallest: float = 0.0) -> MeanWithInterval:
    """Student's interval; it does not reach below `smallest`."""
    mean = float(values.mean())
    half = float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values)))
    return MeanWithInterval(mean, max(mean - half, smallest), mean + half)

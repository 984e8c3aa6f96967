"""cross_validation.csv: each measure for each fold, as the mean of the folds, and over the patients of all folds.

Intervals. Of a fold, and of all patients: a bootstrap of whole patients (`cell_agreement.bootstrap`), with the models
as they are. Of the mean of the folds: Student's over the folds, whose variance is multiplied by 1/F + 1/(F - 1) instead
of 1/F (Nadeau and Bengio 2003, Machine Learning 52:239), because any two folds train on mostly the same images and
their results are therefore not independent. No interval of a cross-validation is exact: its variance has no unbiased
estimator (Bengio and Grandvalet 2004, JMLR 5:1089).

Shape shorthand in this module: F folds, P patients, K classes.
"""

import dataclasses
import math
import os
import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from scipy import stats

from tfod_csf import cell_classes
from tfod_csf.cytology.studies.cell_agreement import FEW_PATIENTS, bootstrap, proportion
from tfod_csf.cytology.studies.cross_validation.fold_results import FoldResult
from tfod_csf.cytology.studies.method_comparison import Estimate, number_columns
from tfod_csf.errors import UserError
from tfod_csf.evaluation.thresholds.recommended import MIN_WHITE_LABELS, errors_of_counts
from tfod_csf.files import csv_schemas

MEAN_AVERAGE_PRECISION, AVERAGE_PRECISION = "mean_average_precision", "average_precision"
RECALL, PRECISION, ERROR_POINTS = "recall", "precision", "error_points"
FOLD, MEAN_OF_FOLDS, ALL_PATIENTS = "fold", "mean_of_folds", "all_patients"
_NO_LABEL = "no labeled cell"
_NO_PATIENT = f"no patient with {MIN_WHITE_LABELS} labeled white cells"
_NO_BOOTSTRAP = "no interval: average precision is not a sum over patients"
_ALIKE = "no interval: all folds have the same value"
_ONE_FOLD = "no interval: one fold alone has a value"
_WIDENED = (
    "Its 95 % interval is widened for the training images that folds share (Nadeau and Bengio 2003) and is still only "
    "approximate."
)
_SINGLE = (
    "A single fold's interval samples its patients. No interval of a cross-validation is exact (docs/EVALUATION.md)."
)
EXPLANATIONS = {
    "patient": (
        f"Mean of folds: what to expect of a model that is trained like these, on other patients. {_WIDENED}",
        "All patients: each patient as a model saw it that was not trained on him or her. The 95 % interval samples "
        "patients; that another training would give another model is not in it.",
        _SINGLE,
    ),
    "laboratory": (
        f"Mean of folds: what to expect of a model that is trained like these, in other laboratories. {_WIDENED}",
        "All patients: each patient as a model saw it that was not trained on his or her laboratory. The 95 % interval "
        "samples patients of these laboratories; that other laboratories differ from them, and that another training "
        "would give another model, is not in it.",
        _SINGLE,
    ),
}
"""What the intervals mean, by what is kept in one fold."""


@dataclasses.dataclass(frozen=True)
class MeasureRow:
    """A row of cross_validation.csv; the attributes are its columns, `estimate` three of them."""

    measure: str
    class_name: str
    scope: str
    fold: int | None
    estimate: Estimate
    units: int
    cells: int
    note: str = ""


def mean_of_folds(values: Sequence[float], num_folds: int, highest: float = 1.0) -> tuple[Estimate, str]:
    """The mean of the folds that have a value, with its interval, and a note.

    Args:
      values: of the folds, NaN where one has none.
      num_folds: F, of which each tests on 1/F of the patients.
      highest: the measure's range is 0 .. highest.

    >>> found, note = mean_of_folds([0.6, 0.8, 0.7, 0.7], 4)
    >>> round(found.value, 3), round(found.low, 3), round(found.high, 3), note
    (0.7, 0.502, 0.898, '')
    """
    known = np.array([value for value in values if not math.isnan(value)])
    if not len(known):
        return Estimate(math.nan, math.nan, math.nan), "no fold has a value"
    mean = float(known.mean())
    if len(known) == 1 or np.ptp(known) < 1e-12:
        return Estimate(mean, math.nan, math.nan), _ONE_FOLD if len(known) == 1 else _ALIKE
    spread = math.sqrt(1 / len(known) + 1 / (num_folds - 1))
    half = float(stats.t.ppf(0.975, len(known) - 1) * known.std(ddof=1) * spread)
    note = "" if len(known) == len(values) else f"{len(values) - len(known)} of {len(values)} folds have no value"
    return Estimate(mean, max(mean - half, 0.0), min(mean + half, highest)), note


def measure_rows(folds: Sequence[FoldResult]) -> list[MeasureRow]:
    """All rows of the table.

    Raises:
      UserError: the folds have different classes.
    """
    classes = folds[0].classes
    other = next((fold for fold in folds if fold.classes != classes), None)
    if other is not None:
        raise UserError(
            f"fold {other.number} has the classes {', '.join(other.classes)}, fold {folds[0].number} "
            f"{', '.join(classes)}; they cannot be compared. Run all folds with one label map."
        )
    rows = _precision_rows(folds, MEAN_AVERAGE_PRECISION, "", [fold.mean_ap for fold in folds], slice(None))
    for column, name in enumerate(classes):
        values = [float(fold.average_precisions[column]) for fold in folds]
        rows += _precision_rows(folds, AVERAGE_PRECISION, name, values, column)
    for measure, kind in ((RECALL, "labeled"), (PRECISION, "predicted")):
        for column, name in enumerate(classes):
            parts = [(fold.counts["right"][:, column], fold.counts[kind][:, column]) for fold in folds]
            rows += _pooled_rows(measure, name, folds, parts, _share)
    errors = [percentage_errors(fold) for fold in folds]
    return rows + _pooled_rows(ERROR_POINTS, "", folds, errors, _mean_error)


def _precision_rows(
    folds: Sequence[FoldResult], measure: str, class_name: str, values: Sequence[float], columns: int | slice
) -> list[MeasureRow]:
    """Rows of an average precision, which has no interval within a fold."""
    cells = [int(fold.counts["labeled"][:, columns].sum()) for fold in folds]
    rows = []
    for fold, value, number in zip(folds, values, cells, strict=True):
        note = _NO_LABEL if math.isnan(value) else _NO_BOOTSTRAP
        absent = [name for name, ap in zip(fold.classes, fold.average_precisions, strict=True) if math.isnan(ap)]
        if absent and not class_name and not math.isnan(value):
            note += f"; without {', '.join(absent)}, of which there is no labeled cell"
        estimate = Estimate(value, math.nan, math.nan)
        rows.append(MeasureRow(measure, class_name, FOLD, fold.number, estimate, len(fold.patient_ids), number, note))
    estimate, note = mean_of_folds(values, len(folds))
    partial = [f for f, value in zip(folds, values) if np.isnan(f.average_precisions).any() and not math.isnan(value)]
    if partial and not class_name:
        lacking = f"{len(partial)} of {len(folds)} folds have no labeled cell of some class, which is not in their mAP"
        note = f"{note}; {lacking}" if note else lacking
    units = sum(not math.isnan(value) for value in values)
    return [*rows, MeasureRow(measure, class_name, MEAN_OF_FOLDS, None, estimate, units, sum(cells), note)]


def _pooled_rows(
    measure: str,
    class_name: str,
    folds: Sequence[FoldResult],
    parts: Sequence[tuple[np.ndarray, np.ndarray]],
    estimate_of: Callable[[np.ndarray, np.ndarray], tuple[Estimate, int, str]],
) -> list[MeasureRow]:
    """Rows of a measure that is made of numbers of patients.

    Args:
      parts: of each fold, two arrays [P].
      estimate_of: (two arrays [P]) to the measure of these patients, its cells, and a note.
    """
    rows, values = [], []
    for fold, (first, second) in zip(folds, parts, strict=True):
        estimate, cells, note = estimate_of(first, second)
        values.append(estimate.value)
        units = int(np.count_nonzero(second))
        rows.append(MeasureRow(measure, class_name, FOLD, fold.number, estimate, units, cells, note))
    first, second = (np.concatenate([pair[place] for pair in parts]) for place in (0, 1))
    pooled, cells, pooled_note = estimate_of(first, second)
    mean, note = mean_of_folds(values, len(folds), 100.0 if measure == ERROR_POINTS else 1.0)
    units = sum(not math.isnan(value) for value in values)
    rows.append(MeasureRow(measure, class_name, MEAN_OF_FOLDS, None, mean, units, cells, note))
    units = int(np.count_nonzero(second))
    return [*rows, MeasureRow(measure, class_name, ALL_PATIENTS, None, pooled, units, cells, pooled_note)]


def _share(parts: np.ndarray, wholes: np.ndarray) -> tuple[Estimate, int, str]:
    found = proportion(parts, wholes)
    return found.value, found.cells, found.note


def percentage_errors(fold: FoldResult) -> tuple[np.ndarray, np.ndarray]:
    """(points [P] that percentages are away from those of the labels, [P] labeled white cells of these patients).

    As in `recommended`: the mean over the white-cell classes, unknown cells are in no percentage, and patients with
    fewer than MIN_WHITE_LABELS labeled white cells are not used (0 labeled white cells here).
    """
    names = [cell_classes.canonical_name(name) for name in fold.class_names]
    is_class = np.array([[name == white for white in cell_classes.WHITE_CELLS] for name in names], int)  # [K, 3]
    labeled, decided = (fold.counts[kind] @ is_class for kind in ("labeled", "decided"))
    white = labeled.sum(axis=1)
    errors = errors_of_counts(decided, 100 * labeled / np.maximum(white, 1)[:, None])
    is_used = white >= MIN_WHITE_LABELS
    return np.where(is_used, errors, 0.0), np.where(is_used, white, 0)


def _mean_error(errors: np.ndarray, white: np.ndarray) -> tuple[Estimate, int, str]:
    is_used = white > 0
    if not is_used.any():
        return Estimate(math.nan, math.nan, math.nan), 0, _NO_PATIENT
    table = np.stack([errors[is_used], np.ones(is_used.sum())], axis=-1)
    found = bootstrap(table, lambda sums: sums[..., 0] / sums[..., 1])
    return found, int(white.sum()), FEW_PATIENTS if math.isnan(found.low) else ""


def write(output_dir: str | os.PathLike, rows: Sequence[MeasureRow]) -> None:
    """Writes cross_validation.csv."""
    csv_schemas.load("cross_validation").write_into(output_dir, _cells_of(rows))


def _cells_of(rows: Sequence[MeasureRow]) -> Iterator[dict[str, Any]]:
    for row in rows:
        values = {field.name: getattr(row, field.name) for field in dataclasses.fields(row)}
        estimate, class_name = values.pop("estimate"), values.pop("class_name")
        yield {**values, "class": class_name, **number_columns(estimate)}


def text(rows: Sequence[MeasureRow], divided: str) -> str:
    """The table a person reads: a line for each measure, and what its intervals mean.

    Args:
      divided: what is kept in one fold: "patient" or "laboratory".
    """
    names = list(dict.fromkeys((row.measure, row.class_name) for row in rows))
    lines = [f"{'':<36}{'mean of folds':<24}{'all patients':<24}folds"]
    for measure, class_name in names:
        of_name = [row for row in rows if (row.measure, row.class_name) == (measure, class_name)]
        decimals = decimals_of(measure)
        shown = {row.scope: estimate_text(row.estimate, decimals) for row in of_name if row.scope != FOLD}
        single = "  ".join(value_text(row.estimate.value, decimals) for row in of_name if row.scope == FOLD)
        label = f"{measure.replace('_', ' ')} {class_name}".rstrip()
        lines.append(f"{label:<36}{shown[MEAN_OF_FOLDS]:<24}{shown.get(ALL_PATIENTS, ''):<24}{single}")
    return "\n".join(
        [*lines, "", *(textwrap.fill(sentence, 120, subsequent_indent="  ") for sentence in EXPLANATIONS[divided])]
    )


def decimals_of(measure: str) -> int:
    """With how many decimals people read a measure."""
    return 1 if measure == ERROR_POINTS else 3


def value_text(value: float, decimals: int) -> str:
    """A value, or n/a."""
    return "n/a" if math.isnan(value) else f"{value:.{decimals}f}"


def estimate_text(estimate: Estimate, decimals: int) -> str:
    """The value, with its interval where there is one."""
    value, low, high = (value_text(number, decimals) for number in dataclasses.astuple(estimate))
    return value if math.isnan(estimate.low) else f"{value} ({low} to {high})"

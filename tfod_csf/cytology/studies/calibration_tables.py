"""The calibration study: tables, figure, and the temperature's entry in model.json."""

import dataclasses
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from tfod_csf import cell_classes
from tfod_csf.cytology.annotated_cells import NOT_FOUND, MatchedCells
from tfod_csf.cytology.studies.calibration import (
    GroupCalibration,
    ScoredCells,
    calibrate_groups,
    coverage_accuracy,
    expected_calibration_error,
    fit_temperature,
    groups_of,
    negative_log_likelihood,
    reliability,
    scored_cells,
)
from tfod_csf.errors import UserError
from tfod_csf.files import atomic_write, csv_schemas, given_files, manifest
from tfod_csf.graphics import figures
from tfod_csf.model_folder import INFO
from tfod_csf.score_temperature import CALIBRATION, SUM_TOLERANCE, TEMPERATURE, temperature_of, with_temperature

THRESHOLDS = tuple(np.round(np.arange(0.50, 1.0, 0.01), 2))
# Bins with fewer cells are in the table but not in the plot: their accuracy is noise.
_MIN_DRAWN_CELLS = 10
_COLORS = {"before": cell_classes.BLUE, "after": cell_classes.VERMILION}


class CalibrationError(UserError):
    """Too few annotated cells, or a run that cannot be calibrated."""


@dataclasses.dataclass(frozen=True)
class CalibrationResult:
    """Temperature and measures before and after, as stored in model.json and reported.

    Attributes:
      temperature: on top of the one the run was made with.
      classes: calibration of all cells, white cells and each class.
      changes: how many cells change their status at the threshold in use, in words.
      num_left_out: cells whose annotated class is none of the model's (or unmatched ones, where they are ignored).
    """

    temperature: float
    cells: int
    num_left_out: int
    accuracy: float
    ece_before: float
    ece_after: float
    nll_before: float
    nll_after: float
    classes: tuple[GroupCalibration, ...] = ()
    changes: str = ""

    @property
    def is_improvement(self) -> bool:
        """Whether the calibration error falls too: the fit makes the likelihood best, which is not quite the same."""
        return self.ece_after < self.ece_before


def write_calibration(
    output_dir: str | os.PathLike,
    matched: MatchedCells,
    unknown_below: float,
    ignore_unmatched: bool = False,
    min_cells: int = 100,
) -> CalibrationResult:
    """Fits the temperature and writes tables and figure.

    Args:
      matched: cells of the validation side.
      unknown_below: the threshold in use, shown in the figure.
      ignore_unmatched: ignore machine cells without an annotated partner, because not every cell was annotated.
      min_cells: fewer annotated cells are refused.

    Raises:
      CalibrationError: the run has no scores per class, scores that are no softmax, or too few cells.
    """
    if not matched.scored_classes:
        raise CalibrationError("cells.csv has no columns score_<class>; a temperature needs the scores of all classes.")
    _check_sums(matched.class_scores)
    chosen = matched.annotated != NOT_FOUND if ignore_unmatched else np.ones(len(matched.annotated), bool)
    cells = scored_cells(matched.class_scores[chosen], matched.scored_classes, matched.annotated[chosen])
    if len(cells.truth) < min_cells:
        raise CalibrationError(
            f"{len(cells.truth)} machine cells on annotated images are too few (at least {min_cells}); annotate more "
            "images of the validation side."
        )
    temperature = fit_temperature(cells)
    after = cells.at(temperature)
    sides = {"before": cells, "after": after}
    output = pathlib.Path(output_dir)
    groups = groups_of(cells, matched.scored_classes)
    by_group = {group: {side: of.select(rows) for side, of in sides.items()} for group, rows in groups.items()}
    csv_schemas.load("calibration_bins").write_into(output, _bin_rows(by_group))
    csv_schemas.load("calibration_thresholds").write_into(output, _threshold_rows(by_group))
    classes = calibrate_groups(cells, after, matched.scored_classes, matched.missed, unknown_below)
    csv_schemas.load("calibration_classes").write_into(output, map(dataclasses.asdict, classes))
    changes = list(changed_cells(matched, temperature, unknown_below))
    csv_schemas.load("calibration_changes").write_into(output, changes)
    result = CalibrationResult(
        temperature=temperature,
        cells=len(cells.truth),
        num_left_out=len(matched.annotated) - len(cells.truth),
        accuracy=float(cells.is_right.mean()),
        ece_before=expected_calibration_error(cells),
        ece_after=expected_calibration_error(after),
        nll_before=negative_log_likelihood(cells),
        nll_after=negative_log_likelihood(after),
        classes=tuple(classes),
        changes=_changes_words(changes, unknown_below),
    )
    plot_calibration(output / "calibration.png", sides, result, unknown_below)
    return result


def _check_sums(class_scores: np.ndarray) -> None:
    """Refuses [N, K] scores that are not shares of 1; a row without scores (NaN) is none."""
    sums = class_scores.sum(axis=1)
    too_large = sums[sums > 1 + SUM_TOLERANCE]
    if len(too_large):
        raise CalibrationError(
            f"cells.csv: the scores score_<class> of {len(too_large)} cells add up to more than 1 (up to "
            f"{too_large.max():.2f}), as those of a model with score_converter SIGMOID do; a temperature is for scores "
            "that add up to 1 with the background's (SOFTMAX). Use this model without one."
        )


def class_table(classes: Sequence[GroupCalibration], unknown_below: float) -> str:
    """The summary for the console: a line per group, at the threshold in use, scores as they were in the run."""
    lines = [f"at unknown below {unknown_below:g}   cells  right    ECE (points)     counted are right  sensitivity"]
    for row in classes:
        values = (row.accuracy, row.predictive_value_before, row.sensitivity_before)
        right, predictive, sensitivity = ("    -  " if v != v else f"{100 * v:5.1f} %" for v in values)
        ece = (
            "      -      "
            if row.ece_before != row.ece_before
            else f"{100 * row.ece_before:4.1f} -> {100 * row.ece_after:4.1f}"
        )
        lines.append(f"  {row.group:<18} {row.cells:7d}  {right}  {ece}     {predictive}            {sensitivity}")
    return "\n".join(lines)


def changed_cells(matched: MatchedCells, temperature: float, unknown_below: float) -> Iterator[dict[str, Any]]:
    """Rows of calibration_changes.csv: cells whose status is another one at the temperature."""
    columns = [cell_classes.canonical_name(name) for name in matched.scored_classes]
    background = np.clip(1 - matched.class_scores.sum(axis=1, keepdims=True), 0, 1)
    scaled = with_temperature(np.concatenate([background, matched.class_scores], axis=1), temperature)
    for row, name in enumerate(matched.predicted):
        before, after = float(matched.score[row]), float(scaled[row, columns.index(name) + 1])
        status = [cell_classes.UNKNOWN if score < unknown_below else cell_classes.COUNTED for score in (before, after)]
        if status[0] == status[1] or name == cell_classes.UNKNOWN:
            continue
        yield {
            "patient_id": matched.patient_ids[row],
            "image": matched.images[row],
            "cell_id": matched.cell_ids[row],
            "predicted_class": name,
            "score_before": before,
            "score_after": after,
            "status_before": status[0],
            "status_after": status[1],
            "annotated_class": matched.annotated[row],
        }


def _changes_words(changes: Sequence[Mapping[str, Any]], unknown_below: float) -> str:
    """How many cells change their status, in a sentence."""
    parts = []
    for status, words in ((cell_classes.UNKNOWN, "become unknown"), (cell_classes.COUNTED, "are not unknown any more")):
        of_status = [row for row in changes if row["status_after"] == status]
        right = sum(row["predicted_class"] == row["annotated_class"] for row in of_status)
        parts.append(f"{len(of_status)} {words} ({right} of them rightly named)")
    return f"With the temperature, at unknown below {unknown_below:g}, {' and '.join(parts)}."


def _bin_rows(by_group: Mapping[str, Mapping[str, ScoredCells]]) -> Iterator[dict[str, Any]]:
    for group, sides in by_group.items():
        for name, cells in sides.items():
            for found in reliability(cells):
                row = dataclasses.asdict(found)
                yield {"group": group, "scores": name, "cells": row.pop("count"), **row}


def _threshold_rows(by_group: Mapping[str, Mapping[str, ScoredCells]]) -> Iterator[dict[str, Any]]:
    for group, sides in by_group.items():
        for name, cells in sides.items():
            for point in coverage_accuracy(cells, THRESHOLDS):
                yield {"group": group, "scores": name, **dataclasses.asdict(point)}


def new_temperature(result: CalibrationResult, run_temperature: float) -> float:
    """The temperature to store: that of the run and the one on top of it, as it is written."""
    return round(run_temperature * result.temperature, 6)


def store_temperature(
    model_folder: str | os.PathLike, result: CalibrationResult, run_temperature: float, **sources: str
) -> float:
    """Writes the temperature into model.json; later runs of the model apply it.

    Args:
      run_temperature: the one the calibrated run was made with; the stored one is their product.
      **sources: where it comes from, for example annotations_dir.

    Returns:
      The stored temperature.

    Raises:
      CalibrationError: no model folder, or a model.json that is not JSON.
    """
    path = pathlib.Path(model_folder) / INFO
    try:
        info = given_files.read_json(path)
    except FileNotFoundError as error:
        raise CalibrationError(f"{path}: no such file; give the folder that exporter_main_v2 wrote.") from error
    except ValueError as error:
        raise CalibrationError(f"{path}: not JSON ({error}); export the model again.") from error
    stored = {TEMPERATURE: new_temperature(result, run_temperature)}
    described = (TEMPERATURE, "classes", "changes")  # the last two are in the tables
    numbers = {key: round(value, 6) for key, value in dataclasses.asdict(result).items() if key not in described}
    info[CALIBRATION] = {**stored, **numbers, "run_temperature": run_temperature, **sources}
    with manifest.replacing_listed(model_folder, INFO) as beside:
        atomic_write.write_json(beside, info)
    return stored[TEMPERATURE]


def run_temperature(run: Mapping[str, Any], model: str) -> float:
    """The temperature a run was made with, from run.json; 1 where none is named."""
    for entry in run.get("models", []):
        if entry.get("name") == model:
            return temperature_of({CALIBRATION: {TEMPERATURE: entry.get(TEMPERATURE, 1.0)}}, f"run.json, {model}")
    return 1.0


def plot_calibration(
    path: str | os.PathLike, sides: Mapping[str, ScoredCells], result: CalibrationResult, unknown_below: float
) -> None:
    """Reliability diagram, how many cells have which score, and coverage against accuracy over thresholds."""
    eces = {"before": result.ece_before, "after": result.ece_after}
    with figures.drawing(path, 11.5, 4.0, 1, 3) as (_, (diagram, histogram, curve)):
        _draw_reliability(diagram, sides, eces)
        for name, cells in sides.items():
            style: dict[str, Any] = {"histtype": "step", "linewidth": 1.6, "color": _COLORS[name]}
            style["linestyle"] = "-" if name == "before" else "--"
            histogram.hist(100 * cells.confidence, bins=np.linspace(0, 100, 41).tolist(), label=name, **style)
        histogram.set(title="scores of the cells", xlabel="score (%)", ylabel="cells", xlim=(0, 100))
        histogram.legend(loc="upper left")
        figures.reference_line(histogram, f"unknown below {100 * unknown_below:g}", x=100 * unknown_below, along=0.3)
        _draw_coverage(curve, sides, unknown_below)


def _draw_reliability(axes: Axes, sides: Mapping[str, ScoredCells], eces: Mapping[str, float]) -> None:
    axes.plot([0, 100], [0, 100], color=figures.GRAY, linewidth=1, linestyle=":")
    for name, cells in sides.items():
        bins = [found for found in reliability(cells) if found.count >= _MIN_DRAWN_CELLS]
        x, y = (100 * np.array([getattr(b, field) for b in bins]) for field in ("mean_score", "accuracy"))
        ends = 100 * np.array([[b.accuracy - b.accuracy_low, b.accuracy_high - b.accuracy] for b in bins])
        marker = {"before": "o-", "after": "s--"}[name]
        label = f"{name}: ECE {100 * eces[name]:.1f} points"
        axes.errorbar(
            x,
            y,
            np.maximum(ends.reshape(-1, 2).T, 0),
            fmt=marker,
            color=_COLORS[name],
            markersize=4,
            capsize=2,
            label=label,
        )
    axes.set(title="reliability", xlabel="score (%)", ylabel="cells that are right (%)", xlim=(0, 102), ylim=(0, 102))
    axes.legend(loc="lower right")


def _draw_coverage(axes: Axes, sides: Mapping[str, ScoredCells], unknown_below: float) -> None:
    lowest = 100.0
    for name, cells in sides.items():
        points = [point for point in coverage_accuracy(cells, THRESHOLDS) if point.cells]
        x, y = (100 * np.array([getattr(p, field) for p in points]) for field in ("coverage", "accuracy"))
        style: dict[str, Any] = {
            "color": _COLORS[name],
            "linestyle": "-" if name == "before" else "--",
            "linewidth": 1.6,
        }
        axes.plot(x, y, label=name, **style)
        lowest = min([lowest, *y])
        (chosen,) = coverage_accuracy(cells, [unknown_below])
        if chosen.cells:
            label = f"{name}, unknown below {100 * unknown_below:g}: {100 * chosen.coverage:.0f} % / "
            label += f"{100 * chosen.accuracy:.1f} %"
            axes.plot(
                100 * chosen.coverage, 100 * chosen.accuracy, "*", color=_COLORS[name], markersize=11, label=label
            )
    span = max(100 - lowest, 0.5)
    axes.set(
        title="coverage and accuracy over thresholds", xlim=(0, 102), ylim=(lowest - 0.6 * span, 100 + 0.05 * span)
    )
    axes.set(xlabel="cells decided without a person (%)", ylabel="of them right (%)")
    axes.legend(loc="lower left", fontsize=7)

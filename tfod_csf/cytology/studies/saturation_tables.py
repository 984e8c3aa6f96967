"""The saturation study over all patients of a run: CSV files and plots, one patient in memory at a time."""

import math
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from tfod_csf import cell_classes, run_folder
from tfod_csf.cytology import run_tables
from tfod_csf.cytology.counting import intervals
from tfod_csf.cytology.counting.cases import CASES, NO_CASE
from tfod_csf.cytology.counting.saturation import (
    Band,
    Saturation,
    SaturationRules,
    planner_rows,
    saturation,
    summarize_cases,
)
from tfod_csf.cytology.studies import saturation_plots
from tfod_csf.files import csv_schemas


class _Collector:
    """Collects of each patient what the tables and plots over all patients need."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.percents: list[np.ndarray] = []
        self.curves: list[tuple[str, np.ndarray, np.ndarray]] = []
        self.examples: dict[str, tuple[str, Saturation]] = {}

    def add(self, row: dict[str, Any], result: Saturation) -> None:
        """Keeps the row, the curve, and per case the patient with the most white cells as the example."""
        self.rows.append(row)
        if result.orders is None:
            return
        self.percents.append(result.percent)
        case = row["case"] or NO_CASE
        if result.bootstrap is not None:
            self.curves.append((case, result.bootstrap.cells, result.bootstrap.within))
        if case not in self.examples or result.white_cells > self.examples[case][1].white_cells:
            self.examples[case] = (row["patient_id"], result)


def read_cases(differentials_csv: str | os.PathLike) -> dict[str, str]:
    """{patient_id: case} from differentials.csv; without the file nobody has a case."""
    if not pathlib.Path(differentials_csv).exists():
        return {}
    rows = csv_schemas.load("differentials").read(differentials_csv, ("patient_id", "case"))
    return {row["patient_id"]: row["case"] for row in rows}


def write_saturation(
    inference_dir: str | os.PathLike,
    output_dir: str | os.PathLike,
    rules: SaturationRules,
    model: str | None = None,
    cases: dict[str, str] | None = None,
    thresholds: run_tables.Thresholds | None = None,
    max_plots: int = 50,
    plan_points: Sequence[float] = (10, 7, 5, 3),
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> list[dict[str, Any]]:
    """Writes the study's tables and plots.

    Args:
      model: whose cells; None takes each patient's first model.
      cases: {patient_id: case}.
      thresholds: counts the cells again with these; None keeps the run's counting.
      max_plots: patients (the first in order) that get a plot and a curve table of their own.
      plan_points: tolerances of the planner, in percentage points.
      progress: wraps the list of patients' folders.

    Returns:
      The rows of saturation.csv.

    Raises:
      TableError: `model` is not in the run.
    """
    output, kept, cases = pathlib.Path(output_dir), _Collector(), cases or {}

    def rows() -> Iterator[dict[str, Any]]:
        for number, folder in enumerate(progress(run_tables.patient_folders(inference_dir))):
            patient = run_tables.read_patient(folder)
            patient = patient if thresholds is None else patient.counted_with(thresholds)
            name = patient.model_or_first(model)
            counts = patient.image_counts(cell_classes.WHITE_CELLS, name)
            result = saturation(patient.patient_id, counts, rules)
            row = _row(patient.patient_id, name, cases.get(patient.patient_id, ""), result, rules)
            kept.add(row, result)
            if number < max_plots and result.orders is not None:
                target = output / run_folder.PATIENTS_DIR / folder.name
                csv_schemas.load("saturation_curve").write_into(target, _curve_rows(result))
                saturation_plots.plot_patient(target / "saturation.png", patient.patient_id, result, rules)
            yield row

    csv_schemas.load("saturation").write_into(output, rows())
    csv_schemas.load("saturation_cases").write_into(output, _case_rows(kept.rows, rules))
    shares = np.mean(kept.percents, axis=0) / 100 if kept.percents else None
    planner = planner_rows(plan_points, shares)
    csv_schemas.load("saturation_planner").write_into(output, planner)
    if kept.curves:
        saturation_plots.plot_cohort(output / "saturation.png", kept.curves, rules)
    if kept.examples:
        ordered = {case: kept.examples[case] for case in (*CASES, NO_CASE) if case in kept.examples}
        saturation_plots.plot_cases(output / "saturation_cases.png", ordered)
    return kept.rows


def _row(patient_id: str, model: str, case: str, result: Saturation, rules: SaturationRules) -> dict[str, Any]:
    enough = result.orders is not None
    needed = images = None
    if enough and result.cells_per_image is not None:
        needed = intervals.cells_needed_goodman(result.percent / 100, rules.tolerance_points / 100)
        images = math.ceil(needed / result.cells_per_image)
    return {
        "patient_id": patient_id,
        "model": model,
        "case": case,
        "images_used": result.num_images,
        "white_cells": result.white_cells,
        "cells_per_image": result.cells_per_image,
        "tolerance_points": rules.tolerance_points,
        "n_sat_orders": result.n_sat_orders,
        "n_sat_bootstrap": result.n_sat_bootstrap,
        "saturated": result.saturated if enough else False,
        "images_needed": result.images_needed,
        "images_needed_goodman": images,
        "cells_needed_goodman": needed,
        "design_effect": result.design_effect,
        "note": result.note,
    }


def _curve_rows(result: Saturation) -> Iterator[dict[str, Any]]:
    bands: dict[str, Band | None] = {"orders": result.orders, "bootstrap": result.bootstrap}
    for name, band in bands.items():
        if band is None:
            continue
        for g in range(len(band.cells)):
            for k, cell_class in enumerate(cell_classes.WHITE_CELLS):
                yield {
                    "band": name,
                    "cells": band.cells[g],
                    "class": cell_class,
                    "median_percent": band.median[g, k],
                    "low_percent": band.low[g, k],
                    "high_percent": band.high[g, k],
                    "within_tolerance": band.within[g],
                }


def _case_rows(rows: Sequence[dict[str, Any]], rules: SaturationRules) -> Iterator[dict[str, Any]]:
    for measure in ("n_sat_orders", "n_sat_bootstrap"):
        chosen = [row for row in rows if measure == "n_sat_orders" or row["saturated"] is not None]
        cases = [row["case"] or NO_CASE for row in chosen]
        for summary in summarize_cases([row[measure] for row in chosen], cases, rules.replicates, rules.seed):
            bounded = {
                name: value if math.isfinite(value) else None
                for name, value in (
                    ("median_cells", summary.median),
                    ("ci_low_cells", summary.low),
                    ("ci_high_cells", summary.high),
                )
            }
            yield {
                "case": summary.case,
                "measure": measure,
                "patients": summary.patients,
                "saturated": summary.saturated,
                **bounded,
            }

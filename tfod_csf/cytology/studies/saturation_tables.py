"""The saturation study over all patients of a run: CSV files and plots, one patient in memory at a time."""

import math
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from tfod_csf import cell_classes, run_folder
from tfod_csf.cytology import run_tables
from tfod_csf.cytology.counting import cohort
from tfod_csf.cytology.counting.cases import CASES, NO_CASE
from tfod_csf.cytology.counting.clustering import Clustering
from tfod_csf.cytology.counting.cohort import patient_differential
from tfod_csf.cytology.counting.differential import Differential, DifferentialRules
from tfod_csf.cytology.counting.enough_cells import EnoughCells
from tfod_csf.cytology.counting.saturation import (
    Band,
    Saturation,
    SaturationRules,
    planner_rows,
    saturation,
    summarize_cases,
    typical_clustering,
)
from tfod_csf.cytology.studies import saturation_plots
from tfod_csf.files import csv_schemas


class _Collector:
    """Collects of each patient what the tables and plots over all patients need."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.with_one_class: list[bool] = []
        self.shares: list[list[float]] = []
        self.clusterings: list[Clustering] = []
        self.curves: list[tuple[str, np.ndarray, np.ndarray]] = []
        self.examples: dict[str, tuple[str, Saturation, EnoughCells]] = {}

    def add(self, row: dict[str, Any], curves: Saturation, result: Differential) -> None:
        """Keeps the row, the curve, and per case the patient with the most white cells as the example."""
        self.rows.append(row)
        self.with_one_class.append(curves.has_one_class)
        if result.shares:
            self.shares.append([share.percent / 100 for share in result.shares.values()])
            self.clusterings.append(result.clustering)
        if curves.orders is None:
            return
        case = row["case"] or NO_CASE
        if curves.bootstrap is not None and result.shares:
            self.curves.append((case, curves.bootstrap.cells, curves.bootstrap.within))
        if case not in self.examples or curves.white_cells > self.examples[case][1].white_cells:
            self.examples[case] = (row["patient_id"], curves, result.enough)


def read_cases(differentials_csv: str | os.PathLike) -> dict[str, str]:
    """{patient_id: case} from differentials.csv; without the file nobody has a case.

    Raises:
      TableError: the table lies in a run and was counted from other tables (`cohort.check_made_of`).
    """
    if not pathlib.Path(differentials_csv).exists():
        return {}
    source = cohort.source_of(differentials_csv)
    if source is not None:
        cohort.check_made_of(differentials_csv, source)
    rows = csv_schemas.load("differentials").read(differentials_csv, ("patient_id", "case"))
    return {row["patient_id"]: row["case"] for row in rows}


def write_saturation(
    inference_dir: str | os.PathLike,
    output_dir: str | os.PathLike,
    rules: SaturationRules,
    max_unknown_percent: float = 10.0,
    model: str | None = None,
    cases: dict[str, str] | None = None,
    thresholds: run_tables.Thresholds | None = None,
    max_plots: int = 50,
    plan_points: Sequence[float] = (10, 7, 5, 3),
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> list[dict[str, Any]]:
    """Writes the study's tables and plots.

    Args:
      rules: of the curves; tolerance and minimum hold for the answer "enough cells" too.
      max_unknown_percent: as in `DifferentialRules`.
      model: whose cells; None draws the curves of each patient's first model and answers with the means of all models,
        as the differential does.
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
    counting = DifferentialRules(
        min_white_cells=rules.min_white_cells,
        tolerance_points=rules.tolerance_points,
        max_unknown_percent=max_unknown_percent,
    )

    def rows() -> Iterator[dict[str, Any]]:
        for number, folder in enumerate(progress(run_tables.patient_folders(inference_dir))):
            patient = run_tables.read_patient(folder)
            patient = patient if thresholds is None else patient.counted_with(thresholds)
            name = patient.model_or_first(model)
            if model is not None:
                patient = patient.of_model(name)
            curves = saturation(patient.patient_id, patient.unit_counts(cell_classes.WHITE_CELLS, name), rules)
            result = patient_differential(patient, rules=counting)
            row = _row(name, cases.get(patient.patient_id, ""), curves, result, rules)
            kept.add(row, curves, result)
            if number < max_plots and curves.orders is not None:
                target = output / run_folder.PATIENTS_DIR / folder.name
                csv_schemas.load("saturation_curve").write_into(target, _curve_rows(curves))
                saturation_plots.plot_patient(
                    target / "saturation.png", patient.patient_id, curves, result.enough, rules
                )
            yield row

    csv_schemas.load("saturation").write_into(output, rows())
    csv_schemas.load("saturation_cases").write_into(output, _case_rows(kept, rules))
    shares = np.mean(kept.shares, axis=0) if kept.shares else None
    planner = planner_rows(plan_points, shares, typical_clustering(kept.clusterings))
    csv_schemas.load("saturation_planner").write_into(output, planner)
    if kept.curves:
        saturation_plots.plot_cohort(output / "saturation.png", kept.curves, rules)
    if kept.examples:
        ordered = {case: kept.examples[case] for case in (*CASES, NO_CASE) if case in kept.examples}
        saturation_plots.plot_cases(output / "saturation_cases.png", ordered)
    return kept.rows


def _row(model: str, case: str, curves: Saturation, result: Differential, rules: SaturationRules) -> dict[str, Any]:
    per_image = result.white_cells / result.images_used if result.images_used else None
    needed = result.cells_needed
    return {
        "patient_id": result.patient_id,
        "model": model,
        "case": case,
        "images_used": result.images_used,
        "white_cells": result.white_cells,
        "cells_per_image": per_image,
        "tolerance_points": rules.tolerance_points,
        "n_sat_orders": curves.n_sat_orders,
        "n_sat_bootstrap": result.n_sat,
        "saturated": result.is_settled,
        "cells_needed": needed,
        "images_needed": math.ceil(needed / per_image) if needed is not None and per_image else None,
        "design_effect": result.clustering.design_effect,
        "effective_cells": result.effective_cells,
        "reach_points": result.reach_points,
        "note": result.enough.why or result.note,
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


def _case_rows(kept: _Collector, rules: SaturationRules) -> Iterator[dict[str, Any]]:
    """Medians of both n_sat; patients of whom it is not known are in neither."""
    for measure in ("n_sat_orders", "n_sat_bootstrap"):
        chosen = [
            row
            for row, has_one_class in zip(kept.rows, kept.with_one_class, strict=True)
            if not has_one_class and (measure == "n_sat_orders" or row["saturated"] is not None)
        ]
        cases = [row["case"] or NO_CASE for row in chosen]
        for summary in summarize_cases([row[measure] for row in chosen], cases, rules.replicates, rules.seed):
            yield {
                "case": summary.case,
                "measure": measure,
                "patients": summary.patients,
                "saturated": summary.saturated,
                "median_cells": _finite(summary.median),
                "ci_low_cells": _finite(summary.low),
                "ci_high_cells": _finite(summary.high),
            }


def _finite(cells: float | None) -> float | None:
    return cells if cells is not None and math.isfinite(cells) else None

"""The saturation study over all patients of a run: CSV files and plots, one patient in memory at a time."""

import dataclasses
import math
import os
import pathlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tfod_csf import cell_classes, run_folder
from tfod_csf.cytology import patient_work, run_tables
from tfod_csf.cytology.counting import cohort
from tfod_csf.cytology.counting.cases import CASES, NO_CASE
from tfod_csf.cytology.counting.clustering import Clustering
from tfod_csf.cytology.counting.cohort import patient_differential
from tfod_csf.cytology.counting.differential import Differential, DifferentialRules
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


class Answer(NamedTuple):
    """What the medians over patients are taken of; n_sat as in saturation.csv."""

    case: str
    has_one_class: bool
    n_sat_orders: int | None
    n_sat_bootstrap: int | None
    saturated: bool | None


class _Collector:
    """Collects of each patient what the tables and plots over all patients need: some hundred bytes."""

    def __init__(self, replicates: int) -> None:
        self._replicates = replicates
        self.answers: list[Answer] = []
        self.shares: list[list[float]] = []
        self.clusterings: list[Clustering] = []
        self.examples: dict[str, tuple[int, patient_work.Patient]] = {}
        self._curves: list[tuple[str, int, int, np.ndarray]] = []

    def add(self, found: Mapping[str, Any], patient: patient_work.Patient) -> None:
        """Keeps the answer, the curve, and per case the patient with the most white cells as the example.

        Args:
          found: what `_Curves.do` found.
        """
        row, case = found["row"], sys.intern(found["row"]["case"] or NO_CASE)
        named = {name: row[name] for name in ("n_sat_orders", "n_sat_bootstrap", "saturated")}
        self.answers.append(Answer(case, found["has_one_class"], **named))
        if found["shares"]:
            self.shares.append(found["shares"])
            self.clusterings.append(Clustering(**found["clustering"]))
        if not found["white_cells"]:
            return
        if found["within"] and found["shares"]:
            within = np.array(found["within"], np.uint32)
            self._curves.append((case, found["white_cells"], found["num_images"], within))
        if case not in self.examples or found["white_cells"] > self.examples[case][0]:
            self.examples[case] = (found["white_cells"], patient)

    @property
    def num_curves(self) -> int:
        """Patients with a curve."""
        return len(self._curves)

    def curves(self) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        """(case, [J] white cells expected on j images, [J] fraction within the tolerance), see `Band`."""
        for case, white, images, within in self._curves:
            yield case, np.arange(1, len(within) + 1) * white / images, within / self._replicates


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
    num_processes: int = 1,
) -> list[Answer]:
    """Writes the study's tables and plots.

    Stopped and called again with the same arguments, it resumes (`patient_work`).

    Args:
      rules: of the curves; tolerance and minimum hold for the answer "enough cells" too.
      max_unknown_percent: as in `DifferentialRules`.
      model: whose cells; None draws the curves of each patient's first model and answers with the means of all models,
        as the differential does.
      cases: {patient_id: case}.
      thresholds: counts the cells again with these; None keeps the run's counting.
      max_plots: patients (the first in order) that get a plot and a curve table of their own.
      plan_points: tolerances of the planner, in percentage points.
      progress: wraps the list of patients.
      num_processes: that draw the curves; the files do not depend on it.

    Returns:
      What the medians are taken of, patient by patient.

    Raises:
      TableError: `model` is not in the run.
    """
    output, kept, cases = pathlib.Path(output_dir), _Collector(rules.replicates), cases or {}
    counting = DifferentialRules(
        min_white_cells=rules.min_white_cells,
        tolerance_points=rules.tolerance_points,
        max_unknown_percent=max_unknown_percent,
    )
    work = _Curves(output, rules, counting, model, thresholds)
    folders = run_tables.patient_folders(inference_dir)
    tables = run_folder.read_run(inference_dir).get("tables", {})  # none in a run of an earlier version
    patients = [
        patient_work.Patient(
            folder, tables.get(folder.name), (cases.get(run_tables.patient_id_in(folder), ""), number < max_plots)
        )
        for number, folder in enumerate(folders)
    ]
    with patient_work.resumable(output / "saturation.unfinished") as done:

        def rows() -> Iterator[dict[str, Any]]:
            found = patient_work.results(work, patients, done, num_processes, progress)
            for patient, one in zip(patients, found, strict=True):
                kept.add(one, patient)
                yield one["row"]

        csv_schemas.load("saturation").write_into(output, rows())
        _write_over_all(output, kept, work, plan_points)
    return kept.answers


def _write_over_all(output: pathlib.Path, kept: _Collector, work: "_Curves", plan_points: Sequence[float]) -> None:
    """The tables and plots over all patients."""
    csv_schemas.load("saturation_cases").write_into(output, _case_rows(kept.answers, work.rules))
    shares = np.mean(kept.shares, axis=0) if kept.shares else None
    planner = planner_rows(plan_points, shares, typical_clustering(kept.clusterings))
    csv_schemas.load("saturation_planner").write_into(output, planner)
    if kept.num_curves:
        saturation_plots.plot_cohort(output / "saturation.png", list(kept.curves()), work.rules)
    if kept.examples:
        examples = {}
        for case in (*CASES, NO_CASE):
            if case in kept.examples:
                patient, curves, result = work.examine(kept.examples[case][1].folder)
                examples[case] = (patient.patient_id, curves, result.enough)
        saturation_plots.plot_cases(output / "saturation_cases.png", examples)


@dataclasses.dataclass(frozen=True)
class _Curves(patient_work.Work[dict[str, Any]]):
    """The curves of one patient; `Patient.more` is (case, whether the patient gets a plot and a curve table)."""

    output: pathlib.Path
    rules: SaturationRules
    counting: DifferentialRules
    model: str | None
    thresholds: run_tables.Thresholds | None
    at_once = 4
    least_for_a_process = 40

    def state(self, patient: patient_work.Patient, tables: Mapping[str, str]) -> str:
        return patient_work.digest(self.rules, self.counting, self.model, self.thresholds, tables, patient.more)

    def do(self, patient: patient_work.Patient, tables: Mapping[str, str]) -> tuple[dict[str, Any], list[pathlib.Path]]:
        read, curves, result = self.examine(patient.folder)
        (case, is_plotted), files = patient.more, []
        if is_plotted and curves.orders is not None:
            target = self.output / run_folder.PATIENTS_DIR / patient.folder.name
            files = [target / "saturation_curve.csv", target / "saturation.png"]
            csv_schemas.load("saturation_curve").write_into(target, _curve_rows(curves))
            saturation_plots.plot_patient(files[1], read.patient_id, curves, result.enough, self.rules)
        within = (
            [] if curves.bootstrap is None else np.rint(curves.bootstrap.within * self.rules.replicates).astype(int)
        )
        found = {
            "row": _row(read.model_or_first(self.model), case, curves, result, self.rules),
            "white_cells": curves.white_cells,
            "num_images": curves.num_images,
            "has_one_class": curves.has_one_class,
            "shares": [share.percent / 100 for share in result.shares.values()],
            "clustering": result.clustering,
            "within": within,
        }
        return found, files

    def examine(self, folder: pathlib.Path) -> tuple[run_tables.PatientTables, Saturation, Differential]:
        """(tables, curves, differential) of a patient."""
        patient = run_tables.read_patient(folder)
        patient = patient if self.thresholds is None else patient.counted_with(self.thresholds)
        name = patient.model_or_first(self.model)
        if self.model is not None:
            patient = patient.of_model(name)
        curves = saturation(patient.patient_id, patient.unit_counts(cell_classes.WHITE_CELLS, name), self.rules)
        return patient, curves, patient_differential(patient, rules=self.counting)


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


def _case_rows(answers: Sequence[Answer], rules: SaturationRules) -> Iterator[dict[str, Any]]:
    """Medians of both n_sat; patients of whom it is not known are in neither."""
    for measure in ("n_sat_orders", "n_sat_bootstrap"):
        chosen = [
            answer
            for answer in answers
            if not answer.has_one_class and (measure == "n_sat_orders" or answer.saturated is not None)
        ]
        n_sat = [getattr(answer, measure) for answer in chosen]
        cases = [answer.case for answer in chosen]
        for summary in summarize_cases(n_sat, cases, rules.replicates, rules.seed):
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

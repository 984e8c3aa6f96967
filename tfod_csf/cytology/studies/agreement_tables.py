"""The agreement study: reads both sides, writes the tables agreement*.csv and the plots."""

import dataclasses
import math
import os
import pathlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from tfod_csf import cell_classes
from tfod_csf.cytology import annotated_cells, run_tables
from tfod_csf.cytology.annotated_cells import NOT_FOUND, ImageCells, MatchedCells
from tfod_csf.cytology.studies import agreement_plots
from tfod_csf.cytology.studies.agreement import (
    Differentials,
    class_measures,
    common_patients,
    difference_p_values,
    holm,
    kappa_of_pairs,
)
from tfod_csf.files import csv_schemas, csv_tables

_SUM_TOLERANCE = 3.0
_NONE = "none"


@dataclasses.dataclass(frozen=True)
class HospitalTable:
    """The hospital's differentials; `assumed` [P] tells whose number of cells was not given."""

    differentials: Differentials
    assumed: np.ndarray


def read_hospital(path: str | os.PathLike, assumed_cells: int, are_counts: bool = False) -> HospitalTable:
    """Reads patient_id, lymphocyte, monocyte, neutrophil and, where there is one, n (cells counted).

    Args:
      assumed_cells: n of a patient without one.
      are_counts: the three columns are cells, not percent (n is then their sum; a patient without a cell is ignored).

    Raises:
      TableError: a repeated patient, a value that is not a percentage, percentages that do not add up to about 100
        (97 to 103: printed ones are rounded), or an n that is not a positive number.
    """
    ids, percents, cells, assumed, seen = [], [], [], [], set()
    for line, row in enumerate(csv_tables.read_rows(path, ("patient_id", *cell_classes.WHITE_CELLS)), start=2):
        where = f"{path}, line {line}, patient {row['patient_id']!r}"
        if row["patient_id"] in seen:
            raise run_tables.TableError(f"{where}: the patient is there twice; keep one row.")
        seen.add(row["patient_id"])
        largest = math.inf if are_counts else 100
        values = np.array([_number(where, name, row[name], 0, largest) for name in cell_classes.WHITE_CELLS])
        text = row.get("n", "").strip()
        number = _number(where, "n", text, 1, math.inf) if text else assumed_cells
        if are_counts:
            number, text = values.sum(), "given"
            if not number:
                continue
            values = 100 * values / number
        elif abs(values.sum() - 100) > _SUM_TOLERANCE:
            hint = "; give percent, not fractions" if values.sum() <= 1.1 else ""
            hint = hint or "; for cells give --hospital_unit=cells"
            raise run_tables.TableError(f"{where}: the percentages add up to {values.sum():g}, not to about 100{hint}.")
        ids.append(row["patient_id"])
        percents.append(values)
        cells.append(number)
        assumed.append(not text)
    if not ids:
        raise run_tables.TableError(f"{path}: no patient in it.")
    return HospitalTable(Differentials(tuple(ids), np.array(percents), np.array(cells)), np.array(assumed))


def _number(where: str, name: str, text: str, low: float, high: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise run_tables.TableError(f"{where}: {name} is {text!r}; expected a number from {low:g} to {high:g}.")
    return value


def read_machine(path: str | os.PathLike) -> tuple[Differentials, list[str]]:
    """Reads differentials.csv; returns the patients with percentages, and the ids of those without."""
    columns = [f"{name}_percent" for name in cell_classes.WHITE_CELLS]
    ids, percents, cells, without = [], [], [], []
    for line, row in enumerate(csv_tables.read_rows(path, ("patient_id", "white_cells", *columns)), start=2):
        if not all(row[name] for name in columns):
            without.append(row["patient_id"])
            continue
        where = f"{path}, line {line}, patient {row['patient_id']!r}"
        ids.append(row["patient_id"])
        percents.append([_number(where, name, row[name], 0, 100) for name in columns])
        cells.append(_number(where, "white_cells", row["white_cells"], 0, math.inf))
    return Differentials(tuple(ids), np.array(percents).reshape(-1, len(columns)), np.array(cells)), without


def match_all(
    inference_dir: str | os.PathLike,
    annotations: Mapping[str, ImageCells],
    model: str | None,
    iou_threshold: float,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> tuple[MatchedCells, int]:
    """Matched cells of all patients of a run, and the number of patients with annotated images.

    Args:
      model: whose cells; None takes each patient's first model.

    Raises:
      TableError: `model` is not in the run.
    """
    parts = []
    for folder in progress(run_tables.patient_folders(inference_dir)):
        patient = run_tables.read_patient(folder, details=True)
        found = annotated_cells.match_patient(patient, annotations, patient.model_or_first(model), iou_threshold)
        parts.append(found)
    return MatchedCells.joined(parts), sum(part.num_images > 0 for part in parts)


def cell_pairs(matched: MatchedCells) -> Counter:
    """{(machine class, annotated class): cells}; `none` where one side has no cell."""
    pairs = Counter((a, b or _NONE) for a, b in zip(matched.predicted, matched.annotated, strict=True))
    pairs.update({(_NONE, name): count for name, count in matched.missed.items()})
    return pairs


def cell_measures(matched: MatchedCells, patients: int) -> list[dict[str, Any]]:
    """Rows of agreement.csv about single cells: kappa with and without the cells the machine left unknown."""
    found = matched.annotated != NOT_FOUND
    decided = found & (matched.counted_as != cell_classes.UNKNOWN)
    rows = []
    for measure, chosen, note in (
        ("kappa", found, "all matched cells by predicted class"),
        ("kappa_without_unknown", decided, "matched cells that the machine did not leave unknown"),
    ):
        pairs = Counter(zip(matched.predicted[chosen], matched.annotated[chosen], strict=True))
        kappa = kappa_of_pairs(pairs)
        ends = {"value": kappa.value, "ci_low": kappa.low, "ci_high": kappa.high}
        rows.append({"class": "cells", "measure": measure, **ends, "patients": patients, "note": note})
    for measure, value in (
        ("cells_matched", found.sum()),
        ("cells_missed", sum(matched.missed.values())),
        ("cells_spurious", (~found).sum()),
    ):
        note = f"on {matched.num_images} images"
        row = {"class": "cells", "measure": measure, "value": float(value), "unit": "cells", "patients": patients}
        rows.append({**row, "note": note})
    return rows


def write_agreement(
    output_dir: str | os.PathLike,
    machine: Differentials,
    without_percentages: list[str],
    hospital: HospitalTable,
    error_ratio: float = 1.0,
    matched: tuple[MatchedCells, int] | None = None,
) -> list[dict[str, Any]]:
    """Writes tables and plots; returns the rows of agreement.csv.

    Raises:
      TableError: no patient has results on both sides.
    """
    output = pathlib.Path(output_dir)
    ours, theirs, only_machine, only_hospital = common_patients(machine, hospital.differentials)
    if not ours.patient_ids:
        raise run_tables.TableError(
            f"no patient has percentages on both sides: the machine has {len(machine.patient_ids)}, the hospital "
            f"{len(hospital.differentials.patient_ids)}; check that patient_id is written the same way."
        )
    p_values = difference_p_values(ours, theirs)
    adjusted = holm(p_values)
    assumed = dict(zip(hospital.differentials.patient_ids, hospital.assumed, strict=True))

    def patients() -> Iterator[dict[str, Any]]:
        for p in range(len(ours.patient_ids)):
            yield _patient_row(ours, theirs, p, p_values[p], adjusted[p], assumed[ours.patient_ids[p]])
        few = set(without_percentages)
        for name in only_hospital:
            reason = "too few white cells for percentages" if name in few else "not examined by the machine"
            yield {"patient_id": name, "note": reason}
        for name in only_machine:
            yield {"patient_id": name, "note": "the hospital has no result"}

    csv_schemas.load("agreement_patients").write(output / "agreement_patients.csv", patients())
    rows = class_measures(ours, theirs, error_ratio)
    if matched is not None:
        rows += cell_measures(*matched)
        pairs = sorted(cell_pairs(matched[0]).items())
        cells = ({"machine_class": a, "annotated_class": b, "cells": count} for (a, b), count in pairs)
        csv_schemas.load("agreement_cells").write(output / "agreement_cells.csv", cells)
    csv_schemas.load("agreement").write(output / "agreement.csv", rows)
    agreement_plots.plot_patients(output / "agreement_patients.png", ours, theirs, adjusted < 0.05)
    agreement_plots.plot_bland_altman(output / "agreement_bland_altman.png", ours, theirs)
    agreement_plots.plot_comparison(output / "agreement_regression.png", ours, theirs, error_ratio)
    return rows


def _patient_row(
    machine: Differentials, hospital: Differentials, p: int, p_value: float, adjusted: float, assumed: bool
) -> dict[str, Any]:
    row: dict[str, Any] = {"patient_id": machine.patient_ids[p]}
    difference = machine.percent[p] - hospital.percent[p]
    for k, name in enumerate(cell_classes.WHITE_CELLS):
        row[f"hospital_{name}_percent"] = hospital.percent[p, k]
        row[f"machine_{name}_percent"] = machine.percent[p, k]
        row[f"{name}_difference"] = difference[k]
    return row | {
        "mean_absolute_difference": np.abs(difference).mean(),
        "machine_cells": machine.cells[p],
        "hospital_cells": hospital.cells[p],
        "hospital_cells_assumed": bool(assumed),
        "p_value": p_value,
        "p_value_holm": adjusted,
        "differs": bool(adjusted < 0.05),
    }

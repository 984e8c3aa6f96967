"""The agreement study: reads both sides, writes the tables agreement*.csv and the plots."""

import dataclasses
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
    measure_row,
)
from tfod_csf.files import csv_schemas

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
      TableError: a repeated patient, a value that is not a percentage or number of cells, percentages that do not
        add up to about 100 (97 to 103: printed ones are rounded), or an n below 1.
    """
    found: dict[str, tuple[np.ndarray, float, bool] | None] = {}
    for row in csv_schemas.load("input_hospital_cells" if are_counts else "input_hospital_percent").read(path):
        where = f"{path}, line {row.line}, patient {row['patient_id']!r}"
        if row["patient_id"] in found:
            raise run_tables.TableError(f"{where}: the patient is there twice; keep one row.")
        values = np.array([row[name] for name in cell_classes.WHITE_CELLS], float)
        total, cells = values.sum(), row.get("n")
        if are_counts:
            found[row["patient_id"]] = (100 * values / total, total, False) if total else None
            continue
        if abs(total - 100) > _SUM_TOLERANCE:
            hint = "give percent, not fractions" if total <= 1.1 else "for cells give --hospital_unit=cells"
            raise run_tables.TableError(f"{where}: the percentages add up to {total:g}, not to about 100; {hint}.")
        found[row["patient_id"]] = (values, cells or assumed_cells, cells is None)
    patients = {patient_id: values for patient_id, values in found.items() if values}
    if not patients:
        raise run_tables.TableError(f"{path}: no patient in it.")
    percents, cells, assumed = map(np.array, zip(*patients.values(), strict=True))
    return HospitalTable(Differentials(tuple(patients), percents, cells), assumed)


def read_machine(path: str | os.PathLike) -> tuple[Differentials, list[str]]:
    """Reads differentials.csv; returns the patients with percentages, and the ids of those without."""
    columns = [f"{name}_percent" for name in cell_classes.WHITE_CELLS]
    ids, percents, cells, without = [], [], [], []
    for row in csv_schemas.load("differentials").read(path, ["patient_id", "white_cells", *columns]):
        values = [row[name] for name in columns]
        if None in values:
            without.append(row["patient_id"])
            continue
        ids.append(row["patient_id"])
        percents.append(values)
        cells.append(row["white_cells"])
    return Differentials(tuple(ids), np.array(percents).reshape(-1, len(columns)), np.array(cells, float)), without


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
        rows.append(measure_row("cells", measure, "", patients, kappa_of_pairs(pairs), note))
    for measure, value in (
        ("cells_matched", found.sum()),
        ("cells_missed", sum(matched.missed.values())),
        ("cells_spurious", (~found).sum()),
    ):
        rows.append(measure_row("cells", measure, "cells", patients, float(value), f"on {matched.num_images} images"))
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

    csv_schemas.load("agreement_patients").write_into(output, patients())
    rows = class_measures(ours, theirs, error_ratio)
    if matched is not None:
        rows += cell_measures(*matched)
        pairs = sorted(cell_pairs(matched[0]).items())
        cells = ({"machine_class": a, "annotated_class": b, "cells": count} for (a, b), count in pairs)
        csv_schemas.load("agreement_cells").write_into(output, cells)
    csv_schemas.load("agreement").write_into(output, rows)
    agreement_plots.plot_patients(output / "agreement_patients.png", ours, theirs, (adjusted < 0.05).tolist())
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

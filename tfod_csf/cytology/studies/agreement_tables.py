"""The agreement study: reads both sides, writes the tables agreement*.csv and the plots."""

import dataclasses
import itertools
import os
import pathlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tfod_csf import cell_classes
from tfod_csf.cytology import annotated_cells, run_tables
from tfod_csf.cytology.annotated_cells import NOT_FOUND, ImageCells, MatchedCells
from tfod_csf.cytology.counting import cohort
from tfod_csf.cytology.counting.reference_ranges import ReferenceRange
from tfod_csf.cytology.studies import agreement_plots, cell_agreement, method_comparison, reference_agreement
from tfod_csf.cytology.studies.agreement import (
    Differentials,
    class_measures,
    common_patients,
    difference_p_values,
    holm,
    measure_row,
)
from tfod_csf.cytology.studies.cell_agreement import Proportion
from tfod_csf.files import csv_schemas
from tfod_csf.study import patient_ids
from tfod_csf.study.patient_ids import Matched

_SUM_TOLERANCE = 3.0
_NONE = "none"


@dataclasses.dataclass(frozen=True)
class HospitalTable:
    """The hospital's differentials.

    Attributes:
      assumed: [P] whose number of cells was not given.
      notes: {patient_id: what was changed}, for patients whose row has cells of other classes.
    """

    differentials: Differentials
    assumed: np.ndarray
    notes: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def with_ids_of(self, matched: Matched) -> "HospitalTable":
        """The same patients, those of the machine under its spelling of their ids."""
        ids = tuple(matched.run_ids.get(name, name) for name in self.differentials.patient_ids)
        notes = {matched.run_ids.get(name, name): note for name, note in self.notes.items()}
        return HospitalTable(dataclasses.replace(self.differentials, patient_ids=ids), self.assumed, notes)


@dataclasses.dataclass(frozen=True)
class MachineTable:
    """The machine's differentials.

    Attributes:
      differentials: of the patients with percentages.
      without_percentages: ids of the others.
      pleocytosis: {patient_id: whether there are too many white cells per uL}, of those for whom that is known.
      unknown_percent: {patient_id: percent of the white cells that are unknown}, of those beyond the limit of the run.
    """

    differentials: Differentials
    without_percentages: list[str]
    pleocytosis: Mapping[str, bool]
    unknown_percent: Mapping[str, float] = dataclasses.field(default_factory=dict)


def read_hospital(path: str | os.PathLike, assumed_cells: int, are_counts: bool = False) -> HospitalTable:
    """Reads patient_id, lymphocyte, monocyte, neutrophil and, where there is one, n (cells counted).

    Percentages that add up to less than 97 are of a fluid with cells of other classes (eosinophils, plasma cells): the
    three are divided by their sum, n is reduced to their part, and the patient gets a note.

    Args:
      assumed_cells: n of a patient without one.
      are_counts: the three columns are cells, not percent (n is then their sum; a patient without a cell is ignored).

    Raises:
      TableError: a repeated patient, a value that is not a percentage or number of cells, percentages that add up to
        more than 103 (printed ones are rounded) or to about 1 (fractions), or an n below 1.
    """
    found: dict[str, tuple[np.ndarray, float, bool] | None] = {}
    notes = {}
    for row in csv_schemas.load("input_hospital_cells" if are_counts else "input_hospital_percent").read(path):
        where = f"{path}, line {row.line}, patient {row['patient_id']!r}"
        if row["patient_id"] in found:
            raise run_tables.TableError(f"{where}: the patient is there twice; keep one row.")
        values = np.array([row[name] for name in cell_classes.WHITE_CELLS], float)
        total, given = values.sum(), row.get("n")
        if are_counts or total == 0:
            found[row["patient_id"]] = (100 * values / total, total, False) if total else None
            continue
        if total > 100 + _SUM_TOLERANCE or total <= 1.1:
            hint = "give percent, not fractions" if total <= 1.1 else "for cells give --hospital_unit=cells"
            raise run_tables.TableError(f"{where}: the percentages add up to {total:g}, not to about 100; {hint}.")
        cells = given or assumed_cells
        if total < 100 - _SUM_TOLERANCE:
            notes[row["patient_id"]] = f"the hospital's percentages add up to {total:g}: divided by their sum"
            values, cells = 100 * values / total, cells * total / 100
        found[row["patient_id"]] = (values, cells, given is None)
    patients = {patient_id: values for patient_id, values in found.items() if values}
    if not patients:
        raise run_tables.TableError(f"{path}: no patient in it.")
    percents, numbers, assumed = map(np.array, zip(*patients.values(), strict=True))
    return HospitalTable(Differentials(tuple(patients), percents, numbers), assumed, notes)


def read_machine(path: str | os.PathLike, use_effective_cells: bool = True) -> MachineTable:
    """Reads differentials.csv.

    Args:
      use_effective_cells: read `effective_cells` and `design_effect` where the table has them.

    Raises:
      RunError, TableError: the run that it was counted from is there, and its tables are others now.
    """
    source = cohort.source_of(path)
    if source is not None:
        cohort.check_made_of(path, source)
    columns = [f"{name}_percent" for name in cell_classes.WHITE_CELLS]
    more = ["pleocytosis", "effective_cells", "design_effect"]
    ids, percents, without, pleocytosis = [], [], [], {}
    numbers: list[tuple[float, float | None, float | None]] = []
    for row in csv_schemas.load("differentials").read(path, ["patient_id", "white_cells", *columns, *more]):
        values = [row[name] for name in columns]
        if None in values:
            without.append(row["patient_id"])
            continue
        ids.append(row["patient_id"])
        percents.append(values)
        numbers.append((row["white_cells"], row.get("effective_cells"), row.get("design_effect")))
        if row.get("pleocytosis") is not None:
            pleocytosis[row["patient_id"]] = row["pleocytosis"]
    cells, effective, design = np.array(numbers, float).reshape(-1, 3).T
    known = {"effective_cells": effective, "design_effect": design} if use_effective_cells else {}
    kept = {name: values for name, values in known.items() if not np.isnan(values).all()}
    found = Differentials(tuple(ids), np.array(percents).reshape(-1, len(columns)), cells, **kept)
    return MachineTable(found, without, pleocytosis, cohort.unreliable_patients(path))


def match_patients(machine: MachineTable, hospital: HospitalTable, path: str | os.PathLike) -> Matched:
    """The hospital's ids beside those of the machine, patients without percentages included.

    Args:
      path: of the hospital's table.

    Raises:
      TableError: two rows of the hospital are one patient of the machine.
    """
    known = [*machine.differentials.patient_ids, *machine.without_percentages]
    try:
        return patient_ids.match(hospital.differentials.patient_ids, known)
    except patient_ids.PatientIdError as error:
        raise run_tables.TableError(f"{path}: {error}") from error


def match_all(
    inference_dir: str | os.PathLike,
    annotations: Mapping[str, ImageCells],
    model: str | None,
    iou_threshold: float,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
    is_machine_alone: bool = False,
) -> tuple[MatchedCells, int]:
    """Matched cells of all patients of a run, and the number of patients with annotated images.

    Args:
      model: whose cells; None takes each patient's first model.
      is_machine_alone: refuse patients on whose cells a person has decided.

    Raises:
      TableError: `model` is not in the run, or a patient is refused.
    """
    parts = []
    for folder in progress(run_tables.patient_folders(inference_dir)):
        patient = run_tables.read_patient(folder, details=True)
        if is_machine_alone:
            patient.check_not_reviewed()
        parts.append(annotated_cells.match_patient(patient, annotations, patient.model_or_first(model), iou_threshold))
    return MatchedCells.joined(parts), sum(part.num_images > 0 for part in parts)


def cell_pairs(matched: MatchedCells) -> Counter:
    """{(machine class, annotated class): cells}; `none` where one side has no cell."""
    pairs = Counter((a, b or _NONE) for a, b in zip(matched.compared_as, matched.annotated, strict=True))
    pairs.update({(_NONE, name): count for name, count in matched.missed.items()})
    return pairs


def cell_measures(matched: MatchedCells) -> list[dict[str, Any]]:
    """Rows of agreement.csv about single cells: kappas and how many cells were matched."""
    found, patients = matched.annotated != NOT_FOUND, len(matched.missed_by_patient)
    rows = [
        measure_row("cells", measure, "", patients, value, note)
        for measure, value, note in cell_agreement.kappas(matched)
    ]
    for measure, value in (
        ("cells_matched", found.sum()),
        ("cells_missed", sum(matched.missed.values())),
        ("cells_spurious", (~found).sum()),
    ):
        rows.append(measure_row("cells", measure, "cells", patients, float(value), f"on {matched.num_images} images"))
    return rows


def class_shares(matched: MatchedCells) -> dict[str, dict[str, Proportion]]:
    """{class: {measure: share}} of every class but unknown."""
    tables = cell_agreement.patient_tables(matched, matched.counted_as)
    names = [name for name in tables.names if name != cell_classes.UNKNOWN]
    return {name: cell_agreement.class_accuracy(tables, name) for name in names}


def class_rows(shares: Mapping[str, Mapping[str, Proportion]], patients: int) -> Iterator[dict[str, Any]]:
    """Rows of agreement_classes.csv."""
    for name, measures in shares.items():
        for measure, found in measures.items():
            numbers = method_comparison.number_columns(found.value)
            row = {"class": name, "measure": measure, **numbers, "cells": found.cells}
            yield {**row, "patients": patients, "note": found.note}


def write_agreement(
    output_dir: str | os.PathLike,
    machine: MachineTable,
    hospital: HospitalTable,
    references: Mapping[str, ReferenceRange] | None = None,
    levels: Mapping[str, Sequence[float]] | None = None,
    error_ratio: float = 1.0,
    matched: MatchedCells | None = None,
) -> list[dict[str, Any]]:
    """Writes all tables and plots; returns the rows of agreement.csv.

    Args:
      references: {white-cell class: range} that says what is normal; nothing is judged without them.
      levels: {white-cell class: percentages} that decide, beside the ends of the ranges.
      error_ratio: of Deming regression.
      matched: cells against annotations, where there are some.

    Raises:
      TableError: no patient has percentages on both sides.
    """
    output = pathlib.Path(output_dir)
    ours, theirs, only_machine, only_hospital = common_patients(machine.differentials, hospital.differentials)
    if not ours.patient_ids:
        raise run_tables.TableError(
            f"no patient has percentages on both sides: the machine has {len(machine.differentials.patient_ids)}, the "
            f"hospital {len(hospital.differentials.patient_ids)}; check that patient_id is written the same way."
        )
    p_values = difference_p_values(ours, theirs)
    adjusted = holm(p_values)
    notes = _patient_notes(machine, hospital)
    compared = (
        _patient_row(ours, theirs, p, p_values[p], adjusted[p], hospital) | {"note": notes.get(name, "")}
        for p, name in enumerate(ours.patient_ids)
    )
    others = _not_compared(only_machine, only_hospital, machine.without_percentages)
    csv_schemas.load("agreement_patients").write_into(output, itertools.chain(compared, others))
    rows = class_measures(ours, theirs, error_ratio)
    differing = float((adjusted < 0.05).sum())
    rows.append(measure_row("all", "patients_differing", "patients", len(ours.patient_ids), differing))
    unreliable = float(len(set(ours.patient_ids) & set(machine.unknown_percent)))
    rows.append(measure_row("all", "patients_unknown_beyond_limit", "patients", len(ours.patient_ids), unreliable))
    if matched is not None:
        rows += cell_measures(matched)
        pairs = sorted(cell_pairs(matched).items())
        cells = ({"machine_class": a, "annotated_class": b, "cells": count} for (a, b), count in pairs)
        csv_schemas.load("agreement_cells").write_into(output, cells)
        shares = class_shares(matched)
        classes = class_rows(shares, len(matched.missed_by_patient))
        csv_schemas.load("agreement_classes").write_into(output, classes)
        agreement_plots.plot_classes(output / "agreement_classes.png", shares)
    csv_schemas.load("agreement").write_into(output, rows)
    known = [machine.pleocytosis.get(name) for name in ours.patient_ids]
    limits = reference_agreement.limit_rows(ours, theirs, references or {}, known)
    csv_schemas.load("agreement_limits").write_into(output, limits)
    decisive = list(reference_agreement.decision_levels(references or {}, levels or {}))
    at_levels = reference_agreement.level_rows(ours, theirs, decisive, error_ratio)
    csv_schemas.load("agreement_levels").write_into(output, at_levels)
    agreement_plots.plot_patients(output / "agreement_patients.png", ours, theirs, (adjusted < 0.05).tolist())
    agreement_plots.plot_bland_altman(output / "agreement_bland_altman.png", ours, theirs)
    agreement_plots.plot_comparison(output / "agreement_regression.png", ours, theirs, error_ratio)
    return rows


def _not_compared(
    only_machine: Sequence[str], only_hospital: Sequence[str], without_percentages: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Rows of patients whom only one side has, with the reason."""
    few = set(without_percentages)
    for name in only_hospital:
        reason = "too few white cells for percentages" if name in few else "not examined by the machine"
        yield {"patient_id": name, "note": reason}
    for name in only_machine:
        yield {"patient_id": name, "note": "the hospital has no result"}


def _patient_notes(machine: MachineTable, hospital: HospitalTable) -> dict[str, str]:
    """{patient_id: note} of the compared patients of whom something is to be said."""
    notes = dict(hospital.notes)
    for name, percent in machine.unknown_percent.items():
        notes[name] = "; ".join(filter(None, [cohort.unreliable_words(percent), notes.get(name)]))
    return notes


def _patient_row(
    machine: Differentials, theirs: Differentials, p: int, p_value: float, adjusted: float, table: HospitalTable
) -> dict[str, Any]:
    """The row of one patient, without its note.

    Args:
      machine, theirs: both sides' differentials of the same patients; `table` is what `theirs` was chosen from.
    """
    patient_id = machine.patient_ids[p]
    row: dict[str, Any] = {"patient_id": patient_id}
    difference = machine.percent[p] - theirs.percent[p]
    for k, name in enumerate(cell_classes.WHITE_CELLS):
        row[f"hospital_{name}_percent"] = theirs.percent[p, k]
        row[f"machine_{name}_percent"] = machine.percent[p, k]
        row[f"{name}_difference"] = difference[k]
    return row | {
        "mean_absolute_difference": np.abs(difference).mean(),
        "machine_cells": machine.cells[p],
        "machine_tested_cells": machine.tested_cells[p],
        "hospital_cells": theirs.cells[p],
        "hospital_cells_assumed": bool(table.assumed[table.differentials.patient_ids.index(patient_id)]),
        "p_value": _three_digits(p_value),
        "p_value_holm": _three_digits(adjusted),
        "differs": bool(adjusted < 0.05),
    }


def _three_digits(value: float) -> float:
    """Rounded to three significant digits, so that a small p value is not written as 0."""
    return float(f"{value:.3g}")

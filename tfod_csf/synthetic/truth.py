"""Compares the differentials found in synthetic slides with the true counts of the slides."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

from tfod_csf.cell_classes import WHITE_CELLS
from tfod_csf.errors import UserError
from tfod_csf.files import csv_schemas
from tfod_csf.wording import plural

ENOUGH_WHITE_CELLS = 100  # in fewer, one cell is more than a point


@dataclasses.dataclass(frozen=True)
class PatientComparison:
    """One patient; percentages are of lymphocyte + monocyte + neutrophil, in the order of `WHITE_CELLS`.

    Attributes:
      patient_id: folder name.
      case: kind of patient.
      true_white_cells: white cells in the slides.
      found_white_cells: white cells found and counted; None for a patient without a result.
      true_percent: three numbers; None when the slides have no white cells.
      found_percent: three numbers; None when batch_infer gave no percentages (too few cells) or no result.
      unknown_beyond_limit: so many white cells are unknown that the percentages are not to be relied on.
    """

    patient_id: str
    case: str
    true_white_cells: int
    found_white_cells: float | None
    true_percent: tuple[float, ...] | None
    found_percent: tuple[float, ...] | None
    unknown_beyond_limit: bool = False

    @property
    def has_result(self) -> bool:
        """Whether differentials.csv holds the patient."""
        return self.found_white_cells is not None

    @property
    def differences_points(self) -> tuple[float, ...] | None:
        """Found minus true, in percentage points; None when one of them is missing."""
        if self.true_percent is None or self.found_percent is None:
            return None
        return tuple(found - true for found, true in zip(self.found_percent, self.true_percent, strict=True))


def compare(differentials_csv: str | os.PathLike, truth_csv: str | os.PathLike) -> list[PatientComparison]:
    """Joins `differentials.csv` of batch_infer and `truth.csv` of synthesize by patient_id.

    Returns:
      The patients of differentials.csv in its order, then those of truth.csv that it does not hold.

    Raises:
      UserError: a patient of differentials.csv is not in truth.csv.
    """
    true_columns = ["patient_id", "case", *WHITE_CELLS]
    truth = {row["patient_id"]: row for row in csv_schemas.load("truth").read(truth_csv, true_columns)}
    columns = ["patient_id", "white_cells", *(f"{name}_percent" for name in WHITE_CELLS), "unknown_beyond_limit"]
    rows = {row["patient_id"]: row for row in csv_schemas.load("differentials").read(differentials_csv, columns)}
    for patient_id in rows:
        if patient_id not in truth:
            raise UserError(f"{truth_csv}: has no patient {patient_id!r}, which {differentials_csv} holds.")
    order = [*rows, *(patient_id for patient_id in truth if patient_id not in rows)]
    return [_compared(truth[patient_id], rows.get(patient_id, {})) for patient_id in order]


def _compared(true: Mapping[str, Any], row: Mapping[str, Any]) -> PatientComparison:
    """Rows of truth.csv and of differentials.csv, the latter empty for a patient without a result."""
    counts = [true[name] for name in WHITE_CELLS]
    found: list[Any] = [row.get(f"{name}_percent") for name in WHITE_CELLS]
    return PatientComparison(
        patient_id=true["patient_id"],
        case=true["case"],
        true_white_cells=sum(counts),
        found_white_cells=row.get("white_cells"),
        true_percent=tuple(100 * count / sum(counts) for count in counts) if sum(counts) else None,
        found_percent=None if None in found else tuple(found),
        unknown_beyond_limit=bool(row.get("unknown_beyond_limit")),
    )


def write_comparison(comparisons: list[PatientComparison], path: str | os.PathLike) -> None:
    """Writes truth_comparison.csv: one row per patient and class."""
    rows = []
    for one in comparisons:
        for index, name in enumerate(WHITE_CELLS):
            rows.append(
                {
                    "patient_id": one.patient_id,
                    "case": one.case,
                    "class": name,
                    "true_white_cells": one.true_white_cells,
                    "found_white_cells": one.found_white_cells,
                    "true_percent": one.true_percent and one.true_percent[index],
                    "found_percent": one.found_percent and one.found_percent[index],
                    "difference_points": one.differences_points and one.differences_points[index],
                }
            )
    csv_schemas.load("truth_comparison").write(path, rows)


def _percent(values: tuple[float, ...] | None) -> str:
    return "   -    -    -" if values is None else " ".join(f"{value:4.0f}" for value in values)


def format_comparison(comparisons: list[PatientComparison]) -> str:
    """A table for the console: true and found percentages side by side, and the largest difference."""
    lines = [
        "                            white cells     true %         found %       largest",
        "patient       case          true  found  lym  mon  neu   lym  mon  neu   difference",
    ]
    for one in comparisons:
        points = one.differences_points
        nothing = "too few white cells" if one.has_result else "no result"
        largest = f"{max(map(abs, points)):.1f} points" if points else nothing
        found = "   -" if one.found_white_cells is None else f"{one.found_white_cells:4.0f}"
        lines.append(
            f"{one.patient_id:<13} {one.case:<16} {one.true_white_cells:4d}  {found} "
            f"{_percent(one.true_percent)}  {_percent(one.found_percent)}   {largest}"
        )
    return "\n".join(lines)


def largest_difference(comparisons: list[PatientComparison]) -> str:
    """A sentence about the patients who have at least `ENOUGH_WHITE_CELLS` in the slides."""
    large = [one for one in comparisons if one.true_white_cells >= ENOUGH_WHITE_CELLS]
    compared = [one for one in large if one.differences_points]
    who = f"{plural(len(large), 'patient')} with {ENOUGH_WHITE_CELLS} or more white cells"
    if not compared:
        return f"{who}: no percentages to compare."
    points = max(abs(point) for one in compared for point in one.differences_points or ())
    missing = len(large) - len(compared)
    without = f"; no percentages of {plural(missing, 'patient')} of them" if missing else ""
    return f"{who}: largest difference of a percentage {points:.1f} points{without}."

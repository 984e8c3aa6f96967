"""The two CSV files of a differential: one row per class of a patient, and one row per patient (docs/OUTPUTS.md).

write_differential_csv(folder / "differential.csv", result)
write_differentials_csv(folder / "differentials.csv", [wide_row(result)])
"""

import os
from collections.abc import Iterable, Mapping
from typing import Any

from tfod_csf import cell_classes
from tfod_csf.cytology.counting.differential import Differential, Share
from tfod_csf.cytology.counting.enough_cells import NO
from tfod_csf.cytology.counting.unknown_cells import Readings
from tfod_csf.files import csv_schemas


def long_rows(result: Differential) -> list[dict[str, Any]]:
    """Rows of differential.csv: three white-cell classes, the other classes, two totals."""
    same = {"patient_id": result.patient_id, "models": "+".join(result.models)}
    rows = []
    for name, count in result.counts.items():
        row = {**same, "group": cell_classes.group_of(name), "class": name, "count": count}
        row["unknown_likely"] = result.unknown.likely.get(name)
        if name in cell_classes.WHITE_CELLS:
            reference = result.references.get(name)
            row["reference_low_percent"] = reference.low if reference else None
            row["reference_high_percent"] = reference.high if reference else None
            row.update(_share_cells(result.shares.get(name)), **_reading_cells(result.unknown.readings[name]))
            row.update(_corrected_cells(result, name))
            # Who reads only this row sees a percentage and a mark: what limits them is said here too.
            row["note"] = result.note
        else:
            row["per_100_white_cells"] = result.per_100_white_cells(name)
        rows.append(row)
    white_note = _enough_note(result) if result.shares else ""
    total = {**same, "group": cell_classes.GROUP_TOTAL}
    rows.append({**total, "class": "white_cells", "count": result.white_cells, "note": white_note})
    rows.append({**total, "class": "all_cells", "count": result.all_cells, "note": result.note})
    return rows


def _enough_note(result: Differential) -> str:
    if result.enough.answer == NO:
        return "more white cells are needed for the tolerance"
    return f"whether these are enough white cells is not known: {result.enough.why}" if result.enough.why else ""


def _reading_cells(readings: Readings) -> dict[str, float | None]:
    return {
        "apart_percent": readings.apart,
        "as_predicted_percent": readings.as_predicted,
        "worst_low_percent": readings.worst_low,
        "worst_high_percent": readings.worst_high,
    }


def _share_cells(share: Share | None) -> dict[str, Any]:
    if share is None:
        return {}
    return {
        "percent": share.percent,
        "ci_low_percent": share.ci_low,
        "ci_high_percent": share.ci_high,
        "mark": share.mark,
        "mark_certain": share.mark_certain,
        "models_low_percent": share.models_low,
        "models_high_percent": share.models_high,
    }


def _corrected_cells(result: Differential, name: str) -> dict[str, float]:
    share = result.corrected.shares.get(name) if result.corrected else None
    if share is None:
        return {}
    return {
        "corrected_percent": share.percent,
        "corrected_ci_low_percent": share.ci_low,
        "corrected_ci_high_percent": share.ci_high,
    }


def wide_row(result: Differential) -> dict[str, Any]:
    """The patient's row of differentials.csv."""
    row: dict[str, Any] = {
        "patient_id": result.patient_id,
        "images_used": result.images_used,
        "images_failed": result.images_failed,
        "models": "+".join(result.models),
        "white_cells": result.white_cells,
        "interval_method": result.interval_method,
        "design_effect": result.clustering.design_effect,
        "effective_cells": result.effective_cells,
        "half_width_points": result.half_width_points,
        "reach_points": result.reach_points,
        "enough_cells": result.enough.answer,
        "cells_needed": result.cells_needed,
        "erythrocyte": result.counts[cell_classes.ERYTHROCYTE],
        "erythrocytes_per_100_white_cells": result.per_100_white_cells(cell_classes.ERYTHROCYTE),
        "unknown": result.counts[cell_classes.UNKNOWN],
        "unknown_percent": result.unknown_percent,
        **{f"unknown_likely_{name}": count for name, count in result.unknown.likely.items()},
        "unknown_white": result.unknown.maybe_white,
        "unknown_white_percent": result.unknown.white_percent,
        "unknown_beyond_limit": result.unknown_beyond_limit,
        "other_cells": result.other_cells,
        "models_range_points": result.models_range_points,
        "cells_per_ul": result.cells_per_ul,
        "pleocytosis": result.pleocytosis,
        "images_unlike_training": len(result.domain.unlike) if result.domain.num_judged else None,
        "in_domain": result.domain.in_domain,
        "case": result.case,
        "case_rule": result.case_rule,
        "not_corrected": result.corrected.why_not if result.corrected else "no confusion matrix",
        "note": result.note,
        "tables_sha256": result.tables_sha256,
    }
    for name in cell_classes.WHITE_CELLS:
        row[name] = result.counts[name]
        row.update({f"{name}_{column}": value for column, value in _corrected_cells(result, name).items()})
        share = result.shares.get(name)
        if share:
            row[f"{name}_percent"] = share.percent
            row[f"{name}_ci_low_percent"] = share.ci_low
            row[f"{name}_ci_high_percent"] = share.ci_high
            row[f"{name}_mark"] = share.mark
            row[f"{name}_mark_certain"] = share.mark_certain
        row.update(
            {f"{name}_{column}": value for column, value in _reading_cells(result.unknown.readings[name]).items()}
        )
    return row


def write_differential_csv(path: str | os.PathLike, result: Differential) -> None:
    """Writes the differential of one patient (columns: docs/OUTPUTS.md)."""
    csv_schemas.load("differential").write(path, long_rows(result))


def write_differentials_csv(path: str | os.PathLike, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes the `wide_row` of each patient; `rows` may be a stream (columns: docs/OUTPUTS.md)."""
    csv_schemas.load("differentials").write(path, rows)

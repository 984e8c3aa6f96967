"""cross_validation.html: every measure as a chart of its folds with the intervals, and the table in words."""

import functools
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from tfod_csf.cytology.studies.cross_validation import cross_validation_table as table
from tfod_csf.cytology.studies.cross_validation.cross_validation_table import MeasureRow
from tfod_csf.cytology.studies.cross_validation.fold_results import FoldMembers, FoldResult
from tfod_csf.files import atomic_write
from tfod_csf.pages import svg
from tfod_csf.pages.html_page import PageTemplates
from tfod_csf.wording import plural

PAGE = "cross_validation.html"
_LEFT, _RIGHT, _LINE, _TOP = 108, 412, 26, 8  # units of the chart, which fits a phone
_CHARTS = (
    ((table.MEAN_AVERAGE_PRECISION, table.AVERAGE_PRECISION), "Average precision", "share"),
    ((table.RECALL,), "Recall", "share of the labeled cells"),
    ((table.PRECISION,), "Precision", "share of the cells that were given the class"),
    ((table.ERROR_POINTS,), "Error of the percentages", "percentage points"),
)
_WITHOUT_CLASS = {table.MEAN_AVERAGE_PRECISION: "all classes", table.ERROR_POINTS: "white cells"}
_SCOPES = {table.MEAN_OF_FOLDS: "mean of folds", table.ALL_PATIENTS: "all patients"}


@functools.cache
def _templates() -> PageTemplates:
    return PageTemplates(pathlib.Path(__file__).with_name("templates"))


def write_page(
    output_dir: pathlib.Path,
    folds: Sequence[FoldResult],
    members: Mapping[int, FoldMembers],
    rows: Sequence[MeasureRow],
    divided: str,
) -> None:
    """Writes the page.

    Args:
      folds: what was read.
      members: {number of a fold: who tests in it}.
      rows: of `cross_validation_table.measure_rows`.
      divided: what is kept in one fold: "patient" or "laboratory".
    """
    num_patients = sum(len(fold.patient_ids) for fold in folds)
    title = f"{len(folds)} folds by {divided}: {plural(num_patients, 'patient')}, each tested once"
    sections = [
        {"name": name, "chart": _chart(f"chart-{number}", name, unit, chosen), "rows": _words(chosen)}
        for number, (measures, name, unit) in enumerate(_CHARTS)
        if (chosen := [row for row in rows if row.measure in measures])
    ]
    page = _templates().render(
        "cross_validation.html.j2",
        title,
        title=title,
        fold_numbers=[fold.number for fold in folds],
        members=members,
        sections=sections,
        explanation=table.EXPLANATIONS[divided],
        divided=divided,
    )
    atomic_write.write_text(output_dir / PAGE, page)


def _named(rows: Sequence[MeasureRow]) -> dict[str, list[MeasureRow]]:
    """{class, or what is measured over classes: its rows}."""
    names: dict[str, list[MeasureRow]] = {}
    for row in rows:
        names.setdefault(row.class_name or _WITHOUT_CLASS[row.measure], []).append(row)
    return names


def _words(rows: Sequence[MeasureRow]) -> list[dict[str, Any]]:
    """Rows of the table: name, mean of folds, all patients, the folds."""
    lines = []
    for name, of_name in _named(rows).items():
        decimals = table.decimals_of(of_name[0].measure)
        texts = {row.scope: table.estimate_text(row.estimate, decimals) for row in of_name if row.scope in _SCOPES}
        single = [table.value_text(row.estimate.value, decimals) for row in of_name if row.scope == table.FOLD]
        notes = dict.fromkeys(row.note for row in of_name if row.scope in _SCOPES and row.note)
        lines.append(
            {
                "name": name,
                "mean": texts[table.MEAN_OF_FOLDS],
                "patients": texts.get(table.ALL_PATIENTS, ""),
                "folds": single,
                "note": "; ".join(notes),
            }
        )
    return lines


def _chart(chart_id: str, name: str, unit: str, rows: Sequence[MeasureRow]) -> Markup:
    """Below each class a line for each scope: the folds as rings, the estimate as a dot on its interval."""
    highest, ticks = _axis(rows)
    parts: list[str] = []
    top = float(_TOP)
    for class_name, of_name in _named(rows).items():
        parts.append(svg.label(0, top + _LINE / 2 + 4, class_name, weight=600))
        top += _LINE
        values = [row.estimate.value for row in of_name if row.scope == table.FOLD]
        for row in (row for row in of_name if row.scope in _SCOPES):
            middle = top + _LINE / 2
            parts.append(svg.label(_LEFT - 10, middle + 4, _SCOPES[row.scope], "end", svg.MUTED, 12))
            parts.append(_line(row, values if row.scope == table.MEAN_OF_FOLDS else [], middle, highest))
            top += _LINE
    grid = svg.vertical_grid([(_place(value, highest), text) for value, text in ticks], _TOP, top)
    parts.append(svg.axis_label((_LEFT + _RIGHT) / 2, top + 36, unit))
    description = "; ".join(f"{line['name']} {line['mean']}" for line in _words(rows))
    return svg.chart(chart_id, _RIGHT + 20, top + 44, name, f"Mean of the folds: {description}", [grid, *parts])


def _axis(rows: Sequence[MeasureRow]) -> tuple[float, list[tuple[float, str]]]:
    """(right end of the axis, ticks with their texts)."""
    if rows[0].measure != table.ERROR_POINTS:
        return 1.0, [(tick / 5, f"{tick / 5:g}") for tick in range(6)]
    ends = [end for row in rows for end in (row.estimate.value, row.estimate.high) if not math.isnan(end)]
    highest = max(ends, default=1.0) or 1.0
    return highest, [(float(tick), str(tick)) for tick in svg.nice_ticks(highest)]


def _place(value: float, highest: float) -> float:
    return _LEFT + (_RIGHT - _LEFT) * value / highest


def _line(row: MeasureRow, values: Sequence[float], middle: float, highest: float) -> str:
    """Rings of the folds, then the interval and the dot of the estimate."""
    parts = [
        f'<circle cx="{_place(value, highest):.1f}" cy="{middle:.1f}" r="5" fill="none" stroke="{svg.MUTED}" '
        'stroke-width="1.4"/>'
        for value in values
        if not math.isnan(value)
    ]
    estimate = row.estimate
    if math.isnan(estimate.value):
        return "".join([*parts, svg.label(_LEFT + 6, middle + 4, "no value", color=svg.MUTED, size=12)])
    if not math.isnan(estimate.low):
        parts.insert(0, svg.whisker(_place(estimate.low, highest), _place(estimate.high, highest), middle))
    dot = f'<circle cx="{_place(estimate.value, highest):.1f}" cy="{middle:.1f}" r="4" fill="{svg.INK}"/>'
    return "".join([*parts, dot])

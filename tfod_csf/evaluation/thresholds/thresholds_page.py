"""thresholds.html and the tables behind it: precision, recall and F1 against the score, and what is recommended.

Files of `write`:
  thresholds.html       the page
  score_thresholds.csv  every class at every min_score
  threshold_pairs.csv   every pair of min_score and unknown_below that was searched
"""

import functools
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from markupsafe import Markup

from tfod_csf import cell_classes
from tfod_csf.evaluation.page_facts import NOTICE, PageFacts
from tfod_csf.evaluation.thresholds import recommended
from tfod_csf.evaluation.thresholds.recommended import (
    DIFFERENTIAL,
    F1,
    MIN_SCORES,
    UNKNOWN_BELOW,
    MeanWithInterval,
    Measured,
    Recommendations,
)
from tfod_csf.evaluation.thresholds.scored_cells import ScoredCells, class_points
from tfod_csf.files import atomic_write, csv_schemas
from tfod_csf.pages import curves, svg
from tfod_csf.pages.curves import Axis, Line
from tfod_csf.pages.html_page import PageTemplates

PAGE = "thresholds.html"
SCORES = np.round(np.arange(0.05, 1.0, 0.01), 2)
_SCORE_TICKS = (0, 0.2, 0.4, 0.6, 0.8, 1)
_CRITERION_WORDS = {F1: "F1", DIFFERENTIAL: "Error of the percentages"}


def write(output_dir: str | os.PathLike, cells: ScoredCells, found: Recommendations, facts: PageFacts) -> list[str]:
    """Writes the files; returns sentences for the console.

    Args:
      cells: from the labeled images.
      found: what is recommended on them.
      facts: what the pages of the evaluation say.
    """
    output = pathlib.Path(output_dir)
    points = {score: class_points(cells, float(score)) for score in SCORES}
    csv_schemas.load("score_thresholds").write_into(output, _class_rows(points))
    csv_schemas.load("threshold_pairs").write_into(output, _pair_rows(cells, found))
    title = f"Thresholds of {facts.model}"
    html = _templates().render(
        "thresholds.html.j2",
        title,
        printed_notice=NOTICE,
        title=title,
        facts=facts,
        notice=NOTICE,
        rows=_rows(found),
        differential_words=differential_words(found),
        missing_words=_missing_words(found),
        edge_words=edge_words(found),
        charts=_class_charts(cells, points, found),
        error_charts=_error_charts(found),
        min_patients=recommended.MIN_PATIENTS,
        min_labels=recommended.MIN_WHITE_LABELS,
    )
    atomic_write.write_text(output / PAGE, html)
    return [*console_lines(found), f"Precision, recall and F1 against the score: {output / PAGE}."]


@functools.cache
def _templates() -> PageTemplates:
    return PageTemplates(pathlib.Path(__file__).with_name("templates"), ("page.css", "thresholds.css"))


def console_lines(found: Recommendations) -> list[str]:
    """What is recommended, in sentences."""
    lines = []
    for criterion in recommended.CRITERIA:
        chosen = found.of(criterion)
        if chosen is None:
            continue
        more = f" {differential_words(found)}" if criterion == DIFFERENTIAL else ""
        lines.append(
            f"Recommended by {criterion}: min_score {chosen.min_score:g}, unknown_below {chosen.unknown_below:g}; in "
            f"use: {found.in_use.min_score:g}, {found.in_use.unknown_below:g}.{more}"
        )
    return [line for line in (*lines, edge_words(found), _missing_words(found)) if line]


def edge_words(found: Recommendations) -> str:
    """That a recommendation lies at the end of what was searched; "" where none does."""
    words = []
    for criterion in recommended.CRITERIA:
        chosen = found.of(criterion)
        if chosen is not None and found.is_at_edge(criterion):
            words.append(
                f"min_score {chosen.min_score:g} (by {criterion}) is at the end of what is searched: some class has "
                "hardly any detection, or hardly any that is right. Look at its curve; it is not stored."
            )
        if chosen is not None and found.is_highest_unknown_below(criterion):
            words.append(
                f"unknown_below {chosen.unknown_below:g} (by {criterion}) is the highest that is searched, so a higher "
                "one may be better: look at how many cells would be unknown."
            )
    return " ".join(words)


def differential_words(found: Recommendations) -> str:
    """Whether other thresholds would give better percentages; "" where nothing is known."""
    if found.by_differential is None or found.by_differential.error is None or found.difference is None:
        return ""
    error, difference = found.by_differential.error, found.difference
    start = (
        f"Thresholds chosen by the error of the percentages leave an error of {error.mean:.1f} points on average in "
        f"patients that they were not chosen on (95 % interval {error.low:.1f} to {error.high:.1f}, "
        f"{found.num_patients} patients)"
    )
    more = "less" if difference.mean < 0 else "more"
    change = f"{abs(difference.mean):.1f} points {more} than those in use"
    if f"{abs(difference.mean):.1f}" == "0.0":
        change = "as much as those in use"
    interval = f"(interval of the difference {_signed(difference.low)} to {_signed(difference.high)})"
    if found.is_certainly_better:
        return f"{start}, {change} {interval}."
    return f"{start}, {change} {interval}: these patients do not show that others are better, so keep those in use."


def _missing_words(found: Recommendations) -> str:
    """Why a criterion recommends nothing; "" where both do."""
    if found.by_f1 is None:
        return "No cell is labeled, so nothing is recommended."
    if found.by_differential is None:
        return (
            f"The error of the percentages is not measured: it needs {recommended.MIN_PATIENTS} patients with "
            f"{recommended.MIN_WHITE_LABELS} or more labeled white cells each, and there are {found.num_patients}. "
            "(Whose an image is, is known of folders of patients and of records made from them.)"
        )
    return ""


def _class_rows(points: dict) -> Iterator[dict[str, Any]]:
    names = next(iter(points.values()))
    for name in names:
        for score, of_score in points.items():
            point = of_score[name]
            yield {
                "class": name,
                "min_score": float(score),
                "true_positives": point.true_positives,
                "false_positives": point.false_positives,
                "false_negatives": point.false_negatives,
                "precision": point.precision,
                "recall": point.recall,
                "f1": point.f1,
            }


def _pair_rows(cells: ScoredCells, found: Recommendations) -> Iterator[dict[str, Any]]:
    for row, min_score in enumerate(MIN_SCORES):
        f1 = recommended.mean_f1(cells, min_score)
        for column, unknown_below in enumerate(UNKNOWN_BELOW):
            yield {
                "min_score": min_score,
                "unknown_below": unknown_below,
                "mean_f1": f1,
                "decision_f1": recommended.decision_f1(cells, min_score, unknown_below),
                "unknown_percent": recommended.unknown_percent(cells, min_score, unknown_below),
                "error_points": found.curve[row, column] if found.curve.size else None,
            }


def _rows(found: Recommendations) -> list[dict[str, str]]:
    """The table of thresholds: in use, and by each criterion."""
    shown = [("In use", found.in_use)]
    for criterion in recommended.CRITERIA:
        chosen = found.of(criterion)
        if chosen is not None:
            shown.append((_CRITERION_WORDS[criterion], chosen))
    return [{"name": name, **_row(measured)} for name, measured in shown]


def _row(measured: Measured) -> dict[str, str]:
    return {
        "min_score": f"{measured.min_score:g}",
        "unknown_below": f"{measured.unknown_below:g}",
        "mean_f1": _decimals(measured.mean_f1, 3),
        "decision_f1": _decimals(measured.decision_f1, 3),
        "unknown_percent": _decimals(measured.unknown_percent, 1),
        "error": _interval(measured.error),
    }


def _decimals(value: float, decimals: int) -> str:
    return "–" if value != value else f"{value:.{decimals}f}"


def _signed(points: float) -> str:
    """Points of a difference, with their sign.

    >>> _signed(1.26), _signed(-0.04), _signed(-2.0)
    ('+1.3', '0.0', '-2.0')
    """
    return f"{points:+.1f}" if f"{abs(points):.1f}" != "0.0" else "0.0"


def _interval(error: MeanWithInterval | None) -> str:
    return "–" if error is None else f"{error.mean:.1f} ({error.low:.1f} to {error.high:.1f})"


def _class_charts(cells: ScoredCells, points: dict, found: Recommendations) -> list[tuple[str, int, Markup]]:
    """(class, labels, chart) of every class that has labels or cells."""
    charts = []
    best = found.by_f1
    marks = [(found.in_use.min_score, "in use")]
    if best is not None and best.min_score != found.in_use.min_score:
        marks.append((best.min_score, "F1"))
    for row, name in enumerate(cells.classes):
        of_class = [of_score[name] for of_score in points.values()]
        if not cells.num_labels[row] and not any(point.false_positives for point in of_class):
            continue
        lines = [
            Line("precision", SCORES, np.array([p.precision for p in of_class]), cell_classes.BLUE, "7 3"),
            Line("recall", SCORES, np.array([p.recall for p in of_class]), cell_classes.VERMILION, "2 3"),
            Line("F1", SCORES, np.array([p.f1 for p in of_class]), svg.INK),
        ]
        at = class_points(cells, found.in_use.min_score)[name]
        words = (
            f"At {found.in_use.min_score:g}: precision {_decimals(at.precision, 2)}, recall "
            f"{_decimals(at.recall, 2)}, F1 {_decimals(at.f1, 2)}."
        )
        title = f"Precision, recall and F1 of {name} against the score"
        axes = Axis("min_score", 0, 1, _SCORE_TICKS), Axis("", 0, 1, _SCORE_TICKS)
        chart = curves.curves(f"class-{row}", title, words, lines, *axes, marks)
        charts.append((name, int(cells.num_labels[row]), chart))
    return charts


def _error_charts(found: Recommendations) -> list[Markup]:
    """Error of the percentages against each of the two thresholds, the other being as recommended."""
    best = found.by_differential
    if best is None:
        return []
    row, column = MIN_SCORES.index(best.min_score), UNKNOWN_BELOW.index(best.unknown_below)
    return [
        _error_chart("unknown_below", UNKNOWN_BELOW, found.curve[row], best.unknown_below, found.in_use.unknown_below,
                     f"min_score {best.min_score:g}"),
        _error_chart("min_score", MIN_SCORES, found.curve[:, column], best.min_score, found.in_use.min_score,
                     f"unknown_below {best.unknown_below:g}"),
    ]  # fmt: skip


def _error_chart(
    name: str, thresholds: tuple[float, ...], errors: np.ndarray, best: float, in_use: float, other: str
) -> Markup:
    highest = max(5 * float(np.ceil(errors.max() / 5)), 5.0)
    ticks = svg.nice_ticks(highest)
    marks = [(best, "recommended")] + ([(in_use, "in use")] if in_use != best else [])
    words = f"Smallest with {name} {best:g}: {errors[thresholds.index(best)]:.1f} points; {other}."
    line = Line("", np.array(thresholds), errors, svg.INK)
    axes = Axis(f"{name} ({other})", 0, 1, _SCORE_TICKS), Axis("points", 0, highest, ticks)
    return curves.curves(f"error-{name.replace('_', '-')}", f"Error of the percentages against {name}", words, [line],
                         *axes, marks)  # fmt: skip

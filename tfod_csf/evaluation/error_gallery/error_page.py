"""errors.html: the page of a model's mistakes."""

import dataclasses
import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from tfod_csf import cell_classes
from tfod_csf.evaluation.error_gallery import error_fields, error_types
from tfod_csf.evaluation.metric_text import metric_text
from tfod_csf.evaluation.page_facts import NOTICE, PageFacts
from tfod_csf.pages import svg
from tfod_csf.pages.html_page import PageTemplates
from tfod_csf.wording import counted

# (words of a person, what is meant) of each type; tb and tf are the two thresholds.
_TYPE_WORDS = {
    error_types.CLASSIFICATION: ("Confused", "at a labeled cell of another class (IoU ≥ {tf:g})"),
    error_types.LOCALIZATION: ("Badly placed", "right class, but the box fits badly ({tb:g} ≤ IoU ≤ {tf:g})"),
    error_types.BOTH: ("Confused and badly placed", "near a labeled cell of another class ({tb:g} < IoU < {tf:g})"),
    error_types.DUPLICATE: ("Found twice", "a better detection has this labeled cell already"),
    error_types.BACKGROUND: ("Invented", "no labeled cell is there (IoU ≤ {tb:g})"),
    error_types.MISSED: ("Missed", "a labeled cell that nothing found, and that no confused or badly placed one is at"),
}


@dataclasses.dataclass(frozen=True)
class CellPicture:
    """One cell.

    Attributes:
      image: where it is.
      label: class that people gave it; "" where nothing is labeled.
      predicted, score: what the model says; "" and None where it found nothing.
      picture: data: address.
    """

    image: str
    label: str
    predicted: str
    score: float | None
    picture: str

    @property
    def short(self) -> str:
        """The words below the picture."""
        score = "" if self.score is None else f" {cell_classes.whole_percent(self.score)} %"
        if not self.predicted:
            return self.label
        if not self.label or self.label == self.predicted:
            return f"{self.predicted}{score}"
        return f"{self.predicted}{score}, is {self.label}"

    @property
    def words(self) -> str:
        """What a screen reader and the larger picture say."""
        score = "" if self.score is None else f" ({cell_classes.whole_percent(self.score)} %)"
        found = f"found: {self.predicted}{score}" if self.predicted else "not found"
        return f"{found}; labeled: {self.label or 'nothing'}; image {self.image}"


@dataclasses.dataclass(frozen=True)
class FieldPicture:
    """One image with its mistakes; `counts` are those of error_images.csv."""

    image: str
    counts: Mapping[str, int]
    picture: str

    @property
    def words(self) -> str:
        """Its mistakes."""
        names = ("missed", "spurious", "confused")
        said = ", ".join(f"{self.counts[name]} {name}" for name in names if self.counts[name])
        return f"{said} ({self.counts['right']} of {self.counts['labeled']} right)"


@dataclasses.dataclass(frozen=True)
class ErrorPage:
    """What the page shows.

    Attributes:
      row_names, column_names, counts, num_ignored: of the confusion matrix.
      pictures: {(row, column): pictures behind it}.
      types: rows of error_types.csv.
      of_types: {type: pictures, class after class}.
      max_of_type: how many of a class are shown at most.
      mean_ap: before any repair; NaN without labels.
      fields: images with the most mistakes.
      num_images, num_images_with_errors: examined ones, and those with a mistake.
      iou_threshold, background_iou: overlaps from which a cell is a labeled one, and up to which it is none.
    """

    row_names: Sequence[str]
    column_names: Sequence[str]
    counts: Sequence[Sequence[int]]
    pictures: Mapping[tuple[int, int], Sequence[CellPicture]]
    types: Sequence[Mapping[str, Any]]
    of_types: Mapping[str, Sequence[CellPicture]]
    max_of_type: int
    mean_ap: float
    fields: Sequence[FieldPicture]
    num_images: int
    num_images_with_errors: int
    num_ignored: int
    iou_threshold: float
    background_iou: float


def errors_html(page: ErrorPage, facts: PageFacts) -> str:
    """The page."""
    title = f"Mistakes of {facts.model}"
    names = list(page.row_names[:-1])
    short = error_fields.abbreviations(names)
    return _templates().render(
        "errors.html.j2",
        title,
        printed_notice=NOTICE,
        title=title,
        facts=facts,
        notice=NOTICE,
        page=page,
        headline=_headline(page),
        matrix=_matrix_rows(page),
        types=_types(page),
        costs=_cost_bars(page),
        mean_ap=metric_text(page.mean_ap, 3),
        groups=_groups(page),
        letters=[(letter, name) for name, letter in short.items()],
    )


@functools.cache
def _templates() -> PageTemplates:
    folder = pathlib.Path(__file__).with_name("templates")
    return PageTemplates(folder, ("page.css", "errors.css"), ("pictures.js", "errors.js"), {"marker": svg.marker})


def _headline(page: ErrorPage) -> str:
    """What became of the labeled cells, in a sentence or two."""
    inner = [row[:-1] for row in page.counts[:-1]]
    found, right = sum(map(sum, inner)), sum(inner[i][i] for i in range(len(inner)))
    missed, spurious = sum(row[-1] for row in page.counts[:-1]), sum(page.counts[-1])
    labeled = found + missed
    if not labeled:
        return f"No cell is labeled on {counted(page.num_images, 'image')}; found: {spurious:,}."
    share = f"{100 * right / labeled:.1f}\u00a0%"
    return (
        f"Of {counted(labeled, 'labeled cell')} on {counted(page.num_images, 'image')}: {right:,} found and rightly "
        f"named ({share}), {found - right:,} confused, {missed:,} missed. Found where nothing is labeled: {spurious:,}."
    )


def _anchor(row: int, column: int) -> str:
    return f"m-{row}-{column}"


def _matrix_rows(page: ErrorPage) -> list[dict[str, Any]]:
    """Rows of the table: name and cells, each with count, address, words, and shade 0 .. 5 by its share of the row."""
    last = len(page.row_names) - 1
    rows = []
    for row, name in enumerate(page.row_names):
        total = sum(page.counts[row])
        cells = []
        for column, count in enumerate(page.counts[row]):
            shade = 0 if not count or row == last else 1 + min(int(5 * count / total), 4)
            words = _pair_words(page, row, column)
            cells.append(
                {
                    "count": f"{count:,}",
                    "href": f"#{_anchor(row, column)}" if count else "",
                    "words": f"{count:,}: {words}",
                    "shade": f"shade{shade}{' right' if row == column < last else ''}",
                    "is_void": row == column == last,
                }
            )
        rows.append({"name": name, "cells": cells})
    return rows


def _pair_words(page: ErrorPage, row: int, column: int) -> str:
    last = len(page.row_names) - 1
    if row == last:
        return f"{page.column_names[column]} found where nothing is labeled"
    if column == last:
        return f"{page.row_names[row]} missed"
    if row == column:
        return f"{page.row_names[row]} rightly named"
    return f"{page.row_names[row]} taken for {page.column_names[column]}"


def _groups(page: ErrorPage) -> list[dict[str, Any]]:
    """Pictures behind each cell of the matrix, row by row."""
    groups = []
    for (row, column), pictures in page.pictures.items():
        total = page.counts[row][column]
        order = ""
        if len(pictures) < total:
            order = f"the {len(pictures)} with the {'lowest' if row == column else 'highest'} scores"
            order = f"the first {len(pictures)}" if column == len(page.column_names) - 1 else order
        groups.append(
            {
                "anchor": _anchor(row, column),
                "words": _pair_words(page, row, column),
                "total": f"{total:,}",
                "shown": order,
                "pictures": pictures,
            }
        )
    return groups


def _types(page: ErrorPage) -> list[dict[str, Any]]:
    """TIDE's types for readers, in its order."""
    shown = []
    for row in page.types:
        kind, count = str(row["error"]), int(row["cells"])
        name, meaning = _TYPE_WORDS[kind]
        pictures = page.of_types[kind]
        which = "the first" if kind == error_types.MISSED else "those with the highest scores"
        shown.append(
            {
                "kind": kind,
                "name": name,
                "meaning": meaning.format(tf=page.iou_threshold, tb=page.background_iou),
                "count": f"{count:,}",
                "gain": "–" if row["mean_ap_gain"] is None else f"{100 * row['mean_ap_gain']:.1f}",
                "pictures": pictures,
                "shown": f"{which} of each class are shown, up to {page.max_of_type}" if len(pictures) < count else "",
            }
        )
    return shown


def _cost_bars(page: ErrorPage) -> Markup:
    """What repairing each type would give, as bars; "" without labels."""
    gains = {str(row["error"]): row["mean_ap_gain"] for row in page.types}
    if None in gains.values():
        return Markup("")
    left, right, row_height, top = 190, 470, 30, 6
    bottom = top + row_height * len(gains)
    largest = max(100 * max(gains.values()), 1.0)
    ticks = svg.nice_ticks(largest, 4)
    scale = (right - left) / largest
    parts = [svg.vertical_grid([(left + tick * scale, f"{tick}") for tick in ticks], top, bottom)]
    words = []
    for row, (kind, gain) in enumerate(gains.items()):
        middle = top + row_height * (row + 0.5)
        parts.append(svg.label(left - 8, middle + 4, _TYPE_WORDS[kind][0], "end"))
        width = max(100 * gain * scale, 1)
        parts.append(
            f'<rect x="{left}" y="{middle - 9:.1f}" width="{width:.1f}" height="18" fill="{cell_classes.BLUE}"/>'
        )
        parts.append(svg.label(left + width + 7, middle + 4, f"{100 * gain:.1f}", weight=600))
        words.append(f"{_TYPE_WORDS[kind][0]} {100 * gain:.1f}")
    parts.append(svg.axis_label((left + right) / 2, bottom + 36, "points of mean average precision"))
    return svg.chart("costs", 530, bottom + 42, "What repairing each type would give", "; ".join(words), parts)

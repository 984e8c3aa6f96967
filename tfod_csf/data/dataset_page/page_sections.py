"""The sections of the data page: what each shows, and how many of how many."""

import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from tfod_csf.data.dataset_page import appearance, charts, leaks, shown_pictures
from tfod_csf.data.dataset_page.anchor_fit import GOOD, POOR, Anchors
from tfod_csf.data.dataset_page.findings import DataFindings
from tfod_csf.data.dataset_page.image_measures import SAME_IMAGE
from tfod_csf.data.dataset_page.record_survey import SIDES, Cell, ImageFacts
from tfod_csf.domain.cell_measures import to_lab
from tfod_csf.pages import svg
from tfod_csf.pages.html_page import PageTemplates
from tfod_csf.wording import plural

_SHOWN_IMAGES = {"train": 12, "test": 6}
_MAX_PAIRS = 12
_MAX_BLURRED = 6
_MAX_GROUPS = 40
_PARTS = {"sample": "at random", "smallest": "the smallest", "largest": "the largest"}
_CUT = "cut"


@functools.cache
def _templates() -> PageTemplates:
    return PageTemplates(
        pathlib.Path(__file__).with_name("templates"),
        ("page.css", "data_page.css"),
        ("pictures.js",),
        {"marker": svg.marker, "swatch": charts.swatch},
    )


def page(findings: DataFindings, files: Mapping[str, Sequence[str]], has_laboratories: bool) -> str:
    """The page as HTML.

    Args:
      files: {side: record files}, from which the pictures are read.
      has_laboratories: whether a pattern of laboratories was given.
    """
    shown = _Shown(findings, files)
    title = f"Labeled data: {plural(len(findings.survey.images), 'image')}"
    return _templates().render(
        "data_page.html.j2",
        title,
        title=title,
        warnings=findings.warnings,
        facts=_facts(findings),
        has_test="test" in files,
        has_laboratories=has_laboratories,
        **_balance(findings),
        **_leaks(findings, shown),
        **_images_and_cells(findings, shown),
        **_sizes(findings),
        **_appearance(findings, shown),
    )


class _Shown:
    """What is shown as a picture.

    Attributes:
      images: {side: numbers of its images}.
      pairs: the first leaks.
      blurred: numbers of the most blurred images.
      cells: {class: {part: its cells}}.
    """

    def __init__(self, findings: DataFindings, files: Mapping[str, Sequence[str]]):
        seen, sizes = findings.survey, findings.sizes
        self.images = {side: seen.sample_images(side, number) for side, number in _SHOWN_IMAGES.items()}
        self.pairs = findings.leaks[:_MAX_PAIRS]
        self.blurred = _most_blurred(seen.images)
        self.cells = {name: {part: seen.shown[name].cells(part) for part in (*_PARTS, _CUT)} for name in sizes}
        numbers = {*self.blurred, *(number for some in self.images.values() for number in some)}
        numbers |= {number for pair in self.pairs for number in (pair.test, pair.train)}
        cells = [cell for parts in self.cells.values() for some in parts.values() for cell in some]
        squares = {name: 1.4 * max(of_class.widths[2], of_class.heights[2]) for name, of_class in sizes.items()}
        self._facts = seen.images
        self._of_images, self._of_cells = shown_pictures.pictures(seen, files, numbers, cells, squares)

    def image(self, number: int, more: str = "") -> dict[str, str]:
        """Picture and words of an image."""
        return {"picture": self._of_images[number], "words": _image_words(self._facts[number], more)}

    def of_class(self, name: str, part: str) -> list[dict[str, str]]:
        """Pictures and words of the cells of a part of a class."""
        cells = self.cells[name][part]
        return [{"picture": self._of_cells[c], "words": _cell_words(c, self._facts[c.image])} for c in cells]


def _most_blurred(images: Sequence[ImageFacts]) -> list[int]:
    typical = appearance.typical_edge_width(images)
    blurred = [number for number, image in enumerate(images) if appearance.is_blurred(image, typical)]
    return sorted(blurred, key=lambda number: (-(images[number].edge_width or 0.0), number))[:_MAX_BLURRED]


def _image_words(image: ImageFacts, more: str) -> str:
    cells = ", ".join(f"{count} {name}" for name, count in sorted(image.cells.items())) or "no cell"
    return f"{image.name} ({image.side}): {cells}" + (f"; {more}" if more else "")


def _cell_words(cell: Cell, image: ImageFacts) -> str:
    ymin, xmin, ymax, xmax = cell.box
    at = f"at x {xmin:.0f}, y {ymin:.0f} of {image.name} ({image.side})"
    return f"{cell.class_name}, {xmax - xmin:.0f} x {ymax - ymin:.0f} px, {at}"


def _facts(findings: DataFindings) -> list[tuple[str, str, str]]:
    """(name, value, more) of the numbers at the top."""
    images = findings.survey.images
    train, test = (sum(1 for _ in findings.survey.of_side(side)) for side in SIDES)
    cells = findings.survey.cells("train") + findings.survey.cells("test")
    sizes = {(image.width, image.height) for image in images}
    width, height = max(sizes, key=lambda size: (size[0] * size[1], size))
    patients = {image.patient_id for image in images} - {""}
    return [
        ("Images", f"{len(images):,}", f"{train:,} train, {test:,} test"),
        ("Patients", *_patients_words(len(patients))),
        ("Cells", f"{cells.total():,}", f"{cells.total() / len(images):.1f} per image"),
        ("Images without cells", f"{sum(not image.cells for image in images):,}", ""),
        ("Boxes without a class", f"{sum(image.ignored for image in images):,}", "ignored by training"),
        ("Largest image", f"{width} x {height} px", plural(len(sizes), "size")),
    ]


def _patients_words(number: int) -> tuple[str, str]:
    """One folder of all images may be a patient's or anything."""
    if number == 1:
        return "1", "if the one folder is a patient's"
    return (f"{number:,}", "") if number else ("not known", "")


def _balance(findings: DataFindings) -> dict[str, Any]:
    train, test = (findings.survey.cells(side) for side in SIDES)
    rows = []
    for name in findings.names:
        total = train[name] + test[name]
        share = f"{100 * test[name] / total:.1f}" if total else ""
        rows.append({"name": name, "train": train[name], "test": test[name], "test_share": share})
    return {"balance": rows, "balance_chart": charts.balance(list(findings.sizes), train, test, "balance-chart")}


def _leaks(findings: DataFindings, shown: _Shown) -> dict[str, Any]:
    return {
        "leaks": [(pair, shown.image(pair.test), shown.image(pair.train)) for pair in shown.pairs],
        "num_leaks": len(findings.leaks),
        "same_image": SAME_IMAGE,
        "max_partners": leaks.MAX_PARTNERS,
        "not_compared": len(findings.survey.images) - len(findings.survey.fingerprints),
        "shared_patients": leaks.shared_patients(findings.survey),
    }


def _images_and_cells(findings: DataFindings, shown: _Shown) -> dict[str, Any]:
    cut = {name: shown.of_class(name, _CUT) for name in findings.sizes}
    return {
        "images": {side: list(map(shown.image, some)) for side, some in shown.images.items() if some},
        "num_images": {side: sum(1 for _ in findings.survey.of_side(side)) for side in SIDES},
        "cells": {name: {part: shown.of_class(name, part) for part in _PARTS} for name in findings.sizes},
        "parts": _PARTS,
        "cut": {name: cells for name, cells in cut.items() if cells},
        "at_edge": findings.survey.at_edge(),
    }


def _sizes(findings: DataFindings) -> dict[str, Any]:
    anchors = findings.anchors
    sides = [] if anchors is None else sorted(set(np.sqrt(anchors.sizes.prod(axis=1)).round(1).tolist()))
    size_charts = {
        name: charts.box_sides(name, sizes, sides, anchors is not None, f"sizes-{number}")
        for number, (name, sizes) in enumerate(findings.sizes.items())
    }
    words = "" if anchors is None else _anchor_words(anchors)
    return {"sizes": findings.sizes, "size_charts": size_charts, "anchors": words, "good": GOOD, "poor": POOR}


def _anchor_words(anchors: Anchors) -> str:
    sides = sorted(set(np.sqrt(anchors.sizes.prod(axis=1)).round().astype(int).tolist()))
    ratios = sorted(set((anchors.sizes[:, 0] / anchors.sizes[:, 1]).round(2).tolist()))
    return (
        f"sides of {', '.join(map(str, sides))} px of the network's input, width divided by height "
        f"{', '.join(f'{ratio:g}' for ratio in ratios)}"
    )


def _appearance(findings: DataFindings, shown: _Shown) -> dict[str, Any]:
    by_level = {
        level: [group for group in findings.groups if group.level == level]
        for level in dict.fromkeys(group.level for group in findings.groups)
    }
    images = findings.survey.images
    return {
        "groups": [group for some in by_level.values() for group in some[:_MAX_GROUPS]],
        "num_groups": {level: len(some) for level, some in by_level.items()},
        "max_groups": _MAX_GROUPS,
        "appearance_charts": _appearance_charts(images),
        "blurred": [shown.image(n, f"edges {images[n].edge_width:.1f} px wide") for n in shown.blurred],
        "limits": appearance,
    }


def _appearance_charts(images: Sequence[ImageFacts]) -> list[Markup]:
    lightness = to_lab(np.array([image.background for image in images]))[:, 0]
    found = [charts.lightness(lightness, "lightness-chart")]
    typical = appearance.typical_edge_width(images)
    if typical is not None:
        found.append(charts.edge_widths(images, appearance.BLURRED * typical, "focus-chart"))
    return found

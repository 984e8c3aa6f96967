"""The gallery of a model's mistakes: errors.html with pictures, and tables of all of them.

Files of `ErrorGallery.write`:
  errors.html       the page
  errors.csv        every error of the cells that were found, with TIDE's type
  error_images.csv  every image, with what was right, confused, missed and spurious
  error_types.csv   the types, with what they cost

Two ways of pairing are shown. The confusion matrix pairs cells and labels by overlap alone (`confusion`); TIDE's types
pair within a class (`error_types`). Both are of the cells that count, but for what a type costs, which is of everything
that was detected, as in the paper.

Shape shorthand in this module:
  N: cells that were found on one image.
  M: labels of one image.
"""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tfod_csf.evaluation.confusion import NOTHING, ConfusionMatrix, MatrixEntry
from tfod_csf.evaluation.error_gallery import error_fields, error_page
from tfod_csf.evaluation.error_gallery.error_page import CellPicture, FieldPicture
from tfod_csf.evaluation.error_gallery.error_types import (
    BACKGROUND_IOU,
    CLASSIFICATION,
    ERROR_TYPES,
    IGNORED,
    MISSED,
    NO_CELL,
    RIGHT,
    ErrorCosts,
    ImageErrors,
    LabeledCells,
    image_errors,
)
from tfod_csf.evaluation.error_gallery.kept_pictures import KeptPictures
from tfod_csf.evaluation.page_facts import PageFacts
from tfod_csf.files import atomic_write, csv_schemas
from tfod_csf.pages import cell_pictures
from tfod_csf.study.pictures import PixelPicture

PAGE = "errors.html"
MAX_PICTURES = 24  # behind a cell of the matrix
MAX_OF_TYPE = 16  # of a class; else frequent erythrocytes would be all that is seen
MAX_FIELDS = 12
MAX_ALL_PICTURES = 1500
_QUALITY = 80
_MARGIN = 1.8  # side of a crop against the box of a large cell
_LARGE_PERCENTILE = 90


class _ErrorRow(NamedTuple):
    """A row of errors.csv."""

    image_name: str
    error: str
    true_class: str
    predicted_class: str
    score: float | None
    iou: float | None
    box: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class ExaminedImage:
    """One labeled image.

    Attributes:
      name: as people call it, unique in the data.
      pixels: uint8 [H, W, 3] RGB.
      groundtruth, detections, cells: the evaluators' dictionaries: labels, everything that was detected, and what
        counts as a cell.
    """

    name: str
    pixels: np.ndarray
    groundtruth: Mapping[str, Any]
    detections: Mapping[str, Any]
    cells: Mapping[str, Any]


class ErrorGallery:
    """Adds image after image; of their pixels only the pictures that are shown are kept.

    Args:
      categories: [{"id": int from 1, "name": str}, ...].
      min_score: detections with score >= this count as cells.
      matching_iou_threshold: IoU from which a cell is a labeled one, TIDE's t_f too.
    """

    def __init__(
        self, categories: Sequence[Mapping[str, Any]], min_score: float = 0.5, matching_iou_threshold: float = 0.5
    ):
        ordered = sorted(categories, key=lambda category: category["id"])
        self._names = [category["name"] for category in ordered]
        self._name_of_id = {category["id"]: category["name"] for category in ordered}
        self._iou_threshold = matching_iou_threshold
        self._matrix = ConfusionMatrix(categories, min_score, matching_iou_threshold)
        self._costs = ErrorCosts([category["id"] for category in ordered])
        self._pictures, self._of_types = KeptPictures(MAX_PICTURES), KeptPictures(MAX_OF_TYPE)
        self._fields = KeptPictures(MAX_FIELDS)
        self._errors: list[_ErrorRow] = []
        self._images: list[dict[str, Any]] = []
        self._side = 0.0

    @property
    def _background_iou(self) -> float:
        return min(BACKGROUND_IOU, self._iou_threshold)

    def add_image(self, image: ExaminedImage) -> None:
        """Adds one image."""
        labeled = LabeledCells.of(image.groundtruth)
        boxes, classes, scores = _detected(image.detections)
        errors = image_errors(labeled, boxes, classes, scores, self._iou_threshold, self._background_iou)
        self._costs.add_image(labeled, errors, classes, scores)
        boxes, classes, scores = _detected(image.cells)
        errors = image_errors(labeled, boxes, classes, scores, self._iou_threshold, self._background_iou)
        if not self._side:
            self._side = _crop_side([labeled.boxes, boxes])
        self._add_types(image, labeled, errors)
        self._add_matrix(image)

    def _add_types(self, image: ExaminedImage, labeled: LabeledCells, errors: ImageErrors) -> None:
        boxes, classes, scores = _detected(image.cells)
        predicted = [self._name_of_id[int(class_id)] for class_id in classes]
        true = [self._name_of_id[int(class_id)] for class_id in labeled.classes]
        for row, kind in enumerate(errors.types):
            if kind in (RIGHT, IGNORED):
                continue
            cell, score = int(errors.cells[row]), float(scores[row])
            label = "" if cell == NO_CELL else true[cell]
            self._errors.append(
                _ErrorRow(image.name, kind, label, predicted[row], score, float(errors.iou[row]), tuple(boxes[row]))
            )
            # A confused cell lies where it is labeled; of others the place is what is wrong.
            dashed = None if cell == NO_CELL or kind == CLASSIFICATION else labeled.boxes[cell]
            make = functools.partial(self._cell_picture, image, boxes[row], label, predicted[row], score, dashed)
            self._of_types.add((kind, predicted[row]), score, make)
        for cell in np.flatnonzero(errors.is_missed).tolist():
            box = labeled.boxes[cell]
            self._errors.append(_ErrorRow(image.name, MISSED, true[cell], "", None, None, tuple(box)))
            make = functools.partial(self._cell_picture, image, box, true[cell], "", None)
            self._of_types.add((MISSED, true[cell]), 0.0, make)

    def _add_matrix(self, image: ExaminedImage) -> None:
        entries = self._matrix.add_image(image.groundtruth, image.cells, are_cells=True)
        truth_boxes = np.asarray(image.groundtruth["groundtruth_boxes"], float).reshape(-1, 4)
        found_boxes = np.asarray(image.cells["detection_boxes"], float).reshape(-1, 4)
        for entry in entries:
            is_missed = entry.detection == NOTHING
            score = None if is_missed else float(image.cells["detection_scores"][entry.detection])
            box = truth_boxes[entry.truth] if is_missed else found_boxes[entry.detection]
            label = "" if entry.truth == NOTHING else self._names[entry.row]
            predicted = "" if is_missed else self._names[entry.column]
            # The surest mistakes, and the least sure of the right ones.
            rank = 0.0 if score is None else -score if entry.row == entry.column else score
            make = functools.partial(self._cell_picture, image, box, label, predicted, score)
            self._pictures.add((entry.row, entry.column), rank, make)
        counts = _counts_of(entries, len(self._names))
        self._images.append({"image_name": image.name, **counts})
        num_errors = counts["confused"] + counts["missed"] + counts["spurious"]
        if num_errors:
            draw = functools.partial(self._field_picture, image, entries, truth_boxes, found_boxes, counts)
            self._fields.add("", num_errors, draw)

    def _cell_picture(
        self,
        image: ExaminedImage,
        box: np.ndarray,
        label: str,
        predicted: str,
        score: float | None,
        dashed: np.ndarray | None = None,
    ) -> CellPicture:
        crop = cell_pictures.crop(PixelPicture(image.pixels), box, self._side, dashed)
        return CellPicture(image.name, label, predicted, score, cell_pictures.data_address(crop, _QUALITY))

    def _field_picture(
        self,
        image: ExaminedImage,
        entries: Sequence[MatrixEntry],
        truth_boxes: np.ndarray,
        found_boxes: np.ndarray,
        counts: Mapping[str, int],
    ) -> FieldPicture:
        field = error_fields.draw_field(image.pixels, entries, self._names, truth_boxes, found_boxes)
        return FieldPicture(image.name, dict(counts), cell_pictures.data_address(field, _QUALITY))

    def write(self, output_dir: str | os.PathLike, facts: PageFacts) -> str:
        """Writes the files named above; returns a sentence for the console."""
        output = pathlib.Path(output_dir)
        types = self._type_rows()
        csv_schemas.load("errors").write_into(output, self._error_rows())
        csv_schemas.load("error_images").write_into(output, self._images)
        csv_schemas.load("error_types").write_into(output, types, self._names)
        counts = self._matrix.counts
        groups = [(int(row), int(column)) for row, column in zip(*np.nonzero(counts), strict=True)]
        of_each = max(4, min(MAX_PICTURES, MAX_ALL_PICTURES // max(len(groups), 1)))
        page = error_page.ErrorPage(
            row_names=self._matrix.row_names,
            column_names=self._matrix.column_names,
            counts=counts.tolist(),
            pictures={group: self._pictures.of(group, of_each) for group in groups},
            types=types,
            of_types={
                kind: [picture for name in self._names for picture in self._of_types.of((kind, name))]
                for kind in ERROR_TYPES
            },
            max_of_type=MAX_OF_TYPE,
            mean_ap=self._costs.mean_ap(),
            fields=self._fields.of(""),
            num_images=len(self._images),
            num_images_with_errors=sum(_num_errors(row) > 0 for row in self._images),
            num_ignored=self._matrix.num_ignored,
            iou_threshold=self._iou_threshold,
            background_iou=self._background_iou,
        )
        atomic_write.write_text(output / PAGE, error_page.errors_html(page, facts))
        wrong = sum(map(_num_errors, self._images))
        return f"{wrong} mistakes as pictures by type, worst images, matrix: {output / PAGE}."

    def _type_rows(self) -> list[dict[str, Any]]:
        now, repaired = self._costs.mean_ap(), self._costs.repaired_mean_ap()
        rows = []
        for kind in ERROR_TYPES:
            names = [row.predicted_class or row.true_class for row in self._errors if row.error == kind]
            per_class = {name: names.count(name) for name in self._names}
            # As in the paper, a repair that helps nothing costs nothing.
            gain = max(repaired[kind] - now, 0.0) if now == now else None
            rows.append({"error": kind, "cells": len(names), "mean_ap_gain": gain, **per_class})
        return rows

    def _error_rows(self) -> Iterator[dict[str, Any]]:
        for row in self._errors:
            values = row._asdict()
            sides = dict(zip(("ymin", "xmin", "ymax", "xmax"), map(float, values.pop("box")), strict=True))
            yield {**values, **sides}


def _detected(detections_dict: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes [N, 4], classes int [N] and scores [N] of an evaluators' dictionary."""
    boxes = np.asarray(detections_dict["detection_boxes"], float).reshape(-1, 4)
    classes = np.asarray(detections_dict["detection_classes"]).reshape(-1).astype(np.int64)
    return boxes, classes, np.asarray(detections_dict["detection_scores"], float).reshape(-1)


def _crop_side(boxes: Sequence[np.ndarray]) -> float:
    """Side of the crops, so that all have one scale: by the large cells of the first image that has any; else 0."""
    all_boxes = np.concatenate([np.reshape(some, (-1, 4)) for some in boxes])
    sides = np.maximum(all_boxes[:, 2] - all_boxes[:, 0], all_boxes[:, 3] - all_boxes[:, 1])
    return float(_MARGIN * np.percentile(sides, _LARGE_PERCENTILE)) if len(sides) else 0.0


def _counts_of(entries: Sequence[MatrixEntry], num_classes: int) -> dict[str, int]:
    """{"labeled", "right", "confused", "missed", "spurious"}: number of cells."""
    found = [entry for entry in entries if entry.row < num_classes and entry.column < num_classes]
    right = sum(entry.row == entry.column for entry in found)
    missed = sum(entry.column == num_classes for entry in entries)
    spurious = sum(entry.row == num_classes for entry in entries)
    return {
        "labeled": len(found) + missed,
        "right": right,
        "confused": len(found) - right,
        "missed": missed,
        "spurious": spurious,
    }


def _num_errors(row: Mapping[str, Any]) -> int:
    return int(row["confused"] + row["missed"] + row["spurious"])

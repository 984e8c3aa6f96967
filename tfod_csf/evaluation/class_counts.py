"""What a model made of the cells of each class on each labeled image: the numbers of which recall, precision and
percentages of any group of images can be made."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfod_csf.evaluation.confusion import NOTHING, ConfusionMatrix
from tfod_csf.files import csv_schemas

KINDS = ("labeled", "right", "predicted", "decided")
"""Labeled cells; those found and rightly named; cells found, by their predicted class; those that are not unknown."""


class ClassCounts:
    """Adds image after image and writes class_counts.csv.

    Cells and labels are paired by overlap alone, as in the confusion matrix, and what it leaves out (difficult labels
    and the cells on them) is in no count.

    Args:
      categories: [{"id": int from 1, "name": str}, ...].
      unknown_below: cells with a lower score are unknown.
      matching_iou_threshold: IoU from which a cell is a labeled one.
    """

    def __init__(
        self, categories: Sequence[Mapping[str, Any]], unknown_below: float, matching_iou_threshold: float = 0.5
    ):
        self._names = [category["name"] for category in sorted(categories, key=lambda category: category["id"])]
        self._matrix = ConfusionMatrix(categories, iou_threshold=matching_iou_threshold)
        self._unknown_below = unknown_below
        self._rows: list[dict[str, Any]] = []

    def add_image(self, name: str, patient_id: str, groundtruth: Mapping[str, Any], cells: Mapping[str, Any]) -> None:
        """Adds one image.

        Args:
          name: as people call it, unique in the data.
          patient_id: whose it is; "" where the data do not say.
          groundtruth, cells: the evaluators' dictionaries of the labels and of what counts as a cell.
        """
        counts = {kind: [0] * len(self._names) for kind in KINDS}
        scores = np.asarray(cells["detection_scores"]).reshape(-1)
        for entry in self._matrix.add_image(groundtruth, cells, are_cells=True):
            if entry.truth != NOTHING:
                counts["labeled"][entry.row] += 1
                if entry.row == entry.column:
                    counts["right"][entry.row] += 1
            if entry.detection != NOTHING:
                counts["predicted"][entry.column] += 1
                if scores[entry.detection] >= self._unknown_below:
                    counts["decided"][entry.column] += 1
        columns = {
            f"{kind}_{class_name}": number
            for kind, numbers in counts.items()
            for class_name, number in zip(self._names, numbers, strict=True)
        }
        self._rows.append({"image_name": name, "patient": patient_id, **columns})

    def write(self, output_dir: str | os.PathLike) -> None:
        """Writes class_counts.csv."""
        csv_schemas.load("class_counts").write_into(output_dir, self._rows, self._names)

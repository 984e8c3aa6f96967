"""The two pages of an evaluation, filled image by image: the model's mistakes, and thresholds; and class_counts.csv."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfod_csf.evaluation.class_counts import ClassCounts
from tfod_csf.evaluation.error_gallery.gallery import ErrorGallery, ExaminedImage
from tfod_csf.evaluation.page_facts import PageFacts
from tfod_csf.evaluation.thresholds import thresholds_page
from tfod_csf.evaluation.thresholds.recommended import Recommendations, recommend
from tfod_csf.evaluation.thresholds.scored_cells import ScoredCellsCollector


class EvaluationPages:
    """Collects images and writes errors.html and thresholds.html, with their tables, and class_counts.csv.

    Args:
      categories: [{"id": int from 1, "name": str}, ...].
      min_score, unknown_below: the thresholds in use.
      matching_iou_threshold: IoU from which a cell is a labeled one.
      names: {id: name in the label map}, by which cells are counted, where `categories` have the names to show.
    """

    def __init__(
        self,
        categories: Sequence[Mapping[str, Any]],
        min_score: float,
        unknown_below: float,
        matching_iou_threshold: float = 0.5,
        names: Mapping[int, str] | None = None,
    ):
        self._in_use = (min_score, unknown_below)
        self._gallery = ErrorGallery(categories, min_score, matching_iou_threshold)
        self._counts = ClassCounts(categories, unknown_below, matching_iou_threshold)
        counted = [{"id": one["id"], "name": (names or {}).get(one["id"], one["name"])} for one in categories]
        self._collector = ScoredCellsCollector(counted, matching_iou_threshold)

    def add_image(
        self, image: ExaminedImage, patient_id: str, likely_cells: Mapping[str, Any], raw_scores: np.ndarray
    ) -> None:
        """Adds one image.

        Args:
          patient_id: whose it is; "" where the data do not say.
          likely_cells, raw_scores: see `ScoredCellsCollector.add_image`.
        """
        self._gallery.add_image(image)
        self._counts.add_image(image.name, patient_id, image.groundtruth, image.cells)
        self._collector.add_image(patient_id, image.groundtruth, likely_cells, raw_scores)

    def recommendations(self) -> Recommendations:
        """The thresholds that the images recommend."""
        return recommend(self._collector.cells(), *self._in_use)

    def write(self, output_dir: str | os.PathLike, found: Recommendations, facts: PageFacts) -> list[str]:
        """Writes the files; returns sentences for the console.

        Args:
          found: of `recommendations`.
        """
        sentence = self._gallery.write(output_dir, facts)
        self._counts.write(output_dir)
        return [sentence, *thresholds_page.write(output_dir, self._collector.cells(), found, facts)]

"""The evaluation of one model: a report for each reading of the cells labeled unknown, in files and as a table.

The first reading is TFOD's and its files lie in the output folder itself; those of the other are in
unknown_<reading>/, and only if there are such cells.
"""

import os
import pathlib
import shutil
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from tfod_csf.evaluation import plots
from tfod_csf.evaluation.detection_report import DetectionReport

_OTHER_READINGS = ("unknown_counted", "unknown_ignored")


class ModelEvaluation:
    """Collects images and writes the reports.

    Args:
      categories: [{"id": int from 1, "name": str}, ...].
      readings: names of the readings, TFOD's first.
      min_score: operating point, detections with score >= this, before a temperature, count as cells.
      matching_iou_threshold: IoU from which a detection is a labeled cell.
    """

    def __init__(
        self,
        categories: Sequence[Mapping[str, Any]],
        readings: Sequence[str],
        min_score: float = 0.5,
        matching_iou_threshold: float = 0.5,
    ):
        self._reports = {name: DetectionReport(categories, min_score, matching_iou_threshold) for name in readings}
        self._has_unknown = False
        self.num_images = 0

    def add_image(
        self,
        image_id: Hashable,
        groundtruth: Mapping[str, Mapping[str, Any]],
        detections: Mapping[str, Any],
        cells: Mapping[str, Any],
        has_unknown: bool,
    ) -> None:
        """Adds one image.

        Args:
          image_id: unique in the data.
          groundtruth: {reading: dictionary of `DetectionReport.add_image`}.
          detections, cells: dictionaries of `DetectionReport.add_image`.
          has_unknown: whether a cell of the image was labeled unknown.
        """
        for name, report in self._reports.items():
            report.add_image(image_id, groundtruth[name], detections, cells)
        self._has_unknown |= has_unknown
        self.num_images += 1

    def write(self, output_dir: str | os.PathLike, model: str, settings: Mapping[str, Any]) -> list[str]:
        """Writes the files of every reading that says something; returns a table for each.

        Args:
          model: its name, for plots and tables.
          settings: of the run, for metrics.json.
        """
        texts = []
        for earlier in _OTHER_READINGS:  # of an evaluation whose labels had unknown cells, or of a stopped one
            shutil.rmtree(pathlib.Path(output_dir, earlier), ignore_errors=True)
        for number, (name, report) in enumerate(self._reports.items()):
            if number and not self._has_unknown:
                break
            target = pathlib.Path(output_dir, f"unknown_{name}" if number else "")
            reading = name if self._has_unknown else "none"
            metrics = report.write(target, {**settings, "cells_labelled_unknown": reading})
            points = report.operating_points()
            plots.plot_precision_recall(report.curves(), points, target / "precision_recall.png", model)
            plots.plot_confusion_matrix(report.confusion, target / "confusion_matrix.png", model)
            heading = f" (cells labeled unknown are {name})" if self._has_unknown else ""
            texts.append(f"{model} on {report.num_images} images{heading}:\n{report.text(metrics)}\n")
        return texts

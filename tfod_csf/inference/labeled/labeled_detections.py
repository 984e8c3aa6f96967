"""A detector on labeled images: what it found and what people labeled, image by image, as the evaluators take it."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from tfod_csf.domain.training_domain import Judgment
from tfod_csf.inference import domain_guard
from tfod_csf.inference.cell_selection import Cells, ScoreThresholds, select_cells
from tfod_csf.inference.image_detector import ImageDetector
from tfod_csf.inference.labeled.ground_truth import LabeledImage, detections_dict


class LabeledDetections(NamedTuple):
    """One image; boxes are [N, 4] (ymin, xmin, ymax, xmax) in pixels of the original image.

    Attributes:
      image_id: unique in the data.
      groundtruth: {reading of cells labeled unknown: the evaluators' groundtruth dictionary}.
      detections: the evaluators' dictionary of everything that was detected.
      cells: the same of what counts as a cell.
      has_unknown: whether a cell was labeled unknown, or by a name that is not a class.
      name: what people call the image.
      patient_id: whose it is; "" where the data do not say.
      pixels: uint8 [H, W, 3] RGB.
      likely_cells: the same as `cells` of what would count as a cell with a min_score of `lowest_score`.
      raw_scores: [N] scores of `likely_cells` before a temperature.
      judgment: of the detector's domain guard; None where it has none.
    """

    image_id: str
    groundtruth: dict[str, dict[str, Any]]
    detections: dict[str, Any]
    cells: dict[str, Any]
    has_unknown: bool
    name: str
    patient_id: str
    pixels: np.ndarray
    likely_cells: dict[str, Any]
    raw_scores: np.ndarray
    judgment: Judgment | None = None


def nothing(image: LabeledImage, cells: Cells) -> None:
    """What is done with the cells of an image unless somebody wants them."""


def detect_labeled(
    detector: ImageDetector,
    images: Iterable[LabeledImage],
    thresholds: ScoreThresholds,
    readings: Mapping[str, Callable[[LabeledImage], LabeledImage]],
    on_cells: Callable[[LabeledImage, Cells], Any] = nothing,
    lowest_score: float = 0.05,
) -> Iterator[LabeledDetections]:
    """Runs the detector over the images, one in memory at a time.

    Args:
      detector: the model.
      images: of `ground_truth.read_labeled_folder` or `record_reader.read_records`, with this detector's decoder.
      thresholds: what counts as a cell.
      readings: of `ground_truth.unknown_readings`.
      on_cells: called with each image and the cells found on it.
      lowest_score: from which detections are in `likely_cells`, at most the thresholds' min_score.
    """
    lowest = dataclasses.replace(thresholds, min_score=min(lowest_score, thresholds.min_score))
    for image in images:
        detections = detector.detect(image.pixels, image.image_id, jpeg=image.jpeg)
        selected = select_cells(detections, detector.label_map, thresholds)
        on_cells(image, selected)
        likely = select_cells(detections, detector.label_map, lowest).detections
        yield LabeledDetections(
            image_id=image.image_id,
            groundtruth={name: reading(image).groundtruth_dict for name, reading in readings.items()},
            detections=detections_dict(detections),
            cells=detections_dict(selected.detections),
            has_unknown=image.has_unknown(detector.label_map),
            name=image.name or image.image_id,
            patient_id=image.patient_id,
            pixels=image.pixels,
            likely_cells=detections_dict(likely),
            raw_scores=likely.raw_scores,
            judgment=domain_guard.judge(detector, image.pixels, selected.detections.boxes, selected.predicted_class),
        )

"""Counts what became of annotated cells, patient by patient, for `classification.Classification`.

Shape shorthand in this module:
  M: annotated cells of one image.
  N: cells that the model found on it.

Boxes are [., 4] ymin, xmin, ymax, xmax in pixels of the original image.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from tfod_csf import classification
from tfod_csf.classification import MISSED, NO_CELL, OUTCOMES, TRUE_CLASSES, FoundCells, ValidationPatient
from tfod_csf.evaluation.matching import match_one_to_one


@dataclasses.dataclass(frozen=True)
class ValidationImage:
    """One annotated image that the model examined.

    Attributes:
      patient_id: whose image it is.
      width, height: pixels.
      names, boxes: [M] names that people gave, [M, 4].
      predicted, scores, found_boxes: [N] predicted classes, [N] scores of them after the temperature, [N, 4].
    """

    patient_id: str
    width: int
    height: int
    names: Sequence[str]
    boxes: np.ndarray
    predicted: Sequence[str]
    scores: np.ndarray
    found_boxes: np.ndarray


class ClassificationCounter:
    """Adds image after image and gives the validation patients.

    Args:
      unknown_below: cells with a lower score are unknown.
      matching_iou_threshold: IoU from which a found cell is an annotated one, whatever their classes.
      count_false: whether found cells without an annotated partner are false detections; False where not every cell was
        annotated.
    """

    def __init__(self, unknown_below: float, matching_iou_threshold: float = 0.5, count_false: bool = True):
        self._unknown_below = unknown_below
        self._iou_threshold = matching_iou_threshold
        self._count_false = count_false
        self._images: dict[str, list[ValidationImage]] = {}
        self._counts: dict[str, np.ndarray] = {}

    def add_image(self, image: ValidationImage) -> None:
        """Adds one image."""
        counts = self._counts.setdefault(image.patient_id, np.zeros((len(TRUE_CLASSES), len(OUTCOMES)), int))
        self._images.setdefault(image.patient_id, []).append(image)
        pairs = match_one_to_one(image.boxes, image.found_boxes, self._iou_threshold)
        outcomes = [
            classification.outcome(name, float(score), self._unknown_below)
            for name, score in zip(image.predicted, image.scores, strict=True)
        ]
        true = [classification.true_class(name) for name in image.names]
        ends = [(true[m], outcomes[n]) for m, n in zip(pairs.first, pairs.second, strict=True)]
        ends += [(true[m], MISSED) for m in pairs.unmatched_first]
        if self._count_false:
            ends += [(NO_CELL, outcomes[n]) for n in pairs.unmatched_second]
        for name, end in ends:
            counts[TRUE_CLASSES.index(name), OUTCOMES.index(end)] += 1

    def patients(self) -> tuple[ValidationPatient, ...]:
        """The patients in the order in which their first image was added."""
        return tuple(
            ValidationPatient(
                len(images),
                self._counts[patient],
                classification.picture_features(_found_cells(images), self._unknown_below),
            )
            for patient, images in self._images.items()
        )


def _found_cells(images: Sequence[ValidationImage]) -> FoundCells:
    boxes = np.concatenate([np.reshape(image.found_boxes, (-1, 4)) for image in images])
    return FoundCells(
        image_sizes=np.array([[image.width, image.height] for image in images]),
        image_of=np.repeat(np.arange(len(images)), [len(image.scores) for image in images]),
        predicted=[name for image in images for name in image.predicted],
        scores=np.concatenate([image.scores for image in images]),
        box_sizes=np.stack([boxes[:, 3] - boxes[:, 1], boxes[:, 2] - boxes[:, 0]], axis=1),
    )

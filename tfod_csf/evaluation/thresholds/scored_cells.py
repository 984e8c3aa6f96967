"""The cells that a model would find at any threshold, with the labels of people: what thresholds are chosen on.

Detections from `LOWEST_SCORE` on, each cell once (`cell_selection`, rule 2, whose result at a higher min_score is the
part of these with that score). Cells and labels are paired by overlap, classes play no role: each cell, best score
first, takes the free label that it overlaps most, so that the pairs at a higher min_score are the part of these too.

Shape shorthand in this module:
  N: cells of one image, D: of all images.
  M: labels of one image.
  K: classes, in the order of their ids.
  P: patients.

Boxes are [., 4] (ymin, xmin, ymax, xmax) in pixels.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfod_csf import np_box_ops

LOWEST_SCORE = 0.05
# In place of the class of a label: nothing is labeled there; a label that does not count (difficult, without a class).
NO_LABEL, IGNORED = -1, -2


@dataclasses.dataclass(frozen=True)
class ScoredCells:
    """Cells of all images.

    Attributes:
      classes: [K] names.
      predicted: int [D] rows of `classes`.
      labeled: int [D] row of the label's class, NO_LABEL or IGNORED.
      raw_scores: [D] before a temperature; they decide about min_score.
      scores: [D] after it; they decide about unknown_below.
      patients: int [D] row of `patient_ids`.
      patient_ids: [P]; "" where the data do not say whose an image is.
      num_labels: int [K] labels that count.
      labels_of_patients: int [P, K] labeled cells, difficult ones too: what is on the patient's images.
    """

    classes: tuple[str, ...]
    predicted: np.ndarray
    labeled: np.ndarray
    raw_scores: np.ndarray
    scores: np.ndarray
    patients: np.ndarray
    patient_ids: tuple[str, ...]
    num_labels: np.ndarray
    labels_of_patients: np.ndarray


class ScoredCellsCollector:
    """Adds image after image.

    Args:
      categories: [{"id": int from 1, "name": str}, ...].
      matching_iou_threshold: overlap from which a cell is a labeled one.
    """

    def __init__(self, categories: Sequence[Mapping[str, Any]], matching_iou_threshold: float = 0.5):
        ordered = sorted(categories, key=lambda category: category["id"])
        self._names = tuple(category["name"] for category in ordered)
        self._row_of_id = {category["id"]: row for row, category in enumerate(ordered)}
        self._iou_threshold = matching_iou_threshold
        self._num_labels = np.zeros(len(ordered), int)
        self._patients: dict[str, tuple[int, np.ndarray]] = {}  # {id: (row, labels of each class)}
        self._cells: list[np.ndarray] = []

    def add_image(
        self,
        patient_id: str,
        groundtruth_dict: Mapping[str, Any],
        cells_dict: Mapping[str, Any],
        raw_scores: np.ndarray,
    ) -> None:
        """Adds one image.

        Args:
          groundtruth_dict: of the evaluators.
          cells_dict: of the evaluators' form, the cells from LOWEST_SCORE on, each once.
          raw_scores: [N] their scores before a temperature.
        """
        boxes = np.asarray(groundtruth_dict["groundtruth_boxes"], float).reshape(-1, 4)
        rows = self._rows(groundtruth_dict["groundtruth_classes"])
        is_difficult = np.asarray(groundtruth_dict["groundtruth_difficult"]).reshape(-1) != 0
        is_crowd = np.asarray(groundtruth_dict["groundtruth_is_crowd"]).reshape(-1) != 0
        counts = ~(is_difficult | is_crowd)
        number = len(self._names)
        self._num_labels += np.bincount(rows[counts], minlength=number)
        patient, of_patient = self._patients.setdefault(patient_id, (len(self._patients), np.zeros(number, int)))
        of_patient += np.bincount(rows[~is_crowd], minlength=number)
        predicted = self._rows(cells_dict["detection_classes"])
        raw = _as_compared(raw_scores)
        overlaps = np_box_ops.iou(np.asarray(cells_dict["detection_boxes"], float).reshape(-1, 4), boxes)
        taken = _labels_of(overlaps, raw, self._iou_threshold)
        labels = np.append(np.where(counts, rows, IGNORED), NO_LABEL)
        scores = _as_compared(cells_dict["detection_scores"])
        columns = [predicted, labels[taken], raw, scores, np.full(len(raw), patient)]
        self._cells.append(np.stack(columns, axis=1))

    def _rows(self, class_ids: Any) -> np.ndarray:
        return np.array([self._row_of_id[int(class_id)] for class_id in np.asarray(class_ids).reshape(-1)], int)

    def cells(self) -> ScoredCells:
        """What was added."""
        rows = np.concatenate([np.zeros((0, 5)), *self._cells])
        return ScoredCells(
            classes=self._names,
            predicted=rows[:, 0].astype(int),
            labeled=rows[:, 1].astype(int),
            raw_scores=rows[:, 2],
            scores=rows[:, 3],
            patients=rows[:, 4].astype(int),
            patient_ids=tuple(self._patients),
            num_labels=self._num_labels.copy(),
            labels_of_patients=np.array([labels for _, labels in self._patients.values()], int).reshape(
                -1, len(self._names)
            ),
        )


def _as_compared(scores: np.ndarray) -> np.ndarray:
    """Scores as float64 in which a float32 of 0.7 is not below 0.7."""
    return np.asarray(scores, float).reshape(-1).round(7)


def _labels_of(overlaps: np.ndarray, scores: np.ndarray, iou_threshold: float) -> np.ndarray:
    """int [N] the label that each cell takes, or -1.

    Args:
      overlaps: [N, M].
    """
    taken = np.full(len(overlaps), -1)
    free = overlaps.copy()
    for row in np.argsort(-scores, kind="stable") if overlaps.shape[1] else ():
        label = int(np.argmax(free[row]))
        if free[row, label] >= iou_threshold and free[row, label] > 0:
            taken[row] = label
            free[:, label] = 0
    return taken


@dataclasses.dataclass(frozen=True)
class ClassPoint:
    """A class at one min_score; every cell counts under its predicted class.

    Attributes:
      true_positives: cells of the class that are labeled so.
      false_positives: other cells of the class; those on labels that do not count are in neither.
      false_negatives: labels of the class without such a cell.
      precision, recall, f1: NaN where nothing is divided by nothing.
    """

    true_positives: int
    false_positives: int
    false_negatives: int

    @property
    def precision(self) -> float:
        return _ratio(self.true_positives, self.true_positives + self.false_positives)

    @property
    def recall(self) -> float:
        return _ratio(self.true_positives, self.true_positives + self.false_negatives)

    @property
    def f1(self) -> float:
        return _ratio(2 * self.true_positives, 2 * self.true_positives + self.false_positives + self.false_negatives)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")


def class_points(cells: ScoredCells, min_score: float) -> dict[str, ClassPoint]:
    """{class: its numbers} at one min_score."""
    is_kept = (cells.raw_scores >= min_score) & (cells.labeled != IGNORED)
    points = {}
    for row, name in enumerate(cells.classes):
        of_class = is_kept & (cells.predicted == row)
        found = int((of_class & (cells.labeled == row)).sum())
        points[name] = ClassPoint(found, int(of_class.sum()) - found, int(cells.num_labels[row]) - found)
    return points

"""TIDE's error types: why a detection is not right, and which labeled cell nothing explains.

Source: Bolya, Foley, Hays, Hoffman, "TIDE: A General Toolbox for Identifying Object Detection Errors", ECCV 2020,
section 2.2; the order of the questions and the side on which an overlap equal to a threshold falls are those of the
authors' program (tidecv 1.0.1). Detections, best score first, take the free labeled cell of their class that they
overlap most, from the foreground threshold t_f on. A detection that took none is the first of these that fits:

  localization    t_b <= IoU <= t_f with a cell of its class
  classification  IoU >= t_f with a cell of another class
  duplicate       IoU >= t_f with a cell of its class that a better detection took
  background      IoU <= t_b with every cell
  both            what remains: t_b < IoU < t_f with a cell of another class

  missed          a cell that no detection took, and that no localization or classification error stands for

What a type costs is the mean average precision that repairing it alone would give (`repaired_mean_ap`).

Two rules are ours, because the paper has none for them. A detection that took no cell and overlaps an ignored box
(labeled difficult, as a crowd, or without a class) counts neither way, whatever its class; with a crowd the overlap is
the share of the detection that lies in it, as in COCO. A detection without area counts neither way, as in TFOD.

Shape shorthand in this module:
  N: detections of one image.
  M: labeled cells of one image.

Boxes are [., 4] (ymin, xmin, ymax, xmax) in pixels. Class ids are the label map's, from 1.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfod_csf import np_box_ops
from tfod_csf.evaluation import pascal_evaluator

CLASSIFICATION, LOCALIZATION, BOTH = "classification", "localization", "both"
DUPLICATE, BACKGROUND, MISSED = "duplicate", "background", "missed"
ERROR_TYPES = (CLASSIFICATION, LOCALIZATION, BOTH, DUPLICATE, BACKGROUND, MISSED)
RIGHT, IGNORED = "right", "ignored"
FOREGROUND_IOU, BACKGROUND_IOU = 0.5, 0.1  # the paper's t_f and t_b
NO_CELL = -1


@dataclasses.dataclass(frozen=True)
class LabeledCells:
    """The labeled boxes of one image, those that count and those that are ignored.

    Attributes:
      boxes, classes: [M, 4], int [M] of the cells that count.
      ignored, is_crowd: [., 4] boxes that do not count, and bool whether each is around a crowd.
    """

    boxes: np.ndarray
    classes: np.ndarray
    ignored: np.ndarray
    is_crowd: np.ndarray

    @classmethod
    def of(cls, groundtruth_dict: Mapping[str, Any]) -> "LabeledCells":
        """From the evaluators' dictionary."""
        boxes = np.asarray(groundtruth_dict["groundtruth_boxes"], np.float64).reshape(-1, 4)
        classes = np.asarray(groundtruth_dict["groundtruth_classes"]).reshape(-1).astype(np.int64)
        difficult = _flags(groundtruth_dict.get("groundtruth_difficult"), len(boxes))
        is_crowd = _flags(groundtruth_dict.get("groundtruth_is_crowd"), len(boxes))
        counts = ~(difficult | is_crowd)
        return cls(boxes[counts], classes[counts], boxes[~counts], is_crowd[~counts])


def _flags(values: Any, number: int) -> np.ndarray:
    return np.zeros(number, bool) if values is None or not np.size(values) else np.asarray(values).reshape(-1) != 0


@dataclasses.dataclass(frozen=True)
class ImageErrors:
    """What became of the detections and the labeled cells of one image.

    Attributes:
      types: [N] an error type, RIGHT or IGNORED; never MISSED.
      cells: int [N] the labeled cell that decided it, a row of the M; NO_CELL for background and ignored ones.
      iou: float [N] overlap with that cell, of background errors the largest one.
      is_taken: bool [M] cells that a detection took.
      is_missed: bool [M] cells that are missed errors.
    """

    types: tuple[str, ...]
    cells: np.ndarray
    iou: np.ndarray
    is_taken: np.ndarray
    is_missed: np.ndarray


def image_errors(
    labeled: LabeledCells,
    boxes: np.ndarray,
    classes: np.ndarray,
    scores: np.ndarray,
    foreground_iou: float = FOREGROUND_IOU,
    background_iou: float = BACKGROUND_IOU,
) -> ImageErrors:
    """The error types of one image.

    Args:
      labeled: its labeled cells.
      boxes, classes, scores: [N, 4], int [N], [N] of the detections, in any order.
      foreground_iou, background_iou: t_f and t_b.

    Example: a monocyte (class 2) found at its place as a lymphocyte (class 1), and nothing else.

    >>> monocyte = LabeledCells(np.array([[0.0, 0, 9, 9]]), np.array([2]), np.zeros((0, 4)), np.zeros(0, bool))
    >>> found = image_errors(monocyte, np.array([[0.0, 0, 9, 9]]), np.array([1]), np.array([0.9]))
    >>> found.types, found.is_missed.tolist()
    (('classification',), [False])
    """
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    scores = np.asarray(scores, np.float64).reshape(-1)
    overlaps = np_box_ops.iou(boxes, labeled.boxes)
    is_own_class = np.asarray(classes).reshape(-1, 1) == labeled.classes[None, :]
    order = np.argsort(-scores, kind="stable")
    taken_by = _taken_cells(overlaps * is_own_class, order, foreground_iou)
    is_taken = np.isin(np.arange(len(labeled.boxes)), taken_by)
    is_ignored = _on_ignored(boxes, labeled, foreground_iou) | (np_box_ops.area(boxes) <= 0)
    types, cells, iou = [], np.full(len(boxes), NO_CELL), np.zeros(len(boxes))
    is_explained = np.zeros(len(labeled.boxes), bool)
    for row in range(len(boxes)):
        if taken_by[row] != NO_CELL:
            kind, cell = RIGHT, int(taken_by[row])
        elif is_ignored[row]:
            kind, cell = IGNORED, NO_CELL
        else:
            kind, cell = _error_of(overlaps[row], is_own_class[row], is_taken, foreground_iou, background_iou)
        types.append(kind)
        cells[row] = cell
        iou[row] = overlaps[row, cell] if cell != NO_CELL else overlaps[row].max(initial=0.0)
        if kind in (CLASSIFICATION, LOCALIZATION):
            is_explained[cell] = True
    return ImageErrors(tuple(types), cells, iou, is_taken, ~is_taken & ~is_explained)


def _taken_cells(overlaps: np.ndarray, order: np.ndarray, foreground_iou: float) -> np.ndarray:
    """int [N] the cell that each detection takes, or NO_CELL.

    Args:
      overlaps: [N, M], 0 between different classes.
      order: [N] rows, best score first.
    """
    taken = np.full(len(overlaps), NO_CELL)
    free = overlaps.copy()
    for row in order if overlaps.shape[1] else ():
        cell = int(np.argmax(free[row]))
        if free[row, cell] >= foreground_iou and free[row, cell] > 0:
            taken[row] = cell
            free[:, cell] = 0
    return taken


def _on_ignored(boxes: np.ndarray, labeled: LabeledCells, foreground_iou: float) -> np.ndarray:
    """bool [N] whether a detection lies on an ignored box."""
    if not len(labeled.ignored):
        return np.zeros(len(boxes), bool)
    overlaps = np_box_ops.iou(boxes, labeled.ignored)
    inside = np_box_ops.intersection(boxes, labeled.ignored) / np.maximum(np_box_ops.area(boxes), 1e-9)[:, None]
    return np.any(np.where(labeled.is_crowd[None, :], inside, overlaps) >= foreground_iou, axis=1)


def _error_of(
    overlaps: np.ndarray, is_own_class: np.ndarray, is_taken: np.ndarray, foreground_iou: float, background_iou: float
) -> tuple[str, int]:
    """(error type, cell or NO_CELL) of a detection that took no cell; its overlaps [M] with all cells."""
    if not len(overlaps):
        return BACKGROUND, NO_CELL
    own = overlaps * is_own_class
    if background_iou <= own.max() <= foreground_iou:
        return LOCALIZATION, int(own.argmax())
    other = overlaps * ~is_own_class
    if other.max() >= foreground_iou:
        return CLASSIFICATION, int(other.argmax())
    taken = own * is_taken
    if taken.max() >= foreground_iou:
        return DUPLICATE, int(taken.argmax())
    if overlaps.max() <= background_iou:
        return BACKGROUND, NO_CELL
    return BOTH, int(overlaps.argmax())


class ErrorCosts:
    """Collects the errors of all images and gives what each type costs.

    Args:
      class_ids: those of the label map.
    """

    def __init__(self, class_ids: Sequence[int]):
        self._class_ids = tuple(class_ids)
        self._num_cells = dict.fromkeys(self._class_ids, 0)
        self._num_missed = dict.fromkeys(self._class_ids, 0)
        self._next_cell = 0
        self._types: list[np.ndarray] = []  # rows of ERROR_TYPES; len(ERROR_TYPES) is right
        self._numbers: list[np.ndarray] = []  # class, score, class of the cell, number of a cell that nothing took

    def add_image(self, labeled: LabeledCells, errors: ImageErrors, classes: np.ndarray, scores: np.ndarray) -> None:
        """Adds one image; arguments as those and the result of `image_errors`."""
        for class_id in self._class_ids:
            is_class = labeled.classes == class_id
            self._num_cells[class_id] += int(is_class.sum())
            self._num_missed[class_id] += int((is_class & errors.is_missed).sum())
        kept = np.array([kind != IGNORED for kind in errors.types], bool)
        cells = errors.cells[kept]
        has_cell = cells != NO_CELL
        cell_classes, free = np.zeros(len(cells)), np.full(len(cells), float(NO_CELL))
        cell_classes[has_cell] = labeled.classes[cells[has_cell]]
        is_free = has_cell & ~np.append(errors.is_taken, True)[cells]
        free[is_free] = self._next_cell + cells[is_free]
        self._next_cell += len(labeled.boxes)
        names = (*ERROR_TYPES, RIGHT)
        self._types.append(np.array([names.index(kind) for kind in errors.types if kind != IGNORED], int))
        numbers = [np.asarray(classes).reshape(-1)[kept], np.asarray(scores).reshape(-1)[kept], cell_classes, free]
        self._numbers.append(np.stack(numbers, axis=1))

    def mean_ap(self) -> float:
        """The mean average precision at t_f of what was added; NaN without labeled cells."""
        return self._mean_ap("")

    def repaired_mean_ap(self) -> dict[str, float]:
        """{error type: mean average precision if it alone were repaired}, by the paper's oracles.

        classification: the detection gets the cell's class; localization: the cell's box. Of several that stand for one
        cell only the best score stays, and none where a detection took the cell. duplicate, background, both: the
        detection is removed. missed: the cell is. A class of which no cell remains counts as 1 without detections,
        else 0.
        """
        return {kind: self._mean_ap(kind) for kind in ERROR_TYPES}

    def _mean_ap(self, repaired: str) -> float:
        types = np.concatenate([np.zeros(0, int), *self._types])
        numbers = np.concatenate([np.zeros((0, 4)), *self._numbers])
        classes, scores = numbers[:, 0].copy(), numbers[:, 1]
        is_right = types == len(ERROR_TYPES)
        kept = np.ones(len(types), bool)
        if repaired:
            rows = np.flatnonzero(types == ERROR_TYPES.index(repaired))
            kept[rows] = False
            if repaired in (CLASSIFICATION, LOCALIZATION):
                best = _best_of_cells(rows, numbers)
                kept[best] = is_right[best] = True
                classes[best] = numbers[best, 2]
        values = []
        for class_id, number in self._num_cells.items():
            if not number:
                continue
            of_class = kept & (classes == class_id)
            left = number - (self._num_missed[class_id] if repaired == MISSED else 0)
            if not left:
                values.append(0.0 if of_class.any() else 1.0)
                continue
            curve = pascal_evaluator.compute_precision_recall(scores[of_class], is_right[of_class], left)
            values.append(curve.average_precision)
        return float(np.mean(values)) if values else math.nan


def _best_of_cells(rows: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Of the detections `rows`, the one with the best score for each cell that nothing took."""
    rows = rows[numbers[rows, 3] != NO_CELL]
    rows = rows[np.argsort(-numbers[rows, 1], kind="stable")]
    _, first = np.unique(numbers[rows, 3], return_index=True)
    return rows[first]

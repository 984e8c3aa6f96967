"""How far what two networks find in the same images differs, cell by cell.

Rows cannot be compared one by one: where the scores of two proposals are nearly equal, the last bit decides their
order. A cell of one network is therefore compared with the other's detection that overlaps it most, whatever its score,
so that a score just above a threshold and one just below it differ by little.
"""

import dataclasses

import numpy as np

from tfod_csf import np_box_ops
from tfod_csf.detections import Detections

_SAME_CELL_IOU = 0.5


@dataclasses.dataclass
class DetectionDifferences:
    """Differences over all images that were added.

    Attributes:
      min_score: score from which a detection of either network is compared.
      num_cells: how many were compared.
      num_missing: those of them that the other network does not have.
      largest_score: largest difference of the scores of a cell's class, 0 to 1.
      sum_score: sum of these differences.
      largest_box_px: largest difference of a side of a box, in pixels of the image.
      largest_box_share: the same as a share of the longer side of the image.
    """

    min_score: float
    num_cells: int = 0
    num_missing: int = 0
    largest_score: float = 0.0
    sum_score: float = 0.0
    largest_box_px: float = 0.0
    largest_box_share: float = 0.0

    @property
    def mean_score(self) -> float:
        """Mean difference of the scores of the cells that both have."""
        return self.sum_score / max(self.num_cells - self.num_missing, 1)

    @property
    def missing_fraction(self) -> float:
        """Share of the cells that the other network does not have."""
        return self.num_missing / max(self.num_cells, 1)

    def add(self, first: Detections, second: Detections) -> None:
        """Compares what two networks found in one image; each in turn is looked for in the other."""
        for one, other in ((first, second), (second, first)):
            self._add_cells(one.select(one.raw_scores >= self.min_score), other)

    def _add_cells(self, cells: Detections, other: Detections) -> None:
        self.num_cells += len(cells)
        if not len(cells) or not len(other):
            self.num_missing += len(cells)
            return
        overlaps = np_box_ops.iou(cells.boxes, other.boxes)
        # Of detections of several classes in the same place, the one of the cell's class is meant.
        same_class = cells.classes[:, np.newaxis] == other.classes[np.newaxis]
        nearest = np.argmax(overlaps + same_class * (overlaps >= _SAME_CELL_IOU), axis=1)
        is_there = overlaps[np.arange(len(cells)), nearest] >= _SAME_CELL_IOU
        self.num_missing += int((~is_there).sum())
        rows, nearest = np.flatnonzero(is_there), nearest[is_there]
        if not len(rows):
            return
        scores = np.abs(cells.raw_scores[rows] - _scores_of(other, nearest, cells.classes[rows]))
        sides = np.abs(cells.boxes[rows] - other.boxes[nearest]).max()
        self.sum_score += float(scores.sum())
        self.largest_score = max(self.largest_score, float(scores.max()))
        self.largest_box_px = max(self.largest_box_px, float(sides))
        self.largest_box_share = max(self.largest_box_share, float(sides) / max(cells.width, cells.height))


def _scores_of(detections: Detections, rows: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Scores before a temperature that these rows have for these classes; 0 where the network tells no score of it."""
    scores = detections.raw_multiclass_scores
    if scores is None:
        scores = detections.multiclass_scores
    if scores is not None:
        return scores[rows, classes]
    return np.where(detections.classes[rows] == classes, detections.raw_scores[rows], 0.0)

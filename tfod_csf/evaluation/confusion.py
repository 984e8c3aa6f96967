"""Confusion matrix of a detector: the class each cell was detected as, the missed cells and the spurious ones.

Detections and groundtruth are paired by overlap alone (`matching.match_one_to_one`), so that a monocyte called
lymphocyte appears as such and not as one missed and one spurious cell.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tfod_csf import np_box_ops
from tfod_csf.evaluation import matching

MISSED = "missed"
SPURIOUS = "spurious"
NOTHING = -1


class MatrixEntry(NamedTuple):
    """One count of the matrix.

    Attributes:
      row, column: of the matrix.
      truth, detection: rows of the image's groundtruth and detections; NOTHING in the last row or column.
    """

    row: int
    column: int
    truth: int
    detection: int


class ConfusionMatrix:
    """Counts pairs of (true class, predicted class) over images.

    Args:
      categories: [{"id": int from 1, "name": str}, ...].
      min_score: detections with score >= this count as cells.
      iou_threshold: IoU >= this makes a pair.

    Attributes:
      counts: int64 [K + 1, K + 1] for K classes in id order. Row = true class, the last row "spurious" holds
        detections without a cell; column = predicted class, the last column "missed" holds cells without a detection.
        The last row's last column is always 0.
      num_ignored: detections paired with difficult groundtruth, or of which a share of iou_threshold lies in a box
        around a crowd (as COCO has it) and that are paired with nothing; they and these boxes are in no cell.
    """

    def __init__(self, categories: Sequence[Mapping[str, Any]], min_score: float = 0.5, iou_threshold: float = 0.5):
        self._categories = sorted(categories, key=lambda category: category["id"])
        self._row_of_id = {category["id"]: row for row, category in enumerate(self._categories)}
        self.min_score = min_score
        self.iou_threshold = iou_threshold
        self.counts = np.zeros([len(categories) + 1] * 2, dtype=np.int64)
        self.num_ignored = 0

    @property
    def row_names(self) -> list[str]:
        """Class names, then "spurious"."""
        return [category["name"] for category in self._categories] + [SPURIOUS]

    @property
    def column_names(self) -> list[str]:
        """Class names, then "missed"."""
        return [category["name"] for category in self._categories] + [MISSED]

    def add_image(
        self, groundtruth_dict: Mapping[str, Any], detections_dict: Mapping[str, Any], are_cells: bool = False
    ) -> list[MatrixEntry]:
        """Adds one image; the dictionaries are those of the evaluators.

        `groundtruth_difficult` and `groundtruth_is_crowd` are optional.

        Args:
          are_cells: all detections count, whatever their scores: a temperature may have moved these below min_score.

        Returns:
          What was counted in which cell of the matrix.
        """
        classes = np.asarray(groundtruth_dict["groundtruth_classes"]).reshape(-1).astype(np.int64)
        difficult = _flags(groundtruth_dict.get("groundtruth_difficult"), len(classes))
        is_crowd = _flags(groundtruth_dict.get("groundtruth_is_crowd"), len(classes)) & ~difficult
        single = np.flatnonzero(~is_crowd)
        scores = np.asarray(detections_dict["detection_scores"]).reshape(-1)
        kept = np.flatnonzero((scores >= self.min_score) | are_cells)
        detected = np.asarray(detections_dict["detection_classes"]).reshape(-1).astype(np.int64)
        truth_boxes = np.asarray(groundtruth_dict["groundtruth_boxes"]).reshape(-1, 4)
        found_boxes = np.asarray(detections_dict["detection_boxes"]).reshape(-1, 4)[kept]
        pairs = matching.match_one_to_one(truth_boxes[single], found_boxes, self.iou_threshold)
        paired_truth, unpaired = single[pairs.first], pairs.unmatched_second
        in_crowd = _lie_in(found_boxes[unpaired], truth_boxes[is_crowd], self.iou_threshold)
        last = len(self._categories)
        self.num_ignored += int(difficult[paired_truth].sum() + in_crowd.sum())
        entries = []
        for truth, detection in (
            *zip(paired_truth, kept[pairs.second]),
            *((truth, NOTHING) for truth in single[pairs.unmatched_first]),
            *((NOTHING, detection) for detection in kept[unpaired[~in_crowd]]),
        ):
            if truth != NOTHING and difficult[truth]:
                continue
            row = last if truth == NOTHING else self._row_of_id[int(classes[truth])]
            column = last if detection == NOTHING else self._row_of_id[int(detected[detection])]
            self.counts[row, column] += 1
            entries.append(MatrixEntry(row, column, int(truth), int(detection)))
        return entries

    def rows(self) -> list[dict[str, Any]]:
        """Rows of confusion_matrix.csv: one mapping per true class with a count per column name."""
        return [
            {"true_class": name, **{column: int(count) for column, count in zip(self.column_names, counts)}}
            for name, counts in zip(self.row_names, self.counts)
        ]

    def accuracy(self) -> float:
        """Share of the paired cells that got the right class; NaN without pairs."""
        paired = self.counts[:-1, :-1]
        return float(np.trace(paired) / paired.sum()) if paired.sum() else float("nan")


def _flags(values: Any, number: int) -> np.ndarray:
    """bool [number]; none is set where the groundtruth does not say."""
    return np.zeros(number, bool) if values is None or not np.size(values) else np.asarray(values).reshape(-1) != 0


def _lie_in(boxes: np.ndarray, crowds: np.ndarray, share: float) -> np.ndarray:
    """bool [N] whether so large a share of each box [N, 4] lies in one of the boxes around crowds [M, 4]."""
    if not len(crowds):
        return np.zeros(len(boxes), bool)
    inside = np_box_ops.intersection(boxes, crowds) / np.maximum(np_box_ops.area(boxes), 1e-9)[:, None]
    return (inside >= share).any(axis=1)

"""Confusion matrix of a detector: the class each cell was detected as, the missed cells and the spurious ones.

Detections and groundtruth are paired by overlap alone (`matching.match_one_to_one`), so that a monocyte called
lymphocyte appears as such and not as one missed and one spurious cell.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfod_csf.evaluation import matching

MISSED = "missed"
SPURIOUS = "spurious"


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
      num_ignored: detections paired with difficult groundtruth; they and the difficult boxes are in no cell.
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

    def add_image(self, groundtruth_dict: Mapping[str, Any], detections_dict: Mapping[str, Any]) -> None:
        """Adds one image; the dictionaries are those of the evaluators (`groundtruth_difficult` is optional)."""
        classes = np.asarray(groundtruth_dict["groundtruth_classes"]).reshape(-1).astype(np.int64)
        difficult = groundtruth_dict.get("groundtruth_difficult")
        if difficult is None or not np.size(difficult):
            difficult = np.zeros(len(classes))
        difficult = np.asarray(difficult).reshape(-1).astype(bool)
        kept = np.asarray(detections_dict["detection_scores"]).reshape(-1) >= self.min_score
        detected = np.asarray(detections_dict["detection_classes"]).reshape(-1).astype(np.int64)[kept]
        pairs = matching.match_one_to_one(
            np.asarray(groundtruth_dict["groundtruth_boxes"]).reshape(-1, 4),
            np.asarray(detections_dict["detection_boxes"]).reshape(-1, 4)[kept],
            self.iou_threshold,
        )
        last = len(self._categories)
        for truth, detection in zip(pairs.first, pairs.second):
            if difficult[truth]:
                self.num_ignored += 1
            else:
                self.counts[self._row_of_id[int(classes[truth])], self._row_of_id[int(detected[detection])]] += 1
        for truth in pairs.unmatched_first:
            if not difficult[truth]:
                self.counts[self._row_of_id[int(classes[truth])], last] += 1
        for detection in pairs.unmatched_second:
            self.counts[last, self._row_of_id[int(detected[detection])]] += 1

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

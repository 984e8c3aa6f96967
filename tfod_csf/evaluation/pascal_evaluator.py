"""Pascal VOC detection metrics with TFOD's class, method and metric names.

Average precision is the area under the interpolated precision-recall curve (not the 11-point average of VOC 2007).
Detections and groundtruth marked difficult count neither way. A class without groundtruth has AP NaN and does not
enter the mean; a class with groundtruth and no detections has AP 0.

Shape shorthand in this module:
  N: detections of one image.
  M: groundtruth boxes of one image.
  D: detections of one class in all images that count (those on difficult groundtruth do not).

Boxes are [N, 4] (ymin, xmin, ymax, xmax) in one frame, usually pixels of the original image. Class ids are the label
map's, from 1; the background has none.
"""

import dataclasses
import logging
import math
import unicodedata
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from tfod_csf.evaluation import matching

_log = logging.getLogger("tfod_csf")


@dataclasses.dataclass(frozen=True)
class PrecisionRecall:
    """Precision-recall curve of one class; point i keeps the i+1 best detections.

    Attributes:
      scores: float [D], falling.
      is_true_positive: bool [D].
      precision: float [D], true positives / detections kept.
      recall: float [D], true positives / groundtruth boxes; NaN when there is no groundtruth.
      num_groundtruth: boxes of the class that are not difficult.
    """

    scores: np.ndarray
    is_true_positive: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    num_groundtruth: int

    @property
    def average_precision(self) -> float:
        """Area under the interpolated curve; NaN without groundtruth."""
        return compute_average_precision(self.precision, self.recall) if self.num_groundtruth else math.nan


@dataclasses.dataclass(frozen=True)
class OperatingPoint:
    """Counts of one class at one score threshold (detections with score >= min_score are kept)."""

    min_score: float
    true_positives: int
    false_positives: int
    false_negatives: int

    @property
    def precision(self) -> float:
        """Share of the kept detections that are right; NaN when none is kept."""
        kept = self.true_positives + self.false_positives
        return self.true_positives / kept if kept else math.nan

    @property
    def recall(self) -> float:
        """Share of the groundtruth that is found; NaN without groundtruth."""
        groundtruth = self.true_positives + self.false_negatives
        return self.true_positives / groundtruth if groundtruth else math.nan

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; NaN when there is neither detection nor groundtruth."""
        denominator = 2 * self.true_positives + self.false_positives + self.false_negatives
        return 2 * self.true_positives / denominator if denominator else math.nan


def compute_precision_recall(scores: np.ndarray, labels: np.ndarray, num_gt: int) -> PrecisionRecall:
    """Curve of detections in any order; among equal scores the one added first comes first.

    >>> curve = compute_precision_recall(np.array([0.9, 0.6, 0.8]), np.array([True, True, False]), 4)
    >>> curve.precision.round(2).tolist(), curve.recall.tolist()
    ([1.0, 0.5, 0.67], [0.25, 0.25, 0.5])
    """
    order = np.argsort(-np.asarray(scores, dtype=np.float64), kind="stable")
    is_true_positive = np.asarray(labels, dtype=bool)[order]
    true_positives = np.cumsum(is_true_positive).astype(np.float64)
    return PrecisionRecall(
        scores=np.asarray(scores, dtype=np.float64)[order],
        is_true_positive=is_true_positive,
        precision=true_positives / np.arange(1, len(order) + 1),
        recall=true_positives / num_gt if num_gt else np.full(len(order), math.nan),
        num_groundtruth=int(num_gt),
    )


def compute_average_precision(precision: np.ndarray, recall: np.ndarray) -> float:
    """Area under the precision-recall curve after precision was made non-increasing in recall; 0 without detections.

    >>> area = compute_average_precision(np.array([1.0, 0.5, 2 / 3]), np.array([0.25, 0.25, 0.5]))
    >>> round(area, 4)  # 0.25 * 1 + 0.25 * 2/3
    0.4167
    """
    if not len(precision):
        return 0.0
    recall = np.concatenate([[0.0], recall, [1.0]])
    precision = np.concatenate([[0.0], precision, [0.0]])
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall) * precision[1:]))


class ObjectDetectionEvaluator:
    """Collects groundtruth and detections image by image and computes average precisions.

    Groundtruth of an image must be added before its detections. An image id added a second time is ignored with a
    warning.

    Args:
      categories: [{"id": int from 1, "name": str}, ...], for example `LabelMap.categories`.
      matching_iou_threshold: IoU >= this is a match.
      metric_prefix: put before every metric name, with "_".
      use_weighted_mean_ap: mean AP from one curve over the detections of all classes, so that frequent classes weigh
        more, instead of the plain mean of the classes' APs.
    """

    def __init__(
        self,
        categories: Sequence[Mapping[str, Any]],
        matching_iou_threshold: float = 0.5,
        metric_prefix: str | None = None,
        use_weighted_mean_ap: bool = False,
    ):
        self._categories = sorted(categories, key=lambda category: category["id"])
        if any(category["id"] < 1 for category in self._categories):
            raise ValueError("Class ids start at 1; id 0 is the background's.")
        self._matching_iou_threshold = matching_iou_threshold
        self._metric_prefix = f"{metric_prefix}_" if metric_prefix else ""
        self._use_weighted_mean_ap = use_weighted_mean_ap
        self.clear()

    def clear(self) -> None:
        """Forgets everything added."""
        self._groundtruth: dict[Hashable, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
        self._detected_image_ids: set[Hashable] = set()
        self._num_groundtruth = {category["id"]: 0 for category in self._categories}
        self._scores: dict[int, list[np.ndarray]] = {category["id"]: [] for category in self._categories}
        self._labels: dict[int, list[np.ndarray]] = {category["id"]: [] for category in self._categories}

    def add_single_ground_truth_image_info(self, image_id: Hashable, groundtruth_dict: Mapping[str, Any]) -> None:
        """Adds one image's groundtruth.

        Args:
          image_id: any hashable.
          groundtruth_dict: groundtruth_boxes [M, 4], groundtruth_classes [M] from 1, and optionally
            groundtruth_difficult [M] (absent or empty: nothing is difficult).
        """
        if image_id in self._groundtruth:
            _log.warning("Image %s was already added to the groundtruth; the second one is ignored.", image_id)
            return
        boxes = np.asarray(groundtruth_dict["groundtruth_boxes"]).reshape(-1, 4)
        classes = np.asarray(groundtruth_dict["groundtruth_classes"]).reshape(-1).astype(np.int64)
        difficult = groundtruth_dict.get("groundtruth_difficult")
        if difficult is None or not np.size(difficult):
            difficult = np.zeros(len(classes))
        difficult = np.asarray(difficult).reshape(-1).astype(bool)
        if not len(boxes) == len(classes) == len(difficult):
            raise ValueError(
                f"Image {image_id}: {len(boxes)} boxes, {len(classes)} classes and {len(difficult)} difficult flags."
            )
        self._groundtruth[image_id] = (boxes, classes, difficult)
        for class_id in self._num_groundtruth:
            self._num_groundtruth[class_id] += int(np.sum((classes == class_id) & ~difficult))

    def add_single_detected_image_info(self, image_id: Hashable, detections_dict: Mapping[str, Any]) -> None:
        """Adds one image's detections; boxes without area are ignored, as in TFOD.

        Args:
          image_id: id of an image whose groundtruth was added (otherwise every detection is a false positive).
          detections_dict: detection_boxes [N, 4], detection_scores [N], detection_classes [N] from 1.
        """
        if image_id in self._detected_image_ids:
            _log.warning("Image %s was already added to the detections; the second one is ignored.", image_id)
            return
        self._detected_image_ids.add(image_id)
        boxes = np.asarray(detections_dict["detection_boxes"]).reshape(-1, 4)
        scores = np.asarray(detections_dict["detection_scores"]).reshape(-1)
        classes = np.asarray(detections_dict["detection_classes"]).reshape(-1).astype(np.int64)
        if not len(boxes) == len(scores) == len(classes):
            raise ValueError(f"Image {image_id}: {len(boxes)} boxes, {len(scores)} scores and {len(classes)} classes.")
        has_area = (boxes[:, 0] < boxes[:, 2]) & (boxes[:, 1] < boxes[:, 3])
        empty = (np.zeros([0, 4]), np.zeros(0, np.int64), np.zeros(0, bool))
        truth_boxes, truth_classes, difficult = self._groundtruth.get(image_id, empty)
        for class_id in self._num_groundtruth:
            rows = np.flatnonzero(has_area & (classes == class_id))
            if not len(rows):
                continue
            rows = rows[np.argsort(-scores[rows], kind="stable")]
            of_class = truth_classes == class_id
            is_true_positive, is_ignored = matching.label_detections(
                boxes[rows], truth_boxes[of_class], difficult[of_class], self._matching_iou_threshold
            )
            self._scores[class_id].append(scores[rows][~is_ignored])
            self._labels[class_id].append(is_true_positive[~is_ignored])

    def precision_recall(self) -> dict[int, PrecisionRecall]:
        """Curve of each class by id."""
        return {
            class_id: compute_precision_recall(
                np.concatenate([np.zeros(0), *self._scores[class_id]]),
                np.concatenate([np.zeros(0, bool), *self._labels[class_id]]),
                num_groundtruth,
            )
            for class_id, num_groundtruth in self._num_groundtruth.items()
        }

    def operating_points(self, min_score: float) -> dict[int, OperatingPoint]:
        """Counts, precision and recall of each class by id when detections with score >= min_score are kept."""
        points = {}
        for class_id, curve in self.precision_recall().items():
            # As cells are chosen, whose scores are float32: one of 0.7 reaches a min_score of 0.7.
            kept = curve.is_true_positive[curve.scores.astype(np.float32) >= np.float32(min_score)]
            found = int(kept.sum())
            points[class_id] = OperatingPoint(min_score, found, len(kept) - found, curve.num_groundtruth - found)
        return points

    def evaluate(self) -> dict[str, float]:
        """Metrics by TFOD's names: `<prefix>_Precision/mAP@0.5IOU` first, then each class's average precision."""
        curves = self.precision_recall()
        with_groundtruth = [curve for curve in curves.values() if curve.num_groundtruth]
        if not with_groundtruth:
            mean_ap = math.nan
        elif self._use_weighted_mean_ap:
            mean_ap = compute_precision_recall(
                np.concatenate([curve.scores for curve in with_groundtruth]),
                np.concatenate([curve.is_true_positive for curve in with_groundtruth]),
                sum(curve.num_groundtruth for curve in with_groundtruth),
            ).average_precision
        else:
            mean_ap = float(np.mean([curve.average_precision for curve in with_groundtruth]))
        metrics = {f"{self._metric_prefix}Precision/mAP@{self._matching_iou_threshold}IOU": mean_ap}
        for category in self._categories:
            # TFOD decomposes accents in metric names; keeping that keeps TensorBoard tags equal.
            name = unicodedata.normalize("NFKD", category["name"])
            key = f"{self._metric_prefix}PerformanceByCategory/AP@{self._matching_iou_threshold}IOU/{name}"
            metrics[key] = curves[category["id"]].average_precision
        return metrics


class PascalDetectionEvaluator(ObjectDetectionEvaluator):
    """`pascal_voc_detection_metrics`: the mean over classes weighs each class the same."""

    def __init__(self, categories: Sequence[Mapping[str, Any]], matching_iou_threshold: float = 0.5):
        super().__init__(categories, matching_iou_threshold, metric_prefix="PascalBoxes")


class WeightedPascalDetectionEvaluator(ObjectDetectionEvaluator):
    """`weighted_pascal_voc_detection_metrics`: one curve over all classes; frequent classes weigh more."""

    def __init__(self, categories: Sequence[Mapping[str, Any]], matching_iou_threshold: float = 0.5):
        super().__init__(
            categories, matching_iou_threshold, metric_prefix="WeightedPascalBoxes", use_weighted_mean_ap=True
        )

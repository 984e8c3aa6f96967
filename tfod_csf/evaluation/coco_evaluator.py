"""COCO detection metrics (computed by pycocotools) with TFOD's class, method and metric names.

As in TFOD the difficult flag is ignored, areas are those of the boxes, and a metric without groundtruth (an empty size
range, for example) is -1. Only the 100 best detections of a class in an image count: that is COCO's definition, so in a
field of more than 100 erythrocytes recall stays below 1.

Boxes are [N, 4] (ymin, xmin, ymax, xmax) in pixels, because the size ranges (32^2, 96^2) are in pixels.
Class ids are the label map's, from 1.
"""

import contextlib
import io
import logging
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

_log = logging.getLogger("tfod_csf")

# In the order of COCOeval.stats.
_METRIC_NAMES = (
    "Precision/mAP",
    "Precision/mAP@.50IOU",
    "Precision/mAP@.75IOU",
    "Precision/mAP (small)",
    "Precision/mAP (medium)",
    "Precision/mAP (large)",
    "Recall/AR@1",
    "Recall/AR@10",
    "Recall/AR@100",
    "Recall/AR@100 (small)",
    "Recall/AR@100 (medium)",
    "Recall/AR@100 (large)",
)
MAX_DETECTIONS_PER_CLASS = 100


class CocoDetectionEvaluator:
    """Collects groundtruth and detections image by image and computes COCO's twelve numbers.

    Args:
      categories: [{"id": int from 1, "name": str}, ...], for example `LabelMap.categories`.
      include_metrics_per_category: also give each class's mAP as `PerformanceByCategory/<name>`.
    """

    def __init__(self, categories: Sequence[Mapping[str, Any]], include_metrics_per_category: bool = False):
        self._categories = [{"id": category["id"], "name": category["name"]} for category in categories]
        self._class_ids = {category["id"] for category in categories}
        self._include_metrics_per_category = include_metrics_per_category
        self.clear()

    def clear(self) -> None:
        """Forgets everything added."""
        self._image_ids: dict[Hashable, bool] = {}  # whether detections were added
        self._groundtruth: list[dict[str, Any]] = []
        self._detections: list[dict[str, Any]] = []

    def add_single_ground_truth_image_info(self, image_id: Hashable, groundtruth_dict: Mapping[str, Any]) -> None:
        """Adds one image's groundtruth; objects of classes outside the categories are ignored.

        Args:
          image_id: any hashable.
          groundtruth_dict: groundtruth_boxes [M, 4] pixels, groundtruth_classes [M] from 1, and optionally
            groundtruth_is_crowd [M].
        """
        if image_id in self._image_ids:
            _log.warning("Image %s was already added to the groundtruth; the second one is ignored.", image_id)
            return
        self._image_ids[image_id] = False
        classes = np.asarray(groundtruth_dict["groundtruth_classes"]).reshape(-1)
        is_crowd = groundtruth_dict.get("groundtruth_is_crowd")
        if is_crowd is None or not np.size(is_crowd):
            is_crowd = np.zeros(len(classes))
        is_crowd = np.asarray(is_crowd).reshape(-1)
        for row in _coco_rows(image_id, groundtruth_dict["groundtruth_boxes"], classes, self._class_ids):
            index = row.pop("index")
            self._groundtruth.append({**row, "id": len(self._groundtruth) + 1, "iscrowd": int(is_crowd[index])})

    def add_single_detected_image_info(self, image_id: Hashable, detections_dict: Mapping[str, Any]) -> None:
        """Adds one image's detections.

        Args:
          image_id: id of an image whose groundtruth was added.
          detections_dict: detection_boxes [N, 4] pixels, detection_scores [N], detection_classes [N] from 1.

        Raises:
          ValueError: the image's groundtruth was not added.
        """
        if image_id not in self._image_ids:
            raise ValueError(f"Image {image_id}: its groundtruth must be added before its detections.")
        if self._image_ids[image_id]:
            _log.warning("Image %s was already added to the detections; the second one is ignored.", image_id)
            return
        self._image_ids[image_id] = True
        scores = np.asarray(detections_dict["detection_scores"]).reshape(-1)
        classes = np.asarray(detections_dict["detection_classes"]).reshape(-1)
        for row in _coco_rows(image_id, detections_dict["detection_boxes"], classes, self._class_ids):
            index = row.pop("index")
            self._detections.append(
                {**row, "id": len(self._detections) + 1, "iscrowd": 0, "score": float(scores[index])}
            )

    def evaluate(self) -> dict[str, float]:
        """Metrics by TFOD's names, `DetectionBoxes_Precision/mAP` first; -1 where there is no groundtruth."""
        if not self._image_ids:  # pycocotools cannot do without
            per_category = [f"PerformanceByCategory/{category['name']}" for category in self._categories]
            names = [*_METRIC_NAMES, *(per_category if self._include_metrics_per_category else ())]
            return {f"DetectionBoxes_{name}": -1.0 for name in names}
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
            evaluation = COCOeval(self._coco(self._groundtruth), self._coco(self._detections), "bbox")
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        metrics = {name: float(value) for name, value in zip(_METRIC_NAMES, evaluation.stats, strict=True)}
        if self._include_metrics_per_category:
            # precision: [IoU thresholds, recall steps, classes in id order, size ranges (0 = all), detection limits]
            precision = evaluation.eval["precision"][:, :, :, 0, -1]
            name_of = {category["id"]: category["name"] for category in self._categories}
            for index, class_id in enumerate(evaluation.params.catIds):
                known = precision[:, :, index][precision[:, :, index] > -1]
                metrics[f"PerformanceByCategory/{name_of[class_id]}"] = float(known.mean()) if known.size else -1.0
        return {f"DetectionBoxes_{name}": value for name, value in metrics.items()}

    def _coco(self, annotations: list[dict[str, Any]]) -> COCO:
        coco = COCO()
        coco.dataset = {
            "images": [{"id": image_id} for image_id in self._image_ids],
            "annotations": [dict(annotation) for annotation in annotations],  # pycocotools writes into them
            "categories": self._categories,
        }
        coco.createIndex()
        return coco


def _coco_rows(image_id: Hashable, boxes: np.ndarray, classes: np.ndarray, class_ids: set[int]) -> list[dict[str, Any]]:
    """COCO's form of boxes, [x, y, width, height]; "index" is the row in `boxes`."""
    boxes = np.asarray(boxes).reshape(-1, 4)
    rows = []
    for index, (box, class_id) in enumerate(zip(boxes, classes, strict=True)):
        if int(class_id) not in class_ids:
            continue
        ymin, xmin, ymax, xmax = (float(side) for side in box)
        rows.append(
            {
                "index": index,
                "image_id": image_id,
                "category_id": int(class_id),
                "bbox": [xmin, ymin, xmax - xmin, ymax - ymin],
                "area": (ymax - ymin) * (xmax - xmin),
            }
        )
    return rows

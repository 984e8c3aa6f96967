"""Everything that `evaluate` reports about a model: metrics, curves, operating point and confusion matrix, as files.

Files of `DetectionReport.write`:
  metrics.json          settings, every metric by TFOD's name, per-class numbers; NaN as the string "NaN"
  metrics.csv           metric, value: TFOD's values in full, NaN as "nan"
  per_class.csv, precision_recall.csv, confusion_matrix.csv: as schemas/ says
"""

import math
import os
import pathlib
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tfod_csf.evaluation import confusion, metric_text, pascal_evaluator
from tfod_csf.files import atomic_write, csv_schemas, csv_tables

try:
    from tfod_csf.evaluation import coco_evaluator
except ImportError:  # pycocotools comes with the extra [train]; the Pascal metrics do not need it
    coco_evaluator = None  # type: ignore[assignment]


class DetectionReport:
    """Adds each image to all evaluators and writes their results.

    Args:
      categories: [{"id": int from 1, "name": str}, ...].
      min_score: operating point, detections with score >= this, before a temperature, count as cells.
      matching_iou_threshold: of the Pascal metrics and of the confusion matrix.
    """

    def __init__(
        self, categories: Sequence[Mapping[str, Any]], min_score: float = 0.5, matching_iou_threshold: float = 0.5
    ):
        self._categories = sorted(categories, key=lambda category: category["id"])
        self._min_score = min_score
        self._iou_threshold = matching_iou_threshold
        self._pascal = pascal_evaluator.PascalDetectionEvaluator(categories, matching_iou_threshold)
        # Cells are chosen by the scores before a temperature, which need not have the order of those after it.
        self._before_temperature = pascal_evaluator.PascalDetectionEvaluator(categories, matching_iou_threshold)
        self._evaluators: list[Any] = [
            self._pascal,
            pascal_evaluator.WeightedPascalDetectionEvaluator(categories, self._iou_threshold),
        ]
        if coco_evaluator is not None:
            self._evaluators.append(
                coco_evaluator.CocoDetectionEvaluator(categories, include_metrics_per_category=True)
            )
        self.confusion = confusion.ConfusionMatrix(categories, min_score, matching_iou_threshold)
        self.num_images = 0
        self.num_over_coco_limit = 0

    def add_image(
        self,
        image_id: Hashable,
        groundtruth_dict: Mapping[str, Any],
        detections_dict: Mapping[str, Any],
        cells_dict: Mapping[str, Any] | None = None,
    ) -> None:
        """Adds one image; the dictionaries are those of the evaluators, boxes in pixels of the original image.

        Args:
          detections_dict: may hold detection_raw_scores [N] too, those before a temperature; absent, there was none.
          cells_dict: what is counted as cells, of the form of `detections_dict`, for the confusion matrix; None takes
            the detections. TFOD's metrics are those of the model as it is; a differential is made of cells.
        """
        for evaluator in self._evaluators:
            evaluator.add_single_ground_truth_image_info(image_id, groundtruth_dict)
            evaluator.add_single_detected_image_info(image_id, detections_dict)
        raw_scores = detections_dict.get("detection_raw_scores", detections_dict["detection_scores"])
        self._before_temperature.add_single_ground_truth_image_info(image_id, groundtruth_dict)
        self._before_temperature.add_single_detected_image_info(
            image_id, {**detections_dict, "detection_scores": raw_scores}
        )
        counted = detections_dict if cells_dict is None else cells_dict
        self.confusion.add_image(groundtruth_dict, counted, are_cells=cells_dict is not None)
        self.num_images += 1
        classes = np.asarray(groundtruth_dict["groundtruth_classes"]).reshape(-1).astype(np.int64)
        if coco_evaluator is not None:
            limit = coco_evaluator.MAX_DETECTIONS_PER_CLASS
            self.num_over_coco_limit += int(np.bincount(classes, minlength=1).max() > limit)

    def metrics(self) -> dict[str, float]:
        """Every metric by TFOD's name: Pascal, weighted Pascal, and COCO where pycocotools is installed."""
        return {name: value for evaluator in self._evaluators for name, value in evaluator.evaluate().items()}

    def curves(self) -> dict[str, pascal_evaluator.PrecisionRecall]:
        """Precision-recall curve of each class by name."""
        curves = self._pascal.precision_recall()
        return {category["name"]: curves[category["id"]] for category in self._categories}

    def operating_points(self) -> dict[str, pascal_evaluator.OperatingPoint]:
        """Counts of each class by name at min_score."""
        points = self._before_temperature.operating_points(self._min_score)
        return {category["name"]: points[category["id"]] for category in self._categories}

    def per_class(self, metrics: Mapping[str, float]) -> list[dict[str, Any]]:
        """Rows of per_class.csv as numbers."""
        points, curves = self.operating_points(), self.curves()
        rows = []
        for category in self._categories:
            point, curve = points[category["name"]], curves[category["name"]]
            rows.append(
                {
                    "class": category["name"],
                    "groundtruth": curve.num_groundtruth,
                    "average_precision": curve.average_precision,
                    "coco_map": metrics.get(f"DetectionBoxes_PerformanceByCategory/{category['name']}"),
                    "min_score": point.min_score,
                    "true_positives": point.true_positives,
                    "false_positives": point.false_positives,
                    "false_negatives": point.false_negatives,
                    "precision": point.precision,
                    "recall": point.recall,
                    "f1": point.f1,
                }
            )
        return rows

    def write(self, output_dir: str | os.PathLike, settings: Mapping[str, Any]) -> dict[str, float]:
        """Writes the files named above and returns the metrics; `settings` (model, data, ...) goes to metrics.json."""
        output_dir = pathlib.Path(output_dir)
        metrics = self.metrics()
        per_class = self.per_class(metrics)
        atomic_write.write_json(
            output_dir / "metrics.json",
            {
                **settings,
                "images": self.num_images,
                "min_score": self._min_score,
                "matching_iou_threshold": self._iou_threshold,
                "metrics": _json_numbers(metrics),
                "per_class": [_json_numbers(row) for row in per_class],
                "confusion_matrix": {
                    "rows_true_class": self.confusion.row_names,
                    "columns_predicted_class": self.confusion.column_names,
                    "counts": self.confusion.counts.tolist(),
                    "ignored_difficult": self.confusion.num_ignored,
                    "accuracy_of_found": _json_number(self.confusion.accuracy()),
                },
            },
        )
        rows = [{"metric": name, "value": value} for name, value in metrics.items()]
        csv_tables.write_rows(output_dir / "metrics.csv", ("metric", "value"), rows)
        csv_schemas.load("per_class").write_into(output_dir, per_class)
        csv_schemas.load("precision_recall").write_into(output_dir, self._curve_rows())
        names = [category["name"] for category in self._categories]
        csv_schemas.load("confusion_matrix").write_into(output_dir, self.confusion.rows(), names)
        return metrics

    def _curve_rows(self) -> Iterator[dict[str, Any]]:
        for name, curve in self.curves().items():
            for rank in range(len(curve.scores)):
                yield {
                    "class": name,
                    "rank": rank + 1,
                    "score": float(curve.scores[rank]),
                    "is_true_positive": bool(curve.is_true_positive[rank]),
                    "precision": float(curve.precision[rank]),
                    "recall": float(curve.recall[rank]),
                }

    def text(self, metrics: Mapping[str, float]) -> str:
        """The table a person reads after `evaluate`."""
        shown = {name: value for name, value in metrics.items() if not name.startswith("WeightedPascalBoxes_Perf")}
        lines = [metric_text.metrics_table(shown), "", f"  at score >= {self._min_score:g}:"]
        width = max(len(category["name"]) for category in self._categories)
        for row in self.per_class(metrics):
            precision = "n/a (no detections)" if math.isnan(row["precision"]) else f"{row['precision']:.3f}"
            lines.append(
                f"  {row['class']:<{width}}  {row['groundtruth']} cells, {row['true_positives']} found, "
                f"{row['false_negatives']} missed, {row['false_positives']} false; precision {precision}, recall "
                f"{metric_text.metric_text(row['recall'], 3)}"
            )
        if self.num_over_coco_limit:
            lines.append(
                f"  {self.num_over_coco_limit} images hold more than 100 cells of a class; COCO's metrics look at the "
                "100 best detections only, the Pascal metrics at all."
            )
        return "\n".join(lines)


def _json_number(value: Any) -> Any:
    """NaN as "NaN": JSON has no NaN, and float("NaN") reads it back."""
    return "NaN" if isinstance(value, float) and math.isnan(value) else value


def _json_numbers(mapping: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _json_number(value) for key, value in mapping.items()}

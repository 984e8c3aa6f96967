import json
import math

import numpy as np
import pytest

from tfod_csf.evaluation import detection_report, metric_text, plots
from tfod_csf.files import csv_schemas, csv_tables

CATEGORIES = [{"id": 1, "name": "lymphocyte"}, {"id": 2, "name": "monocyte"}, {"id": 3, "name": "unknown"}]
GROUNDTRUTH = {
    "groundtruth_boxes": np.array([[0, 0, 40, 40], [0, 100, 40, 140]], np.float32),
    "groundtruth_classes": np.array([1, 3]),
    "groundtruth_difficult": np.array([0, 0]),
}
DETECTIONS = {
    "detection_boxes": np.array([[0, 0, 40, 40], [0, 100, 40, 140]], np.float32),
    "detection_classes": np.array([1, 1]),
    "detection_scores": np.array([0.8, 0.9], np.float32),
}


def test_files(tmp_path):
    report = detection_report.DetectionReport(CATEGORIES)
    report.add_image("a", GROUNDTRUTH, DETECTIONS)
    metrics = report.write(tmp_path, {"model": "hand-made"})
    # lymphocyte: miss (on the unknown cell), hit: AP 1/2; unknown: 0; monocyte has nothing to find.
    assert metrics["PascalBoxes_Precision/mAP@0.5IOU"] == pytest.approx(0.25)
    written = json.loads((tmp_path / "metrics.json").read_text())
    assert written["metrics"]["PascalBoxes_PerformanceByCategory/AP@0.5IOU/monocyte"] == "NaN"
    assert written["metrics"]["DetectionBoxes_PerformanceByCategory/monocyte"] == -1
    for name in ("per_class", "precision_recall", "confusion_matrix"):
        csv_schemas.load(name).check(tmp_path / f"{name}.csv", [category["name"] for category in CATEGORIES])
    rows = csv_tables.read_rows(tmp_path / "per_class.csv")
    assert [row["class"] for row in rows] == ["lymphocyte", "monocyte", "unknown"]
    assert (rows[0]["true_positives"], rows[0]["false_positives"], rows[1]["average_precision"]) == ("1", "1", "")
    curve = csv_tables.read_rows(tmp_path / "precision_recall.csv")
    assert [(row["score"], row["is_true_positive"], row["precision"]) for row in curve] == [
        ("0.900000", "no", "0.000000"),
        ("0.800000", "yes", "0.500000"),
    ]
    matrix = csv_tables.read_rows(tmp_path / "confusion_matrix.csv")
    assert matrix[2] == {"true_class": "unknown", "lymphocyte": "1", "monocyte": "0", "unknown": "0", "missed": "0"}
    text = report.text(metrics)
    assert metric_text.NO_GROUND_TRUTH in text
    assert "nan" not in text.lower()
    plots.plot_precision_recall(report.curves(), report.operating_points(), tmp_path / "precision_recall.png")
    plots.plot_confusion_matrix(report.confusion, tmp_path / "confusion_matrix.png")
    assert (tmp_path / "confusion_matrix.png").read_bytes().startswith(b"\x89PNG")


def test_no_images(tmp_path):
    report = detection_report.DetectionReport(CATEGORIES)
    metrics = report.write(tmp_path, {})
    assert all(math.isnan(value) or value == -1 for value in metrics.values())
    plots.plot_precision_recall(report.curves(), report.operating_points(), tmp_path / "p.png")
    plots.plot_confusion_matrix(report.confusion, tmp_path / "c.png")


def test_a_temperature_does_not_move_the_operating_point(tmp_path):
    """A cell is kept by its score before the temperature, as in the confusion matrix and as batch_infer keeps it."""
    report = detection_report.DetectionReport(CATEGORIES)
    # Two detections of one lymphocyte: after the temperature the weaker one, which is no cell, comes first.
    detections = {
        "detection_boxes": np.array([[0, 0, 40, 40], [0, 0, 40, 40], [0, 200, 40, 240]], np.float32),
        "detection_classes": np.array([1, 1, 2]),
        "detection_scores": np.array([0.45, 0.46, 0.7], np.float32),
        "detection_raw_scores": np.array([0.6, 0.4, 0.3], np.float32),
    }
    report.add_image("a", GROUNDTRUTH, detections)
    metrics = report.write(tmp_path, {})
    points = report.operating_points()
    assert (points["lymphocyte"].true_positives, points["lymphocyte"].false_positives) == (1, 0)
    assert (points["monocyte"].true_positives, points["monocyte"].false_positives) == (0, 0)
    rows = csv_tables.read_rows(tmp_path / "per_class.csv")
    assert [(row["true_positives"], row["false_positives"]) for row in rows] == [("1", "0"), ("0", "0"), ("0", "0")]
    assert "lymphocyte  1 cells, 1 found, 0 missed, 0 false" in report.text(metrics)
    # The metrics are TFOD's, of the scores as the model gives them.
    assert [row["score"] for row in csv_tables.read_rows(tmp_path / "precision_recall.csv")][:2] == [
        "0.460000",
        "0.450000",
    ]

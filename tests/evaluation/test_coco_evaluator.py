import numpy as np
import pytest

from tfod_csf.evaluation import coco_evaluator

CATEGORIES = [{"id": 1, "name": "lymphocyte"}, {"id": 2, "name": "monocyte"}]


def groundtruth(boxes, classes):
    return {"groundtruth_boxes": np.array(boxes, np.float32).reshape(-1, 4), "groundtruth_classes": np.array(classes)}


def detections(boxes, classes, scores):
    return {
        "detection_boxes": np.array(boxes, np.float32).reshape(-1, 4),
        "detection_classes": np.array(classes),
        "detection_scores": np.array(scores, np.float32),
    }


def test_perfect_and_half_overlapping_boxes():
    evaluator = coco_evaluator.CocoDetectionEvaluator(CATEGORIES, include_metrics_per_category=True)
    # 40 x 40 px is "medium". The monocyte's box covers 40 x 24 of its 40 x 40: IoU 0.6, a match at 0.50, 0.55, 0.60
    # (0.6 in float64 is not below pycocotools' 0.6 step), so mAP 3/10.
    evaluator.add_single_ground_truth_image_info("a", groundtruth([[0, 0, 40, 40], [100, 100, 140, 140]], [1, 2]))
    evaluator.add_single_detected_image_info(
        "a", detections([[0, 0, 40, 40], [100, 100, 140, 124]], [1, 2], [0.9, 0.8])
    )
    metrics = evaluator.evaluate()
    assert metrics["DetectionBoxes_PerformanceByCategory/lymphocyte"] == pytest.approx(1.0)
    assert metrics["DetectionBoxes_PerformanceByCategory/monocyte"] == pytest.approx(0.3)
    assert metrics["DetectionBoxes_Precision/mAP"] == pytest.approx(0.65)
    assert metrics["DetectionBoxes_Precision/mAP@.75IOU"] == pytest.approx(0.5)
    assert metrics["DetectionBoxes_Precision/mAP (small)"] == -1
    assert metrics["DetectionBoxes_Recall/AR@1"] == pytest.approx(0.65)
    assert evaluator.evaluate() == metrics


@pytest.mark.parametrize("boxes", [[], [[0, 0, 40, 40]]])
def test_no_groundtruth_is_minus_one(boxes):
    evaluator = coco_evaluator.CocoDetectionEvaluator(CATEGORIES)
    assert set(evaluator.evaluate().values()) == {-1}
    evaluator.add_single_ground_truth_image_info(1, groundtruth([], []))
    evaluator.add_single_detected_image_info(1, detections(boxes, [1] * len(boxes), [0.9] * len(boxes)))
    assert set(evaluator.evaluate().values()) == {-1}


def test_no_detections_is_zero():
    evaluator = coco_evaluator.CocoDetectionEvaluator(CATEGORIES)
    evaluator.add_single_ground_truth_image_info(1, groundtruth([[0, 0, 40, 40]], [1]))
    evaluator.add_single_detected_image_info(1, detections([], [], []))
    assert evaluator.evaluate()["DetectionBoxes_Precision/mAP"] == 0
    with pytest.raises(ValueError, match="before its detections"):
        evaluator.add_single_detected_image_info(2, detections([], [], []))

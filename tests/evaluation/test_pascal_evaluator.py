import math

import numpy as np
import pytest

from tfod_csf.evaluation import pascal_evaluator

CATEGORIES = [{"id": 1, "name": "lymphocyte"}, {"id": 2, "name": "monocyte"}]
BOX = [0, 0, 10, 10]
FAR = [50, 50, 60, 60]


def truth(*rows, difficult=None):
    """Rows of (box, class)."""
    groundtruth = {
        "groundtruth_boxes": np.array([row[0] for row in rows], np.float32).reshape(-1, 4),
        "groundtruth_classes": np.array([row[1] for row in rows], np.int64),
    }
    if difficult is not None:
        groundtruth["groundtruth_difficult"] = np.array(difficult)
    return groundtruth


def found(*rows):
    """Rows of (box, class, score)."""
    return {
        "detection_boxes": np.array([row[0] for row in rows], np.float32).reshape(-1, 4),
        "detection_classes": np.array([row[1] for row in rows], np.int64),
        "detection_scores": np.array([row[2] for row in rows], np.float32),
    }


def filled(evaluator_class=pascal_evaluator.PascalDetectionEvaluator, images=()):
    evaluator = evaluator_class(CATEGORIES)
    for image_id, (groundtruth, detections) in enumerate(images):
        evaluator.add_single_ground_truth_image_info(image_id, groundtruth)
        evaluator.add_single_detected_image_info(image_id, detections)
    return evaluator


def test_average_precision_by_hand():
    # Falling score: hit, miss, hit; 4 cells. Precision 1, 1/2, 2/3 at recall 1/4, 1/4, 2/4: 1/4 * 1 + 1/4 * 2/3 = 5/12.
    precision, recall = np.array([1, 1 / 2, 2 / 3]), np.array([1 / 4, 1 / 4, 2 / 4])
    assert pascal_evaluator.compute_average_precision(precision, recall) == pytest.approx(5 / 12)
    assert pascal_evaluator.compute_average_precision(np.zeros(0), np.zeros(0)) == 0


def test_means_over_classes_and_over_detections():
    images = [
        (truth((BOX, 1), (FAR, 2)), found((BOX, 1, 0.9), (FAR, 1, 0.8), (BOX, 2, 0.7))),
        (truth((BOX, 1)), found((BOX, 1, 0.6))),
    ]
    metrics = filled(images=images).evaluate()
    # lymphocyte: hit, miss, hit of 2: 1/2 + 1/2 * 2/3 = 5/6; monocyte: one miss: 0.
    assert metrics == {
        "PascalBoxes_Precision/mAP@0.5IOU": pytest.approx(5 / 12),
        "PascalBoxes_PerformanceByCategory/AP@0.5IOU/lymphocyte": pytest.approx(5 / 6),
        "PascalBoxes_PerformanceByCategory/AP@0.5IOU/monocyte": 0.0,
    }
    weighted = filled(pascal_evaluator.WeightedPascalDetectionEvaluator, images).evaluate()
    # All together: hit, miss, miss, hit of 3: 1/3 * 1 + 1/3 * 2/4 = 1/2.
    assert weighted["WeightedPascalBoxes_Precision/mAP@0.5IOU"] == pytest.approx(1 / 2)


def test_class_without_groundtruth_is_left_out_of_the_mean():
    metrics = filled(images=[(truth((BOX, 1)), found((BOX, 1, 0.9), (BOX, 2, 0.9)))]).evaluate()
    assert metrics["PascalBoxes_Precision/mAP@0.5IOU"] == 1.0
    assert math.isnan(metrics["PascalBoxes_PerformanceByCategory/AP@0.5IOU/monocyte"])


@pytest.mark.parametrize("images", [[], [(truth(), found())], [(truth(), found((BOX, 1, 0.9)))]])
def test_nothing_to_find_is_nan(images):
    assert all(math.isnan(value) for value in filled(images=images).evaluate().values())


def test_difficult_and_flat_boxes():
    images = [
        (
            truth((BOX, 1), (FAR, 1), difficult=[1, 0]),
            found((BOX, 1, 0.9), (FAR, 1, 0.8), ([5, 5, 5, 9], 1, 0.99)),
        )
    ]
    assert filled(images=images).evaluate()["PascalBoxes_Precision/mAP@0.5IOU"] == 1.0


def test_second_addition_is_ignored(caplog):
    evaluator = filled(images=[(truth((BOX, 1)), found((BOX, 1, 0.9)))])
    evaluator.add_single_ground_truth_image_info(0, truth((FAR, 1)))
    evaluator.add_single_detected_image_info(0, found((FAR, 2, 0.9)))
    assert evaluator.evaluate()["PascalBoxes_Precision/mAP@0.5IOU"] == 1.0
    assert len(caplog.records) == 2
    evaluator.clear()
    assert math.isnan(evaluator.evaluate()["PascalBoxes_Precision/mAP@0.5IOU"])


def test_operating_point():
    evaluator = filled(
        images=[(truth((BOX, 1), (FAR, 1)), found((BOX, 1, 0.9), (BOX, 1, 0.6), (FAR, 1, 0.4), (BOX, 2, 0.5)))]
    )
    points = evaluator.operating_points(min_score=0.5)
    assert (points[1].true_positives, points[1].false_positives, points[1].false_negatives) == (1, 1, 1)
    assert (points[1].precision, points[1].recall, points[1].f1) == (0.5, 0.5, 0.5)
    assert points[2].precision == 0.0
    assert math.isnan(points[2].recall)


def test_a_score_that_is_the_threshold_reaches_it():
    evaluator = filled(images=[(truth((BOX, 1)), found((BOX, 1, np.float32(0.7))))])
    assert evaluator.operating_points(min_score=0.7)[1].true_positives == 1


def test_background_id_is_refused():
    with pytest.raises(ValueError, match="start at 1"):
        pascal_evaluator.PascalDetectionEvaluator([{"id": 0, "name": "background"}])

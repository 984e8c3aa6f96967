"""Pascal and COCO evaluators against TFOD's recorded metrics.

Where the recorded metric does not depend on the order of equal scores it is met exactly; where it does (files of mixed
ties; TFOD's order is that of an unstable sort) the value lies in the range TFOD gave over 25 orderings, +-0.02.
"""

import json
import math

import numpy as np
import pytest

from tfod_csf.evaluation import coco_evaluator, pascal_evaluator

TOLERANCE = 1e-6
ORDERING_MARGIN = 0.02

_EVALUATORS = {
    "pascal": (pascal_evaluator.PascalDetectionEvaluator, {}),
    "weighted_pascal": (pascal_evaluator.WeightedPascalDetectionEvaluator, {}),
    "pascal_no_difficult_field": (pascal_evaluator.PascalDetectionEvaluator, {}),
    "pascal_iou0.7": (pascal_evaluator.PascalDetectionEvaluator, {"matching_iou_threshold": 0.7}),
    "coco": (coco_evaluator.CocoDetectionEvaluator, {}),
}


def _evaluate(evaluator, arrays, with_difficult):
    for image_id in arrays["image_ids"]:
        groundtruth = {
            "groundtruth_boxes": arrays[f"{image_id}/gt_boxes"],
            "groundtruth_classes": arrays[f"{image_id}/gt_classes"],
        }
        if with_difficult:
            groundtruth["groundtruth_difficult"] = arrays[f"{image_id}/gt_difficult"]
        evaluator.add_single_ground_truth_image_info(str(image_id), groundtruth)
        evaluator.add_single_detected_image_info(
            str(image_id),
            {
                "detection_boxes": arrays[f"{image_id}/det_boxes"],
                "detection_scores": arrays[f"{image_id}/det_scores"],
                "detection_classes": arrays[f"{image_id}/det_classes"],
            },
        )
    return evaluator.evaluate()


@pytest.mark.recorded("voc_eval*.npz")
def test_metrics(recorded):
    expected = json.loads(recorded.with_suffix(".json").read_text())
    assert set(expected["metrics"]) <= set(_EVALUATORS), "the fixture records an evaluator this test does not know"
    with np.load(recorded) as arrays:
        for kind, recorded_metrics in expected["metrics"].items():
            evaluator_class, arguments = _EVALUATORS[kind]
            evaluator = evaluator_class(expected["categories"], **arguments)
            metrics = _evaluate(evaluator, arrays, with_difficult=kind != "pascal_no_difficult_field")
            assert list(metrics) == list(recorded_metrics), kind
            ranges = expected.get("range_over_25_orderings", {}).get(kind, {})
            for name, value in recorded_metrics.items():
                low, high = ranges.get(name, [value, value])
                if math.isnan(value):
                    assert math.isnan(metrics[name]), (kind, name)
                elif high - low <= TOLERANCE:
                    assert metrics[name] == pytest.approx(value, abs=TOLERANCE), (kind, name)
                else:
                    assert low - ORDERING_MARGIN <= metrics[name] <= high + ORDERING_MARGIN, (kind, name)

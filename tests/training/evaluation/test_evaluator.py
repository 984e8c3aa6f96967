import numpy as np

from tfod_csf.config.protos import eval_pb2
from tfod_csf.label_map import label_map_from_names
from tfod_csf.training.evaluation.evaluator import images_of_batch, make_metric_evaluators


def test_cocos_metrics_per_category_are_there_when_asked_for():
    config = eval_pb2.EvalConfig(metrics_set=["coco_detection_metrics"])
    (plain,) = make_metric_evaluators(config, label_map_from_names(["a", "b"]))
    config.include_metrics_per_category = True
    (each,) = make_metric_evaluators(config, label_map_from_names(["a", "b"]))
    classes = {f"DetectionBoxes_PerformanceByCategory/{name}" for name in "ab"}
    assert set(each.evaluate()) - set(plain.evaluate()) == classes


def _batch():
    """Two images of 500 x 1000 and 60 x 30 px in frames of 100 x 200, which they fill to 50 x 100 and 100 x 50."""
    features = {
        "image": np.zeros([2, 100, 200, 3], np.float32),
        "true_image_shape": np.array([[50, 100, 3], [100, 50, 3]], np.int32),
        "original_image_spatial_shape": np.array([[500, 1000], [60, 30]], np.int32),
    }
    labels = {
        "groundtruth_boxes": np.array([[[0.1, 0.1, 0.3, 0.3], [0, 0, 0, 0]], [[0, 0, 0, 0], [0, 0, 0, 0]]], np.float32),
        "groundtruth_classes": np.array([[[0, 1, 0], [0, 0, 0]], [[0, 0, 0], [0, 0, 0]]], np.float32),
        "groundtruth_difficult": np.array([[1, 0], [0, 0]], np.int32),
        "num_groundtruth_boxes": np.array([1, 0], np.int32),
    }
    detections = {
        "detection_boxes": np.array(
            [[[0.2, 0.2, 0.6, 0.6], [0, 0, 0, 0]], [[0, 0, 1, 1], [0, 0, 0.5, 0.5]]], np.float32
        ),
        "detection_scores": np.array([[0.9, 0], [0.8, 0.7]], np.float32),
        "detection_classes": np.array([[1, 0], [0, 2]], np.float32),
        "num_detections": np.array([1, 2], np.float32),
    }
    return features, labels, detections


def test_batch_is_split_in_pixels_of_the_original_images():
    (truth, found), (no_truth, more) = images_of_batch(*_batch())
    # 0.1 of the frame's 100 rows is row 10, of the image's 50 rows 0.2, of 500 rows row 100; columns 0.1 -> 20 -> 200
    np.testing.assert_allclose(truth["groundtruth_boxes"], [[100, 200, 300, 600]], rtol=1e-6)
    np.testing.assert_array_equal(truth["groundtruth_classes"], [2])
    np.testing.assert_array_equal(truth["groundtruth_difficult"], [1])
    np.testing.assert_allclose(found["detection_boxes"], [[100, 200, 300, 600]], rtol=1e-6)
    np.testing.assert_array_equal(found["detection_classes"], [2])
    assert no_truth["groundtruth_boxes"].shape == (0, 4)
    assert no_truth["groundtruth_classes"].shape == (0,)
    np.testing.assert_allclose(more["detection_boxes"], [[0, 0, 60, 30], [0, 0, 30, 15]])
    np.testing.assert_array_equal(more["detection_classes"], [1, 3])

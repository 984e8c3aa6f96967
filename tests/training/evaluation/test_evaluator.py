import numpy as np

from tfod_csf.cell_classes import rgb_of
from tfod_csf.training.evaluation.evaluator import images_of_batch
from tfod_csf.training.evaluation.side_by_side import DrawingSettings, draw_side_by_side
from tfod_csf.training.summaries import visible_images


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


def test_side_by_side_draws_detections_left_and_ground_truth_right():
    pixels = np.full([100, 80, 3], 200, np.uint8)  # drawn five times as large: the shorter side has 400 px
    detections = {
        "boxes": np.array([[0.5, 0.5, 0.9, 0.9], [0.1, 0.1, 0.2, 0.2]]),
        "classes": np.array([1, 2]),
        "scores": np.array([0.9, 0.4]),
    }
    groundtruth = {"boxes": np.array([[0.5, 0.25, 0.9, 0.75]]), "classes": np.array([2])}
    picture = draw_side_by_side(pixels, detections, groundtruth, {1: "lymphocyte", 2: "monocyte"}, DrawingSettings())
    assert picture.shape == (500, 800, 3)
    assert tuple(picture[350, 200]) == rgb_of("lymphocyte")  # left side of the box: row 0.7 * 500, column 0.5 * 400
    assert tuple(picture[450, 300]) == rgb_of("lymphocyte")  # lower side
    assert not (picture[:200, :400] != 200).any()  # score 0.4 is not drawn
    assert tuple(picture[350, 400 + 100]) == rgb_of("monocyte")
    assert (pixels == 200).all()


def test_side_by_side_limits_the_number_of_boxes_and_draws_nothing_of_nothing():
    pixels = np.zeros([500, 500, 3], np.uint8)
    boxes = np.array([[0.2, 0.2, 0.4, 0.4], [0.6, 0.6, 0.8, 0.8]])
    detections = {"boxes": boxes, "classes": np.array([1, 1]), "scores": np.array([0.9, 0.8])}
    nothing = {"boxes": np.zeros([0, 4]), "classes": np.zeros(0, int), "scores": np.zeros(0)}
    settings = DrawingSettings(max_num_boxes_to_visualize=1)
    picture = draw_side_by_side(pixels, detections, nothing, {}, settings)
    assert tuple(picture[180, 100]) == rgb_of("1")  # a class without a name
    assert not picture[250:, :].any()
    assert not picture[:, 500:].any()
    assert not draw_side_by_side(pixels, nothing, nothing, {}, settings).any()


def test_visible_images_add_the_means_back():
    seen = np.array([[[[0.0, 0.0, 0.0], [200.0, -200.0, 0.061]]]], np.float32)
    (picture,) = visible_images(seen)
    assert picture.tolist() == [[[124, 117, 104], [255, 0, 104]]]  # 123.68, 116.779, 103.939; clipped to 0 and 255
    assert len(visible_images(np.zeros([5, 2, 2, 3]))) == 3

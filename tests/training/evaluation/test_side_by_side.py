import numpy as np

from tfod_csf.cell_classes import rgb_of
from tfod_csf.training.evaluation.side_by_side import DrawingSettings, draw_side_by_side


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

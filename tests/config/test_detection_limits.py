"""Limits and anchors that follow from the sizes of the cells, worked by hand."""

import pytest

from tfod_csf.config.box_statistics import from_boxes
from tfod_csf.config.detection_limits import anchor_scales_for, anchor_sides, box_sides, limits_for
from tfod_csf.config.protos import anchor_generator_pb2, image_resizer_pb2


def kept(min_dimension, max_dimension):
    """A resizer that keeps the aspect ratio."""
    sides = {"min_dimension": min_dimension, "max_dimension": max_dimension}
    return image_resizer_pb2.ImageResizer(keep_aspect_ratio_resizer=sides)


def test_limits_are_above_the_most_crowded_image():
    sparse = limits_for(40)
    assert (sparse.max_number_of_boxes, sparse.max_detections, sparse.first_stage_max_proposals) == (300, 300, 300)
    small = limits_for(40, at_least=100)
    assert (small.max_number_of_boxes, small.max_detections, small.first_stage_max_proposals) == (100, 100, 100)
    crowded = limits_for(333)  # 333 -> 350; 499.5 -> 500; 666 -> 700
    assert (crowded.max_number_of_boxes, crowded.max_detections, crowded.first_stage_max_proposals) == (350, 500, 700)


def test_limits_of_round_numbers_are_not_rounded_further_and_no_boxes_have_the_least():
    exact = limits_for(400)  # 400; 600; 800
    assert (exact.max_number_of_boxes, exact.max_detections, exact.first_stage_max_proposals) == (400, 600, 800)
    none = limits_for(0, at_least=100)
    assert (none.max_number_of_boxes, none.max_detections, none.first_stage_max_proposals) == (100, 100, 100)


def test_box_sides_are_scaled_like_the_image():
    statistics = from_boxes([(1600, 1200, [(0, 0, 100, 100, "a")]), (640, 640, [(0, 0, 50, 50, "a")])])
    # 640x640: 640/1600 = 0.4 -> 40 px; 1.0 -> 50 px.  800x1333: min(800/1200, 1333/1600) = 2/3; 800/640 = 1.25
    small = box_sides(statistics, kept(640, 640))
    assert (small.small_px, small.large_px) == pytest.approx((40, 50))
    large = box_sides(statistics, kept(800, 1333))
    assert (large.small_px, large.large_px) == pytest.approx((62.5, 66.667), abs=1e-3)


def test_box_sides_are_stretched_like_the_image():
    # 960 x 480 to 1024 x 1024: factors 1024/960 and 1024/480, so 90 x 40 becomes 96 x 85.33, sqrt(8192) = 90.51.
    resizer = image_resizer_pb2.ImageResizer(fixed_shape_resizer={"height": 1024, "width": 1024})
    sides = box_sides(from_boxes([(960, 480, [(0, 0, 90, 40, "a")])]), resizer)
    assert sides.median_px == pytest.approx(90.51, abs=5e-3)
    # 60 high and 240 wide: a quarter of the width, an eighth of the height; sqrt(40 * 80) / sqrt(32) = 10
    resizer = image_resizer_pb2.ImageResizer(fixed_shape_resizer={"height": 60, "width": 240})
    sides = box_sides(from_boxes([(960, 480, [(0, 0, 40, 80, "a")])]), resizer)
    assert sides.median_px == pytest.approx(10)


def test_box_sides_of_images_that_keep_their_size_are_their_own():
    resizer = image_resizer_pb2.ImageResizer(identity_resizer={})
    sides = box_sides(from_boxes([(2400, 1200, [(0, 0, 90, 40, "a")])]), resizer)
    assert sides.median_px == pytest.approx(60)


def test_one_box_is_small_median_and_large():
    sides = box_sides(from_boxes([(640, 480, [(10, 10, 50, 100, "a")])]), kept(640, 640))  # sqrt(40 * 90) = 60
    assert (sides.small_px, sides.median_px, sides.large_px) == pytest.approx((60, 60, 60))


def test_quantiles_skip_the_smallest_and_largest_twentieth():
    # Sides 1 to 40 px: of 40 sorted values the ones at 0.05 * 40 = 2 and 0.95 * 40 = 38 are 3 and 39; the middle is 21.
    boxes = [(0, 0, side, side, "a") for side in range(1, 41)]
    sides = box_sides(from_boxes([(640, 640, boxes)]), kept(640, 640))
    assert (sides.small_px, sides.median_px, sides.large_px) == pytest.approx((3, 21, 39))


def test_the_few_cells_of_a_large_class_get_their_anchors_too():
    erythrocytes = [(0, 0, 30, 30, "erythrocyte")] * 99
    statistics = from_boxes([(640, 640, [*erythrocytes, (0, 0, 120, 120, "monocyte")])])
    sides = box_sides(statistics, kept(640, 640))
    assert (sides.small_px, sides.median_px, sides.large_px) == (30, 30, 120)


def test_anchor_scales_run_from_the_small_to_the_large_cells_in_equal_ratios():
    # 32 to 256 px: factor 8, at most six scales: steps of 8 ** 0.2
    assert anchor_scales_for(32, 256) == pytest.approx([0.125 * 8 ** (i / 5) for i in range(6)], abs=5e-4)
    # 40 to 120 px: factor 3 = 1.42 ** 3.13, so five scales in steps of 3 ** 0.25
    assert anchor_scales_for(40, 120) == pytest.approx([40 / 256 * 3 ** (i / 4) for i in range(5)], abs=5e-4)
    # one size only, 64 px: from 64 / sqrt 2 to 64 * sqrt 2
    assert anchor_scales_for(64, 64) == pytest.approx((0.1768, 0.2227, 0.2806, 0.3536), abs=5e-4)


def test_sides_of_a_configs_anchors():
    generator = anchor_generator_pb2.AnchorGenerator()
    assert anchor_sides(generator) == []
    grid = {"scales": [0.5, 0.25], "aspect_ratios": [0.5, 1.0], "width": 400, "height": 100}  # sqrt(400 * 100) = 200
    generator.grid_anchor_generator.MergeFrom(type(generator.grid_anchor_generator)(**grid))
    assert anchor_sides(generator) == [50, 100]
    pyramid = {"min_level": 3, "max_level": 4, "anchor_scale": 2, "scales_per_octave": 2}  # from 2 * 2 ** 3
    generator.multiscale_anchor_generator.MergeFrom(type(generator.multiscale_anchor_generator)(**pyramid))
    assert anchor_sides(generator) == pytest.approx([16, 22.63, 32, 45.25], abs=5e-3)

"""Counts and box sizes from annotations.csv; limits and anchors that follow from them."""

import pytest

from tfod_csf.config.box_statistics import from_annotations_csv, from_boxes
from tfod_csf.config.detection_limits import anchor_scales_for, box_sides, limits_for
from tfod_csf.errors import UserError

HEADER = "filename,width,height,class,xmin,ymin,xmax,ymax\n"


def _csv(tmp_path, *rows):
    path = tmp_path / "annotations.csv"
    path.write_text(HEADER + "".join(row + "\n" for row in rows), encoding="utf-8")
    return path


def test_boxes_are_counted_per_image_and_measured(tmp_path):
    path = _csv(
        tmp_path,
        "a.jpg,640,480,erythrocyte,0,0,30,30",
        "a.jpg,640,480,neutrophil,10,10,100,50",
        "p2/a.jpg,480,640,erythrocyte,0,0,40,10",
    )
    statistics = from_annotations_csv(path)
    assert (statistics.images, statistics.boxes, statistics.max_boxes_per_image) == (2, 3, 2)
    # sqrt(40 * 10) = 20, sqrt(30 * 30) = 30, sqrt(90 * 40) = 60
    assert statistics.box_sizes == (
        (20.0, 480.0, 640.0, "erythrocyte"),
        (30.0, 480.0, 640.0, "erythrocyte"),
        (60.0, 480.0, 640.0, "neutrophil"),
    )


def test_no_boxes_and_boxes_without_area(tmp_path):
    assert from_annotations_csv(_csv(tmp_path)).max_boxes_per_image == 0
    statistics = from_boxes([(100, 100, []), (100, 100, [(5, 5, 5, 9, "a")])])
    assert (statistics.images, statistics.boxes, statistics.box_sizes) == (1, 1, ())


def test_a_value_that_is_no_number_is_named_with_its_line(tmp_path):
    with pytest.raises(UserError, match=r"annotations\.csv, line 2: xmin is 'left'; expected a number"):
        from_annotations_csv(_csv(tmp_path, "a.jpg,640,480,monocyte,left,0,30,30"))


def test_limits_leave_room_above_the_most_crowded_image():
    sparse = limits_for(40)
    assert (sparse.max_number_of_boxes, sparse.max_detections, sparse.first_stage_max_proposals) == (300, 300, 300)
    small = limits_for(40, at_least=100)
    assert (small.max_number_of_boxes, small.max_detections, small.first_stage_max_proposals) == (100, 100, 100)
    crowded = limits_for(333)  # 333 -> 350; 499.5 -> 500; 666 -> 700
    assert (crowded.max_number_of_boxes, crowded.max_detections, crowded.first_stage_max_proposals) == (350, 500, 700)


def test_box_sides_are_scaled_like_the_image():
    statistics = from_boxes([(1600, 1200, [(0, 0, 100, 100, "a")]), (640, 640, [(0, 0, 50, 50, "a")])])
    # 640x640: 640/1600 = 0.4 -> 40 px; 1.0 -> 50 px.  800x1333: min(800/1200, 1333/1600) = 2/3; 800/640 = 1.25
    small = box_sides(statistics, 640, 640)
    assert (small.small_px, small.large_px) == pytest.approx((40, 50))
    large = box_sides(statistics, 800, 1333)
    assert (large.small_px, large.large_px) == pytest.approx((62.5, 66.667), abs=1e-3)


def test_the_few_cells_of_a_large_class_get_their_anchors_too():
    erythrocytes = [(0, 0, 30, 30, "erythrocyte")] * 99
    statistics = from_boxes([(640, 640, [*erythrocytes, (0, 0, 120, 120, "monocyte")])])
    sides = box_sides(statistics, 640, 640)
    assert (sides.small_px, sides.median_px, sides.large_px) == (30, 30, 120)


def test_anchor_scales_run_from_the_small_to_the_large_cells_in_equal_ratios():
    # 32 to 256 px: factor 8, at most six scales: steps of 8 ** 0.2
    assert anchor_scales_for(32, 256) == pytest.approx([0.125 * 8 ** (i / 5) for i in range(6)], abs=5e-4)
    # 40 to 120 px: factor 3 = 1.42 ** 3.13, so five scales in steps of 3 ** 0.25
    assert anchor_scales_for(40, 120) == pytest.approx([40 / 256 * 3 ** (i / 4) for i in range(5)], abs=5e-4)
    # one size only, 64 px: from 64 / sqrt 2 to 64 * sqrt 2
    assert anchor_scales_for(64, 64) == pytest.approx((0.1768, 0.2227, 0.2806, 0.3536), abs=5e-4)

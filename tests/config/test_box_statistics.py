"""Counts and box sizes from annotations.csv."""

import pytest

from tfod_csf.config.box_statistics import from_annotations_csv, from_boxes
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
        (20.0, 480.0, 640.0, "erythrocyte"),  # in an image of 480 x 640 px
        (30.0, 640.0, 480.0, "erythrocyte"),
        (60.0, 640.0, 480.0, "neutrophil"),
    )


def test_no_boxes_and_boxes_without_area(tmp_path):
    assert from_annotations_csv(_csv(tmp_path)).max_boxes_per_image == 0
    statistics = from_boxes([(100, 100, []), (100, 100, [(5, 5, 5, 9, "a")])])
    assert (statistics.images, statistics.boxes, statistics.box_sizes) == (1, 1, ())


def test_a_value_that_is_not_a_number_is_named_with_its_line(tmp_path):
    with pytest.raises(UserError, match=r"annotations\.csv, line 2: xmin is 'left'; expected a number"):
        from_annotations_csv(_csv(tmp_path, "a.jpg,640,480,monocyte,left,0,30,30"))

import numpy as np
import pytest

from tfod_csf import cell_classes
from tfod_csf.evaluation.confusion import NOTHING, MatrixEntry
from tfod_csf.evaluation.error_gallery import error_fields

NAMES = ["lymphocyte", "monocyte"]


def drawn(entries, size=(200, 100), truth=(), found=()):
    pixels = np.full([size[1], size[0], 3], 255, np.uint8)
    boxes = (np.array(some, float).reshape(-1, 4) for some in (truth, found))
    return np.asarray(error_fields.draw_field(pixels, entries, NAMES, *boxes))


def test_right_boxes_are_thin_and_mistakes_thick_in_the_color_of_the_class():
    box = [20, 20, 80, 80]
    right = drawn([MatrixEntry(0, 0, 0, 0)], truth=[box], found=[box])
    wrong = drawn([MatrixEntry(1, 0, 0, 0)], truth=[box], found=[box])
    blue = cell_classes.rgb_of("lymphocyte")
    assert tuple(right[50, 20]) == blue
    assert right[50, 22].min() == 255
    assert tuple(wrong[50, 20]) == tuple(wrong[50, 22]) == blue
    assert wrong[10, 20:40].min() < 255  # its sign, above the box


def test_a_missed_cell_has_a_dashed_box():
    picture = drawn([MatrixEntry(1, 2, 0, NOTHING)], truth=[[20, 20, 80, 80]])
    column = picture[30:75, 20]
    is_green = (column == cell_classes.rgb_of("monocyte")).all(axis=1)
    assert 0.2 < is_green.mean() < 0.8


def test_a_wide_image_becomes_smaller_and_a_box_far_outside_does_no_harm():
    picture = drawn([MatrixEntry(2, 0, NOTHING, 0)], size=(3000, 30), found=[[-1e8, -1e8, 1e8, 1e8]])
    assert picture.shape == (10, 1000, 3)
    assert drawn([MatrixEntry(1, 2, 0, NOTHING)], truth=[[-1e8, 1e8, 1e9, 1e9]]).shape == (100, 200, 3)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["lymphocyte"], ["L"]),
        (["basophil", "blast", "band"], ["Bas", "Bl", "Ban"]),
        (["cell", "Cell 2"], ["Cell", "Cell "]),
    ],
)
def test_abbreviations(names, expected):
    assert list(error_fields.abbreviations(names).values()) == expected

"""TIDE's types on cells 10 pixels wide: a shift of s pixels gives an IoU of (10 - s) / (10 + s)."""

import json
import math
import pathlib

import numpy as np
import pytest

from tfod_csf.evaluation.error_gallery.error_types import (
    BACKGROUND,
    BOTH,
    CLASSIFICATION,
    DUPLICATE,
    ERROR_TYPES,
    IGNORED,
    LOCALIZATION,
    MISSED,
    NO_CELL,
    RIGHT,
    ErrorCosts,
    LabeledCells,
    image_errors,
)

LYMPHOCYTE, MONOCYTE = 1, 2


def labeled(*cells, ignored=(), is_crowd=()):
    """Cells are (class, left side)."""
    boxes = np.array([[0.0, x, 10, x + 10] for _, x in cells]).reshape(-1, 4)
    classes = np.array([class_id for class_id, _ in cells], int)
    return LabeledCells(boxes, classes, np.array(ignored, float).reshape(-1, 4), np.array(is_crowd, bool))


def detected(*cells):
    """Boxes, classes and scores of (class, left side, score)."""
    boxes = np.array([[0.0, x, 10, x + 10] for _, x, _ in cells]).reshape(-1, 4)
    return boxes, np.array([cell[0] for cell in cells], int), np.array([cell[2] for cell in cells], float)


ALL_TYPES = labeled((1, 0), (2, 100), (1, 200), (1, 300), (2, 400))
OF_ALL_TYPES = detected((1, 0, 0.9), (1, 1, 0.8), (1, 100, 0.7), (1, 205, 0.6), (2, 305, 0.5), (2, 600, 0.4))


def test_every_type_by_hand():
    errors = image_errors(ALL_TYPES, *OF_ALL_TYPES)
    assert errors.types == (RIGHT, DUPLICATE, CLASSIFICATION, LOCALIZATION, BOTH, BACKGROUND)
    assert errors.cells.tolist() == [0, 0, 1, 2, 3, NO_CELL]
    assert errors.iou == pytest.approx([1, 9 / 11, 1, 5 / 15, 5 / 15, 0])
    assert errors.is_taken.tolist() == [True, False, False, False, False]
    # The confused and the badly placed cell stand for theirs; that beside the fourth is both, so the cell is missed.
    assert errors.is_missed.tolist() == [False, False, False, True, True]


def test_what_each_type_costs_by_hand():
    costs = ErrorCosts([LYMPHOCYTE, MONOCYTE])
    costs.add_image(ALL_TYPES, image_errors(ALL_TYPES, *OF_ALL_TYPES), *OF_ALL_TYPES[1:])
    # Lymphocytes: right, then three wrong, of 3 cells: 1/3. Monocytes: two wrong, of 2 cells: 0.
    assert costs.mean_ap() == pytest.approx((1 / 3 + 0) / 2)
    repaired = costs.repaired_mean_ap()
    assert repaired[CLASSIFICATION] == pytest.approx((1 / 3 + 1 / 2) / 2)  # the best monocyte is right
    assert repaired[LOCALIZATION] == pytest.approx((1 / 3 + 1 / 3 * 2 / 4 + 0) / 2)  # the fourth lymphocyte is right
    assert repaired[MISSED] == pytest.approx((1 / 2 + 0) / 2)  # 2 lymphocytes and 1 monocyte are left
    for kind in (BOTH, DUPLICATE, BACKGROUND):  # removing what comes behind the only right one
        assert repaired[kind] == pytest.approx(1 / 6)


def test_the_thresholds_belong_to_both_sides_and_the_order_decides():
    # Halves of each other: IoU 0.5 exactly, which finds the cell; one tenth of it: IoU 0.1 exactly.
    half, tenth = np.array([[0.0, 0, 10, 5]]), np.array([[0.0, 0, 10, 1]])
    own, other = labeled((1, 0)), labeled((2, 0))
    for boxes, cells, expected in (
        (half, own, RIGHT),
        (half, other, CLASSIFICATION),
        (tenth, own, LOCALIZATION),
        (tenth, other, BACKGROUND),
        (np.array([[0.0, 0, 10, 0.9]]), own, BACKGROUND),
        (np.array([[0.0, 0, 10, 1.1]]), other, BOTH),
    ):
        assert image_errors(cells, boxes, np.array([1]), np.array([0.9])).types == (expected,)


def test_the_better_score_takes_the_cell_in_whatever_order_they_come():
    errors = image_errors(labeled((1, 0)), *detected((1, 0, 0.3), (1, 1, 0.8)))
    assert errors.types == (DUPLICATE, RIGHT)


def test_a_second_choice_is_taken_where_the_first_is():
    """Two cells side by side, and two detections that overlap the first one most."""
    cells = labeled((1, 0), (1, 3))
    errors = image_errors(cells, *detected((1, 0, 0.9), (1, 1, 0.8)))
    assert errors.types == (RIGHT, RIGHT)
    assert errors.cells.tolist() == [0, 1]  # IoU 8 / 12 with the second


def test_of_two_errors_at_one_cell_only_the_better_is_repaired():
    cells, found = labeled((2, 0)), detected((1, 0, 0.9), (1, 1, 0.8))
    errors = image_errors(cells, *found)
    assert errors.types == (CLASSIFICATION, CLASSIFICATION)
    costs = ErrorCosts([1, 2])
    costs.add_image(cells, errors, *found[1:])
    assert costs.repaired_mean_ap()[CLASSIFICATION] == 1.0


def test_an_error_at_a_cell_that_was_found_is_removed_by_its_repair():
    cells, found = labeled((2, 0)), detected((2, 0, 0.5), (2, 5, 0.9))
    errors = image_errors(cells, *found)
    assert errors.types == (RIGHT, LOCALIZATION)
    costs = ErrorCosts([2])
    costs.add_image(cells, errors, *found[1:])
    assert costs.mean_ap() == 0.5
    assert costs.repaired_mean_ap()[LOCALIZATION] == 1.0


def test_a_class_of_which_nothing_is_left_counts_as_right_without_detections():
    cells, found = labeled((1, 0)), detected()
    costs = ErrorCosts([1])
    costs.add_image(cells, image_errors(cells, *found), *found[1:])
    assert (costs.mean_ap(), costs.repaired_mean_ap()[MISSED]) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("cells", "found", "types", "missed"),
    [
        (labeled(), detected(), (), []),
        (labeled((1, 0)), detected(), (), [True]),
        (labeled(), detected((1, 0, 0.9)), (BACKGROUND,), []),
        (labeled((1, 0)), detected((1, 0, 0.9)), (RIGHT,), [False]),
        # Rows of padding: boxes without area, score 0.
        (labeled((1, 0)), (np.zeros((3, 4)), np.ones(3, int), np.zeros(3)), (IGNORED,) * 3, [True]),
        (labeled(), (np.zeros((3, 4)), np.ones(3, int), np.zeros(3)), (IGNORED,) * 3, []),
    ],
)
def test_no_boxes_one_box_and_padding(cells, found, types, missed):
    errors = image_errors(cells, *found)
    assert errors.types == types
    assert errors.is_missed.tolist() == missed
    costs = ErrorCosts([1, 2])
    costs.add_image(cells, errors, *found[1:])
    assert costs.mean_ap() == (float(not missed[0]) if missed else pytest.approx(math.nan, nan_ok=True))


def test_ignored_boxes_count_neither_way():
    difficult, crowd = [0.0, 0, 10, 10], [0.0, 100, 10, 200]
    cells = labeled((1, 300), ignored=[difficult, crowd], is_crowd=[False, True])
    found = detected((2, 1, 0.9), (2, 150, 0.8), (2, 196, 0.7), (2, 6, 0.6))
    # On the difficult one; inside the crowd (IoU 0.1, but all of it); 4 of 10 pixels in the crowd; IoU 4/16.
    errors = image_errors(cells, *found)
    assert errors.types == (IGNORED, IGNORED, BACKGROUND, BACKGROUND)
    costs = ErrorCosts([1, 2])
    costs.add_image(cells, errors, *found[1:])
    assert costs.mean_ap() == 0.0


def test_cells_of_the_evaluators_dictionary():
    groundtruth = {
        "groundtruth_boxes": [[0, 0, 1, 1], [0, 0, 2, 2], [0, 0, 3, 3]],
        "groundtruth_classes": [2, 1, 1],
        "groundtruth_difficult": [False, True, True],
        "groundtruth_is_crowd": [False, False, True],
    }
    cells = LabeledCells.of(groundtruth)
    assert (cells.boxes.tolist(), cells.classes.tolist()) == ([[0, 0, 1, 1]], [2])
    assert (cells.ignored[:, 2].tolist(), cells.is_crowd.tolist()) == ([2, 3], [False, True])
    plain = LabeledCells.of({name: groundtruth[name] for name in ("groundtruth_boxes", "groundtruth_classes")})
    assert len(plain.boxes) == 3


@pytest.mark.parametrize("scene", json.loads(pathlib.Path(__file__).with_name("tidecv.json").read_text()))
def test_as_the_authors_program(scene):
    """Random scenes that tidecv 1.0.1 examined: it counts the same errors, which cost the same but for 101 recalls.

    It was changed in one thing: of the errors at one cell it repairs the best of each type, as the paper's text says,
    and not the best of all.
    """
    counts, costs = dict.fromkeys(ERROR_TYPES, 0), ErrorCosts([1, 2, 3])
    for image in scene["images"]:
        cells = LabeledCells(
            np.array(image["boxes"]).reshape(-1, 4),
            np.array(image["classes"], int),
            np.zeros((0, 4)),
            np.zeros(0, bool),
        )
        found = (np.array(image["found_boxes"]).reshape(-1, 4), np.array(image["found_classes"], int))
        scores = np.array(image["scores"], float)
        errors = image_errors(cells, *found, scores)
        costs.add_image(cells, errors, found[1], scores)
        for kind in errors.types:
            if kind != RIGHT:
                counts[kind] += 1
        counts[MISSED] += int(errors.is_missed.sum())
    assert counts == scene["counts"]
    assert 100 * costs.mean_ap() == pytest.approx(scene["mean_ap"], abs=0.5)  # it reads the curve at 101 recalls
    for kind, mean_ap in costs.repaired_mean_ap().items():
        assert 100 * (mean_ap - costs.mean_ap()) == pytest.approx(scene["gains"][kind], abs=0.5), kind

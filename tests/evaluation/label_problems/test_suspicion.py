"""A model against labels, by hand. Cells are squares of 10 px, which moved by d overlap (10 - d) / (10 + d)."""

import numpy as np
import pytest

from tfod_csf.evaluation.label_problems.suspicion import (
    BADLY_PLACED,
    DOUBLED,
    OVERLOOKED,
    SWAPPED,
    Found,
    Labels,
    suspicions,
)


def box(x: float, y: float = 0.0, size: float = 10.0) -> tuple[float, ...]:
    return y, x, y + size, x + size


def labels(*cells, ignored=()):
    return Labels(
        np.array([c[1] for c in cells]).reshape(-1, 4), [c[0] for c in cells], np.array(ignored).reshape(-1, 4)
    )


def found(*cells):
    boxes = np.array([cell[1] for cell in cells], np.float32).reshape(-1, 4)
    return Found(boxes, [cell[0] for cell in cells], np.array([cell[2] for cell in cells]))


def of(labeled, seen):
    return [(one.kind, round(one.score, 3), one.label) for one in suspicions(labeled, seen)]


def test_agreement_is_no_suspicion():
    assert of(labels(("a", box(0)), ("b", box(20))), found(("b", box(21), 0.9), ("a", box(1), 0.8))) == []
    assert of(labels(), found()) == []
    assert of(labels(("a", box(0))), found()) == []  # the model may overlook cells


def test_a_label_that_is_missing():
    seen = found(("a", box(0), 0.9), ("b", box(20), 0.8), ("b", box(40), 0.29))
    [one] = suspicions(labels(("a", box(0))), seen)
    assert (one.kind, one.label, one.label_class, one.suggested_class, one.label_box) == (
        OVERLOOKED,
        None,
        "",
        "b",
        None,
    )
    assert one.score == pytest.approx(0.8)
    assert one.suggested_box == box(20)


def test_a_cell_that_nobody_could_name_is_not_overlooked():
    assert of(labels(ignored=[box(1)]), found(("a", box(0), 0.9))) == []
    # Moved by 6: overlap 4 / 16.
    assert of(labels(ignored=[box(6)]), found(("a", box(0), 0.8))) == [(OVERLOOKED, 0.6, None)]


def test_a_cell_that_nobody_could_name_contradicts_no_label_that_it_touches():
    # The model finds the ignored cell; the label is moved by 7 from it, overlap 3 / 17 = 0.18.
    seen = found(("a", box(7), 0.95))
    assert of(labels(("b", box(0)), ignored=[box(7)]), seen) == []
    # Without it the same detection says that the label is at the wrong place.
    assert of(labels(("b", box(0))), seen) == [(BADLY_PLACED, 0.95, 0)]
    # Nor does it say that two labels, 2 and 3 from it (8 / 12, 7 / 13) and 1 from each other, are one cell.
    assert of(labels(("a", box(5)), ("a", box(4)), ignored=[box(7)]), seen) == []
    # The label's own cell, which an ignored one overlaps by 7 / 13, is still contradicted.
    assert of(labels(("b", box(7)), ignored=[box(10)]), seen) == [(SWAPPED, 0.95, 0)]


def test_a_label_of_another_class():
    [one] = suspicions(labels(("a", box(0)), ("a", box(20))), found(("b", box(0), 0.9), ("a", box(20), 0.9)))
    assert (one.kind, one.label, one.label_class, one.suggested_class) == (SWAPPED, 0, "a", "b")
    assert (one.score, one.iou) == (pytest.approx(0.9), 1.0)


def test_a_box_at_another_place():
    # Moved by 3: overlap 7 / 13; doubt (0.7 - 7 / 13) / 0.3. By 5: 5 / 15, beyond doubt. By 1: 9 / 11, well placed.
    for distance, expected in (
        (3, [(BADLY_PLACED, round(0.9 * (0.7 - 7 / 13) / 0.3, 3), 0)]),
        (5, [(BADLY_PLACED, 0.9, 0)]),
        (1, []),
    ):
        assert of(labels(("a", box(0))), found(("a", box(distance), 0.9))) == expected
    # Of another class at another place: the place is wrong.
    assert of(labels(("a", box(0))), found(("b", box(5), 0.9))) == [(BADLY_PLACED, 0.9, 0)]


def test_two_labels_on_one_cell():
    # The second is moved by 1, 9 / 11; the first is where the model finds the cell.
    labeled = labels(("a", box(1)), ("a", box(0)))
    [one] = suspicions(labeled, found(("a", box(0), 0.9)))
    assert (one.kind, one.label, round(one.iou, 3)) == (DOUBLED, 0, round(9 / 11, 3))
    assert one.score == pytest.approx(0.9)
    # The label of another class is the worse one, wherever it is.
    [one] = suspicions(labels(("b", box(0)), ("a", box(1))), found(("a", box(0), 0.9)))
    assert (one.kind, one.label) == (DOUBLED, 0)


def test_two_cells_close_to_each_other_are_not_one_labeled_twice():
    # Labels moved by 3 overlap by 7 / 13; the model finds both cells.
    labeled = labels(("a", box(0)), ("a", box(3)))
    weak = round(0.9 * (7 / 13) / 0.7 * (1 - 0.95), 3)
    assert of(labeled, found(("a", box(0), 0.9), ("a", box(3), 0.95))) == [(DOUBLED, weak, 1)]
    assert of(labeled, found()) == []


def test_a_label_has_one_suspicion_and_the_strongest_comes_first():
    labeled = labels(("a", box(0)), ("a", box(1)), ("b", box(20)))
    seen = found(("b", box(0), 0.5), ("a", box(20), 0.7), ("a", box(60), 0.6))
    kinds = of(labeled, seen)
    assert [score for _, score, _ in kinds] == sorted((score for _, score, _ in kinds), reverse=True)
    numbers = [label for *_, label in kinds if label is not None]
    assert len(numbers) == len(set(numbers))

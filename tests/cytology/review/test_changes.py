import pytest

from tfod_csf.cytology.review.changes import compare
from tfod_csf.cytology.review.sidecar import ShownCell
from tfod_csf.study.labelimg import LabeledObject


def _shown(cell_id, name, box):
    return ShownCell(cell_id, name, int(name == "unknown"), box, 0.9, name)


def _kinds(shown, objects):
    return [(d.shown.cell_id if d.shown else None, d.kinds) for d in compare(shown, objects, 0.5)]


FIRST = _shown(1, "lymphocyte", (0, 5, 10, 15))
SECOND = _shown(2, "unknown", (20, 5, 30, 15))


def test_what_labelimg_does_when_it_only_saves_is_no_change():
    # LabelImg makes 0 to 1 and cuts fractions off.
    objects = [LabeledObject("lymphocyte", 1, 5, 10, 15), LabeledObject("unknown", 20, 5, 30, 15, difficult=1)]
    assert _kinds([FIRST, SECOND], objects) == [(1, ("kept",)), (2, ("kept",))]


def test_every_kind_of_change():
    objects = [
        LabeledObject("monocyte", 22, 5, 32, 15),  # 8 x 10 over 12 x 10: IoU 0.67, relabelled and moved
        LabeledObject("neutrophil", 40, 30, 50, 40),
    ]
    decisions = compare([FIRST, SECOND], objects, 0.5)
    assert [d.kinds for d in decisions] == [("deleted",), ("relabelled", "moved"), ("added",)]
    assert decisions[1].iou == pytest.approx(8 / 12)


def test_a_box_drawn_elsewhere_is_deleted_and_added():
    # 3 x 10 over 17 x 10: IoU 0.18.
    objects = [LabeledObject("lymphocyte", 7, 5, 17, 15)]
    assert _kinds([FIRST], objects) == [(1, ("deleted",)), (None, ("added",))]


def test_one_box_is_one_cell_even_when_two_were_shown_there():
    shown = [_shown(1, "lymphocyte", (0, 0, 10, 10)), _shown(2, "monocyte", (0, 0, 10, 12))]
    objects = [LabeledObject("monocyte", 0, 0, 10, 12)]
    assert _kinds(shown, objects) == [(1, ("deleted",)), (2, ("kept",))]


def test_cells_whose_boxes_are_the_same_keep_their_own_names():
    shown = [_shown(1, "lymphocyte", (5, 5, 10, 10)), _shown(2, "monocyte", (5, 5, 10, 10))]
    objects = [LabeledObject("monocyte", 5, 5, 10, 10), LabeledObject("lymphocyte", 5, 5, 10, 10)]
    assert _kinds(shown, objects) == [(1, ("kept",)), (2, ("kept",))]


def test_nothing_shown_and_nothing_found():
    assert compare([], [], 0.5) == []
    assert _kinds([], [LabeledObject("lymphocyte", 1, 1, 5, 5)]) == [(None, ("added",))]
    assert _kinds([FIRST], []) == [(1, ("deleted",))]

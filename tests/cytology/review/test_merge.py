import dataclasses

import pytest

from tfod_csf.cytology.cell_rows import Cell
from tfod_csf.cytology.review.changes import compare
from tfod_csf.cytology.review.export import shown_cell
from tfod_csf.cytology.review.merge import AS_UNKNOWN, NEWEST, REFUSE, MergeRules, change_counts, merge_image
from tfod_csf.study.labelimg import LabeledObject

BOXES = {1: (0.4, 5.0, 10.0, 15.0), 2: (20.0, 5.0, 30.0, 15.0), 3: (40.0, 30.0, 50.0, 40.0)}
IMAGE = ("p", "a.jpg")


def _cell(cell_id, name, score=0.9, **more):
    status = "counted" if score >= 0.8 else "unknown"
    counted_as = name if status == "counted" else "unknown"
    cell = Cell(*IMAGE, cell_id, "m", BOXES[cell_id], name, score, {}, status, counted_as)
    return dataclasses.replace(cell, **more)


MACHINE = (_cell(1, "lymphocyte"), _cell(2, "monocyte", 0.6))


def _objects(**names):
    return [LabeledObject(name, *map(round, BOXES[int(key[1:])])) for key, name in names.items()]


def _merge(current, shown, objects, is_verified=False, disagreements=REFUSE):
    decisions = compare([shown_cell(cell) for cell in shown], objects, 0.5)
    return merge_image(IMAGE, current, decisions, is_verified, MergeRules("m", 0.5, disagreements))


def _state(merged):
    return {cell_id: (cell.counted_as, cell.status) for cell_id, cell in merged.cells.items()}


def test_saving_alone_decides_nothing():
    merged = _merge(MACHINE, MACHINE, _objects(c1="lymphocyte", c2="unknown"))
    assert _state(merged) == {1: ("lymphocyte", "counted"), 2: ("unknown", "unknown")}
    assert merged.rows == []
    assert merged.cells[1].box == BOXES[1], "the machine's fractions stay where nobody moved the box"


def test_a_verified_image_decides_every_cell_also_those_that_stay_unknown():
    merged = _merge(MACHINE, MACHINE, _objects(c1="lymphocyte", c2="unknown"), is_verified=True)
    assert _state(merged) == {1: ("lymphocyte", "confirmed"), 2: ("unknown", "confirmed")}


def test_unknown_cells_counted_as_predicted_are_unknown_once_a_person_says_so():
    as_predicted = dataclasses.replace(MACHINE[1], counted_as="monocyte")
    left = _merge([as_predicted], [as_predicted], _objects(c2="unknown"))
    assert _state(left) == {2: ("monocyte", "unknown")}
    verified = _merge([as_predicted], [as_predicted], _objects(c2="unknown"), is_verified=True)
    assert _state(verified) == {2: ("unknown", "confirmed")}


def test_an_unknown_cell_that_gets_a_class_is_counted_under_it():
    merged = _merge(MACHINE, MACHINE, _objects(c1="lymphocyte", c2="neutrophil"))
    assert _state(merged) == {1: ("lymphocyte", "counted"), 2: ("neutrophil", "relabelled")}
    (row,) = merged.rows
    assert (row["change"], row["class_before"], row["class_after"], row["predicted_class"]) == (
        "relabelled",
        "unknown",
        "neutrophil",
        "monocyte",
    )


def test_deleted_added_and_moved_cells():
    objects = [*_objects(c3="monocyte"), LabeledObject("unknown", 22, 5, 32, 15)]
    merged = _merge(MACHINE, MACHINE, objects)
    assert _state(merged) == {1: ("", "deleted"), 2: ("unknown", "unknown"), 3: ("monocyte", "added")}
    assert merged.cells[2].box == (22.0, 5.0, 32.0, 15.0)
    assert merged.cells[3].score is None
    assert sorted(row["change"] for row in merged.rows) == ["added", "deleted", "moved"]


def test_ids_of_removed_cells_are_not_given_again():
    removed = _cell(2, "monocyte", status="deleted", counted_as="")
    merged = _merge((MACHINE[0], removed), MACHINE[:1], _objects(c1="lymphocyte", c3="monocyte"))
    assert set(merged.cells) == {1, 2, 3}


def test_two_reviewers_who_agree_do_not_disagree():
    first = _merge(MACHINE, MACHINE, _objects(c2="monocyte", c3="neutrophil")).cells.values()
    second = _merge(first, MACHINE, _objects(c2="monocyte", c3="neutrophil"), is_verified=True)
    assert second.disagreements == []
    assert second.rows == []
    assert _state(second) == {1: ("", "deleted"), 2: ("monocyte", "relabelled"), 3: ("neutrophil", "added")}


@pytest.mark.parametrize(
    ("objects", "is_verified", "cell_id", "newest_name"),
    [
        # Another class.
        (_objects(c1="lymphocyte", c2="neutrophil", c3="monocyte"), False, 2, "neutrophil"),
        # Deleted, where the first gave a class.
        (_objects(c1="lymphocyte", c3="monocyte"), False, 2, ""),
        # Vouches for an image on which the first changed a cell.
        (_objects(c1="lymphocyte", c2="unknown", c3="monocyte"), True, 2, "unknown"),
        # Added by both, with two classes.
        (_objects(c1="lymphocyte", c2="monocyte", c3="neutrophil"), False, 3, "neutrophil"),
        # Vouches for an image without the cell the first added.
        (_objects(c1="lymphocyte", c2="monocyte"), True, 3, ""),
    ],
)
def test_two_reviewers_who_disagree(objects, is_verified, cell_id, newest_name):
    first = _merge(MACHINE, MACHINE, _objects(c1="lymphocyte", c2="monocyte", c3="monocyte")).cells.values()
    refused = _merge(first, MACHINE, objects, is_verified)
    assert len(refused.disagreements) == 1
    unknown = _merge(first, MACHINE, objects, is_verified, AS_UNKNOWN)
    assert _state(unknown)[cell_id] == ("unknown", "disputed")
    newest = _merge(first, MACHINE, objects, is_verified, NEWEST)
    assert newest.cells[cell_id].label == newest_name
    assert [row["change"] for row in newest.rows] == ["disagreement"]


def test_what_the_second_reviewer_did_not_touch_stays_as_the_first_left_it():
    first = _merge(MACHINE, MACHINE, _objects(c2="monocyte")).cells.values()
    second = _merge(first, MACHINE, _objects(c1="lymphocyte", c2="unknown", c3="neutrophil"))
    assert second.disagreements == []
    assert _state(second) == {1: ("", "deleted"), 2: ("monocyte", "relabelled"), 3: ("neutrophil", "added")}


def test_no_cells():
    merged = _merge((), (), [], is_verified=True)
    assert (merged.cells, merged.rows, merged.ids) == ({}, [], [])
    assert set(change_counts([]).values()) == {0}

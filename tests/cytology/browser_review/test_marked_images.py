"""What decisions make of a patient's cells; numbers worked out by hand."""

import pytest

from tfod_csf.cytology.browser_review.marked_images import MarkedPatient, Progress, RefusedDecisionError, progress
from tfod_csf.cytology.review.sidecar import ShownCell, ShownImage, Sidecar

NAMES = ("lymphocyte", "monocyte", "neutrophil", "erythrocyte", "unknown")
CELLS = (
    ShownCell(1, "lymphocyte", 0, (1, 2, 11, 12), 0.95, "lymphocyte"),
    ShownCell(2, "unknown", 1, (20, 5, 30, 15), 0.6, "monocyte"),
    ShownCell(3, "unknown", 1, (40, 5, 50, 15), 0.6, "Erythrocyte"),
)


def shown(image, cells=CELLS):
    return ShownImage(image, "0" * 64, 64, 48, "1" * 64, False, cells)


def sidecar(sampled=()):
    images = {"p__a.jpg": shown("a.jpg"), "p__b.jpg": shown("b.jpg", ())}
    return Sidecar("id", "2022", "p", "p", "m", NAMES, "2" * 64, 0, "", {}, images, sampled)


def name(number, cell, name, image="p__a.jpg"):
    return {"number": number, "action": "name", "image": image, "cell": cell, "name": name}


def draw(number, box=(5, 20, 15, 30)):
    return {"number": number, "action": "draw", "image": "p__a.jpg", "name": "unknown", "box": list(box)}


def move(number, cell, box):
    return {"number": number, "action": "move", "image": "p__a.jpg", "cell": cell, "box": list(box)}


def undo(number, undoes):
    return {"number": number, "action": "undo", "undoes": undoes}


def verify(number, image="p__a.jpg", action="verify"):
    return {"number": number, "action": action, "image": image}


def cells(patient, image="p__a.jpg"):
    return {cell_id: cell.name for cell_id, cell in patient.images[image].cells.items()}


def test_cells_are_named_removed_and_drawn():
    patient = MarkedPatient(sidecar(), [name(7, 2, "monocyte"), name(8, 1, ""), draw(9), name(10, -9, "neutrophil")])
    assert cells(patient) == {1: "", 2: "monocyte", 3: "unknown", -9: "neutrophil"}
    assert patient.images["p__a.jpg"].cells[-9].box == (5, 20, 15, 30)
    assert (patient.version, patient.images["p__a.jpg"].version, patient.images["p__b.jpg"].version) == (10, 10, 0)


def test_undo_is_as_if_the_decision_had_never_been_made():
    made = [name(1, 1, "monocyte"), draw(2), verify(3), name(4, 1, "neutrophil")]
    patient = MarkedPatient(sidecar(), [*made, undo(5, 4)])
    assert cells(patient) == {1: "monocyte", 2: "unknown", 3: "unknown", -2: "unknown"}
    assert patient.last_decision == verify(3)
    patient.apply(undo(6, 3))
    patient.apply(undo(7, 2))
    assert not patient.images["p__a.jpg"].is_verified
    assert cells(patient) == {1: "monocyte", 2: "unknown", 3: "unknown"}
    patient.apply(undo(8, 1))
    assert cells(patient) == {1: "lymphocyte", 2: "unknown", 3: "unknown"}
    assert (patient.last_decision, patient.version, patient.images["p__a.jpg"].version) == (None, 8, 8)


def test_a_moved_box_keeps_its_name_and_is_not_decided_by_it():
    patient = MarkedPatient(sidecar(), [move(1, 2, (22, 8, 33, 19)), draw(2), move(3, -2, (4, 20, 15, 30))])
    moved = patient.images["p__a.jpg"].cells
    assert (moved[2].box, moved[2].name, moved[2].version, moved[-2].box) == (
        (22, 8, 33, 19), "unknown", 1, (4, 20, 15, 30)
    )  # fmt: skip
    assert progress(patient) == Progress(cells=4, decided=1, unknown_left=1, images=2, verified=0)
    patient.apply(undo(4, 2))  # the drawn cell goes, and what was said of it has nothing to apply to
    assert set(patient.images["p__a.jpg"].cells) == {1, 2, 3}
    patient.apply(undo(5, 1))
    assert patient.images["p__a.jpg"].cells[2].box == (20, 5, 30, 15)


def test_one_by_one_is_as_all_at_once():
    entries = [draw(1), name(2, -1, "monocyte"), verify(3), undo(4, 3), verify(5, "p__b.jpg"), undo(6, 5), undo(7, 2)]
    at_once, one_by_one = MarkedPatient(sidecar(), entries), MarkedPatient(sidecar())
    for entry in entries:
        one_by_one.apply(entry)
    assert one_by_one.images == at_once.images
    assert cells(at_once)[-1] == "unknown"


@pytest.mark.parametrize(
    ("entry", "seen", "says"),
    [
        (name(0, 1, "monocyte"), 0, "changed in another window"),  # window B has not seen that A named it
        (name(0, 1, "monocyte"), 2, "changed in another window"),
        (name(0, 2, "plasma cell"), 0, "not a class"),
        (name(0, 9, "monocyte"), 0, "no longer there"),
        (name(0, 1, "monocyte", "p__c.jpg"), 0, "no such image"),
        (verify(0), 0, "changed in another window"),
        (undo(0, 0), 0, "changed in another window"),
        (move(0, 1, (2, 2, 12, 12)), 0, "changed in another window"),
        (move(0, 9, (2, 2, 12, 12)), 0, "no longer there"),
        (move(0, 1, (60, 2, 70, 12)), 1, "narrow or not in the image"),
        (draw(0, (-1, 0, 10, 10)), 1, "narrow or not in the image"),
        (draw(0, (10, 0, 11, 10)), 1, "narrow or not in the image"),
        (draw(0, (10, 0, 65, 10)), 1, "narrow or not in the image"),
        (draw(0, (0, 40, 10, 49)), 1, "low or not in the image"),
        (draw(0, (0, 20, 10, 10)), 1, "low or not in the image"),
    ],
)
def test_what_cannot_be_taken_says_why(entry, seen, says):
    patient = MarkedPatient(sidecar(), [name(1, 1, "neutrophil")])
    with pytest.raises(RefusedDecisionError, match=says):
        patient.check(entry, seen)


def test_what_was_seen_can_be_decided():
    patient = MarkedPatient(sidecar(), [name(1, 1, "neutrophil")])
    patient.check(move(0, 1, (54, 38, 64, 48)), 1)
    for entry, seen in [(name(0, 1, ""), 1), (name(0, 2, "unknown"), 0), (verify(0), 1), (draw(0, (0, 0, 64, 48)), 0)]:
        patient.check(entry, seen)
    patient.check(undo(0, 0), 1)
    patient.apply(undo(2, 1))
    with pytest.raises(RefusedDecisionError, match="nothing to undo"):
        patient.check(undo(0, 0), 2)


def test_progress_counts_cells_and_the_images_that_have_to_be_verified():
    patient = MarkedPatient(sidecar(), [])
    # Cell 3 is most likely an erythrocyte, which no percentage needs.
    assert progress(patient) == Progress(cells=3, decided=0, unknown_left=1, images=2, verified=0)
    patient.apply(name(1, 1, "lymphocyte"))
    patient.apply(name(2, 2, "unknown"))
    assert progress(patient) == Progress(cells=3, decided=2, unknown_left=0, images=2, verified=0)
    patient.apply(verify(3))
    assert progress(patient) == Progress(cells=3, decided=3, unknown_left=0, images=2, verified=1)
    sampled = MarkedPatient(sidecar(("b.jpg",)), [verify(1)])
    assert progress(sampled) == Progress(cells=3, decided=3, unknown_left=0, images=1, verified=0)

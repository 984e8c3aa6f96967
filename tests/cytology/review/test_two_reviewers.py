"""Two people review the same patient: no review is lost, whoever comes first, and every disagreement is seen."""

import json
import shutil

import pytest

from tests.support import examined_study
from tests.support.review_desk import Desk, edit, nothing, rename
from tfod_csf import provenance
from tfod_csf.cytology import cell_rows
from tfod_csf.cytology.review import revisions
from tfod_csf.cytology.review.revisions import RevisionError
from tfod_csf.study.labelimg import LabeledObject

SURE = ("lymphocyte", 0.95, (1.0, 2.0, 11.0, 12.0))
UNSURE = ("monocyte", 0.6, (20.0, 5.0, 30.0, 15.0))
ADDED = LabeledObject("neutrophil", 5, 30, 15, 40)


@pytest.fixture
def desk(tmp_path):
    return Desk(examined_study.write_study(tmp_path, {"p": {"a.jpg": [SURE, UNSURE], "b.jpg": [SURE]}}), tmp_path)


def _xml(review, image="a"):
    return review / "p" / f"p__{image}.xml"


def _patient(desk):
    return {path: path.read_bytes() for path in (desk.output / "patients").rglob("*") if path.is_file()}


def _newest(desk):
    return revisions.read_revisions(desk.output / "patients" / "p")[-1]


def move(annotation):
    annotation.objects[0].xmin += 3
    annotation.objects[0].xmax += 3


def move_elsewhere(annotation):
    annotation.objects[0].ymin += 3
    annotation.objects[0].ymax += 3


def add(annotation):
    annotation.objects.append(ADDED)


def delete(annotation):
    del annotation.objects[0]


# Copied exports.


@pytest.mark.parametrize("disagreements", ["refuse", "unknown", "newest"])
def test_a_copied_export_cannot_be_imported_under_another_name(desk, capsys, disagreements):
    review = desk.export()
    copy = shutil.copytree(review, desk.root / "copy")
    edit(_xml(review), rename(1, "monocyte"), verified=True)
    edit(_xml(review, "b"), delete, verified=True)
    assert desk.take(review, reviewer="A") == 0
    before = _patient(desk)
    assert desk.take(copy, f"--disagreements={disagreements}", reviewer="B") == 1
    error = capsys.readouterr().err
    assert "A has imported this export of patient 'p' (revision 1)" in error
    assert "run review_export again for B and review that folder" in error
    assert _patient(desk) == before
    (summary,) = desk.rows("review_summary.csv")
    assert (summary["reviewers"], summary["images_verified"], summary["unknown_after"]) == ("A", "2", "0")


def test_what_was_done_in_a_copy_is_refused_too(desk):
    review = desk.export()
    copy = shutil.copytree(review, desk.root / "copy")
    edit(_xml(review), rename(1, "monocyte"))
    edit(_xml(copy), rename(1, "neutrophil"))
    assert desk.take(review, reviewer="A") == 0
    assert desk.take(copy, reviewer="B") == 1
    assert desk.cells("p")["a.jpg", 2] == ("monocyte", "relabelled")
    # The way out that the message names.
    own = desk.export("own")
    edit(_xml(own), rename(1, "monocyte"))
    assert desk.take(own, reviewer="B") == 0


def test_a_copy_of_which_nothing_was_imported_belongs_to_nobody(desk):
    review = desk.export()
    copy = shutil.copytree(review, desk.root / "copy")
    assert desk.take(review, reviewer="A") == 0
    edit(_xml(copy), rename(1, "neutrophil"))
    assert desk.take(copy, reviewer="B") == 0
    assert desk.cells("p")["a.jpg", 2] == ("neutrophil", "relabelled")


def test_an_old_copy_of_ones_own_folder_takes_nothing_back(desk):
    review = desk.export()
    copy = shutil.copytree(review, desk.root / "copy")
    edit(_xml(review), rename(1, "monocyte"), verified=True)
    edit(_xml(copy, "b"), rename(0, "neutrophil"))
    assert desk.take(review) == 0
    assert desk.take(copy) == 0
    assert desk.cells("p") == {
        ("a.jpg", 1): ("lymphocyte", "confirmed"),
        ("a.jpg", 2): ("monocyte", "relabelled"),
        ("b.jpg", 1): ("neutrophil", "relabelled"),
    }
    assert set(_newest(desk).record["images_verified"]) == {"a.jpg"}
    (row,) = [row for row in desk.rows("problems.csv") if row["file"].endswith("p__a.xml")]
    assert "as it was exported, although an edited one has been imported" in row["reason"]


@pytest.mark.parametrize("spelling", ["dr li", " DR  Li ", "Ｄr Li"])
def test_a_name_spelled_differently_is_the_same_person(desk, spelling):
    review = desk.export()
    edit(_xml(review), rename(1, "monocyte"), verified=True)
    assert desk.take(review, reviewer="Dr Li") == 0
    edit(_xml(review), rename(1, "neutrophil"), verified=True)
    assert desk.take(review, reviewer=spelling) == 0
    assert desk.cells("p")["a.jpg", 2] == ("neutrophil", "relabelled")
    assert _newest(desk).record["images_verified"] == {"a.jpg": ["Dr Li"]}
    (summary,) = desk.rows("review_summary.csv")
    assert (summary["reviewers"], summary["revisions"]) == ("Dr Li", "2")


# Disagreements, in both orders: (what A does, whether A verifies, what B does, whether B verifies, the cell).

PAIRS = {
    "confirmed and relabelled": (nothing, True, rename(0, "monocyte"), False, 1),
    "confirmed unknown and relabelled": (nothing, True, rename(1, "monocyte"), False, 2),
    "confirmed and deleted": (nothing, True, delete, False, 1),
    "relabelled and deleted": (rename(0, "monocyte"), False, delete, False, 1),
    "confirmed and added": (nothing, True, add, False, 3),
    "both verified, two classes": (rename(1, "monocyte"), True, rename(1, "neutrophil"), True, 2),
    "both verified, one adds": (nothing, True, add, True, 3),
    "moved and deleted": (move, False, delete, False, 1),
}


@pytest.mark.parametrize("is_turned", [False, True])
@pytest.mark.parametrize("pair", PAIRS)
def test_a_disagreement_is_seen_whoever_comes_first(desk, capsys, pair, is_turned):
    a, a_verifies, b, b_verifies, cell_id = PAIRS[pair]
    folders = {"A": desk.export("first"), "B": desk.export("second")}
    edit(_xml(folders["A"]), a, verified=a_verifies)
    edit(_xml(folders["B"]), b, verified=b_verifies)
    first, second = ("B", "A") if is_turned else ("A", "B")
    assert desk.take(folders[first], reviewer=first) == 0
    before, cells = _patient(desk), desk.cells("p")
    assert desk.take(folders[second], reviewer=second) == 1
    error = capsys.readouterr().err
    assert "1 cell was decided differently in an earlier review" in error
    assert f"a.jpg, cell {cell_id}: " in error
    assert f"({first} " in error
    assert _patient(desk) == before
    assert desk.take(folders[second], "--disagreements=unknown", reviewer=second) == 0
    assert desk.cells("p")["a.jpg", cell_id] == ("unknown", "disputed")
    # Nothing else has changed but what it says of itself.
    assert {key for key, (name, _) in cells.items() if desk.cells("p")[key][0] != name} <= {("a.jpg", cell_id)}
    # Once more is no new statement.
    number = _newest(desk).number
    assert desk.take(folders[second], reviewer=second) == 0
    assert _newest(desk).number == number


@pytest.mark.parametrize("is_turned", [False, True])
@pytest.mark.parametrize("pair", PAIRS)
def test_the_newest_decision_holds_and_whoever_is_overruled_vouches_no_longer(desk, pair, is_turned):
    a, a_verifies, b, b_verifies, cell_id = PAIRS[pair]
    folders = {"A": (a, a_verifies), "B": (b, b_verifies)}
    exports = {reviewer: desk.export(reviewer) for reviewer in folders}
    first, second = ("B", "A") if is_turned else ("A", "B")
    for reviewer, (change, verified) in folders.items():
        edit(_xml(exports[reviewer]), change, verified=verified)
    alone = desk.root / "alone"
    assert desk.take(exports[second], f"--output_dir={alone}", reviewer=second) == 0
    assert desk.take(exports[first], reviewer=first) == 0
    assert desk.take(exports[second], "--disagreements=newest", reviewer=second) == 0
    names = {key: name for key, (name, _) in desk.cells("p").items()}
    # As if the second had reviewed alone.
    assert names["a.jpg", cell_id] == _name_in(alone / "patients" / "p" / "cells.csv", cell_id)
    vouching = _newest(desk).record["images_verified"].get("a.jpg", [])
    assert vouching == ([second] if folders[second][1] else [])


def _name_in(path, cell_id):
    cells = cell_rows.read_cells(path).cells
    return next((cell.label for cell in cells if (cell.image, cell.cell_id) == ("a.jpg", cell_id)), "")


@pytest.mark.parametrize("is_turned", [False, True])
@pytest.mark.parametrize(("a", "b"), [(nothing, move), (move_elsewhere, move)])
def test_two_places_of_a_cell_are_a_disagreement_that_leaves_its_class(desk, capsys, a, b, is_turned):
    folders = {"A": desk.export("first"), "B": desk.export("second")}
    edit(_xml(folders["A"]), a, verified=True)
    edit(_xml(folders["B"]), b)
    first, second = ("B", "A") if is_turned else ("A", "B")
    assert desk.take(folders[first], reviewer=first) == 0
    assert desk.take(folders[second], reviewer=second) == 1
    error = capsys.readouterr().err
    assert "the box of lymphocyte is" in error
    assert f"({first} placed it before)" in error
    box = {row["cell_id"]: row["xmin"] for row in desk.rows("patients/p/cells.csv")}["1"]
    assert desk.take(folders[second], "--disagreements=unknown", reviewer=second) == 0
    assert {row["cell_id"]: row["xmin"] for row in desk.rows("patients/p/cells.csv")}["1"] == box
    assert desk.cells("p")["a.jpg", 1][0] == "lymphocyte"
    assert [row["change"] for row in desk.rows("review_changes.csv")].count("disagreement") == 1


def test_the_two_of_a_dispute_can_agree_afterwards(desk):
    first, second = desk.export("first"), desk.export("second")
    edit(_xml(first), nothing, verified=True)
    edit(_xml(second), rename(0, "monocyte"), verified=True)
    assert desk.take(first, reviewer="A") == 0
    assert desk.take(second, "--disagreements=unknown", reviewer="B") == 0
    edit(_xml(second), rename(0, "neutrophil"), verified=True)
    assert desk.take(second, reviewer="B") == 1, "a third class is not A's either"
    edit(_xml(second), rename(0, "lymphocyte"), verified=True)
    assert desk.take(second, reviewer="B") == 0
    assert desk.cells("p")["a.jpg", 1] == ("lymphocyte", "relabelled")
    assert _newest(desk).record["images_verified"] == {"a.jpg": ["A", "B"]}


def test_a_party_does_not_settle_its_own_dispute_with_a_new_export(desk):
    first, second = desk.export("first"), desk.export("second")
    edit(_xml(first), nothing, verified=True)
    edit(_xml(second), rename(0, "monocyte"))
    assert desk.take(first, reviewer="A") == 0
    assert desk.take(second, "--disagreements=unknown", reviewer="B") == 0
    again = desk.export("again", source=desk.output)
    edit(_xml(again), rename(0, "lymphocyte"))
    assert desk.take(again, reviewer="A") == 1


def test_a_second_look_that_contradicts_the_first_is_said(desk, capsys):
    review = desk.export()
    edit(_xml(review), nothing, verified=True)
    assert desk.take(review, reviewer="A") == 0
    look = desk.export("look", source=desk.output)
    edit(_xml(look), rename(0, "monocyte"))
    assert desk.take(look, reviewer="B") == 1
    assert "lymphocyte before, now monocyte (A said lymphocyte)" in capsys.readouterr().err
    assert desk.take(look, "--disagreements=newest", reviewer="B") == 0
    assert _newest(desk).record["images_verified"] == {}, "nobody has checked the image as it is now"


def test_two_who_agree_are_both_on_record(desk):
    first, second = desk.export("first"), desk.export("second")
    for review, reviewer in ((first, "A"), (second, "B")):
        edit(_xml(review), rename(1, "monocyte"))
        assert desk.take(review, reviewer=reviewer) == 0
    assert _newest(desk).reviewer == "B"
    assert len(desk.rows("review_changes.csv")) == 1


def test_one_persons_unchanged_image_is_no_word_against_another(desk):
    first, second = desk.export("first"), desk.export("second")
    edit(_xml(first), nothing, verified=False)
    edit(_xml(first, "b"), rename(0, "monocyte"))
    edit(_xml(second), rename(0, "monocyte"))
    assert desk.take(first, reviewer="A") == 0
    assert desk.take(second, reviewer="B") == 0


# Imports that cross each other, and histories that do not fit.


def test_an_import_that_was_worked_out_before_another_one_is_not_written(desk):
    review = desk.export()
    edit(_xml(review), rename(1, "monocyte"))
    assert desk.take(review) == 0
    patient = desk.output / "patients" / "p"
    chain = revisions.read_revisions(patient)
    with pytest.raises(RevisionError, match="another import was made at the same time"):
        revisions.append_revision(patient, revisions.REVIEW, {"when": "now"}, lambda folder: None, chain[0])
    assert revisions.read_revisions(patient) == chain


def test_newest_revisions_that_were_removed_are_missed(desk, capsys):
    """The rest of the chain is whole, so only what run.json says can tell."""
    review = desk.export()
    for name in ("monocyte", "neutrophil"):
        edit(_xml(review), rename(1, name), verified=True)
        assert desk.take(review) == 0
    state = json.loads((desk.output / "run.json").read_text(encoding="utf-8"))["review"]
    shutil.rmtree(desk.output / "patients" / "p" / "revisions" / "0002")
    edit(_xml(review, "b"), nothing, verified=True)
    for _ in range(2):  # it is not forgotten either
        assert desk.take(review) == 1
        assert "which run.json names, is gone or was changed" in capsys.readouterr().err
        assert json.loads((desk.output / "run.json").read_text(encoding="utf-8"))["review"] == state
    shutil.rmtree(desk.output / "patients" / "p")
    assert desk.take(review) == 1, "nor when the patient's whole folder is gone"


def test_an_import_that_stopped_after_the_machines_version_is_no_review(desk):
    review = desk.export()
    edit(_xml(review), rename(1, "monocyte"))
    assert desk.take(review) == 0
    shutil.rmtree(desk.output / "patients" / "p" / "revisions" / "0001")
    (desk.output / "run.json").unlink()
    assert desk.take(desk.export("other"), reviewer="B") == 0
    assert desk.rows("review_summary.csv") == []
    assert desk.cells("p")["a.jpg", 2] == ("unknown", "unknown")
    assert desk.take(review) == 0
    assert desk.cells("p")["a.jpg", 2] == ("monocyte", "relabelled")


def test_a_clock_that_was_set_back_is_said(desk, capsys, monkeypatch):
    review = desk.export()
    edit(_xml(review), rename(1, "monocyte"))
    assert desk.take(review) == 0
    before = _patient(desk)
    edit(_xml(review), rename(1, "neutrophil"))
    monkeypatch.setattr(provenance, "now", lambda: "2001-01-01T00:00:00+00:00")
    assert desk.take(review) == 1
    assert "the clock of this computer says 2001-01-01" in capsys.readouterr().err
    assert _patient(desk) == before


def test_a_settled_dispute_leaves_nobody_vouching_against_his_word(desk):
    first, second = desk.export("first"), desk.export("second")
    edit(_xml(first), nothing, verified=True)
    edit(_xml(second), rename(0, "monocyte"), verified=True)
    assert desk.take(first, reviewer="A") == 0
    assert desk.take(second, "--disagreements=unknown", reviewer="B") == 0
    assert _newest(desk).record["images_verified"] == {"a.jpg": ["A", "B"]}
    third = desk.export("third", source=desk.output)
    edit(_xml(third), rename(0, "monocyte"))
    assert desk.take(third, reviewer="C") == 0
    assert _newest(desk).record["images_verified"] == {"a.jpg": ["B"]}


def test_an_export_of_a_review_of_an_earlier_run_is_refused(desk, capsys):
    review = desk.export()
    edit(_xml(review), add)
    assert desk.take(review) == 0
    look = desk.export("look", source=desk.output)
    machine = desk.study.patient("p") / "cells.csv"
    first = machine.read_bytes()
    desk.study.examine("p", {"a.jpg": [UNSURE], "b.jpg": []})
    later = desk.export("later")
    edit(_xml(later), rename(0, "monocyte"))
    assert desk.take(later) == 0
    desk.study.examine("p", {"a.jpg": [SURE, UNSURE], "b.jpg": [SURE]})
    assert machine.read_bytes() == first
    edit(_xml(look), rename(0, "neutrophil"))
    assert desk.take(look) == 1
    assert "exported from revision 1, but the machine has examined patient 'p' again" in capsys.readouterr().err


def test_a_record_says_how_disagreements_were_settled(desk):
    first, second = desk.export("first"), desk.export("second")
    edit(_xml(first), nothing, verified=True)
    edit(_xml(second), rename(0, "monocyte"))
    assert desk.take(first, reviewer="A") == 0
    assert desk.take(second, "--disagreements=newest", reviewer="B") == 0
    record = json.loads((_newest(desk).folder / "revision.json").read_text(encoding="utf-8"))
    assert record["disagreements"] == {"cells": 1, "settled_as": "newest"}
    (row,) = [row for row in desk.rows("review_changes.csv") if row["change"] == "disagreement"]
    assert row["note"] == (
        "lymphocyte before (A said lymphocyte), monocyte in this review: the newest decision holds; "
        "A no longer vouches for the image"
    )

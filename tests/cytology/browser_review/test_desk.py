"""One reviewer's desk: what was taken is there after a kill, and nobody else sits at it."""

import json

import pytest

from tfod_csf.cytology.browser_review import desk, messages
from tfod_csf.cytology.browser_review.journal import FILE_NAME, JournalError
from tfod_csf.cytology.browser_review.marked_images import RefusedDecisionError
from tfod_csf.cytology.review.sidecar import ReviewError
from tfod_csf.files import csv_tables
from tfod_csf.files.folder_lock import FolderInUseError

IMAGE = "=王__day1__a.jpg"


def name(cell, name):
    return {"action": "name", "image": IMAGE, "cell": cell, "name": name}


def names(one):
    return {cell_id: cell.name for cell_id, cell in one.patient("=王").images[IMAGE].cells.items()}


def test_decisions_are_there_again_when_the_server_was_killed(study):
    folder = study.export()
    with desk.open_desk(folder, "Dr Li") as one:
        assert one.patients == ("=王", "p2")
        assert one.decide("=王", name(2, "monocyte"), 0, "r1") == 0
        assert one.decide("=王", {"action": "verify", "image": IMAGE}, 2, "r2") == 2
        # What a kill leaves: nothing is closed, and a line is half-written.
        journal = (folder / FILE_NAME).read_bytes()
    (folder / FILE_NAME).write_bytes(journal + b'{"number": 4, "act')
    with desk.open_desk(folder, "dr  LI") as one:
        assert (one.reviewer, one.cut_bytes > 0) == ("Dr Li", True)
        assert names(one) == {1: "lymphocyte", 2: "monocyte", 3: "neutrophil"}
        assert one.patient("=王").images[IMAGE].is_verified
        assert (one.last_version("=王"), one.last_version("p2"), one.decisions("=王")) == (3, 0, 2)
    assert (folder / FILE_NAME).read_bytes() == journal


def test_a_request_whose_answer_was_lost_counts_once_also_after_a_restart(study):
    folder = study.export()
    drawn = {"action": "draw", "image": IMAGE, "name": "unknown", "box": [5, 20, 15, 30]}
    with desk.open_desk(folder, "Dr Li") as one:
        one.decide("=王", drawn, 0, "r1")
        assert one.decide("=王", drawn, 0, "r1") == -1
    with desk.open_desk(folder, "Dr Li") as one:
        assert one.decide("=王", drawn, 0, "r1") == -1
        assert names(one) == {1: "lymphocyte", 2: "unknown", 3: "neutrophil", -2: "unknown"}


def test_two_windows_decide_and_none_over_what_it_has_not_seen(study):
    with desk.open_desk(study.export(), "Dr Li") as one:
        one.decide("=王", name(1, "monocyte"), 0, "a1")
        with pytest.raises(RefusedDecisionError, match="another window"):
            one.decide("=王", name(1, "neutrophil"), 0, "b1")
        assert one.decide("=王", name(2, "neutrophil"), 0, "b2") == 2  # of which window B knew 0: it reads all again
        with pytest.raises(RefusedDecisionError, match="another window"):
            one.decide("=王", {"action": "undo"}, 2, "a2")
        one.decide("=王", {"action": "undo"}, 3, "a3")
        assert names(one) == {1: "monocyte", 2: "unknown", 3: "neutrophil"}


def test_a_decision_that_the_disk_refused_is_not_there(study, monkeypatch):
    with desk.open_desk(study.export(), "Dr Li") as one:
        with monkeypatch.context() as patch:
            patch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
            patch.setattr("os.truncate", lambda *_: None)
            with pytest.raises(JournalError):
                one.decide("=王", name(1, "monocyte"), 0, "r1")
        assert names(one)[1] == "lymphocyte"
        assert one.patient("=王").version == 0


def test_a_folder_is_one_persons_and_one_servers(study):
    folder = study.export()
    with desk.open_desk(folder, "Dr Li"), pytest.raises(FolderInUseError), desk.open_desk(folder, "Dr Li"):
        pass
    with pytest.raises(ReviewError, match=r"is the review of Dr Li.*Give another --review_dir for Wu"):
        desk.Desk(folder, "Wu")
    with pytest.raises(ReviewError, match="no patient in it"):
        desk.Desk(study.root / "images", "Wu")


def test_decisions_are_not_applied_to_the_cells_of_another_export(study):
    folder = study.export()
    with desk.open_desk(folder, "Dr Li") as one:
        one.decide("=王", name(1, "monocyte"), 0, "r1")
    (folder / "=王").rename(study.root / "exported before")
    study.export("review", "--patient==王")
    with (
        desk.open_desk(folder, "Dr Li") as one,
        pytest.raises(ReviewError, match=r"=王: was exported again after decisions in review_journal\.jsonl were made"),
    ):
        one.patient("=王")


def test_a_folder_is_not_shown_under_the_name_of_another_patient(study):
    folder = study.export()
    (folder / "p2").rename(folder / "p3")
    with desk.open_desk(folder, "Dr Li") as one, pytest.raises(ReviewError, match="p3: was renamed or copied"):
        one.patient("p3")


def test_many_patients_are_not_all_in_memory(study, monkeypatch):
    monkeypatch.setattr(desk, "_MAX_LOADED", 1)
    with desk.open_desk(study.export(), "Dr Li") as one:
        one.decide("=王", name(1, "monocyte"), 0, "r1")
        one.patient("p2")
        assert list(one._loaded) == ["p2"]
        assert names(one)[1] == "monocyte"
        assert [row["state"] for row in messages.patients_state(one)] == ["under way", "not begun"]


def test_times_of_patients_who_were_signed_off_are_written_at_the_end(study):
    folder = study.export()
    with desk.open_desk(folder, "Dr Li") as one:
        one.note_work("=王", "open", "r1")
        one.decide("=王", name(1, "monocyte"), 0, "r2")
        with pytest.raises(RefusedDecisionError):
            one.note_work("=王", "signed_off", "r3")
        with pytest.raises(RefusedDecisionError):
            one.note_work("..", "open", "r4")
        one.note_signed_off("=王", 3, {"revision": 1, "sha256": "0" * 64})
        one.note_work("p2", "open", "r5")  # looked at, but not reviewed: a minute that would lower the mean
    (row,) = csv_tables.read_rows(folder / desk.TIMES)
    assert (row["patient_id"], row["reviewer"], row["decisions"]) == ("=王", "Dr Li", "1")
    actions = [json.loads(line)["action"] for line in (folder / FILE_NAME).read_text(encoding="utf-8").splitlines()]
    assert actions == ["begin", "open", "name", "signed_off", "open"]

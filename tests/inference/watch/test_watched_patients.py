import os

import pytest

from tests.support.constant_detector import CountingDetector
from tests.support.gray_images import save_gray
from tfod_csf.files import csv_tables
from tfod_csf.inference.cell_selection import ScoreThresholds
from tfod_csf.inference.runs.patient_examination import Examination
from tfod_csf.inference.watch.arrivals import Arrivals
from tfod_csf.inference.watch.remembering_detector import RememberingDetector
from tfod_csf.inference.watch.watched_patients import WatchedPatients
from tfod_csf.problems import ProblemLog
from tfod_csf.study import patients


class Microscope:
    """A folder that is being filled, and who watches it; a file settles in 2 s, a patient is quiet after 60 s."""

    def __init__(self, root, model=None):
        self.images_dir, self.patients_dir = root / "images", root / "out" / "patients"
        self.images_dir.mkdir(exist_ok=True)
        self.now = 0.0
        self.model = model or CountingDetector()
        self.begun = 0
        live_dir = root / f"live{len(list(root.iterdir()))}"
        live_dir.mkdir()
        self.files = Arrivals(2.0, self.clock)
        self.watched = WatchedPatients(
            Examination([RememberingDetector(self.model)], ScoreThresholds()),
            self.patients_dir,
            live_dir,
            self.begin,
            60.0,
            self.clock,
        )

    def clock(self):
        return self.now

    def begin(self):
        self.begun += 1

    def take(self, name, value=7):
        save_gray(self.images_dir / name, value)

    def look(self, seconds=0.0):
        """Looks until nothing is to be done."""
        self.now += seconds
        images = []
        if any(self.images_dir.rglob("*.png")):
            images = patients.find_images(self.images_dir, ProblemLog(quiet=True))
        while self.watched.advance(self.files.look(images)):
            pass
        return {state.patient_id: state for state in self.watched.states()}


@pytest.fixture
def microscope(tmp_path):
    return Microscope(tmp_path)


def names(state):
    """Images with their status in the tables of a state."""
    return [(row["image"], row["status"]) for row in csv_tables.read_rows(state.folder / "images.csv")]


def test_each_image_is_examined_once_when_it_is_whole(microscope):
    assert microscope.look() == {}
    microscope.take("p1/a.png", 1)
    (state,) = microscope.look(1).values()
    assert (state.images, state.examined, state.waiting, state.folder) == (1, 0, ("a.png",), None)
    microscope.take("p1/b.png", 2)
    (state,) = microscope.look(2).values()
    assert (state.images, state.examined, state.waiting) == (2, 1, ("b.png",))
    assert names(state) == [("a.png", "ok")]
    version = state.version
    (state,) = microscope.look(2).values()
    assert names(state) == [("a.png", "ok"), ("b.png", "ok")]
    assert state.version != version
    assert [row["image"] for row in csv_tables.read_rows(state.folder / "cells.csv")] == ["a.png", "b.png"]
    assert microscope.look(2)["p1"] == state
    assert microscope.model.asked == 2


def test_a_half_written_file_is_tried_again_when_it_changes(microscope):
    microscope.take("p1/a.png", 1)
    whole = (microscope.images_dir / "p1" / "a.png").read_bytes()
    half = microscope.images_dir / "p1" / "b.png"
    half.write_bytes(whole[: len(whole) // 2])  # and its writer pauses for longer than files need to settle
    microscope.look()
    state = microscope.look(3)["p1"]
    assert names(state) == [("a.png", "ok"), ("b.png", "failed")]
    assert list(state.unusable) == ["b.png"]
    microscope.take("p1/b.png", 2)
    state = microscope.look(1)["p1"]
    assert (names(state), state.waiting, dict(state.unusable)) == ([("a.png", "ok")], ("b.png",), {})
    state = microscope.look(2)["p1"]
    assert names(state) == [("a.png", "ok"), ("b.png", "ok")]
    assert not state.unusable


def test_a_file_that_changes_while_it_is_examined_is_not_counted(microscope):
    path = microscope.images_dir / "p1" / "a.png"
    microscope.take("p1/a.png", 1)
    microscope.look()
    microscope.now += 3
    arrivals = microscope.files.look(patients.find_images(microscope.images_dir, ProblemLog(quiet=True)))
    microscope.take("p1/a.png", 2)
    os.utime(path, ns=(1, 1))
    assert microscope.watched.advance(arrivals)
    assert microscope.watched.states()[0].examined == 0


def test_a_file_that_is_replaced_counts_with_its_new_content_and_one_that_is_removed_no_more(microscope):
    microscope.take("p1/a.png", 1)
    microscope.take("p1/b.png", 2)
    microscope.look()
    before = csv_tables.read_rows(microscope.look(3)["p1"].folder / "cells.csv")
    assert [row["xmin"] for row in before] == ["1.00", "2.00"]  # the cell lies where the gray value says
    microscope.take("p1/a.png", 9)
    microscope.look()
    after = csv_tables.read_rows(microscope.look(3)["p1"].folder / "cells.csv")
    assert [row["xmin"] for row in after] == ["9.00", "2.00"]
    (microscope.images_dir / "p1" / "b.png").unlink()
    assert names(microscope.look()["p1"]) == [("a.png", "ok")]


def test_a_patient_who_begins_anew_is_not_taken_for_the_one_before(microscope):
    microscope.take("p1/a.png", 1)
    microscope.look()
    before = microscope.look(3)["p1"]
    (microscope.images_dir / "p1" / "a.png").unlink()
    assert microscope.look() == {}
    microscope.take("p1/b.png", 2)
    microscope.look()
    after = microscope.look(3)["p1"]
    assert (names(before), names(after)) == ([("a.png", "ok")], [("b.png", "ok")])
    assert after.version != before.version


def test_the_same_picture_twice_counts_once(microscope):
    microscope.take("p1/a.png", 1)
    microscope.take("p1/b.png", 1)
    microscope.look()
    state = microscope.look(3)["p1"]
    assert names(state) == [("a.png", "ok"), ("b.png", "failed")]
    (row,) = [row for row in csv_tables.read_rows(state.folder / "images.csv") if row["image"] == "b.png"]
    assert row["reason"] == "the same bytes as a.png of this patient; its cells are counted once"
    (microscope.images_dir / "p1" / "a.png").unlink()
    assert names(microscope.look()["p1"]) == [("b.png", "ok")]


def test_the_patient_whose_files_came_last_is_first(microscope):
    microscope.take("p2/a.png", 1)
    microscope.look()
    microscope.look(3)
    microscope.take("p1/a.png", 2)
    microscope.take("p2/b.png", 3)
    photographed(microscope, "p1/a.png", 1000)
    photographed(microscope, "p2/b.png", 2000)
    assert list(microscope.look(3)) == ["p2", "p1"]  # both seen now: by the files' own times
    photographed(microscope, "p1/a.png", 3000)
    microscope.take("p3/a.png", 4)
    photographed(microscope, "p3/a.png", 10)  # of a camera whose clock is wrong
    assert list(microscope.look(3)) == ["p1", "p3", "p2"]
    microscope.take("p2/c.png", 5)
    photographed(microscope, "p2/c.png", 20)
    assert list(microscope.look(3)) == ["p2", "p1", "p3"]


def photographed(microscope, name, seconds):
    """Gives a file its time."""
    os.utime(microscope.images_dir / name, (seconds, seconds))


def test_a_quiet_patient_is_finished_and_again_when_another_image_comes(microscope):
    microscope.take("p1/a.png", 1)
    microscope.look()
    microscope.look(3)
    assert not (microscope.patients_dir / "p1").exists()
    microscope.look(60)
    assert microscope.begun == 1
    assert names_of_results(microscope, "p1") == ["a.png"]
    assert (microscope.patients_dir / "p1" / "pictures" / "a.png.jpg").is_file()
    assert microscope.model.asked == 1
    microscope.take("p1/b.png", 2)
    microscope.look(3)
    microscope.look(63)
    assert names_of_results(microscope, "p1") == ["a.png", "b.png"]
    assert microscope.model.asked == 2


def names_of_results(microscope, patient_id):
    return [row["image"] for row in csv_tables.read_rows(microscope.patients_dir / patient_id / "images.csv")]


def test_who_watches_again_keeps_the_patients_that_were_finished(tmp_path, microscope):
    microscope.take("p1/a.png", 1)
    microscope.take("p2/a.png", 2)
    microscope.look()
    microscope.look(3)
    microscope.look(60)
    again = Microscope(tmp_path)
    again.take("p3/a.png", 3)
    again.look()
    states = again.look(3)
    assert again.model.asked == 1  # p3's
    assert states["p1"].folder == again.patients_dir / "p1"
    assert [state.examined for state in states.values()] == [1, 1, 1]
    again.take("p1/b.png", 4)
    again.look()
    assert names(again.look(3)["p1"]) == [("a.png", "ok"), ("b.png", "ok")]
    assert again.begun == 0


@pytest.mark.parametrize("is_from_earlier", [False, True])
def test_a_patient_whose_id_would_rename_a_finished_ones_folder_is_said_at_once(tmp_path, microscope, is_from_earlier):
    """Of P and p the first keeps the plain name of the folder, and p's would be p%~2."""
    microscope.take("p/a.png", 1)
    microscope.look()
    microscope.look(63)
    if is_from_earlier:
        microscope = Microscope(tmp_path)
        microscope.look()
        microscope.look(3)
    microscope.take("P/a.png", 2)
    states = microscope.look()
    assert "'P' differs from 'p', who is finished" in states["P"].error
    assert states["p"].error == ""
    microscope.look(3)
    microscope.take("p/b.png", 3)
    microscope.look(3)
    states = microscope.look(63)
    assert [path.name for path in microscope.patients_dir.iterdir()] == ["p"]
    assert names_of_results(microscope, "p") == ["a.png", "b.png"]
    assert states["P"].examined == 1
    (microscope.images_dir / "P").rename(microscope.images_dir / "other")
    microscope.look(3)
    states = microscope.look(63)
    assert (names_of_results(microscope, "other"), states["other"].error) == (["a.png"], "")


def test_a_folder_of_somebody_else_is_said_and_the_others_go_on(microscope):
    microscope.take("p1/a.png", 1)
    microscope.take("p2/a.png", 2)
    (microscope.patients_dir / "p1").mkdir(parents=True)
    (microscope.patients_dir / "p1" / "notes.txt").write_text("mine")
    microscope.look()
    states = microscope.look(62)
    states = microscope.look()
    assert "holds files, but no stamp.json" in states["p1"].error
    assert names_of_results(microscope, "p2") == ["a.png"]
    assert states["p2"].error == ""

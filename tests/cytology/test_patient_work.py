"""Work on patients: order, processes, and what is kept and what is done again after a stop."""

import dataclasses
import pathlib
from collections.abc import Mapping

import numpy as np
import pytest

from tfod_csf import run_folder
from tfod_csf.cytology import patient_work
from tfod_csf.cytology.patient_work import Patient

NAMES = ("a", "b", "c", "d", "e")


@dataclasses.dataclass(frozen=True)
class Copying(patient_work.Work[dict]):
    """Copies what is in cells.csv; fails on the patient `fails_on`, and appends each patient done to a log."""

    output: pathlib.Path
    how: str = "plainly"
    fails_on: str = ""
    at_once = 2
    least_for_a_process = 1

    def state(self, patient: Patient, tables: Mapping[str, str]) -> str:
        return patient_work.digest(self.how, tables, patient.more)

    def do(self, patient, tables):
        name = patient.folder.name
        if name == self.fails_on:
            raise run_folder.RunError(f"{name} fails")
        with (self.output / "log").open("a") as log:
            log.write(name)
        path = self.output / name / "copy.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes((patient.folder / "cells.csv").read_bytes())
        files = None if patient.more == "not to be noted" else [path]
        return {"name": name, "third": np.float64(1 / 3), "nothing": None}, files


@pytest.fixture
def folders(tmp_path):
    for name in NAMES:
        (tmp_path / "in" / name).mkdir(parents=True)
        for table in run_folder.TABLES:
            (tmp_path / "in" / name / table).write_text(f"{name} {table}", encoding="utf-8")
    (tmp_path / "out").mkdir()
    return [tmp_path / "in" / name for name in NAMES]


def run(folders, num_processes=1, more=None, **settings):
    """(names in the order of results, names done in this run)."""
    output = folders[0].parent.parent / "out"
    log = output / "log"
    log.write_text("")
    patients = [Patient(folder, more=(more or {}).get(folder.name)) for folder in folders]
    with patient_work.resumable(output / "work.unfinished") as done:
        found = list(patient_work.results(Copying(output, **settings), patients, done, num_processes))
    assert [one["third"] for one in found] == [1 / 3] * len(folders)
    return "".join(one["name"] for one in found), log.read_text()


def stopped(folders, fails_on="d", **settings):
    with pytest.raises(run_folder.RunError, match=f"{fails_on} fails"):
        run(folders, fails_on=fails_on, **settings)
    return folders[0].parent.parent / "out"


def test_all_at_once_and_again(folders):
    for _ in range(2):  # what is finished is not kept
        assert run(folders) == ("abcde", "abcde")
    output = folders[0].parent.parent / "out"
    assert sorted(path.name for path in output.iterdir()) == [*NAMES, "log"]


def test_a_stopped_run_goes_on_where_it_was(folders):
    output = stopped(folders)
    assert (output / "work.unfinished").exists()
    assert run(folders) == ("abcde", "cde")  # two at a time: c was under way together with d
    assert not (output / "work.unfinished").exists()


def test_processes_change_nothing_but_the_order_of_the_work(folders):
    stopped(folders)
    order, done = run(folders, num_processes=2)
    assert (order, sorted(done)) == ("abcde", list("cde"))


@pytest.mark.parametrize(
    ("change", "done"),
    [
        (lambda output: (output / "a" / "copy.txt").write_text("edited"), "acde"),
        (lambda output: (output / "a" / "copy.txt").unlink(), "acde"),
        (lambda output: (output.parent / "in" / "b" / "images.csv").write_text("changed"), "bcde"),
        (lambda output: (output / "work.unfinished").unlink(), "abcde"),
    ],
)
def test_what_does_not_fit_any_more_is_done_again(folders, change, done):
    output = stopped(folders)
    change(output)
    assert run(folders) == ("abcde", done)


def test_other_settings_or_facts_are_other_work(folders):
    stopped(folders)
    assert run(folders, how="otherwise") == ("abcde", "abcde")
    stopped(folders)
    assert run(folders, more={"b": 5.0}) == ("abcde", "bcde")


def test_another_version_is_other_work(folders, monkeypatch):
    stopped(folders)
    monkeypatch.setattr(patient_work, "__version__", "another")
    assert run(folders) == ("abcde", "abcde")


@pytest.mark.parametrize("place", [0, 5, 40, -40, -1])
def test_a_line_that_is_torn_or_damaged_is_not_believed(folders, place):
    output = stopped(folders)
    path = output / "work.unfinished"
    lines = path.read_bytes().splitlines(keepends=True)
    assert len(lines) == 2
    torn = lines[1][:place] if place else b""
    path.write_bytes(lines[0] + torn)
    assert run(folders) == ("abcde", "bcde")
    stopped(folders)
    damaged = bytearray(lines[0])
    damaged[place] ^= 1
    path.write_bytes(bytes(damaged) + lines[1])
    assert run(folders) == ("abcde", "abcde")  # what follows a damaged line is not believed either


def test_the_output_may_be_moved_before_it_is_finished(folders):
    output = stopped(folders)
    output.rename(output.with_name("earlier"))
    output.mkdir()
    (output / "work.unfinished").write_bytes((output.with_name("earlier") / "work.unfinished").read_bytes())
    assert run(folders) == ("abcde", "abcde")  # the files stayed in the other folder


def test_results_that_are_not_to_be_noted(folders):
    more = {"a": "not to be noted"}
    stopped(folders, more=more)
    assert run(folders, more=more) == ("abcde", "acde")


def test_tables_that_are_not_the_runs_are_refused(folders):
    tables = run_folder.table_checksums(folders[0])
    output = folders[0].parent.parent / "out"
    (folders[0] / "cells.csv").write_text("changed")
    with (
        pytest.raises(run_folder.RunError, match=r"a: its tables were changed while they were read"),
        patient_work.resumable(output / "work.unfinished") as done,
    ):
        list(patient_work.results(Copying(output), [Patient(folders[0], tables)], done))


def test_no_patients(folders):
    with patient_work.resumable(folders[0].parent / "work.unfinished") as done:
        assert list(patient_work.results(Copying(folders[0]), [], done, 4)) == []


def test_a_digest_of_what_json_does_not_hold():
    one = patient_work.digest(np.arange(3), pathlib.PurePosixPath("p"), Patient(pathlib.Path("f")))
    assert one == patient_work.digest([0, 1, 2], "p", {"folder": "f", "tables": None, "more": None})
    assert one != patient_work.digest([0, 1, 3], "p", {"folder": "f", "tables": None, "more": None})
    with pytest.raises(TypeError, match="object is not a value of JSON"):
        patient_work.digest(object())

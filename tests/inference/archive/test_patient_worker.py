import concurrent.futures
import contextlib
import dataclasses
import json
import os
import threading

import pytest

from tests.support.constant_detector import DEADLY, DEADLY_ONCE, ONCE, ConstantDetector
from tests.support.hand_made_model import save_gray
from tfod_csf.files import csv_tables, folder_lock
from tfod_csf.inference.archive import attempts
from tfod_csf.inference.archive.archive_job import ArchiveJob, PatientWork
from tfod_csf.inference.archive.attempts import Attempts
from tfod_csf.inference.archive.finished_rows import FinishedRows
from tfod_csf.inference.archive.patient_worker import PatientWorker, WorkerError
from tfod_csf.inference.cell_selection import ScoreThresholds
from tfod_csf.inference.runs.patient_examination import Examination
from tfod_csf.study import image_limits

WORK = PatientWork("p1", "p1", (("a.png", "p1/a.png"), ("b.png", "p1/b.png"), ("c.png", "p1/c.png")))
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@pytest.fixture
def job(tmp_path):
    for number, (_, key) in enumerate(WORK.images):
        save_gray(tmp_path / "images" / key, number)
    return ArchiveJob(
        run_id="first",
        images_dir=str(tmp_path / "images"),
        output_dir=str(tmp_path / "out"),
        models=(),
        trust=False,
        ensemble="case",
        deterministic=True,
        draw=False,
        strict=False,
        thresholds=dataclasses.asdict(ScoreThresholds()),
        settings=json.loads(json.dumps(Examination([ConstantDetector()], ScoreThresholds(), False).settings)),
    )


def examine(job):
    PatientWorker(job, [ConstantDetector()]).examine(WORK)


def ends(job):
    """Whether the process ends over the patient; tried in a copy of this one."""
    child = os.fork()
    if not child:
        try:
            examine(job)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -9


def done_before(job):
    rows = FinishedRows(job.rows_dir)
    rows.update()
    return rows.done_before


def images(job):
    return csv_tables.read_rows(job.patient_folder(WORK) / "images.csv")


def test_a_patient_is_examined_once_and_its_row_says_when(job):
    examine(job)
    assert done_before(job) == {"p1": False}
    assert [row["status"] for row in images(job)] == ["ok", "ok", "ok"]
    before = (job.patient_folder(WORK) / "images.csv").stat().st_mtime_ns
    for path in job.rows_dir.glob("*"):
        path.unlink()
    examine(dataclasses.replace(job, run_id="second"))
    assert done_before(job) == {"p1": True}
    assert (job.patient_folder(WORK) / "images.csv").stat().st_mtime_ns == before
    assert attempts.state(job.attempts_dir) == {}


def test_a_patient_whose_process_ended_before_its_row_was_examined_in_this_run(job):
    examine(job)
    for path in job.rows_dir.glob("*"):
        path.unlink()
    Attempts.open(job.attempts_path(WORK)).begin("first")
    examine(job)
    assert done_before(job) == {"p1": False}


@needs_fork
def test_a_process_that_ended_for_another_reason_costs_no_image(job, monkeypatch, tmp_path):
    save_gray(tmp_path / "images" / "p1" / "b.png", DEADLY_ONCE)
    (tmp_path / "once").touch()
    monkeypatch.setenv(ONCE, str(tmp_path / "once"))
    assert ends(job)
    assert not ends(job)
    assert [row["status"] for row in images(job)] == ["ok", "ok", "ok"]
    assert attempts.state(job.attempts_dir) == {}
    assert done_before(job) == {"p1": False}


@needs_fork
def test_an_image_that_ends_the_process_again_and_again_is_given_up(job, tmp_path):
    deadly = tmp_path / "images" / "p1" / "b.png"
    save_gray(deadly, DEADLY)
    assert [ends(job) for _ in range(4)] == [True, True, True, False]
    assert [row["status"] for row in images(job)] == ["ok", "failed", "ok"]
    assert images(job)[1]["reason"] == "a dead letter: ended the process that examined it 2 times"
    ((folder, letters),) = attempts.dead_letters(job.attempts_dir).items()
    assert (folder, list(letters)) == ("p1", ["b.png"])
    # The next run keeps the patient as it is, until the file is another one.
    again = dataclasses.replace(job, run_id="second")
    assert not ends(again)
    assert attempts.dead_letters(job.attempts_dir) == {"p1": letters}
    save_gray(deadly, 20)
    assert not ends(again)
    assert [row["status"] for row in images(job)] == ["ok", "ok", "ok"]
    assert attempts.dead_letters(job.attempts_dir) == {}


def test_a_dead_letter_may_be_as_large_as_a_scan(job, tmp_path, monkeypatch):
    """Its checksum, which tells whether the file was replaced, is bounded by the limit for files that are cut."""
    for _ in range(3):
        Attempts.open(job.attempts_path(WORK)).begin("first")
    sizes = {name: (tmp_path / "images" / key).stat().st_size for name, key in WORK.images}
    (tmp_path / "images" / "p1" / "a.png").write_bytes(b"x" * (2 * max(sizes.values())))
    monkeypatch.setattr(image_limits, "MAX_TILED_FILE_BYTES", max(sizes.values()))
    examine(job)
    (letters,) = attempts.dead_letters(job.attempts_dir).values()
    assert [letters[name]["sha256"] is None for name in ("a.png", "b.png", "c.png")] == [True, False, False]


def test_a_patient_that_ends_the_process_as_a_whole_only_is_given_up_as_a_whole(job):
    for _ in range(3):
        Attempts.open(job.attempts_path(WORK)).begin("first")
    examine(job)
    reason = "a dead letter: its patient ended the process 3 times, though no image alone did"
    assert [(row["status"], row["reason"]) for row in images(job)] == [("failed", reason)] * 3
    assert done_before(job) == {"p1": False}


def test_an_error_is_no_end_of_the_process(job, monkeypatch):
    monkeypatch.setattr(ConstantDetector, "detect", lambda *arguments, **named: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        examine(job)
    assert attempts.state(job.attempts_dir) == {}
    assert done_before(job) == {}


def test_another_process_with_the_same_patient_is_waited_for(job):
    worker = PatientWorker(job, [ConstantDetector()])
    with folder_lock.only_writer(job.patient_folder(WORK)):
        thread = threading.Thread(target=worker.examine, args=(WORK,))
        thread.start()
        thread.join(0.2)
        assert thread.is_alive()
        assert done_before(job) == {}
    thread.join()
    assert done_before(job) == {"p1": False}


def test_threads_of_one_process_examine_one_patient_at_a_time(job, monkeypatch):
    """Otherwise a deadly image would count against every patient that the process has under way."""
    both, together = threading.Barrier(2), []

    def detect(*arguments, detect=ConstantDetector.detect, **named):
        with contextlib.suppress(threading.BrokenBarrierError):
            both.wait(0.3)
            together.append(arguments)
        return detect(*arguments, **named)

    monkeypatch.setattr(ConstantDetector, "detect", detect)
    worker = PatientWorker(job, [ConstantDetector()])
    patients = [
        dataclasses.replace(WORK, patient_id=name, folder=name, images=WORK.images[:1]) for name in ("p1", "p2")
    ]
    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        list(threads.map(worker.examine, patients))
    assert together == []
    assert done_before(job) == {"p1": False, "p2": False}


def test_a_machine_with_other_models_refuses_to_work(job):
    other = {**job.settings, "models": {"constant": {"fingerprint": "1" * 64, "temperature": 1.0}}}
    with pytest.raises(WorkerError, match="models here and where archive_infer was started differ"):
        PatientWorker(dataclasses.replace(job, settings=other), [ConstantDetector()])

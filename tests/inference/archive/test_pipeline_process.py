"""The command's side of the pipeline, with a small program in the place of Beam's."""

import dataclasses
import os
import textwrap
import time

import pytest

from tests.inference.archive.test_patient_worker import job as job  # a fixture
from tfod_csf.inference.archive import attempts, pipeline_process
from tfod_csf.inference.archive.archive_job import PatientWork
from tfod_csf.inference.archive.pipeline_process import ArchiveError

PATIENTS = [PatientWork(name, name, ((f"{name}.png", f"{name}.png"),)) for name in ("a", "b", "c")]


@pytest.fixture
def run(job, monkeypatch):
    """run(program): the pipeline is a Python program that sees `patients`, `row`, `begin` and `job`."""
    monkeypatch.setattr(pipeline_process, "_LOOK", 0.01)
    head = """
        import os, sys, pathlib
        from tfod_csf.inference.archive.archive_job import ArchiveJob, PatientWork
        from tfod_csf.inference.archive.attempts import Attempts
        from tfod_csf.inference.archive.finished_rows import RowWriter
        job = ArchiveJob.read(sys.argv[1])
        patients = [PatientWork.from_line(line) for line in job.work_list.read_text().splitlines()]
        row = lambda work: RowWriter(job.rows_dir).add(work.folder, False)
        begin = lambda work: Attempts.open(job.attempts_path(work)).begin(job.run_id)
    """

    def run(program, job=job):
        code = textwrap.dedent(head) + textwrap.dedent(program)
        monkeypatch.setattr(pipeline_process, "_PROGRAM", ("-c", code))
        job.write()
        return pipeline_process.run(job, PATIENTS, ["--runner=x"], dict(os.environ)).done_before

    return run


def test_what_a_lost_worker_leaves_is_given_to_new_ones(run, job, caplog):
    assert run("row(patients[0]); sys.exit(1)") == {"a": False, "b": False, "c": False}
    assert "2 patients are given to new ones" in caplog.text
    assert "1 patient is given to new ones" in caplog.text


def test_a_process_that_ended_over_a_patient_is_progress_too(run, job):
    program = "begin(patients[0])\nif Attempts.open(job.attempts_path(patients[0])).ends.get('', 0) < 3: sys.exit(1)\n"
    assert len(run(program + "for work in patients: row(work)")) == 3


def test_without_progress_the_reason_is_named(run, job):
    with pytest.raises(ArchiveError, match=r"status 3, and 3 patients of 3 are not done \(ValueError: no memory\)"):
        run("print('ValueError: no memory'); sys.exit(3)")


def test_another_runner_is_not_started_again(run, job):
    with pytest.raises(ArchiveError, match="2 patients of 3 are not done"):
        run("row(patients[0]); sys.exit(1)", dataclasses.replace(job, runner="x"))


def test_a_mistake_that_a_worker_has_found_ends_the_run(run, job):
    with pytest.raises(ArchiveError, match=r"^the model is another$"):
        run("row(patients[0]); job.error.write_text('the model is another\\n'); import time; time.sleep(600)")


def test_a_stop_ends_all_processes_and_costs_no_attempt(run, job, monkeypatch):
    def stop(progress, done):
        if done:
            raise KeyboardInterrupt

    monkeypatch.setattr(pipeline_process._Progress, "say", stop)
    worker = "import os, pathlib, time; pathlib.Path('{}').write_text(str(os.getpid())); time.sleep(600)"
    pid = job.folder / "pid"
    program = f"""
        import subprocess, time
        subprocess.Popen([sys.executable, "-c", {worker.format(pid)!r}])
        begin(patients[1])
        while not pathlib.Path({str(pid)!r}).exists(): time.sleep(0.01)
        time.sleep(0.1)
        row(patients[0])
        time.sleep(600)
    """
    with pytest.raises(KeyboardInterrupt):
        run(program)
    assert attempts.state(job.attempts_dir) == {}
    assert _is_gone(int(pid.read_text()))


def _is_gone(pid):
    for _ in range(500):
        try:
            with open(f"/proc/{pid}/stat") as file:
                if file.read().rpartition(")")[2].split()[0] == "Z":
                    return True  # nobody has asked for its status yet
        except FileNotFoundError:
            return True
        time.sleep(0.01)
    return False


def test_the_progress_is_a_line_each_minute(caplog, monkeypatch):
    times = iter((0.0, 59.0, 60.0, 120.0))
    monkeypatch.setattr(time, "monotonic", lambda: next(times))
    caplog.set_level("INFO", "tfod_csf")
    progress = pipeline_process._Progress(100)
    for done in (5, 10, 10):
        progress.say(done)
    # 10 in a minute are 600 an hour, for the other 90 that is 0.15 h.
    assert [record.message for record in caplog.records] == [
        "10 of 100 patients done, 600 an hour, 0.1 h to go",
        "10 of 100 patients done, 0 an hour",
    ]

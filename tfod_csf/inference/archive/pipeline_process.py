"""The process that runs the pipeline, seen from the command: started, watched, started again, stopped.

Beam runs in a process of its own, with its workers in one group, so that the command neither holds Beam's threads nor
leaves a worker behind when it is stopped. Beam's local runner gives every worker an equal part of the patients and does
not repeat the part of a worker that was lost: the process ends then (`local_workers`), and the command starts it again
with the patients that are left, as long as that changes anything. Other runners repeat lost work themselves.
"""

import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

from tfod_csf.errors import UserError
from tfod_csf.inference.archive import attempts
from tfod_csf.inference.archive.archive_job import ArchiveJob, PatientWork
from tfod_csf.inference.archive.finished_rows import FinishedRows
from tfod_csf.wording import plural

LOCAL_RUNNER = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"

_PROGRAM = ("-m", "tfod_csf.inference.archive.beam_pipeline")
_LOOK = 1.0  # s between two looks at the process
_SAY = 60.0  # s between two lines about the progress
_LAST_BYTES = 20_000  # of the log, for the reason of a failure
_log = logging.getLogger("tfod_csf")


class ArchiveError(UserError):
    """The pipeline ended before every patient was done."""


def local_options(num_processes: int) -> list[str]:
    """Beam's options for this machine; its default runner would fetch a program from the network."""
    mode = ["--direct_running_mode=multi_processing", f"--direct_num_workers={num_processes}"]
    return [f"--runner={LOCAL_RUNNER}", *mode]


def run(
    job: ArchiveJob,
    patients: Sequence[PatientWork],
    options: Sequence[str],
    environment: Mapping[str, str],
) -> FinishedRows:
    """Runs the pipeline until every patient is done.

    Args:
      job: written already.
      options: of Beam.
      environment: variables of the processes.

    Raises:
      ArchiveError: a mistake that a worker has found, or no progress; the log says more.
    """
    rows = FinishedRows(job.rows_dir)
    progress = _Progress(len(patients))
    pending = list(patients)
    while pending:
        job.write_work_list(pending)
        before = (len(rows.done_before), attempts.state(job.attempts_dir))
        status = _run_once(job, options, environment, rows, progress)
        pending = [work for work in pending if work.folder not in rows.done_before]
        if job.error.is_file():
            raise ArchiveError(job.error.read_text(encoding="utf-8").strip())
        has_moved = before != (len(rows.done_before), attempts.state(job.attempts_dir))
        if pending and (job.runner or not has_moved):
            raise ArchiveError(
                f"{job.log}: Beam ended with status {status}, and {plural(len(pending), 'patient')} of {len(patients)} "
                f"are not done ({_last_error(job)}); run the same command again to resume."
            )
        if pending:
            left = plural(len(pending), "patient is", "patients are")
            _log.warning("A worker process was lost; %s given to new ones.", left)
    return rows


def _run_once(
    job: ArchiveJob,
    options: Sequence[str],
    environment: Mapping[str, str],
    rows: FinishedRows,
    progress: "_Progress",
) -> int:
    """Runs the pipeline once; returns its exit status. Its processes do not outlive this call."""
    command = [sys.executable, *_PROGRAM, str(job.folder / "job.json"), *options]
    with open(job.log, "ab") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env=environment
        )
    is_stopped = True
    try:
        while process.poll() is None and not job.error.is_file():
            time.sleep(_LOOK)
            rows.update()
            progress.say(len(rows.done_before))
        is_stopped = process.poll() is None
    finally:
        with contextlib.suppress(ProcessLookupError):  # the usual end: no worker is left
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if is_stopped:
            attempts.forgive_all(job.attempts_dir)
    rows.update()
    return process.returncode


def _last_error(job: ArchiveJob) -> str:
    """The last line of the log that names an exception."""
    with open(job.log, "rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _LAST_BYTES))
        lines = file.read().decode("utf-8", "replace").splitlines()
    errors = [line.strip() for line in lines if "Error: " in line and not line.startswith(" ")]
    return errors[-1][:300] if errors else "no reason was given"


class _Progress:
    """A line in the log each minute."""

    def __init__(self, total: int):
        self._total = total
        self._said = (time.monotonic(), 0)

    def say(self, done: int) -> None:
        now = time.monotonic()
        seconds, number = now - self._said[0], done - self._said[1]
        if seconds < _SAY:
            return
        self._said = (now, done)
        rate = number / seconds
        left = f", {(self._total - done) / rate / 3600:.1f} h to go" if number else ""
        _log.info("%d of %d patients done, %.0f an hour%s", done, self._total, rate * 3600, left)

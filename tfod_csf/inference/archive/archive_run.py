"""A run of batch_infer whose patients are examined by many processes or machines, under Apache Beam.

Everything before and after the patients is `batch_run.run`: which images, what is refused, run.json, the tables of all
patients. `ArchiveEngine` takes the place of the loop over patients; the results are the same bytes.
"""

import contextlib
import dataclasses
import functools
import importlib.util
import os
import pathlib
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tfod_csf.errors import UserError
from tfod_csf.files import csv_schemas
from tfod_csf.inference.archive import archive_job, attempts, pipeline_process
from tfod_csf.inference.archive.archive_job import ArchiveJob, PatientWork
from tfod_csf.inference.archive.finished_rows import FinishedRows
from tfod_csf.inference.archive.pipeline_process import ArchiveError
from tfod_csf.inference.runs.batch import ExaminePatient, Patients
from tfod_csf.inference.runs.batch_run import RunSettings
from tfod_csf.inference.runs.patient_examination import (
    Examination,
    PatientOutcome,
    recorded_outcome,
    recorded_problems,
)
from tfod_csf.inference.runs.patient_folder import PatientFolder
from tfod_csf.problems import ProblemLog
from tfod_csf.shipped_models import by_name
from tfod_csf.study.patients import ImageFile

DEAD_LETTERS = "dead_letters.csv"
_VISIBLE_GPUS = "CUDA_VISIBLE_DEVICES"


class BeamMissingError(UserError):
    """The extra [archive] is not installed."""


def check_beam() -> None:
    """Says how to install Beam, before anything else takes time.

    Raises:
      BeamMissingError: it is not there.
    """
    if importlib.util.find_spec("apache_beam") is None:
        raise BeamMissingError(
            'Apache Beam is not installed; it comes with the extra [archive]: pip install "tfod_csf[archive]", or in a '
            "clone requirements/archive.txt, in a virtual environment of its own (docs/ARCHIVE.md)."
        )


def _same_everywhere(model: str) -> str:
    """How every machine finds a model: by its absolute path, or by the name of one that ships with this package."""
    return model if by_name.is_name(model) else os.path.abspath(model)


@dataclasses.dataclass
class ArchiveEngine:
    """Examines the patients of a run with a pipeline; given to `batch_run.run` as its engine.

    Attributes:
      settings: of the run.
      output_dir: OUT.
      trust, strict: flags of the command.
      num_processes: on this machine; for the local runner.
      runner: a runner of Beam; "" for this machine.
      beam_options: further options of Beam.
      max_attempts: how often a patient may end its process; at least 2.
      retry_dead_letters: whether dead letters of earlier runs are opened again.
    """

    settings: RunSettings
    output_dir: pathlib.Path
    trust: bool = False
    strict: bool = False
    num_processes: int = 2
    runner: str = ""
    beam_options: Sequence[str] = ()
    max_attempts: int = 3
    retry_dead_letters: bool = False

    def __post_init__(self) -> None:
        self._environment = dict(os.environ)

    def hide_gpus(self) -> None:
        """Keeps TensorFlow in this process, which only looks at the models, from taking the workers' GPU memory."""
        os.environ[_VISIBLE_GPUS] = "-1"

    @contextlib.contextmanager
    def __call__(self, examination: Examination, patients: Patients) -> Iterator[ExaminePatient]:
        """Examines all patients.

        Args:
          patients: all of the run.

        Yields:
          A function that reads what was found for a patient.

        Raises:
          ArchiveError: not every patient could be examined.
        """
        job = self._job(examination)
        work = [PatientWork.of(folder.name, images) for images, folder in patients.values()]
        for folder in (job.rows_dir, job.trials_dir):
            shutil.rmtree(folder, ignore_errors=True)
        for file in (job.error, job.log):
            file.unlink(missing_ok=True)
        job.attempts_dir.mkdir(parents=True, exist_ok=True)
        if self.retry_dead_letters:
            attempts.forget_dead_letters(job.attempts_dir)
        job.write()
        options = [f"--runner={self.runner}"] if self.runner else pipeline_process.local_options(self.num_processes)
        try:
            rows = pipeline_process.run(job, work, [*options, *self.beam_options], self._environment)
        finally:
            _write_dead_letters(job, work)
            shutil.rmtree(job.trials_dir, ignore_errors=True)
        yield _recorded(examination, rows)

    def _job(self, examination: Examination) -> ArchiveJob:
        return ArchiveJob(
            run_id=secrets.token_hex(8),
            images_dir=self.settings.images_dir,
            output_dir=os.path.abspath(self.output_dir),
            models=tuple(map(_same_everywhere, self.settings.model)),
            trust=self.trust,
            ensemble=self.settings.ensemble,
            deterministic=self.settings.deterministic,
            draw=self.settings.draw,
            strict=self.strict,
            thresholds=dataclasses.asdict(examination.thresholds),
            settings=examination.settings,
            tiles=dataclasses.asdict(examination.tiles) if examination.tiles else None,
            runner=self.runner,
            max_attempts=self.max_attempts,
        )


def num_dead_letters(output_dir: pathlib.Path) -> int:
    """Images that are not opened any more."""
    folder = output_dir / archive_job.FOLDER / "attempts"
    return sum(map(len, attempts.dead_letters(folder).values()))


def _write_dead_letters(job: ArchiveJob, work: Sequence[PatientWork]) -> None:
    patient_ids = {one.folder: one.patient_id for one in work}
    rows = [
        {"patient_id": patient_ids[folder], "image": image, **letter}
        for folder, letters in attempts.dead_letters(job.attempts_dir).items()
        for image, letter in letters.items()
        if folder in patient_ids
    ]
    csv_schemas.load("dead_letters").write(job.folder / DEAD_LETTERS, rows)


def _recorded(examination: Examination, rows: FinishedRows) -> ExaminePatient:
    def read(
        patient_id: str,
        images: Sequence[ImageFile],
        folder_path: pathlib.Path,
        problems: ProblemLog,
        on_image: Callable[[], Any],
    ) -> Callable[[], PatientOutcome]:
        folder = PatientFolder.open(folder_path)
        checksums = folder.stamp.get("images") or {}
        if folder.stamp.get("settings") != examination.settings or set(checksums) != {image.name for image in images}:
            raise ArchiveError(
                f"{folder.path}: was changed after its patient was examined; run the same command again."
            )
        problems.extend(recorded_problems(folder))
        for _ in images:
            on_image()
        reused = rows.done_before.get(folder.path.name, False)
        return functools.partial(dataclasses.replace, recorded_outcome(patient_id, folder), reused=reused)

    return read

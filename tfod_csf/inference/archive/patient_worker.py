"""What one process of archive_infer does with a patient: everything but the moving of patients between machines."""

import contextlib
import pathlib
import shutil
import threading
import time
from collections.abc import Iterator, Sequence

from tfod_csf.errors import UserError
from tfod_csf.files import atomic_write, folder_lock
from tfod_csf.inference.archive.archive_job import ArchiveJob, PatientWork
from tfod_csf.inference.archive.attempts import ALL_IMAGES, Attempts
from tfod_csf.inference.archive.finished_rows import RowWriter
from tfod_csf.inference.image_detector import ImageDetector
from tfod_csf.inference.runs import batch_run, inference_record
from tfod_csf.inference.runs.patient_examination import Examination, examine_patient
from tfod_csf.model_folder import ModelFolder
from tfod_csf.problems import ProblemLog
from tfod_csf.study.image_io import file_sha256
from tfod_csf.study.patients import ImageFile
from tfod_csf.study.tile_grid import TileSettings

_WAIT = 1.0  # s, for another process that has the same patient


class WorkerError(UserError):
    """This machine cannot do the work of the command."""


class PatientWorker:
    """Examines patients of a job, one at a time; several threads take turns.

    A patient at a time, because when a process ends, every patient that it had under way is taken for the reason.

    Args:
      job: what the command has written.
      detectors: the models.

    Raises:
      WorkerError: this machine has other models, or another version of this package, than the command.
    """

    def __init__(self, job: ArchiveJob, detectors: Sequence[ImageDetector]):
        self._job = job
        self._examination = Examination(
            detectors,
            job.score_thresholds,
            job.draw,
            tiles=TileSettings(**job.tiles) if job.tiles else None,
            computed_by=inference_record.computation(job.deterministic),
        )
        if self._examination.settings != job.settings:
            differing = [name for name, value in self._examination.settings.items() if job.settings.get(name) != value]
            raise WorkerError(
                f"{atomic_write.host_name()}: {', '.join(differing)} here and where archive_infer was started differ; "
                "install the same version on every machine, and let all of them read the same folders of models."
            )
        self._rows = RowWriter(job.rows_dir)
        self._turn = threading.Lock()

    @classmethod
    def open(cls, job: ArchiveJob) -> "PatientWorker":
        """Loads the job's models with TensorFlow.

        Raises:
          UserError: a model that cannot be used, or as the class.
        """
        folders = [ModelFolder.open(path, job.trust) for path in job.models]
        settings = batch_run.RunSettings(job.images_dir, ensemble=job.ensemble, deterministic=job.deterministic)
        return cls(job, batch_run.open_detectors(folders, settings))

    def examine(self, work: PatientWork) -> None:
        """Examines a patient, unless its results are there; says so in a row.

        A patient that comes twice, because a process or machine was lost, or too slow, is examined once.

        Raises:
          UserError: results that somebody changed, or with `strict` the first problem.
        """
        with self._turn, _only_process(self._job.patient_folder(work)):
            attempts = Attempts.open(self._job.attempts_path(work))
            began_here = attempts.run_id == self._job.run_id
            images = work.image_files(self._job.images_dir)
            self._drop_letters_of_changed_files(attempts, images)
            try:
                if attempts.ends:
                    self._try_one_by_one(work, images, attempts)
                attempts.begin(self._job.run_id)
                is_reused = self._examine(work, images, self._job.patient_folder(work), attempts)
            except Exception:
                attempts.forgive()
                raise
            self._rows.add(work.folder, is_reused and not began_here)
            attempts.done()

    def _examine(
        self, work: PatientWork, images: Sequence[ImageFile], folder: pathlib.Path, attempts: Attempts
    ) -> bool:
        """Examines images into a folder; returns whether the results were there already."""
        refused = {image: letter["reason"] for image, letter in attempts.dead_letters.items()}
        problems = ProblemLog(self._job.strict, quiet=True)
        return examine_patient(self._examination, work.patient_id, images, folder, problems, refused=refused).reused

    def _try_one_by_one(self, work: PatientWork, images: Sequence[ImageFile], attempts: Attempts) -> None:
        """Finds out which image ends the process, if one alone does; after too many times it is a dead letter."""
        trial = self._job.trials_dir / work.folder
        for image in images:
            if image.name in attempts.dead_letters:
                continue
            number = attempts.ends.get(image.name, 0)
            if number >= self._job.max_attempts - 1:
                _add_letter(attempts, image, f"ended the process that examined it {number} times")
                continue
            attempts.begin(self._job.run_id, image.name)
            shutil.rmtree(trial, ignore_errors=True)
            self._examine(work, [image], trial, attempts)
            shutil.rmtree(trial)
        number = attempts.ends.get(ALL_IMAGES, 0)
        if number >= self._job.max_attempts:
            for image in images:
                _add_letter(attempts, image, f"its patient ended the process {number} times, though no image alone did")

    def _drop_letters_of_changed_files(self, attempts: Attempts, images: Sequence[ImageFile]) -> None:
        paths = {image.name: image.path for image in images}
        for name, letter in list(attempts.dead_letters.items()):
            if name not in paths or file_sha256(paths[name]) != letter["sha256"]:
                del attempts.dead_letters[name]


def _add_letter(attempts: Attempts, image: ImageFile, reason: str) -> None:
    attempts.dead_letters.setdefault(
        image.name, {"sha256": file_sha256(image.path), "reason": f"a dead letter: {reason}"}
    )


@contextlib.contextmanager
def _only_process(folder: pathlib.Path) -> Iterator[None]:
    """Waits until no other process has the patient, and keeps others away from it."""
    with contextlib.ExitStack() as held:
        while True:
            try:
                held.enter_context(folder_lock.only_writer(folder))
                break
            except folder_lock.FolderInUseError:
                time.sleep(_WAIT)
        yield

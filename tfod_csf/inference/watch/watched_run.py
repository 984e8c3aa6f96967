"""A run of batch_infer beside the microscope: images are examined as they arrive, until the user ends it.

What is left behind is made by `batch_run.run`, which has the last word: it looks for the images once more, keeps
the patients that were finished on the way, and needs no model for an image that was examined already. So tables and
pictures are those of a run that began when the last image was there, and whole: files that are still being written when
the user ends it are waited for.
"""

import dataclasses
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tfod_csf import run_folder
from tfod_csf.errors import UserError
from tfod_csf.files import atomic_write
from tfod_csf.inference.cell_selection import ScoreThresholds
from tfod_csf.inference.image_detector import ImageDetector
from tfod_csf.inference.runs import batch, batch_run, inference_record, output_folder
from tfod_csf.inference.runs.batch_run import BatchRun, RunSettings
from tfod_csf.inference.runs.image_workers import IN_TURN, WorkerLimits
from tfod_csf.inference.runs.patient_examination import Examination
from tfod_csf.inference.runs.patient_folder import PatientFolder
from tfod_csf.inference.watch import arrivals
from tfod_csf.inference.watch.arrivals import Arrivals
from tfod_csf.inference.watch.remembering_detector import RememberingDetector
from tfod_csf.inference.watch.watched_patients import QUIET_SECONDS, PatientState, WatchedPatients
from tfod_csf.problems import ProblemLog
from tfod_csf.study import patients
from tfod_csf.study.folder_names import folder_names
from tfod_csf.study.patients import ImageFile, NoImagesError

_LONGEST_WAIT = 30.0  # s, at the end, for files that are being written


@dataclasses.dataclass(frozen=True)
class Pace:
    """How often is looked, in seconds.

    Attributes:
      poll: between two looks at the folder where nothing is to be done.
      settle: for so long a file has to stay as it is (see `arrivals`).
      quiet: a patient to whom nothing was added for so long is finished.
    """

    poll: float = 1.0
    settle: float = arrivals.SETTLE_SECONDS
    quiet: float = QUIET_SECONDS


Show = Callable[[Sequence[PatientState], str], Any]
"""Called after every look, with all patients and with why counting is held up ("" when it is not)."""


def run(
    settings: RunSettings,
    open_models: Callable[[], Sequence[ImageDetector]],
    thresholds: ScoreThresholds,
    output_dir: pathlib.Path,
    problems: ProblemLog,
    show: Show,
    wants_to_end: Callable[[float], bool],
    limits: WorkerLimits = IN_TURN,
    pace: Pace = Pace(),
    **how: Any,
) -> BatchRun:
    """Examines images until the user has had enough, and then everything as `batch_run.run` does.

    Args:
      settings, open_models, thresholds, output_dir, problems, limits: as of `batch_run.run`.
      show: gets what was found so far.
      wants_to_end: waits so many seconds, and says whether the user wants to end.
      pace: how often is looked.
      **how: further arguments of `batch_run.run`.

    Raises:
      UserError: as `batch_run.run`; also before the first image where the folders or models cannot be used.
    """
    detectors: list[ImageDetector] = []

    def before(check_lock: Callable[[], Any]) -> None:
        images = _images(settings, output_dir)
        detectors.extend(map(RememberingDetector, open_models()))
        computed_by = inference_record.computation(settings.deterministic)
        examination = Examination(detectors, thresholds, settings.draw, limits, settings.tiles, computed_by)
        _check_earlier_results(images, examination, output_dir)

        has_begun = False

        def before_finishing() -> None:
            nonlocal has_begun
            check_lock()
            if not has_begun:
                number = len({image.patient_id for image in images})
                at_start = inference_record.record_at_start(dataclasses.asdict(settings), detectors, thresholds, number)
                run_folder.begin(output_dir, at_start)
                has_begun = True

        with atomic_write.folder_beside(output_dir / "live") as live_dir:
            patients_dir = output_dir / run_folder.PATIENTS_DIR
            watched = WatchedPatients(examination, patients_dir, live_dir, before_finishing, pace.quiet)
            files = Arrivals(pace.settle, time.monotonic)
            _watch(settings, output_dir, watched, files, show, wants_to_end, pace)
            _wait_for_files(
                settings,
                output_dir,
                files,
                problems,
                pace,
                lambda: show(watched.states(), "files are still being written"),
            )
            for folder in watched.without_images():
                reason = "the patient's images are gone since they were examined; the results are still in the tables"
                remedy = "If the patient was renamed, remove this folder and run again, or the cells are there twice."
                problems.noted(folder, reason, remedy)

    return batch_run.run(
        settings, lambda: detectors, thresholds, output_dir, problems, limits=limits, before=before, **how
    )


def _watch(
    settings: RunSettings,
    output_dir: pathlib.Path,
    watched: WatchedPatients,
    files: Arrivals,
    show: Show,
    wants_to_end: Callable[[float], bool],
    pace: Pace,
) -> None:
    is_busy, error = True, ""
    while not wants_to_end(0.0 if is_busy else pace.poll):
        try:
            is_busy, error = watched.advance(files.look(_images(settings, output_dir))), ""
        except UserError as refused:  # for example a manifest that is being written; the end of the run says it too
            is_busy, error = False, str(refused)
        show(watched.states(), error)


def _wait_for_files(
    settings: RunSettings,
    output_dir: pathlib.Path,
    files: Arrivals,
    problems: ProblemLog,
    pace: Pace,
    say_so: Callable[[], Any],
) -> None:
    """Waits until no file is being written any more, but not forever; notes those that still are."""
    last = time.monotonic() + _LONGEST_WAIT
    while True:
        try:
            arrivals = files.look(_images(settings, output_dir))
        except UserError:  # the run that comes now says it
            return
        now = time.monotonic()
        waiting = [arrival for arrival in arrivals if arrival.state and now - arrival.since < pace.settle]
        if not waiting:
            return
        if now >= last:
            break
        say_so()
        time.sleep(min(pace.settle, 0.2))
    for arrival in waiting:
        reason = "was still being written when the counting ended, so that it may have been examined half-written"
        problems.noted(arrival.image.path, reason, "Run again without --watch: what has changed is examined again.")


def _images(settings: RunSettings, output_dir: pathlib.Path) -> list[ImageFile]:
    """The images there are now, perhaps none.

    Raises:
      UserError: the folder, manifest or pattern cannot be used, or results would be written among the images.
    """
    images_dir = pathlib.Path(settings.images_dir)
    found: list[ImageFile] = []
    try:
        log = ProblemLog(quiet=True)
        found = patients.find_images(images_dir, log, settings.manifest, settings.patient_pattern)
    except NoImagesError:
        pass
    output_folder.refuse_images_among_results(images_dir, found, output_dir)
    return found


def _check_earlier_results(images: Sequence[ImageFile], examination: Examination, output_dir: pathlib.Path) -> None:
    """Refuses at the start what would be refused at the end, when the images have been taken.

    Raises:
      UserError: as of `batch.run`.
    """
    names: Mapping[str, str] = folder_names([image.patient_id for image in images])
    patients_dir = output_dir / run_folder.PATIENTS_DIR
    batch.earlier_patients(patients_dir, names, examination.settings)
    for name in names.values():
        PatientFolder.open(patients_dir / name).check_tables()

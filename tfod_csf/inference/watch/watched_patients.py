"""Patients whose images are still arriving: each image goes through the models once, as soon as its file is whole.

What was found so far is written as cells.csv and images.csv into a folder of its own for each patient, in the very form
of a finished patient, for whoever counts it. A patient to whom nothing was added for a while is finished as in any run
(`examine_patient`); if images of him still come, he is finished again.
"""

import dataclasses
import itertools
import pathlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from tfod_csf import run_folder
from tfod_csf.errors import UserError
from tfod_csf.inference.runs import image_cells, image_reading, patient_results
from tfod_csf.inference.runs.image_workers import ImageWorkers
from tfod_csf.inference.runs.patient_examination import Examination, examine_patient, upcoming_images
from tfod_csf.inference.runs.patient_folder import PatientFolder
from tfod_csf.inference.runs.patient_results import PatientJob, PatientSummary, Rows
from tfod_csf.inference.watch.arrivals import Arrival, FileState, file_state
from tfod_csf.problems import ProblemLog
from tfod_csf.study.folder_names import folder_names
from tfod_csf.study.image_io import file_sha256
from tfod_csf.study.patient_ids import loose
from tfod_csf.study.patients import ImageFile

QUIET_SECONDS = 60.0
_KEPT = 50  # finished patients whose rows stay in memory, in case that images of them still come


@dataclasses.dataclass(frozen=True)
class PatientState:
    """A patient as far as the images have come.

    Attributes:
      folder: holds cells.csv and images.csv of what was examined; None before the first image.
      version: another number whenever these tables are others.
      images: files there are.
      examined: those that the models have seen.
      waiting: names of those that are not whole, or whose turn has not come.
      unusable: {name: why} of those that could not be used so far; a file that changes is tried again.
      since: when the latest file came or changed, in seconds of the clock of `Arrivals`.
      error: why the patient could not be finished; "" where nothing went wrong.
    """

    patient_id: str
    folder: pathlib.Path | None
    version: int
    images: int
    examined: int
    waiting: tuple[str, ...]
    unusable: Mapping[str, str]
    since: float
    error: str = ""


@dataclasses.dataclass(frozen=True)
class _Examined:
    """An image that the models have seen; without rows where these are in the finished folder only."""

    state: FileState | None
    sha256: str | None = None
    rows: Rows | None = None

    @property
    def reason(self) -> str:
        """Why it could not be used; "" where a model examined it."""
        rows = self.rows.images if self.rows else []
        reasons = [row["reason"] for row in rows if row["status"] == run_folder.FAILED]
        return "; ".join(reasons) if len(reasons) == len(rows) else ""


@dataclasses.dataclass
class _Patient:
    """A patient who is watched.

    Attributes:
      examined: {image: what was found}.
      folder: holds the tables, or is to hold them.
      is_finished: whether the folder of results holds these images.
    """

    examined: dict[ImageFile, _Examined] = dataclasses.field(default_factory=dict)
    folder: pathlib.Path | None = None
    version: int = 0
    is_finished: bool = False
    error: str = ""


class WatchedPatients:
    """All patients of a folder that is being filled.

    Args:
      examination: the models and settings; the models should remember their answers (`RememberingDetector`).
      patients_dir: folder of the finished patients' folders.
      live_dir: an empty folder for the tables of the others.
      before_finishing: called before a patient is finished.
      quiet_seconds: a patient is finished when nothing was added for so long.
      clock: that of `Arrivals`.
    """

    def __init__(
        self,
        examination: Examination,
        patients_dir: pathlib.Path,
        live_dir: pathlib.Path,
        before_finishing: Callable[[], Any] = lambda: None,
        quiet_seconds: float = QUIET_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._examination = examination
        self._patients_dir = patients_dir
        self._live_dir = live_dir
        self._before_finishing = before_finishing
        self._quiet_seconds = quiet_seconds
        self._clock = clock
        self._patients: dict[str, _Patient] = {}
        self._versions = itertools.count(1)  # of all patients: one who was away and comes again gets others
        self._arrivals: dict[str, list[Arrival]] = {}
        self._names: dict[str, str] = {}  # of the folders of results
        self._finished: dict[str, pathlib.Path] = {}  # folders of results that were written
        self._kept_names: dict[str, str] = {}  # of the folders that hold results, of earlier runs too
        self._clashes: dict[str, str] = {}  # {patient who would rename one of these: why he is not finished}

    def advance(self, arrivals: Sequence[Arrival]) -> bool:
        """Examines one image or finishes one patient, of the patient whose files came last first.

        Args:
          arrivals: all files, as they are now.

        Returns:
          Whether there was something to do.

        Raises:
          OSError: the disk is full, for example.
        """
        self._take(arrivals)
        for patient_id in self._latest_first():
            arrival = self._next_image(patient_id)
            if arrival is not None:
                self._examine(self._patients[patient_id], arrival)
                return True
        for patient_id in self._latest_first():
            if self._is_quiet(patient_id):
                self._finish(patient_id)
                return True
        return False

    def states(self) -> list[PatientState]:
        """All patients, those whose files came last first."""
        return [self._state(patient_id) for patient_id in self._latest_first()]

    def without_images(self) -> list[pathlib.Path]:
        """Folders of results that were written here, of patients of whom there is no image any more."""
        return [folder for patient_id, folder in self._finished.items() if patient_id not in self._arrivals]

    def _take(self, arrivals: Iterable[Arrival]) -> None:
        """Notes which files there are; what was found on files that are gone or others now is forgotten."""
        self._arrivals = {}
        for arrival in arrivals:
            self._arrivals.setdefault(arrival.image.patient_id, []).append(arrival)
        self._name_folders()
        for patient_id in [name for name in self._patients if name not in self._arrivals]:
            del self._patients[patient_id]
        for patient_id, of_patient in self._arrivals.items():
            patient = self._patients.get(patient_id)
            if patient is None:
                if all(arrival.is_whole for arrival in of_patient):
                    self._patients[patient_id] = self._finished_earlier(patient_id, of_patient) or _Patient()
                continue
            states = {arrival.image: arrival.state for arrival in of_patient}
            gone = [image for image, found in patient.examined.items() if states.get(image) != found.state]
            is_more = len(states) > len(patient.examined)
            if (gone or is_more) and any(found.rows is None for found in patient.examined.values()):
                self._patients[patient_id] = _Patient(version=next(self._versions))
            elif gone:
                for image in gone:
                    del patient.examined[image]
                self._write_tables(patient_id, patient)
            if gone or is_more:
                self._patients[patient_id].is_finished = False

    def _name_folders(self) -> None:
        """Names the folders of results; of ids that differ only in capitals a new one may not rename a finished one's.

        The end of the run names all folders again, and would find the finished patient's results under another name.
        """
        self._names = folder_names(list(self._arrivals))
        self._clashes = {}
        for patient_id, kept in self._kept_names.items():
            if self._names.get(patient_id, kept) == kept:
                continue
            self._names[patient_id] = kept
            for other in self._arrivals:
                if other < patient_id and loose(other) == loose(patient_id) and other not in self._kept_names:
                    self._clashes[other] = (
                        f"the patient {other!r} differs from {patient_id!r}, who is finished, in capitals only, and is "
                        "not finished beside him; if it is one person, move the images to the folder of "
                        f"{patient_id!r}, or else give {other!r} another id."
                    )

    def _finished_earlier(self, patient_id: str, arrivals: Sequence[Arrival]) -> _Patient | None:
        """The patient, if an earlier run has finished him with these images and settings."""
        try:
            folder = PatientFolder.open(self._folder_of(patient_id))
        except UserError:  # is said when the patient is finished
            return None
        images = [arrival.image for arrival in arrivals]
        settings = self._examination.settings
        if not folder.may_be_done(settings, [image.name for image in images]):
            return None
        if not folder.is_done(settings, {image.name: file_sha256(image.path) for image in images}):
            return None
        self._kept_names[patient_id] = folder.path.name
        examined = {arrival.image: _Examined(arrival.state) for arrival in arrivals}
        return _Patient(examined, folder.path, next(self._versions), is_finished=True)

    def _folder_of(self, patient_id: str) -> pathlib.Path:
        return self._patients_dir / self._names[patient_id]

    def _latest_first(self) -> list[str]:
        """By when the latest file was seen; of those seen at once, as at the start, by the files' own times."""

        def order(patient_id: str) -> tuple[float, int, str]:
            arrivals = self._arrivals[patient_id]
            changed = max(arrival.state.changed if arrival.state else 0 for arrival in arrivals)
            return -_latest(arrivals), -changed, patient_id

        return sorted(self._arrivals, key=order)

    def _next_image(self, patient_id: str) -> Arrival | None:
        """The patient's next image that is whole and was not examined."""
        whole = [arrival for arrival in self._arrivals[patient_id] if arrival.is_whole]
        if not whole:
            return None
        patient = self._patients.setdefault(patient_id, _Patient())
        return next((arrival for arrival in whole if arrival.image not in patient.examined), None)

    def _job(self, patient_id: str, folder: pathlib.Path) -> PatientJob:
        how = self._examination
        return PatientJob(patient_id, folder, how.detectors, how.thresholds, draw=False, tiles=how.tiles)

    def _examine(self, patient: _Patient, arrival: Arrival) -> None:
        """Gives an image to the models, unless its file changes meanwhile."""
        image, how = arrival.image, self._examination
        read = image_reading.read(image, how.decode_jpeg, in_tiles=how.tiles is not None)
        rows = Rows()
        try:
            if file_state(image) != arrival.state:
                return
            job = self._job(image.patient_id, self._live_dir)
            log = ProblemLog(quiet=True)  # the end of the run reports what is wrong then
            patient_results.examine_image(job, read, {}, image.name, log, rows, PatientSummary())
        finally:
            if read.loaded:
                image_cells.close(read.loaded)
        patient.examined[image] = _Examined(arrival.state, read.sha256, rows)
        self._write_tables(image.patient_id, patient)

    def _write_tables(self, patient_id: str, patient: _Patient) -> None:
        """Writes what was found, images in their order, those with the same bytes once."""
        if patient.folder is None or not patient.folder.is_relative_to(self._live_dir):
            patient.folder = self._live_dir / str(len(list(self._live_dir.iterdir())))
            patient.folder.mkdir()
        rows = Rows()
        first_with: dict[str, str] = {}
        for arrival in self._arrivals[patient_id]:
            found = patient.examined.get(arrival.image)
            if found is None or found.rows is None:
                continue
            name = arrival.image.name
            twin = first_with.setdefault(found.sha256, name) if found.sha256 else name
            if twin == name:
                rows.cells += found.rows.cells
                rows.images += found.rows.images
            else:
                rows.images.append(patient_results.twin_row(patient_id, name, found.sha256, twin))
        patient_results.write_tables(self._job(patient_id, patient.folder), rows)
        patient.version = next(self._versions)

    def _is_quiet(self, patient_id: str) -> bool:
        """Whether all images were examined and nothing has come for a while, and the patient is not finished."""
        patient, arrivals = self._patients.get(patient_id), self._arrivals[patient_id]
        if patient is None or patient.is_finished or patient_id in self._clashes:
            return False
        if self._clock() - _latest(arrivals) < self._quiet_seconds:
            return False
        return all(arrival.image in patient.examined for arrival in arrivals)

    def _finish(self, patient_id: str) -> None:
        """Writes the patient's folder of results as every run does."""
        patient, how = self._patients[patient_id], self._examination
        images = [arrival.image for arrival in self._arrivals[patient_id]]
        folder = self._folder_of(patient_id)
        self._before_finishing()
        upcoming, in_tiles = upcoming_images(how, [(images, folder)]), how.tiles is not None
        try:
            with ImageWorkers(how.decode_jpeg, how.limits, upcoming, in_tiles=in_tiles) as workers:
                examine_patient(how, patient_id, images, folder, ProblemLog(quiet=True), workers=workers)
            patient.error = ""
            self._finished[patient_id] = folder
            self._kept_names[patient_id] = folder.name
        except UserError as error:  # the end of the run refuses it too; the others go on
            patient.error = str(error)
        patient.is_finished = True
        self._forget_rows()

    def _forget_rows(self) -> None:
        """Forgets the rows of patients who were finished long ago; their tables are in their folders of results."""
        finished = [name for name in self._latest_first() if self._patients[name].is_finished]
        for patient_id in finished[_KEPT:]:
            patient = self._patients[patient_id]
            if not patient.error and any(found.rows for found in patient.examined.values()):
                patient.examined = {image: _Examined(found.state) for image, found in patient.examined.items()}
                patient.folder = self._folder_of(patient_id)
                patient.version = next(self._versions)

    def _state(self, patient_id: str) -> PatientState:
        patient, arrivals = self._patients.get(patient_id, _Patient()), self._arrivals[patient_id]
        examined = {arrival.image.name: patient.examined.get(arrival.image) for arrival in arrivals}
        return PatientState(
            patient_id,
            patient.folder if patient.examined else None,
            patient.version,
            len(arrivals),
            sum(found is not None for found in examined.values()),
            tuple(name for name, found in examined.items() if found is None),
            {name: found.reason for name, found in examined.items() if found and found.reason},
            _latest(arrivals),
            self._clashes.get(patient_id, patient.error),
        )


def _latest(arrivals: Sequence[Arrival]) -> float:
    return max(arrival.since for arrival in arrivals)

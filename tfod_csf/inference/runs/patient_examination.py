"""One patient: from its images to its folder of results. A function of the images, the models and the settings alone.

Whoever runs many patients, one after the other or on many machines, calls `examine_patient` for each; the same images,
models and settings give the same files wherever it runs.

    FOLDER/cells.csv, images.csv, pictures/   by patient_results.run_patient
    FOLDER/stamp.json                         written last: see patient_folder

A patient is done when its stamp names the same images (by checksum), the same models (by fingerprint, temperature and
classes), the same thresholds and tiles, the same version of this package and the tables that are there; a patient with
an image on which a model failed is examined again, and in rounds one that was computed in another way. A patient's
files are written beside and swapped in when they are whole, so that an interrupted patient has its earlier ones, or
none. Of a patient that may be done the checksums are computed first; the files of all others are read once, their
checksums being those of the bytes that were decoded.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeVar

from tfod_csf import __version__, run_folder
from tfod_csf.files import atomic_write
from tfod_csf.inference import domain_guard
from tfod_csf.inference.cell_selection import ScoreThresholds
from tfod_csf.inference.image_detector import ImageDetector
from tfod_csf.inference.runs.image_workers import IN_TURN, ImageWorkers, Wanted, WorkerLimits
from tfod_csf.inference.runs.patient_folder import PatientFolder, PatientFolderError
from tfod_csf.inference.runs.patient_results import PatientJob, PatientSummary, run_patient
from tfod_csf.problems import Problem, ProblemLog
from tfod_csf.study import image_io
from tfod_csf.study.patients import ImageFile
from tfod_csf.study.tile_grid import TileSettings

_Result = TypeVar("_Result")


@dataclasses.dataclass(frozen=True)
class Examination:
    """How patients are examined.

    Attributes:
      detectors: the models, at least one.
      thresholds: what counts as a cell.
      draw: whether to write pictures.
      limits: what may be used beside the network; the files are the same with any.
      tiles: how images that are larger than a tile are cut; None cuts none.
      computed_by: `inference_record.computation`; stamps keep it.
      is_compared: the files are compared with those of other rounds, so that a patient who was computed in another way,
        or nobody knows how, is examined again.
    """

    detectors: Sequence[ImageDetector]
    thresholds: ScoreThresholds
    draw: bool = True
    limits: WorkerLimits = IN_TURN
    tiles: TileSettings | None = None
    computed_by: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    is_compared: bool = False

    @property
    def decode_jpeg(self) -> image_io.JpegDecoder:
        """How JPEGs are decoded, once for all models: TensorFlow's decoder, which all were trained with."""
        return self.detectors[0].decode_jpeg

    @property
    def settings(self) -> dict[str, Any]:
        """Everything besides the images that a patient's files depend on, as its stamp keeps it."""
        tiles = {"tiles": dataclasses.asdict(self.tiles)} if self.tiles else {}
        return {
            "version": __version__,
            "models": {detector.name: _model_settings(detector) for detector in self.detectors},
            "thresholds": dataclasses.asdict(self.thresholds),
            "draw": self.draw,
            **tiles,
        }

    def may_be_done(self, folder: PatientFolder, images: Sequence[ImageFile], refused: Collection[str] = ()) -> bool:
        """Whether a patient's files may be those of this examination; see `PatientFolder.may_be_done`."""
        if self.is_compared and folder.stamp.get("computed_by") != dict(self.computed_by):
            return False
        return folder.may_be_done(self.settings, [image.name for image in images], refused)


def _model_settings(detector: ImageDetector) -> dict[str, Any]:
    """What a patient's files depend on of a model."""
    label_map = detector.label_map
    settings = {
        "fingerprint": detector.fingerprint,
        "temperature": detector.temperature,
        # A corrected label map gives the same network's cells other names.
        "classes": {str(class_id): label_map.name_of(class_id) for class_id in label_map.ids},
    }
    digests = domain_guard.fingerprints(detector)
    return {**settings, "domain_guards": digests} if digests else settings


@dataclasses.dataclass(frozen=True)
class PatientOutcome:
    """What happened to one patient.

    Attributes:
      patient_id: the patient.
      folder: the patient's folder of results.
      checksums: {image: sha256 of its file}; None where the file cannot be read.
      summary: of run.json.
      tables: {table: sha256} as they were written.
      reused: the patient was done already.
    """

    patient_id: str
    folder: pathlib.Path
    checksums: Mapping[str, str | None]
    summary: PatientSummary
    tables: Mapping[str, str]
    reused: bool = False


def examine_patient(
    examination: Examination,
    patient_id: str,
    images: Sequence[ImageFile],
    folder_path: pathlib.Path,
    problems: ProblemLog,
    on_image: Callable[[], Any] = lambda: None,
    refused: Mapping[str, str] = MappingProxyType({}),
    workers: ImageWorkers | None = None,
) -> PatientOutcome:
    """Examines a patient, unless its folder holds the results of these images and settings already.

    Args:
      examination: the models and settings.
      images: the patient's images.
      folder_path: the patient's folder of results; made if absent.
      problems: gets everything that was skipped or repaired, also that of a patient that is not redone.
      on_image: called after each image.
      refused: {image: reason} of images that are not to be opened; they fail the patient as unreadable ones do.
      workers: read the images and draw the pictures beside the network; without them, all is done in turn.

    Raises:
      PatientFolderError: the folder holds what batch_infer did not write.
    """
    return finished(
        examine_in_steps(examination, patient_id, images, folder_path, problems, on_image, refused, workers)
    )


def finished(steps: Generator[None, None, _Result]) -> _Result:
    """Takes the steps that are left, and returns what they come to."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def examine_in_steps(
    examination: Examination,
    patient_id: str,
    images: Sequence[ImageFile],
    folder_path: pathlib.Path,
    problems: ProblemLog,
    on_image: Callable[[], Any] = lambda: None,
    refused: Mapping[str, str] = MappingProxyType({}),
    workers: ImageWorkers | None = None,
) -> Generator[None, None, PatientOutcome]:
    """Does what `examine_patient` does, and pauses once, when the models have seen all images.

    Then the models may have the next patient's while this one's last pictures are drawn.
    """
    workers = workers or ImageWorkers(examination.decode_jpeg, in_tiles=examination.tiles is not None)
    folder = PatientFolder.open(folder_path)
    if examination.may_be_done(folder, images, refused):
        checksums = {image.name: workers.sha256(image) for image in images}
        if folder.is_done(examination.settings, checksums, refused):
            yield
            problems.extend(recorded_problems(folder))
            for _ in images:
                on_image()
            return dataclasses.replace(recorded_outcome(patient_id, folder), reused=True)
    return (yield from _examine(examination, patient_id, folder, images, problems, on_image, refused, workers))


def upcoming_images(
    examination: Examination, patients: Iterable[tuple[Sequence[ImageFile], pathlib.Path]]
) -> Iterator[Wanted]:
    """What `examine_patient` will want of patients that are examined in this order.

    Args:
      patients: the images and the folder of results of each.
    """
    for images, folder_path in patients:
        try:
            folder = PatientFolder.open(folder_path)
        except PatientFolderError:  # is raised again when the patient's turn comes
            may_be_done = False
        else:
            may_be_done = examination.may_be_done(folder, images)
        yield from (Wanted(image, is_decoded=not may_be_done) for image in images)


def recorded_outcome(patient_id: str, folder: PatientFolder) -> PatientOutcome:
    """What a patient's stamp says happened, whoever examined the patient.

    Raises:
      KeyError, TypeError: the stamp is that of an interrupted patient, or of another version.
    """
    stamp = folder.stamp
    return PatientOutcome(patient_id, folder.path, stamp["images"], PatientSummary(**stamp["summary"]), stamp["tables"])


def recorded_problems(folder: PatientFolder) -> list[Problem]:
    """The problems in a patient's stamp.

    Raises:
      KeyError, TypeError: as `recorded_outcome`.
    """
    return [Problem(**problem) for problem in folder.stamp["problems"]]


def _examine(
    examination: Examination,
    patient_id: str,
    folder: PatientFolder,
    images: Sequence[ImageFile],
    problems: ProblemLog,
    on_image: Callable[[], Any],
    refused: Mapping[str, str],
    workers: ImageWorkers,
) -> Generator[None, None, PatientOutcome]:
    """Examines a patient beside the earlier results and swaps the new ones in."""
    own_problems = ProblemLog(strict=problems.strict)
    with atomic_write.folder_beside(folder.path / "results") as new:
        how = (examination.detectors, examination.thresholds, examination.draw, examination.tiles)
        job = PatientJob(patient_id, new, *how)
        try:
            with _not_removed(new):
                summary, checksums = yield from run_patient(job, images, own_problems, workers, on_image, refused)
        finally:
            problems.problems.extend(own_problems.problems)
        summary.input_hash = _input_hash(checksums)
        tables = run_folder.table_checksums(new)
        stamp = {"tables": tables, **_stamp(examination, checksums, summary, own_problems)}
        if refused:
            stamp["refused"] = sorted(refused)
        folder.replace(new, stamp)
    return PatientOutcome(patient_id, folder.path, checksums, summary, tables)


@contextlib.contextmanager
def _not_removed(folder: pathlib.Path) -> Iterator[None]:
    """Refuses a folder that was removed and made again meanwhile: what was written before is lost."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield
        if not os.path.samestat(os.fstat(opened), os.stat(folder)):
            raise PatientFolderError(f"{folder.parent}: was removed during the run; run the same command again.")
    finally:
        os.close(opened)


def _input_hash(checksums: Mapping[str, str | None]) -> str:
    return hashlib.sha256(json.dumps(dict(sorted(checksums.items()))).encode()).hexdigest()


def _stamp(
    examination: Examination, checksums: Mapping[str, str | None], summary: PatientSummary, problems: ProblemLog
) -> dict[str, Any]:
    return {
        "settings": examination.settings,
        "computed_by": dict(examination.computed_by),
        "images": dict(checksums),
        "summary": dataclasses.asdict(summary),
        "problems": [dataclasses.asdict(problem) for problem in problems.problems],
    }

"""All patients through the detectors, one after the other; a second run redoes only what changed.

    OUT/patients/<id>/cells.csv, images.csv, pictures/   by patient_results.run_patient
    OUT/patients/<id>/stamp.json                         written last: see patient_folder

A patient is done when its stamp names the same images (by checksum), the same models (by fingerprint and temperature),
the same thresholds, the same version of this package and the tables that are there; a patient with an image on which a
model failed is examined again. A patient's files are written beside and swapped in when they are whole, so that an
interrupted patient has its earlier ones, or none. Memory grows by one summary per patient only.
"""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tfod_csf import __version__, run_folder
from tfod_csf.errors import UserError
from tfod_csf.files import atomic_write, given_files
from tfod_csf.files.checksums import file_sha256
from tfod_csf.inference.cell_selection import ScoreThresholds
from tfod_csf.inference.image_detector import ImageDetector
from tfod_csf.inference.runs.patient_folder import PatientFolder
from tfod_csf.inference.runs.patient_results import PatientJob, PatientSummary, run_patient
from tfod_csf.problems import Problem, ProblemLog
from tfod_csf.progress_bar import progress_bar
from tfod_csf.study.folder_names import folder_names
from tfod_csf.study.image_limits import MAX_FILE_BYTES
from tfod_csf.study.patients import ImageFile
from tfod_csf.wording import plural


class BatchError(UserError):
    """The output folder cannot take this run."""


@dataclasses.dataclass
class BatchResult:
    """What happened to every patient, in the order of the input.

    Attributes:
      summaries: {patient id: summary}.
      folders: {patient id: folder}.
      reused: patients that were done already.
      kept: folders of patients of an earlier run with the same models and thresholds that are not in this input.
      tables: {patient's folder: {table: sha256}} of all of them, as they were written.
    """

    summaries: dict[str, PatientSummary] = dataclasses.field(default_factory=dict)
    folders: dict[str, pathlib.Path] = dataclasses.field(default_factory=dict)
    reused: set[str] = dataclasses.field(default_factory=set)
    kept: list[str] = dataclasses.field(default_factory=list)
    tables: dict[str, dict[str, str]] = dataclasses.field(default_factory=dict)

    @property
    def num_images(self) -> int:
        """Images of all patients."""
        return sum(summary.images for summary in self.summaries.values())

    @property
    def num_failed(self) -> int:
        """Images that could not be used."""
        return sum(summary.failed for summary in self.summaries.values())


def run_settings(detectors: Sequence[ImageDetector], thresholds: ScoreThresholds, draw: bool) -> dict[str, Any]:
    """Everything besides the images that a patient's files depend on."""
    return {
        "version": __version__,
        "models": {d.name: {"fingerprint": d.fingerprint, "temperature": d.temperature} for d in detectors},
        "thresholds": dataclasses.asdict(thresholds),
        "draw": draw,
    }


def run(
    images: Sequence[ImageFile],
    detectors: Sequence[ImageDetector],
    thresholds: ScoreThresholds,
    output_dir: pathlib.Path,
    problems: ProblemLog,
    draw: bool = True,
    on_start: Callable[[], Any] = lambda: None,
    on_patient: Callable[[], Any] = lambda: None,
) -> BatchResult:
    """Runs all models over all patients.

    Args:
      images: the images, of any number of patients.
      detectors: the models; their names and class names must agree as `check_detectors` says.
      thresholds: what counts as a cell.
      output_dir: OUT of the module's docstring.
      problems: gets everything that was skipped or repaired, also that of patients that are not redone.
      draw: whether to write pictures.
      on_start: called when nothing keeps the run from starting, before anything is changed.
      on_patient: called before each patient.

    Raises:
      BatchError: the output folder holds patients of another run (other models or thresholds) beside this input.
      PatientFolderError: a patient's folder holds what batch_infer did not write, or a table that was changed.
      PatientsError: a patient's id is too long for a folder's name.
    """
    by_patient: dict[str, list[ImageFile]] = {}
    for image in images:
        by_patient.setdefault(image.patient_id, []).append(image)
    names = folder_names(list(by_patient))
    patients_dir = output_dir / run_folder.PATIENTS_DIR
    settings = run_settings(detectors, thresholds, draw)
    result = BatchResult(tables=_earlier_patients(patients_dir, set(names.values()), settings))
    result.kept = sorted(result.tables)
    for name in names.values():
        PatientFolder.open(patients_dir / name).check_tables()
    on_start()
    owners: dict[str, str] = {}  # checksum of an image -> where it was first seen
    with progress_bar(unit="image", total=len(images)) as progress:
        for patient_id, patient_images in by_patient.items():
            on_patient()
            progress.set_postfix_str(patient_id)
            folder = PatientFolder.open(patients_dir / names[patient_id])
            checksums = {image.name: _sha256(image.path) for image in patient_images}
            if folder.is_done(settings, checksums):
                problems.extend(Problem(**problem) for problem in folder.stamp["problems"])
                summary = PatientSummary(**folder.stamp["summary"])
                result.tables[folder.path.name] = folder.stamp["tables"]
                result.reused.add(patient_id)
                progress.update(len(patient_images))
            else:
                job = PatientJob(patient_id, folder.path, detectors, thresholds, draw)
                summary, tables = _examine(job, folder, patient_images, checksums, settings, problems, progress.update)
                result.tables[folder.path.name] = tables
            result.summaries[patient_id], result.folders[patient_id] = summary, folder.path
            _note_shared_images(patient_id, patient_images, checksums, owners, problems)
    return result


def _examine(
    job: PatientJob,
    folder: PatientFolder,
    images: Sequence[ImageFile],
    checksums: Mapping[str, str | None],
    settings: dict[str, Any],
    problems: ProblemLog,
    on_image: Callable[[], Any],
) -> tuple[PatientSummary, dict[str, str]]:
    """Examines a patient beside the earlier results and swaps the new ones in; returns checksums of the tables too."""
    own_problems = ProblemLog(strict=problems.strict)
    with atomic_write.folder_beside(folder.path / "results") as new:
        try:
            summary = run_patient(dataclasses.replace(job, folder=new), images, checksums, own_problems, on_image)
        finally:
            problems.problems.extend(own_problems.problems)
        summary.input_hash = _input_hash(checksums)
        tables = run_folder.table_checksums(new)
        stamp: dict[str, Any] = {"tables": tables}
        if not summary.detector_failures:
            stamp.update(_stamp(settings, checksums, summary, own_problems))
        folder.replace(new, stamp)
    return summary, tables


def closing_text(result: BatchResult, seconds_per_image: float | None) -> str:
    """Summary of a run for the console."""
    cells: dict[str, int] = {}
    for summary in result.summaries.values():
        for model, count in summary.cells.items():
            cells[model] = cells.get(model, 0) + count
    found = ", ".join(f"{plural(count, 'cell')} by {model}" for model, count in cells.items()) or "no cells"
    merged = sum(sum(summary.duplicates_merged.values()) for summary in result.summaries.values())
    limited = sum(len(summary.limit_reached) for summary in result.summaries.values())
    speed = f", {seconds_per_image:.2f} s per image" if seconds_per_image else ""
    images = f"{plural(result.num_images, 'image')} ({result.num_failed} failed)"
    lines = [f"{plural(len(result.summaries), 'patient')}, {images}: {found}{speed}."]
    if result.reused:
        lines.append(f"Not redone, because nothing changed: {plural(len(result.reused), 'patient')}.")
    if result.kept:
        lines.append(f"Kept in the tables from earlier runs, not in this input: {plural(len(result.kept), 'patient')}.")
    if merged:
        lines.append(f"Not counted, because they lie on a better one: {plural(merged, 'detection')}.")
    if limited:
        lines.append(
            f"On {plural(limited, 'image')} a model reached its detection limit; cells may be missing (problems.csv)."
        )
    return "\n".join(lines)


def check_detectors(detectors: Sequence[ImageDetector]) -> None:
    """Refuses models whose results do not fit into one table.

    Raises:
      BatchError: two models of one name, or of different classes.
    """
    names = [detector.name for detector in detectors]
    for name in names:
        if names.count(name) > 1:
            raise BatchError(f"two models are called {name!r}; rename one of the folders, results carry the name.")
    for detector in detectors[1:]:
        if set(detector.label_map.names) != set(detectors[0].label_map.names):
            raise BatchError(
                f"model {detector.name!r} knows {', '.join(detector.label_map.names)} and model {names[0]!r} knows "
                f"{', '.join(detectors[0].label_map.names)}; only models of the same classes can be averaged."
            )


def _sha256(path: pathlib.Path) -> str | None:
    """Checksum of an image's file; None when it cannot be read, or is too large to be an image."""
    try:
        return file_sha256(path, MAX_FILE_BYTES)
    except OSError:
        return None


def _input_hash(checksums: Mapping[str, str | None]) -> str:
    return hashlib.sha256(json.dumps(dict(sorted(checksums.items()))).encode()).hexdigest()


def _stamp(
    settings: dict[str, Any], checksums: Mapping[str, str | None], summary: PatientSummary, problems: ProblemLog
) -> dict[str, Any]:
    return {
        "settings": settings,
        "images": dict(checksums),
        "summary": dataclasses.asdict(summary),
        "problems": [dataclasses.asdict(problem) for problem in problems.problems],
    }


def _earlier_patients(
    patients_dir: pathlib.Path, names: set[str], settings: dict[str, Any]
) -> dict[str, dict[str, str]]:
    """{folder: its tables} of patients that are not in this input but done in the same way; they stay in the run.

    Raises:
      BatchError: one of them was done with other models or thresholds.
      PatientFolderError: its files are not those of batch_infer.
    """
    tables = {}
    others = [path.name for path in given_files.folders_with(patients_dir, "images.csv") if path.name not in names]
    for name in others:
        folder = PatientFolder.open(patients_dir / name)
        folder.check_tables()
        if {**folder.stamp.get("settings", {}), "draw": settings["draw"]} != settings:
            raise BatchError(
                f"{folder.path}: a patient of an earlier run with other models or thresholds, not in this input "
                f"({len(others)} such folders); they do not fit into one table: use another --output_dir or move them "
                "away."
            )
        tables[name] = folder.stamp["tables"]
    return tables


def _note_shared_images(
    patient_id: str,
    images: Sequence[ImageFile],
    checksums: Mapping[str, str | None],
    owners: dict[str, str],
    problems: ProblemLog,
) -> None:
    """Notes images that another patient has too: most likely one was copied into the wrong folder."""
    for image in images:
        checksum = checksums[image.name]
        owner = owners.setdefault(checksum, patient_id) if checksum else patient_id
        if owner != patient_id:
            reason = f"the same bytes as an image of patient {owner!r}; it was counted for both"
            problems.noted(image.path, reason, "Find out whose image it is and delete the other copy.")

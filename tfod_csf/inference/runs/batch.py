"""All patients through the detectors, one after the other; a second run redoes only what changed.

    OUT/patients/<id>/   one patient: see patient_examination

Memory grows by one summary per patient only.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tfod_csf import run_folder
from tfod_csf.errors import UserError
from tfod_csf.files import given_files
from tfod_csf.inference.cell_selection import ScoreThresholds
from tfod_csf.inference.image_detector import ImageDetector
from tfod_csf.inference.runs.patient_examination import Examination, PatientOutcome, examine_patient
from tfod_csf.inference.runs.patient_folder import PatientFolder
from tfod_csf.inference.runs.patient_results import PatientSummary
from tfod_csf.problems import ProblemLog
from tfod_csf.progress_bar import progress_bar
from tfod_csf.study.folder_names import folder_names
from tfod_csf.study.patients import ImageFile
from tfod_csf.wording import plural

ExaminePatient = Callable[
    [str, Sequence[ImageFile], pathlib.Path, ProblemLog, Callable[[], Any]],
    PatientOutcome,
]
"""What is done with one patient: `examine_patient` of an `Examination`, or what stands for it."""

Engine = Callable[[Examination, Mapping[str, tuple[Sequence[ImageFile], pathlib.Path]]], ExaminePatient]
"""Given all patients, {id: (images, folder of results)}, says what is done with one; may examine all of them first."""


def in_this_process(examination: Examination, patients: Mapping[str, Any]) -> ExaminePatient:
    """The engine that examines each patient when its turn comes."""
    return functools.partial(examine_patient, examination)


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

    def add(self, outcome: PatientOutcome) -> None:
        """Adds one patient."""
        self.summaries[outcome.patient_id], self.folders[outcome.patient_id] = outcome.summary, outcome.folder
        self.tables[outcome.folder.name] = dict(outcome.tables)
        if outcome.reused:
            self.reused.add(outcome.patient_id)

    @property
    def num_images(self) -> int:
        """Images of all patients."""
        return sum(summary.images for summary in self.summaries.values())

    @property
    def num_failed(self) -> int:
        """Images that could not be used."""
        return sum(summary.failed for summary in self.summaries.values())


def run(
    images: Sequence[ImageFile],
    detectors: Sequence[ImageDetector],
    thresholds: ScoreThresholds,
    output_dir: pathlib.Path,
    problems: ProblemLog,
    draw: bool = True,
    on_start: Callable[[], Any] = lambda: None,
    on_patient: Callable[[], Any] = lambda: None,
    engine: Engine = in_this_process,
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
      engine: who examines the patients.

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
    examination = Examination(detectors, thresholds, draw)
    result = BatchResult(tables=_earlier_patients(patients_dir, set(names.values()), examination.settings))
    result.kept = sorted(result.tables)
    for name in names.values():
        PatientFolder.open(patients_dir / name).check_tables()
    on_start()
    folders = {patient_id: patients_dir / name for patient_id, name in names.items()}
    examine = engine(examination, {name: (by_patient[name], folder) for name, folder in folders.items()})
    owners: dict[str, str] = {}  # checksum of an image -> where it was first seen
    with progress_bar(unit="image", total=len(images)) as progress:
        for patient_id, patient_images in by_patient.items():
            on_patient()
            progress.set_postfix_str(patient_id)
            outcome = examine(patient_id, patient_images, folders[patient_id], problems, progress.update)
            result.add(outcome)
            _note_shared_images(patient_images, outcome, owners, problems)
    return result


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
    images: Sequence[ImageFile], outcome: PatientOutcome, owners: dict[str, str], problems: ProblemLog
) -> None:
    """Notes images that another patient has too: most likely one was copied into the wrong folder."""
    for image in images:
        checksum = outcome.checksums[image.name]
        owner = owners.setdefault(checksum, outcome.patient_id) if checksum else outcome.patient_id
        if owner != outcome.patient_id:
            reason = f"the same bytes as an image of patient {owner!r}; it was counted for both"
            problems.noted(image.path, reason, "Find out whose image it is and delete the other copy.")

"""All patients through the detectors, in their order; a second run redoes only what changed.

    OUT/patients/<id>/   one patient: see patient_examination

Memory grows by one summary per patient only.
"""

import collections
import contextlib
import dataclasses
import functools
import pathlib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from tfod_csf import run_folder
from tfod_csf.errors import UserError
from tfod_csf.files import given_files
from tfod_csf.inference.cell_selection import ScoreThresholds
from tfod_csf.inference.image_detector import ImageDetector
from tfod_csf.inference.runs.image_workers import IN_TURN, ImageWorkers, WorkerLimits
from tfod_csf.inference.runs.patient_examination import (
    Examination,
    PatientOutcome,
    examine_in_steps,
    finished,
    upcoming_images,
)
from tfod_csf.inference.runs.patient_folder import PatientFolder
from tfod_csf.inference.runs.patient_results import PatientSummary
from tfod_csf.problems import ProblemLog
from tfod_csf.progress_bar import progress_bar
from tfod_csf.study.folder_names import folder_names, patient_id_of
from tfod_csf.study.patients import ImageFile
from tfod_csf.study.tile_grid import TileSettings
from tfod_csf.wording import plural

ExaminePatient = Callable[
    [str, Sequence[ImageFile], pathlib.Path, ProblemLog, Callable[[], Any]],
    Callable[[], PatientOutcome],
]
"""What is done with one patient: `examine_patient` of an `Examination`, or what stands for it.

It returns when the next patient's turn may come; what it gives finishes this one.
"""

Patients = Mapping[str, tuple[Sequence[ImageFile], pathlib.Path]]
"""{id: (images, folder of results)}"""

Engine = Callable[[Examination, Patients], contextlib.AbstractContextManager[ExaminePatient]]
"""Given all patients, says what is done with one, as long as the context lasts; may examine all of them first."""


@contextlib.contextmanager
def in_this_process(examination: Examination, patients: Patients) -> Iterator[ExaminePatient]:
    """The engine that examines each patient when its turn comes, while the next ones' images are read."""
    upcoming = upcoming_images(examination, patients.values())
    with ImageWorkers(
        examination.decode_jpeg, examination.limits, upcoming, in_tiles=examination.tiles is not None
    ) as workers:
        begin: Callable[..., Generator[None, None, PatientOutcome]]
        begin = functools.partial(examine_in_steps, examination, workers=workers)
        begun: collections.deque[Generator[None, None, PatientOutcome]] = collections.deque(maxlen=2)

        def examine(*patient: Any) -> Callable[[], PatientOutcome]:
            steps = begin(*patient)
            begun.append(steps)
            next(steps)
            return functools.partial(finished, steps)

        try:
            yield examine
        finally:
            for steps in begun:  # those of a patient who is not finished remove what they have written
                steps.close()


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

    @classmethod
    def beside(cls, earlier: run_folder.Tables) -> "BatchResult":
        """Nothing yet but the patients of earlier runs, of `earlier_patients`."""
        return cls(kept=sorted(earlier), tables={name: dict(tables) for name, tables in earlier.items()})

    def add(self, outcome: PatientOutcome) -> None:
        """Adds one patient."""
        self.summaries[outcome.patient_id], self.folders[outcome.patient_id] = outcome.summary, outcome.folder
        self.tables[outcome.folder.name] = dict(outcome.tables)
        if outcome.reused:
            self.reused.add(outcome.patient_id)

    def outcomes(self) -> Iterator[PatientOutcome]:
        """The patients in their order, without the checksums of their images."""
        for patient_id, summary in self.summaries.items():
            folder = self.folders[patient_id]
            reused = patient_id in self.reused
            yield PatientOutcome(patient_id, folder, {}, summary, self.tables[folder.name], reused)

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
    names: Mapping[str, str] | None = None,
    limits: WorkerLimits = IN_TURN,
    tiles: TileSettings | None = None,
    computed_by: Mapping[str, Any] = MappingProxyType({}),
    is_compared: bool = False,
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
      names: `folder_names` of all patients of the run, where the images are those of some of them.
      limits: what may be used beside the network.
      tiles: how images that are larger than a tile are cut; None cuts none.
      computed_by, is_compared: of `Examination`.

    Raises:
      BatchError: as `earlier_patients`.
      PatientFolderError: a patient's folder holds what batch_infer did not write, or a table that was changed.
      PatientsError: a patient's id is too long for a folder's name.
    """
    by_patient = images_by_patient(images)
    names = folder_names(list(by_patient)) if names is None else names
    patients_dir = output_dir / run_folder.PATIENTS_DIR
    examination = Examination(detectors, thresholds, draw, limits, tiles, computed_by, is_compared)
    result = BatchResult.beside(earlier_patients(patients_dir, names, examination.settings))
    for patient_id in by_patient:
        PatientFolder.open(patients_dir / names[patient_id]).check_tables()
    on_start()
    folders = {patient_id: patients_dir / names[patient_id] for patient_id in by_patient}
    owners: dict[str, str] = {}  # checksum of an image -> where it was first seen
    of_patients = {name: (by_patient[name], folder) for name, folder in folders.items()}

    def finish(patient_images: Sequence[ImageFile], finish_patient: Callable[[], PatientOutcome]) -> None:
        outcome = finish_patient()
        result.add(outcome)
        note_shared_images(patient_images, outcome, owners, problems)

    last = contextlib.ExitStack()
    with engine(examination, of_patients) as examine, progress_bar(unit="image", total=len(images)) as progress:
        for patient_id, patient_images in by_patient.items():
            with last:  # finishes the patient before, also when this one fails or the user interrupts it
                on_patient()
                progress.set_postfix_str(patient_id)
                begun = examine(patient_id, patient_images, folders[patient_id], problems, progress.update)
            last.callback(finish, patient_images, begun)
        last.close()
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


def images_by_patient(images: Iterable[ImageFile]) -> dict[str, list[ImageFile]]:
    """{patient id: images}, in the order of the input."""
    by_patient: dict[str, list[ImageFile]] = {}
    for image in images:
        by_patient.setdefault(image.patient_id, []).append(image)
    return by_patient


def earlier_patients(
    patients_dir: pathlib.Path, names: Mapping[str, str], settings: Mapping[str, Any]
) -> dict[str, dict[str, str]]:
    """{folder: its tables} of patients that are not in this input but done in the same way; they stay in the run.

    Args:
      names: {patient id: folder} of the input.
      settings: `Examination.settings`.

    Raises:
      BatchError: one of them was done with other models, thresholds or tiles, or is in the input under another folder's
        name.
      PatientFolderError: its files are not those of batch_infer.
    """
    tables = {}
    known = set(names.values())
    others = [path.name for path in given_files.folders_with(patients_dir, "images.csv") if path.name not in known]
    for name in others:
        folder = PatientFolder.open(patients_dir / name)
        folder.check_tables()
        if "settings" not in folder.stamp:
            raise BatchError(
                f"{folder.path}: a patient whose examination was interrupted, not in this input; put the images back "
                "and run again, or move the folder away."
            )
        if {**folder.stamp.get("settings", {}), "draw": settings["draw"]} != settings:
            raise BatchError(
                f"{folder.path}: a patient of an earlier run with other models, thresholds or tiles, not in this input "
                f"({len(others)} such folders); they do not fit into one table: use another --output_dir or move them "
                "away."
            )
        now = names.get(patient_id_of(name))
        if now is not None:
            raise BatchError(
                f"{folder.path}: results of patient {patient_id_of(name)!r} from an earlier run. Patients whose ids "
                f"differ in capitals only have come or gone since, and this one's folder is now {now}: move the old "
                "one away, or the patient would be in the tables twice."
            )
        tables[name] = folder.stamp["tables"]
    return tables


def note_shared_images(
    images: Sequence[ImageFile], outcome: PatientOutcome, owners: dict[str, str], problems: ProblemLog
) -> None:
    """Notes images that another patient has too: most likely one was copied into the wrong folder.

    Args:
      owners: {checksum of an image: the patient who had it first}; gets those of this patient.
    """
    for image in images:
        checksum = outcome.checksums[image.name]
        owner = owners.setdefault(checksum, outcome.patient_id) if checksum else outcome.patient_id
        if owner != outcome.patient_id:
            reason = f"the same bytes as an image of patient {owner!r}; it was counted for both"
            problems.noted(image.path, reason, "Find out whose image it is and delete the other copy.")

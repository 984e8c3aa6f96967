"""One import of all patients of an export: who was imported, who was refused and why, and what changed in all."""

import contextlib
import dataclasses
import os
import pathlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tfod_csf import cell_classes, run_folder
from tfod_csf.cytology import run_tables
from tfod_csf.cytology.review import base_state, reviewed_cohort, revisions, training_images
from tfod_csf.cytology.review.patient_import import ImportSettings, PatientImport, import_patient
from tfod_csf.cytology.review.reviewed_cohort import Counting, ReviewedPatient
from tfod_csf.cytology.review.revisions import RevisionError
from tfod_csf.cytology.review.sidecar import FILE_NAME, DisagreementError, ReviewError, read_sidecar
from tfod_csf.files import given_files
from tfod_csf.problems import Problem, ProblemLog
from tfod_csf.wording import plural, visible


@dataclasses.dataclass
class Session:
    """What an import did.

    Attributes:
      imported: {patient's folder in the run: (the reviewer's folder, result)}, including those with nothing new.
      refused: one sentence per patient that was not imported.
      disagreeing: of these, the reviewer's folders that contradict an earlier review.
      reviewed: all patients with reviews, those of earlier imports too.
    """

    imported: dict[str, tuple[pathlib.Path, PatientImport]] = dataclasses.field(default_factory=dict)
    refused: list[str] = dataclasses.field(default_factory=list)
    disagreeing: list[pathlib.Path] = dataclasses.field(default_factory=list)
    reviewed: list[ReviewedPatient] = dataclasses.field(default_factory=list)

    @property
    def new(self) -> list[PatientImport]:
        """Patients with a new revision."""
        return [one for _, one in self.imported.values() if one.revision]

    def __str__(self) -> str:
        new = self.new
        changes = sum((Counter(one.changes) for one in new), Counter())
        parts = ", ".join(f"{count} {change}" for change, count in changes.items() if change != "verified")
        lines = [
            f"{plural(len(new), 'patient')} with a new revision, {len(self.imported) - len(new)} with nothing new, "
            f"{len(self.refused)} refused; {plural(changes['verified'], 'image')} verified"
            + (f"; cells on saved images: {parts}." if parts else ".")
        ]
        disagreements = sum(one.disagreements for one in new)
        if disagreements:
            cells = plural(disagreements, "cell")
            lines.append(f"{cells} on which two reviews disagree, settled as --disagreements says.")
        unknown = sum(patient.after.counts[cell_classes.UNKNOWN] for patient in self.reviewed)
        if self.reviewed:
            patients = plural(len(self.reviewed), "reviewed patient")
            lines.append(f"{plural(unknown, 'unknown cell')} left in {patients}.")
        for one in new:
            if one.revision is not None:
                lines.append(f"{one.patient_id}: revision {one.revision.number}, checksum {one.revision.sha256}")
        return "\n".join(lines)


def check_places(
    review_dir: str | os.PathLike, inference_dir: str | os.PathLike, output_dir: str | os.PathLike
) -> None:
    """Refuses folders that an import cannot take, whatever is in the export.

    Raises:
      ReviewError: the output would lie in the run or in the export, or the run is a reviewed state.
    """
    review, run, output = (pathlib.Path(path).resolve() for path in (review_dir, inference_dir, output_dir))
    run_tables.patient_folders(run)
    if output in (run, review) or output.is_relative_to(run / run_folder.PATIENTS_DIR) or output.is_relative_to(review):
        raise ReviewError(f"--output_dir={output_dir}: give a folder of its own; the run and the export are kept.")
    if (run / "review_summary.csv").is_file():
        raise ReviewError(f"--inference_dir={inference_dir}: is a reviewed state; give the run of batch_infer itself.")


def folders_to_import(
    review_dir: str | os.PathLike, inference_dir: str | os.PathLike, output_dir: str | os.PathLike
) -> list[pathlib.Path]:
    """The patients' folders of an export.

    Raises:
      ReviewError: none in it, or as `check_places`.
    """
    check_places(review_dir, inference_dir, output_dir)
    review = pathlib.Path(review_dir).resolve()
    folders = [review] if (review / FILE_NAME).is_file() else given_files.folders_with(review, FILE_NAME)
    if not folders:
        raise ReviewError(f"--review_dir={review_dir}: no {FILE_NAME} in it; give the folder review_export wrote.")
    return folders


def _owners(folders: Iterable[pathlib.Path]) -> dict[str, list[pathlib.Path]]:
    """{patient's folder in the run: reviewers' folders}; a copied folder makes it two."""
    owners: dict[str, list[pathlib.Path]] = {}
    for folder in folders:
        with contextlib.suppress(ReviewError):  # reported when it is imported
            owners.setdefault(read_sidecar(folder / FILE_NAME).folder, []).append(folder)
    return owners


def run(
    folders: Sequence[pathlib.Path],
    inference_dir: str | os.PathLike,
    output_dir: pathlib.Path,
    settings: ImportSettings,
    counting: Counting,
    problems: ProblemLog,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> Session:
    """Imports the folders one by one, then brings the tables over all patients up to date.

    Args:
      progress: wraps a list of patients' folders.
    """
    session = Session()
    owners, recorded = _owners(folders), reviewed_cohort.recorded_reviews(output_dir)
    reviewed_cohort.begin(inference_dir, output_dir)
    for folder in progress(folders):
        try:
            sidecar = read_sidecar(folder / FILE_NAME)
            name = sidecar.folder
            if len(owners[name]) > 1:
                copies = ", ".join(map(str, owners[name]))
                raise ReviewError(f"{folder}: the patient is there {len(owners[name])} times ({copies}); keep one.")
            machine = pathlib.Path(inference_dir) / run_folder.PATIENTS_DIR / name
            target = output_dir / run_folder.PATIENTS_DIR / name
            chain = revisions.read_revisions(target, settings.key)
            revisions.check_holds(target, chain, recorded.get(sidecar.patient_id, {}).get("revision_sha256", ""))
            result = import_patient(folder, machine, target, settings, counting.write_differential, problems)
            session.imported[name] = (folder, result)
        except (ReviewError, RevisionError) as error:
            session.refused.append(str(error))
            session.disagreeing += [folder] if isinstance(error, DisagreementError) else []
            problems.skipped(folder, str(error).rstrip("."), "The patient was not imported.")
    session.reviewed = reviewed_cohort.write_cohort(
        inference_dir, output_dir, counting, problems, settings.key, progress
    )
    return session


def check_importable(
    folder: pathlib.Path, inference_dir: str | os.PathLike, output_dir: pathlib.Path, settings: ImportSettings
) -> None:
    """Refuses a patient's folder that an import would refuse whatever is decided in it, before anybody works on it.

    Raises:
      ReviewError: it is of another run or history, or the machine has examined the patient again, or another person
        imported the export.
      RevisionError: the history is broken.
    """
    sidecar = read_sidecar(folder / FILE_NAME)
    machine = pathlib.Path(inference_dir) / run_folder.PATIENTS_DIR / sidecar.folder
    chain = revisions.read_revisions(output_dir / run_folder.PATIENTS_DIR / sidecar.folder, settings.key)
    base_state.find_base_state(sidecar, machine, chain, folder, settings.reviewer)


def problems_of_others(output_dir: pathlib.Path, folders: Sequence[pathlib.Path]) -> list[Problem]:
    """What an earlier import found in other folders, for an import of some patients alone.

    Args:
      output_dir: whose problems.csv is read; none are there without it.
      folders: of which the new import says everything again.

    Raises:
      TableError: problems.csv is damaged.
    """
    earlier = ProblemLog(quiet=True)
    earlier.read_csv(output_dir / "problems.csv")
    said_again = [pathlib.Path(visible(str(folder.resolve()))) for folder in folders]
    return [
        problem
        for problem in earlier.problems
        if not any(pathlib.Path(problem.file).resolve().is_relative_to(folder) for folder in said_again)
    ]


def write_training(
    session: Session, output_dir: pathlib.Path, training_dir: str | None, problems: ProblemLog
) -> tuple[int, int]:
    """Writes the verified images of the imported folders for training; returns (images, cells)."""
    totals = [0, 0]
    if training_dir is None:
        return 0, 0
    for name, (folder, _) in session.imported.items():
        target = output_dir / run_folder.PATIENTS_DIR / name
        written = training_images.write_training_images(folder, target, pathlib.Path(training_dir), problems)
        totals = [a + b for a, b in zip(totals, written, strict=True)]
    return totals[0], totals[1]

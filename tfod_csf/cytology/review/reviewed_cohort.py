"""All patients of a run after reviews: a folder like batch_infer's, with reviewed patients as people decided.

    OUT/run.json                     of the run, with the state of the reviews
    OUT/differentials.csv            all patients
    OUT/differential_rules.json      how they were counted
    OUT/review_summary.csv           reviewed patients, machine's version against the current one
    OUT/review_changes.csv           every change of every review
    OUT/patients/<id>/               cells.csv, images.csv, differential.csv: the current state
    OUT/patients/<id>/review_differential.csv, revisions/    of reviewed patients

Every command that reads batch_infer's output reads this folder too.
"""

import dataclasses
import os
import pathlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from tfod_csf import cell_classes, classification, run_folder
from tfod_csf.cytology import cell_rows, run_tables
from tfod_csf.cytology.cell_rows import Cell
from tfod_csf.cytology.counting import cohort
from tfod_csf.cytology.counting.corrected_differential import Corrections
from tfod_csf.cytology.counting.differential import Differential, DifferentialRules
from tfod_csf.cytology.counting.differential_tables import long_rows, write_differential_csv
from tfod_csf.cytology.counting.reference_ranges import ReferenceRange
from tfod_csf.cytology.review import merge, revisions
from tfod_csf.cytology.review.changes import ADDED, DELETED, MOVED, RELABELLED
from tfod_csf.cytology.review.patient_import import CHANGES
from tfod_csf.cytology.review.revisions import Revision
from tfod_csf.files import csv_schemas, given_files
from tfod_csf.files.checksums import file_sha256
from tfod_csf.problems import ProblemLog
from tfod_csf.study import folder_names

_STATUSES = (merge.CONFIRMED, RELABELLED, MOVED, DELETED, ADDED, merge.DISPUTED)


@dataclasses.dataclass(frozen=True)
class Counting:
    """How differentials are made; the same before and after a review, so that only the review makes a difference.

    Attributes:
      references: reference ranges.
      rules: numbers of the rules.
      cells_per_ul: {patient_id: white cells per uL}.
      thresholds: counts cells that nobody decided on again with these; None keeps the run's counting.
      corrections: confusion matrices of the run's models, for patients whom nobody has reviewed.
      ranges_path, population: where the references come from.
    """

    references: Mapping[str, ReferenceRange]
    rules: DifferentialRules
    cells_per_ul: Mapping[str, float]
    thresholds: run_tables.Thresholds | None = None
    corrections: Corrections | None = None
    ranges_path: str = ""
    population: str = ""

    def differential(self, folder: pathlib.Path) -> Differential:
        """Of the cells.csv and images.csv in a folder."""
        patient = run_tables.read_patient(folder, details=self.corrections is not None)
        if self.thresholds is not None:
            patient = patient.counted_with(self.thresholds)
        cells_per_ul = self.cells_per_ul.get(patient.patient_id)
        return cohort.patient_differential(patient, cells_per_ul, self.references, self.rules, self.corrections)

    def write_differential(self, folder: pathlib.Path) -> None:
        """Writes differential.csv beside the tables."""
        write_differential_csv(folder / "differential.csv", self.differential(folder))


@dataclasses.dataclass(frozen=True)
class ReviewedPatient:
    """The reviews of a patient.

    Attributes:
      chain: the history since the newest version of the machine, which is its first element.
      before, after: differential of the machine's version and of the current one.
    """

    folder: pathlib.Path
    chain: tuple[Revision, ...]
    before: Differential
    after: Differential


def read_reviewed(patient_folder: pathlib.Path, counting: Counting, key: bytes | None = None) -> ReviewedPatient | None:
    """A patient's reviews with the differential before and after; None when nobody has reviewed the patient.

    Raises:
      revisions.RevisionError: the history is broken.
    """
    chain = revisions.read_revisions(patient_folder, key)
    if not revisions.reviews_since_machine(chain):
        return None
    since = chain[revisions.machine_revision(chain).number :]
    before, after = (counting.differential(revision.folder) for revision in (since[0], since[-1]))
    return ReviewedPatient(patient_folder, since, before, after)


def bring_up_to_date(machine: pathlib.Path, folder: pathlib.Path, problems: ProblemLog) -> None:
    """Makes a patient's tables current: the newest revision's, or else the machine's.

    A reviewed patient whom the machine has examined again keeps the reviewed state, with a row in `problems`.

    Raises:
      revisions.RevisionError: the history is broken.
    """
    chain = revisions.read_revisions(folder)
    source = chain[-1].folder if chain else machine
    for name in ("cells.csv", "images.csv"):
        wanted = file_sha256(source / name)
        if not (folder / name).is_file() or file_sha256(folder / name) != wanted:
            run_folder.remove_pages(folder)
            revisions.copy_file(source / name, folder / name)
    if chain and revisions.machine_revision(chain).record["machine_sha256"] != revisions.tables_sha256(machine):
        reason = "the machine has examined the patient again since the review; the reviewed state was kept"
        problems.noted(machine, reason, "Run review_export on the new run and review it to replace it.")


def _wide(before: Differential, after: Differential) -> dict[str, Any]:
    """Columns of review_summary.csv that compare the two."""
    row: dict[str, Any] = {}
    differences = []
    for name, result in (("before", before), ("after", after)):
        row[f"unknown_{name}"] = result.counts[cell_classes.UNKNOWN]
        row[f"white_cells_{name}"] = result.white_cells
        for cell_class, share in result.shares.items():
            row[f"{cell_class}_percent_{name}"] = share.percent
    if before.shares and after.shares:
        differences = [abs(after.shares[c].percent - before.shares[c].percent) for c in cell_classes.WHITE_CELLS]
    return {**row, "largest_change_points": max(differences, default=None)}


def _machine_right_percent(before: Iterable[Cell], after: Iterable[Cell]) -> float | None:
    """Of the cells the machine counted under a class and a person has decided on, those whose class stayed."""
    label = {(cell.image, cell.cell_id): cell.label for cell in before}
    pairs = [(label.get((cell.image, cell.cell_id), ""), cell.label) for cell in after if cell.is_decided]
    known = [(first, last) for first, last in pairs if first not in ("", cell_classes.UNKNOWN)]
    return 100 * sum(first == last for first, last in known) / len(known) if known else None


def summary_row(reviewed: ReviewedPatient) -> dict[str, Any]:
    """The patient's row of review_summary.csv."""
    reviews, newest = reviewed.chain[1:], reviewed.chain[-1]
    model = str(newest.record.get("model"))
    cells = cell_rows.read_cells(newest.folder / "cells.csv").cells
    machine = cell_rows.read_cells(reviewed.chain[0].folder / "cells.csv")
    statuses = Counter(cell.status for cell in cells)
    return {
        "patient_id": reviewed.after.patient_id,
        "revisions": len(reviews),
        "reviewers": "+".join(revisions.reviewers_of(reviews)),
        "last_review": newest.when,
        "images": reviewed.after.images_used,
        "images_verified": len(newest.record.get("images_verified", {})),
        "cells_decided": sum(cell.is_decided for cell in cells),
        **{status: statuses[status] for status in _STATUSES},
        "machine_right_percent": _machine_right_percent(machine.of_model(model).cells, cells),
        "revision_sha256": newest.sha256,
        **_wide(reviewed.before, reviewed.after),
    }


def differential_rows(reviewed: ReviewedPatient) -> list[dict[str, Any]]:
    """Rows of review_differential.csv."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for when, result in (("before", reviewed.before), ("after", reviewed.after)):
        for row in long_rows(result):
            key = (row["group"], row["class"])
            new = {"patient_id": result.patient_id, "group": key[0], "class": key[1]}
            new |= {"count_before": 0, "count_after": 0}
            merged = rows.setdefault(key, new)
            merged[f"count_{when}"] = row["count"]
            merged[f"percent_{when}"] = row.get("percent")
    for row in rows.values():
        first, last = row.get("percent_before"), row.get("percent_after")
        row["difference_points"] = None if first is None or last is None else last - first
    order = (cell_classes.GROUP_WHITE_CELLS, cell_classes.GROUP_APART, cell_classes.GROUP_TOTAL)
    return sorted(rows.values(), key=lambda row: order.index(row["group"]))


def recorded_reviews(output_dir: str | os.PathLike) -> dict[str, dict[str, Any]]:
    """{patient id: state} of the reviews, as the last import wrote it into run.json; empty before the first import.

    Raises:
      RevisionError: run.json cannot be read.
    """
    try:
        run = given_files.read_json(pathlib.Path(output_dir, "run.json"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise revisions.RevisionError(f"{output_dir}/run.json: cannot be read ({error}); put it back.") from None
    return dict(run.get("review", {}))


def begin(inference_dir: str | os.PathLike, output_dir: str | os.PathLike) -> None:
    """Marks the reviewed state as unfinished until `write_cohort` ends: readers refuse it meanwhile.

    Raises:
      RevisionError, RunError: run.json of either folder cannot be read.
    """
    recorded = recorded_reviews(output_dir)
    run_folder.begin(output_dir, {**run_folder.read_run(inference_dir), "review": recorded})


def _change_rows(reviewed: Iterable[ReviewedPatient]) -> Iterator[dict[str, Any]]:
    for patient in reviewed:
        for review in patient.chain[1:]:
            yield from csv_schemas.load("review_changes").read(review.folder / CHANGES)


def write_cohort(
    inference_dir: str | os.PathLike,
    output_dir: str | os.PathLike,
    counting: Counting,
    problems: ProblemLog,
    key: bytes | None = None,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> list[ReviewedPatient]:
    """Writes every file of the module's docstring and returns the reviewed patients.

    A patient whose history is broken is left as it is, with a row in `problems`.
    """
    run, output = pathlib.Path(inference_dir), pathlib.Path(output_dir)
    recorded, kept = recorded_reviews(output), {}
    reviewed = []
    machines = run_tables.patient_folders(run)
    for machine in progress(machines):
        folder, patient_id = output / run_folder.PATIENTS_DIR / machine.name, folder_names.patient_id_of(machine.name)
        state = recorded.get(patient_id, {})
        try:
            revisions.check_holds(folder, revisions.read_revisions(folder), state.get("revision_sha256", ""))
            bring_up_to_date(machine, folder, problems)
            patient = read_reviewed(folder, counting, key)
        except revisions.RevisionError as error:
            remedy = "Find out who changed it and put the files back from a backup."
            problems.skipped(folder, str(error).rstrip("."), remedy)
            kept.update({patient_id: state} if state else {})
            continue
        if patient is not None:
            rows = differential_rows(patient)
            csv_schemas.load("review_differential").write_into(folder, rows)
            reviewed.append(patient)
    rows = [summary_row(patient) for patient in reviewed]
    csv_schemas.load("review_summary").write_into(output, rows)
    csv_schemas.load("review_changes").write_into(output, _change_rows(reviewed))
    states = {
        row["patient_id"]: {
            "revision": patient.chain[-1].number,
            "revision_sha256": row["revision_sha256"],
            "reviewers": list(revisions.reviewers_of(patient.chain[1:])),
            "images_verified": row["images_verified"],
        }
        for row, patient in zip(rows, reviewed, strict=True)
    }
    for model, matrix in (counting.corrections.matrices if counting.corrections else {}).items():
        classification.write_into_run(output, dataclasses.replace(matrix, model=model))
    cohort.write_differentials(
        output,
        output,
        thresholds=counting.thresholds,
        cells_per_ul=counting.cells_per_ul,
        references=counting.references,
        rules=counting.rules,
        corrections=counting.corrections,
        progress=progress,
        folders=[output / run_folder.PATIENTS_DIR / name for name in run_folder.tables_of(output)],
    )
    _write_rules(run, output, counting)
    run_folder.finish(output, {**run_folder.read_run(run), "review": {**kept, **states}})
    return reviewed


def _write_rules(run: pathlib.Path, output: pathlib.Path, counting: Counting) -> None:
    """Writes how the table of all patients was counted."""
    thresholds = counting.thresholds or run_tables.new_thresholds(run)[0]
    cohort.write_rules(
        output / cohort.RULES_JSON,
        dataclasses.asdict(thresholds),
        counting.rules,
        reference_ranges=counting.ranges_path,
        population=counting.population,
        inference_dir=str(output.resolve()),
    )

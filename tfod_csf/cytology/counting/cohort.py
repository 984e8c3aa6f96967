"""The differentials of all patients of a run, one patient in memory at a time.

batch_infer ends with `write_differentials` into its own folder; the command `differential` does the same into
another folder with other thresholds, ranges or rules.
"""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from tfod_csf import cell_classes, run_folder
from tfod_csf.cytology import run_tables
from tfod_csf.cytology.counting.corrected_differential import Corrections, corrected_differential
from tfod_csf.cytology.counting.differential import (
    Differential,
    DifferentialRules,
    differential,
)
from tfod_csf.cytology.counting.differential_tables import write_differential_csv, write_differentials_csv
from tfod_csf.cytology.counting.enough_cells import NOT_KNOWN
from tfod_csf.cytology.counting.reference_ranges import ReferenceRange, load_reference_ranges
from tfod_csf.cytology.counting.unknown_cells import UnnamedCells
from tfod_csf.files import atomic_write, csv_schemas, given_files
from tfod_csf.wording import plural

RULES_JSON = "differential_rules.json"


@dataclasses.dataclass
class CohortSummary:
    """Numbers of patients for the last line of a command."""

    patients: int = 0
    with_percentages: int = 0
    with_too_many_unknown: int = 0
    with_enough_cells: int = 0
    enough_not_known: int = 0
    corrected: int = 0
    unlike_validation: int = 0
    with_failed_images: int = 0

    def add(self, result: Differential) -> None:
        """Counts one patient."""
        self.patients += 1
        self.with_percentages += bool(result.shares)
        self.with_too_many_unknown += bool(result.unknown_beyond_limit)
        self.with_enough_cells += result.enough_cells
        self.enough_not_known += result.enough.answer == NOT_KNOWN
        self.with_failed_images += result.images_failed > 0
        if result.corrected:
            self.corrected += bool(result.corrected.shares)
            self.unlike_validation += bool(result.corrected.unlike)

    def __str__(self) -> str:
        return (
            f"{plural(self.patients, 'patient')}: {self.with_percentages} with percentages{self._unknown_text}, "
            f"{self.with_enough_cells} of them with enough cells for the tolerance{self._not_known_text}, "
            f"{self.with_failed_images} with failed images{self._corrected_text}"
        )

    @property
    def _unknown_text(self) -> str:
        many = self.with_too_many_unknown
        return f" (too many unknown white cells to rely on those of {many})" if many else ""

    @property
    def _not_known_text(self) -> str:
        return f" (not known of {self.enough_not_known})" if self.enough_not_known else ""

    @property
    def _corrected_text(self) -> str:
        if not self.corrected:
            return ""
        unlike = f" ({self.unlike_validation} with pictures unlike the validation's)" if self.unlike_validation else ""
        return f"; corrected percentages of {self.corrected}{unlike}"


def patient_differential(
    patient: run_tables.PatientTables,
    cells_per_ul: float | None = None,
    references: Mapping[str, ReferenceRange] | None = None,
    rules: DifferentialRules | None = None,
    corrections: Corrections | None = None,
) -> Differential:
    """The differential of a patient's tables, of the models that examined every image that could be examined.

    Args:
      corrections: confusion matrices of the run; with them the tables have to be read with `details`.
    """
    rules = rules or DifferentialRules()
    patient = patient.of_complete_models()
    result = differential(
        patient.patient_id,
        patient.counts_by_model(),
        images_used=len(patient.used_images),
        images_failed=patient.num_failed,
        images_limited=patient.num_limited,
        cells_per_ul=cells_per_ul,
        references=references,
        rules=rules,
        image_counts=patient.mean_image_counts(cell_classes.WHITE_CELLS),
        undecided=UnnamedCells(
            patient.counts_by_model(named=True), patient.undecided_by_model(), patient.left_unknown_by_model()
        ),
        model_classes=patient.model_classes,
    )
    if patient.skipped_models:
        note = "; ".join(filter(None, [*patient.skipped_models, result.note]))
        result = dataclasses.replace(result, note=note, skipped_models=patient.skipped_models)
    if corrections is None:
        return result
    return result.with_corrected(corrected_differential(patient, corrections, bool(result.shares), rules.alpha))


def write_differentials(
    inference_dir: str | os.PathLike,
    output_dir: str | os.PathLike,
    thresholds: run_tables.Thresholds | None = None,
    cells_per_ul: Mapping[str, float] | None = None,
    references: Mapping[str, ReferenceRange] | None = None,
    rules: DifferentialRules | None = None,
    corrections: Corrections | None = None,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
    folders: Iterable[pathlib.Path] | None = None,
) -> CohortSummary:
    """Writes patients/<id>/differential.csv and differentials.csv for every patient of a run.

    Args:
      inference_dir: output of batch_infer.
      output_dir: may be the same folder; then the differentials in it are replaced.
      thresholds: counts the cells again with these; None keeps the run's counting.
      cells_per_ul: {patient_id: white cells per uL}.
      references: reference ranges; None takes the adult ranges that come with the package.
      rules: numbers of the rules; None takes the defaults.
      corrections: confusion matrices of the run's models; None gives no corrected percentages.
      progress: wraps the list of patients' folders, for example in a progress bar.
      folders: of the patients, from whoever is writing the run just now; None takes those of a finished run.

    Raises:
      RunError, TableError: as `run_tables.patient_folders`.
    """
    expected: run_folder.Tables = {}
    if folders is None:
        folders = run_tables.patient_folders(inference_dir)
        expected = run_folder.read_run(inference_dir).get("tables", {})  # none in a run of an earlier version
    output = pathlib.Path(output_dir)
    references = load_reference_ranges() if references is None else references
    cells_per_ul = cells_per_ul or {}
    summary = CohortSummary()

    def results() -> Iterator[Differential]:
        for folder in progress(folders):
            patient = run_tables.read_patient(folder, details=corrections is not None)
            if thresholds is not None:
                patient = patient.counted_with(thresholds)
            of_patient = cells_per_ul.get(patient.patient_id)
            result = patient_differential(patient, of_patient, references, rules, corrections)
            tables = run_folder.table_checksums(folder)
            if tables != expected.get(folder.name, tables):
                raise run_folder.RunError(f"{folder}: its tables were changed while they were read; run again.")
            result = dataclasses.replace(result, tables_sha256=run_folder.digest_of(folder, tables))
            write_differential_csv(output / run_folder.PATIENTS_DIR / folder.name / "differential.csv", result)
            summary.add(result)
            yield result

    write_differentials_csv(output / "differentials.csv", results())
    return summary


def check_made_of(differentials_csv: str | os.PathLike, inference_dir: str | os.PathLike) -> None:
    """Refuses a differentials.csv that was not counted from the tables of a finished run.

    Raises:
      RunError: as `run_folder.finished_run`.
      TableError: rows were counted from other tables, say not from which, or patients of the run are missing.
    """
    run = run_folder.finished_run(inference_dir)
    folders = run_folder.folders_of(inference_dir, run)
    expected = {run_folder.digest_of(folder, run["tables"][folder.name]): folder.name for folder in folders}
    for row in csv_schemas.load("differentials").read(differentials_csv, ["patient_id", "tables_sha256"]):
        if expected.pop(row.get("tables_sha256") or "", None) is None:
            raise run_tables.TableError(
                f"{differentials_csv}: the row of {row['patient_id']!r} was not counted from the tables that are in "
                f"{inference_dir} now; run differential again."
            )
    if expected:
        raise run_tables.TableError(
            f"{differentials_csv}: has no row of patient {min(expected.values())!r} of {inference_dir}; run "
            "differential again."
        )


def source_of(differentials_csv: str | os.PathLike) -> pathlib.Path | None:
    """The run that a differentials.csv was counted from; None where its folder does not say so or it is not there.

    That is the folder itself, or the one that `differential` noted beside the table.
    """
    folder = pathlib.Path(differentials_csv).parent
    if (folder / run_folder.RUN_JSON).exists():
        return folder
    try:
        noted = given_files.read_json(folder / RULES_JSON)["inference_dir"]
        return pathlib.Path(noted) if pathlib.Path(noted, run_folder.RUN_JSON).exists() else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def unreliable_patients(differentials_csv: str | os.PathLike) -> dict[str, float]:
    """{patient_id: percent} of the patients whose unknown white cells are beyond the limit of a differentials.csv.

    Percent of the white cells are unknown. Where the table does not say who is beyond its limit, the default limit of
    `DifferentialRules` decides.
    """
    limit, found = DifferentialRules().max_unknown_percent, {}
    columns = ["patient_id", "unknown_white_percent", "unknown_beyond_limit"]
    for row in csv_schemas.load("differentials").read(differentials_csv, columns):
        percent = row.get("unknown_white_percent") or 0.0
        if row.get("unknown_beyond_limit", percent > limit):
            found[row["patient_id"]] = percent
    return found


def unreliable_words(percent: float) -> str:
    """What to say of a patient of `unreliable_patients`.

    >>> unreliable_words(12.34)
    '12.3 % of the white cells are unknown: percentages not to be relied on'
    """
    return f"{percent:.1f} % of the white cells are unknown: percentages not to be relied on"


def write_rules(
    path: str | os.PathLike, thresholds: Mapping[str, Any], rules: DifferentialRules, **sources: str
) -> None:
    """Writes the thresholds and rules of a set of differentials into a JSON file."""
    atomic_write.write_json(path, {"thresholds": dict(thresholds), "rules": dataclasses.asdict(rules), **sources})

"""The differentials of all patients of a run, one patient in memory at a time.

batch_infer ends with `write_differentials` into its own folder; the command `differential` does the same into
another folder with other thresholds, ranges or rules.
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from tfod_csf import cell_classes, run_folder
from tfod_csf.cytology import patient_work, run_tables
from tfod_csf.cytology.counting.corrected_differential import Corrections, corrected_differential
from tfod_csf.cytology.counting.differential import (
    Differential,
    DifferentialRules,
    differential,
)
from tfod_csf.cytology.counting.differential_tables import wide_row, write_differential_csv, write_differentials_csv
from tfod_csf.cytology.counting.enough_cells import NOT_KNOWN
from tfod_csf.cytology.counting.reference_ranges import ReferenceRange, load_reference_ranges
from tfod_csf.cytology.counting.unknown_cells import UnnamedCells
from tfod_csf.cytology.domain_flags import domain_flags
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
    guarded: int = 0
    unlike_training: int = 0
    with_failed_images: int = 0

    @classmethod
    def of(cls, result: Differential) -> "CohortSummary":
        """Of one patient."""
        return cls(
            patients=1,
            with_percentages=int(bool(result.shares)),
            with_too_many_unknown=int(bool(result.unknown_beyond_limit)),
            with_enough_cells=int(result.enough_cells),
            enough_not_known=int(result.enough.answer == NOT_KNOWN),
            corrected=int(bool(result.corrected and result.corrected.shares)),
            unlike_validation=int(bool(result.corrected and result.corrected.unlike)),
            guarded=int(result.domain.in_domain is not None),
            unlike_training=int(result.domain.in_domain is False),
            with_failed_images=int(result.images_failed > 0),
        )

    def add(self, other: "CohortSummary") -> None:
        """Counts other patients too."""
        for field in dataclasses.fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))

    def __str__(self) -> str:
        return (
            f"{plural(self.patients, 'patient')}: {self.with_percentages} with percentages{self._unknown_text}, "
            f"{self.with_enough_cells} of them with enough cells for the tolerance{self._not_known_text}, "
            f"{self.with_failed_images} with failed images{self._corrected_text}{self._domain_text}"
        )

    @property
    def _domain_text(self) -> str:
        if not self.guarded:
            return "; no domain guard"
        of = "" if self.guarded == self.patients else f" of {self.guarded} with a domain guard"
        return f"; {self.unlike_training}{of} with at least half of their images unlike the training's"

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
        image_counts=patient.mean_unit_counts(cell_classes.WHITE_CELLS),
        undecided=UnnamedCells(
            patient.counts_by_model(named=True), patient.undecided_by_model(), patient.left_unknown_by_model()
        ),
        model_classes=patient.model_classes,
    )
    if patient.skipped_models:
        note = "; ".join(filter(None, [*patient.skipped_models, result.note]))
        result = dataclasses.replace(result, note=note, skipped_models=patient.skipped_models)
    result = result.with_domain(domain_flags(patient))
    if corrections is None:
        return result
    return result.with_corrected(corrected_differential(patient, corrections, bool(result.shares), rules.alpha))


@dataclasses.dataclass(frozen=True)
class _Counting(patient_work.Work[dict[str, Any]]):
    """Counts one patient and writes his differential.csv; `Patient.more` is his white cells per uL, or None.

    Attributes:
      settings: digest of everything that is the same for all patients.
    """

    settings: str
    output: pathlib.Path
    thresholds: run_tables.Thresholds | None
    references: Mapping[str, ReferenceRange]
    rules: DifferentialRules
    corrections: Corrections | None

    def state(self, patient: patient_work.Patient, tables: Mapping[str, str]) -> str:
        return patient_work.digest(self.settings, tables, patient.more)

    def do(self, patient: patient_work.Patient, tables: Mapping[str, str]) -> tuple[dict[str, Any], list[pathlib.Path]]:
        read = run_tables.read_patient(patient.folder, details=self.corrections is not None)
        if self.thresholds is not None:
            read = read.counted_with(self.thresholds)
        result = patient_differential(read, patient.more, self.references, self.rules, self.corrections)
        result = dataclasses.replace(result, tables_sha256=run_folder.digest_of(patient.folder, tables))
        path = self.output / run_folder.PATIENTS_DIR / patient.folder.name / "differential.csv"
        write_differential_csv(path, result)
        return {"row": wide_row(result), "summary": dataclasses.asdict(CohortSummary.of(result))}, [path]


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
    num_processes: int = 1,
) -> CohortSummary:
    """Writes patients/<id>/differential.csv and differentials.csv for every patient of a run.

    Stopped and called again with the same arguments, it resumes (`patient_work`). `RULES_JSON` of an earlier table is
    removed first, because it would be taken for that of this one; `write_rules` writes it again.

    Args:
      inference_dir: output of batch_infer.
      output_dir: may be the same folder; then the differentials in it are replaced.
      thresholds: counts the cells again with these; None keeps the run's counting.
      cells_per_ul: {patient_id: white cells per uL}.
      references: reference ranges; None takes the adult ranges that come with the package.
      rules: numbers of the rules; None takes the defaults.
      corrections: confusion matrices of the run's models; None gives no corrected percentages.
      progress: wraps the list of patients, for example in a progress bar.
      folders: of the patients, from whoever is writing the run just now; None takes those of a finished run.
      num_processes: that count; the files do not depend on it.

    Raises:
      RunError, TableError: as `run_tables.patient_folders`.
    """
    expected: run_folder.Tables = {}
    if folders is None:
        folders = run_tables.patient_folders(inference_dir)
        expected = run_folder.read_run(inference_dir).get("tables", {})  # none in a run of an earlier version
    counts = cells_per_ul or {}
    patients = [
        patient_work.Patient(folder, expected.get(folder.name), counts.get(run_tables.patient_id_in(folder)))
        if counts
        else patient_work.Patient(folder, expected.get(folder.name))
        for folder in folders
    ]
    output = pathlib.Path(output_dir)
    references = load_reference_ranges() if references is None else references
    how = (thresholds, references, rules or DifferentialRules(), corrections)
    work = _Counting(patient_work.digest(*how), output, *how)
    summary = CohortSummary()
    (output / RULES_JSON).unlink(missing_ok=True)

    with patient_work.resumable(output / "differential.unfinished") as done:

        def rows() -> Iterator[dict[str, Any]]:
            for result in patient_work.results(work, patients, done, num_processes, progress):
                summary.add(CohortSummary(**result["summary"]))
                yield result["row"]

        write_differentials_csv(output / "differentials.csv", rows())
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


def differing_rules(
    folder: str | os.PathLike, thresholds: Mapping[str, Any], rules: DifferentialRules, **sources: str
) -> dict[str, tuple[Any, Any]]:
    """{name: (value noted in `RULES_JSON`, value here)} of what `differential` counted the folder's table with.

    Only what differs; nothing where the folder has no such file, as after batch_infer.

    Args:
      folder: of differentials.csv.
      thresholds, rules, sources: as `write_rules` takes them.

    Raises:
      RunError: the file is not what `write_rules` wrote.
    """
    path = pathlib.Path(folder, RULES_JSON)
    if not path.exists():
        return {}
    here = json.loads(json.dumps({**thresholds, **dataclasses.asdict(rules), **sources}))
    try:
        noted = given_files.read_json(path)
        noted = {**noted["thresholds"], **noted["rules"], **noted}
    except (ValueError, KeyError, TypeError) as error:
        raise run_folder.RunError(
            f"{path}: not what differential wrote ({error!r}); run differential again."
        ) from error
    return {name: (noted[name], value) for name, value in here.items() if name in noted and noted[name] != value}


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

"""Final reports for the laboratory's system: a FHIR bundle per patient, or one table with a line per patient."""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from tfod_csf import cell_classes
from tfod_csf.cytology import run_tables
from tfod_csf.cytology.run_tables import TableError
from tfod_csf.cytology.signing import fhir_bundle
from tfod_csf.cytology.signing.final_reports import FinalReport, NotFinalError, read_final_report
from tfod_csf.files import atomic_write, csv_schemas

CSV, FHIR = "csv", "fhir"
TABLE = "report_export"
BUNDLE_SUFFIX = ".fhir.json"


def _nothing(path: pathlib.Path) -> None:
    """Says nothing of a removed file."""


@dataclasses.dataclass
class ExportSummary:
    """Files that were written, and one sentence per patient whose report is not final."""

    files: list[pathlib.Path] = dataclasses.field(default_factory=list)
    exported: int = 0
    not_final: list[str] = dataclasses.field(default_factory=list)


def export_reports(
    reviewed_dir: str | os.PathLike,
    output_dir: str | os.PathLike,
    file_format: str,
    patients: Sequence[str] = (),
    key: bytes | None = None,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
    on_removed: Callable[[pathlib.Path], None] = _nothing,
) -> ExportSummary:
    """Writes final reports for the laboratory's system.

    Bundles and a table of an earlier export are removed where the report of a patient in them is not final any more,
    whatever the format is now, and also where nothing is exported: they would be older than the patient's tables.

    Args:
      reviewed_dir: output of review_import.
      output_dir: gets <patient's folder>.fhir.json, or report_export.csv.
      file_format: `CSV` or `FHIR`.
      patients: ids; all of them must be final, or nothing is written. Empty for every final report.
      key: accepts only signatures that were made with it.
      progress: wraps the list of patients.
      on_removed: called with every file that is removed, before anything is refused.

    Raises:
      NotFinalError: a named patient's report, or every report, is not final.
      FhirError: `fhir.resources` is not installed, or a bundle cannot be made; then none is written.
      TableError: no such patient.
    """
    folders = run_tables.folders_by_patient(reviewed_dir)
    for patient in patients:
        if patient not in folders:
            raise TableError(f"{reviewed_dir}: no patient {patient!r} in it; see differentials.csv.")
    summary, output = ExportSummary(), pathlib.Path(output_dir)
    # Read once before anything is written, so that a refusal leaves nothing behind; kept are folders, not reports.
    chosen = {folders[name]: name for name in patients or folders}
    final = [folder for folder in progress(list(chosen)) if _is_final(folder, key, summary)]
    for path in _outdated(output, {folder: chosen[folder] for folder in chosen.keys() - set(final)}):
        path.unlink()
        on_removed(path)
    if summary.not_final and patients:
        raise NotFinalError(summary.not_final[0])
    if not final:
        raise NotFinalError(f"{reviewed_dir}: no report is final, nothing was written; {summary.not_final[0]}")
    if file_format == CSV:
        path = output / f"{TABLE}.csv"
        csv_schemas.load(TABLE).write(path, (flat_row(read_final_report(folder, key)) for folder in final))
        summary.files.append(path)
    else:
        bundles = {output / f"{folder.name}{BUNDLE_SUFFIX}": _checked_bundle(folder, key) for folder in final}
        for path, content in bundles.items():
            atomic_write.write_json(path, content)
            summary.files.append(path)
    summary.exported = len(final)
    return summary


def _checked_bundle(folder: pathlib.Path, key: bytes | None) -> dict[str, Any]:
    report = read_final_report(folder, key)
    content = fhir_bundle.bundle(report)
    fhir_bundle.check(content, report.patient_id)
    return content


def _outdated(output: pathlib.Path, not_final: Mapping[pathlib.Path, str]) -> Iterator[pathlib.Path]:
    """Files that this program wrote, with reports of the patients {folder: id} that are not final."""
    for name in sorted(folder.name for folder in not_final):
        path = output / f"{name}{BUNDLE_SUFFIX}"
        if path.is_file() and fhir_bundle.is_own(path.read_bytes()):
            yield path
    table = output / f"{TABLE}.csv"
    if table.is_file() and not _patients_of(table).isdisjoint(not_final.values()):
        yield table


def _patients_of(table: pathlib.Path) -> set[str]:
    """Ids of the patients in a report_export.csv; none in a table that this program did not write."""
    try:
        return {row["patient_id"] for row in csv_schemas.load(TABLE).read(table, ["patient_id", "signature_sha256"])}
    except TableError:
        return set()


def _is_final(folder: pathlib.Path, key: bytes | None, summary: ExportSummary) -> bool:
    try:
        read_final_report(folder, key)
    except NotFinalError as error:
        summary.not_final.append(str(error))
        return False
    return True


def flat_row(report: FinalReport) -> dict[str, Any]:
    """The patient's line of report_export.csv."""
    facts, signature = report.facts, report.signature
    row: dict[str, Any] = {
        "patient_id": report.patient_id,
        "sample_id": facts.sample_id,
        "collected_at": facts.collected_at,
        "operator": facts.operator,
        "status": "corrected" if report.corrects_earlier else "final",
        "signed_by": signature.signed_by,
        "signed_at": signature.signed_at,
        "comment": signature.comment,
        "reviewers": "+".join(report.reviewers),
        "checked": report.checked,
        "images_used": report.result.images_used,
        "white_cells": report.result.white_cells,
        "erythrocyte": report.counts[cell_classes.ERYTHROCYTE],
        "unknown": report.counts[cell_classes.UNKNOWN],
        "other_cells": report.result.other_cells,
        "signature_sha256": signature.sha256,
    }
    for name in cell_classes.WHITE_CELLS:
        row[name] = report.counts[name]
        share = report.percentages.get(name)
        if share:
            row[f"{name}_percent"] = share["percent"]
            row[f"{name}_ci_low_percent"] = share["ci_low"]
            row[f"{name}_ci_high_percent"] = share["ci_high"]
            row[f"{name}_mark"] = share["mark"]
            row[f"{name}_mark_certain"] = share["mark_certain"]
    return row

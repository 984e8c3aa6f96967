"""The report of a run: one HTML page per patient and one for all of them, one patient in memory at a time.

OUT/report.html                     all patients
OUT/report_pages/<n>.html           a thousand of them each, where there are more than five thousand
OUT/patients/<id>/report.html       one patient, with pictures
"""

import dataclasses
import os
import pathlib
import urllib.parse
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tfod_csf import cell_classes, run_folder
from tfod_csf.cytology import patient_work, run_tables
from tfod_csf.cytology.counting import cohort
from tfod_csf.cytology.counting.differential import Differential
from tfod_csf.cytology.counting.saturation import saturation
from tfod_csf.cytology.patient_facts import PatientFacts
from tfod_csf.cytology.report import gallery, labeled_fields, page_state, page_template, reviews
from tfod_csf.cytology.report.cohort_page import CohortPages, CohortPatient, CohortRow, row_of
from tfod_csf.cytology.report.patient_page import PatientPage, patient_html
from tfod_csf.cytology.review.revisions import RevisionError
from tfod_csf.cytology.review.verification import read_verification
from tfod_csf.cytology.signing import signed_result
from tfod_csf.cytology.signing.report_status import ReportStatus, report_status
from tfod_csf.cytology.signing.signatures import SignatureError, read_signatures
from tfod_csf.cytology.signing.signed_result import Basis
from tfod_csf.files import atomic_write

PAGE = run_folder.PAGES[0]


@dataclasses.dataclass(frozen=True)
class ReportOptions:
    """What goes into the pages.

    Attributes:
      images_dir: where the original images are; None takes the folder run.json names.
      model: whose cells gallery, fields and saturation show; None takes each patient's first model.
      max_cells_per_class: cells of a class in the gallery; ten times as many unknown ones.
      max_fields: labeled fields of a patient.
      patients: ids of the patients to make pages for; empty for all. Given, the cohort's page is left as it is.
      patient_pages, cohort_page: which pages to make.
    """

    images_dir: pathlib.Path | None = None
    model: str | None = None
    max_cells_per_class: int = 100
    max_fields: int = 6
    patients: tuple[str, ...] = ()
    patient_pages: bool = True
    cohort_page: bool = True


@dataclasses.dataclass
class ReportSummary:
    """Pages that were written, and how many patients' cells have no pictures."""

    patient_pages: list[pathlib.Path] = dataclasses.field(default_factory=list)
    cohort_page: pathlib.Path | None = None
    cohort_pages: list[pathlib.Path] = dataclasses.field(default_factory=list)
    without_crops: int = 0

    @property
    def pages(self) -> list[pathlib.Path]:
        """All pages, that of the cohort first."""
        return [*([self.cohort_page] if self.cohort_page else []), *self.cohort_pages, *self.patient_pages]


def write_report(
    inference_dir: str | os.PathLike,
    output_dir: str | os.PathLike,
    facts: page_template.RunFacts,
    options: ReportOptions = ReportOptions(),
    patient_facts: Mapping[str, PatientFacts] | None = None,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
    num_processes: int = 1,
) -> ReportSummary:
    """Writes the pages of a run.

    Stopped and called again with the same arguments, it resumes (`patient_work`).

    Args:
      inference_dir: output of batch_infer.
      output_dir: may be the same folder.
      facts: thresholds, rules and references the results are computed with, and the run's record.
      options: what goes into the pages.
      patient_facts: {patient_id: row of the table of patients}.
      progress: wraps the list of patients.
      num_processes: that make pages; the files do not depend on it.

    Raises:
      TableError: a table that cannot be read, or a patient or model that the run does not have.
    """
    output, summary = pathlib.Path(output_dir), ReportSummary()
    wants_cohort = options.cohort_page and not options.patients
    folders = run_tables.patient_folders(inference_dir)
    if wants_cohort:
        _remove_first(output, {folder.name for folder in folders})
    work = _Pages(output, _without_patients(facts), options)
    patients = _chosen(inference_dir, folders, options, patient_facts or {})

    def write_page(href: str, text: str) -> None:
        atomic_write.write_text(output / href, text)
        summary.cohort_pages.append(output / href)

    cohort_pages = CohortPages(work.facts, write_page)
    with patient_work.resumable(output / "report.unfinished") as done:
        found = patient_work.results(work, patients, done, num_processes, progress)
        for patient, one in zip(patients, found, strict=True):
            if options.patient_pages:
                summary.patient_pages.append(work.page_of(patient))
                summary.without_crops += one["lacks_crops"]
            if wants_cohort:
                cohort_pages.add(CohortRow(**one["row"]))
        if wants_cohort:
            summary.cohort_page = output / PAGE
            state = page_state.state_of_all(patient_facts or {}, facts)
            atomic_write.write_text(summary.cohort_page, cohort_pages.finish(state))
    return summary


def _without_patients(facts: page_template.RunFacts) -> page_template.RunFacts:
    """Without what run.json says of every patient, which no page shows and every process would be given."""
    run = {name: value for name, value in facts.run.items() if name not in ("patients", "tables")}
    return dataclasses.replace(facts, run=run)


def _chosen(
    inference_dir: str | os.PathLike,
    folders: Iterable[pathlib.Path],
    options: ReportOptions,
    patient_facts: Mapping[str, PatientFacts],
) -> list[patient_work.Patient]:
    """The patients that get a page, with what the table of patients says of them.

    Raises:
      TableError: one that was asked for is not there.
    """
    tables = run_folder.read_run(inference_dir).get("tables", {})  # none in a run of an earlier version
    missing, chosen = set(options.patients), []
    for folder in folders:
        name = run_tables.patient_id_in(folder) if options.patients or patient_facts else ""
        missing.discard(name)
        if not options.patients or name in options.patients:
            of_patient = patient_facts.get(name, PatientFacts())
            chosen.append(patient_work.Patient(folder, tables.get(folder.name), of_patient))
    if missing:
        raise run_tables.TableError(
            f"{inference_dir}: no patient {sorted(missing)[0]!r} in this run; see differentials.csv."
        )
    return chosen


def _remove_first(output: pathlib.Path, names: set[str]) -> None:
    """Removes what the new pages would contradict if they were not all written: that of all patients, which is written
    last, and those of patients who are not in the run any more.

    Args:
      names: of the folders of the run's patients.
    """
    for name in run_folder.PAGES:
        (output / name).unlink(missing_ok=True)
    run_folder.remove_cohort_pages(output)
    for path in sorted((output / run_folder.PATIENTS_DIR).glob(f"*/{PAGE}")):
        if path.parent.name not in names and page_state.state_in(path):
            run_folder.remove_pages(path.parent)


@dataclasses.dataclass(frozen=True)
class _Pages(patient_work.Work[dict[str, Any]]):
    """A patient's page and row; `Patient.more` is what the table of patients says."""

    output: pathlib.Path
    facts: page_template.RunFacts
    options: ReportOptions

    @property
    def at_once(self) -> int:  # type: ignore[override]
        return 1 if self.options.patient_pages else 16

    @property
    def least_for_a_process(self) -> int:  # type: ignore[override]
        return 10 if self.options.patient_pages else 100

    @property
    def _wants_cohort(self) -> bool:
        return self.options.cohort_page and not self.options.patients

    def page_of(self, patient: patient_work.Patient) -> pathlib.Path:
        """Where the patient's page is."""
        return self.output / run_folder.PATIENTS_DIR / patient.folder.name / PAGE

    def state(self, patient: patient_work.Patient, tables: Mapping[str, str]) -> str:
        own = page_state.state_of(patient.folder, patient.more, self.facts)
        has_page = self.options.patient_pages or self.page_of(patient).exists()
        facts = {field.name: getattr(self.facts, field.name) for field in dataclasses.fields(self.facts)}
        del facts["corrections"]  # in the state of the page
        return patient_work.digest(own, has_page, facts, self.options)

    def do(
        self, patient: patient_work.Patient, tables: Mapping[str, str]
    ) -> tuple[dict[str, Any], list[pathlib.Path] | None]:
        read = run_tables.read_patient(patient.folder, details=True)
        examined = _examine(read, self.facts, self.options, patient.more)
        path, lacks_crops, lacks_fields = self.page_of(patient), False, False
        if self.options.patient_pages:
            for name in run_folder.PAGES:
                path.with_name(name).unlink(missing_ok=True)  # also a PDF, which would be of the earlier page
            page = _patient_page(examined, self.facts, self.options, self._wants_cohort)
            atomic_write.write_text(path, patient_html(page, self.facts))
            lacks_crops = _lacks_crops(page)
            lacks_fields = len(page.fields) < min(len(read.used_images), self.options.max_fields)
        row = None
        if self._wants_cohort:
            href = _address(patient.folder.name) if path.exists() else ""
            row = row_of(_cohort_patient(examined, href), self.facts.rules)
        # A page without pictures is made again: the images may be there then.
        files = None if lacks_crops or lacks_fields else [path] if self.options.patient_pages else []
        return {"row": row, "lacks_crops": lacks_crops}, files


@dataclasses.dataclass(frozen=True)
class _Examined:
    """A patient with all results; fields as in `PatientPage`."""

    patient: run_tables.PatientTables
    of_patient: PatientFacts
    result: Differential
    model: str
    review: reviews.Review | None
    review_error: str
    status: ReportStatus


def _examine(
    patient: run_tables.PatientTables,
    facts: page_template.RunFacts,
    options: ReportOptions,
    of_patient: PatientFacts,
) -> _Examined:
    if facts.changed:
        patient = patient.counted_with(facts.thresholds)
    model = (patient if options.model else patient.of_complete_models()).model_or_first(options.model)
    result = cohort.patient_differential(
        patient, of_patient.cells_per_ul, facts.references, facts.rules, facts.corrections
    )
    review, review_error = None, ""
    try:
        review = reviews.read_review(patient.folder, facts, of_patient.cells_per_ul)
        status = _status(patient.folder, result, of_patient, facts.basis)
    except (RevisionError, SignatureError) as error:
        review_error, status = str(error), report_status(None, (), None)
    return _Examined(
        patient=patient,
        of_patient=of_patient,
        result=result,
        model=model,
        review=review,
        review_error=review_error,
        status=status,
    )


def _status(folder: pathlib.Path, result: Differential, of_patient: PatientFacts, basis: Basis) -> ReportStatus:
    """The status of the report on a result.

    Raises:
      RevisionError, SignatureError: the history of reviews or the signatures are broken.
    """
    checked = read_verification(folder, basis.thresholds if basis.recounted else None)
    content = signed_result.content_of(result, folder, of_patient, basis, checked)
    return report_status(checked, read_signatures(folder), content)


def _patient_page(
    examined: _Examined, facts: page_template.RunFacts, options: ReportOptions, wants_cohort: bool
) -> PatientPage:
    images_dir = options.images_dir
    if images_dir is None and (named := (facts.run.get("settings") or {}).get("images_dir")):
        images_dir = pathlib.Path(named)
    patient, model = examined.patient, examined.model
    sources = gallery.SourceImages(images_dir, patient)
    unknown_below = facts.thresholds.unknown_below
    fields, num_fields = labeled_fields.field_pictures(
        patient, model, options.max_fields, sources, unknown_below, facts.changed
    )
    counts = patient.unit_counts(cell_classes.WHITE_CELLS, model)
    return PatientPage(
        settled=saturation(patient.patient_id, counts, facts.saturation_rules),
        **{field.name: getattr(examined, field.name) for field in dataclasses.fields(examined)},
        groups=gallery.cell_groups(patient, model, unknown_below, options.max_cells_per_class, sources),
        fields=fields,
        num_fields=num_fields,
        images_dir=str(images_dir or ""),
        cohort_href=f"../../{PAGE}" if wants_cohort else "",
        made_from=page_state.state_of(patient.folder, examined.of_patient, facts),
    )


def _lacks_crops(page: PatientPage) -> bool:
    cells = [cell for group in page.groups for cell in group.cells]
    return any(not cell.picture for cell in cells)


def _cohort_patient(examined: _Examined, href: str) -> CohortPatient:
    patient = examined.patient
    failed = patient.images[patient.images["status"] != run_folder.OK]
    return CohortPatient(
        result=examined.result,
        href=href,
        images_limited=patient.num_limited,
        failures=tuple(zip(failed["image"], failed["reason"], strict=True)),
        reviewers=examined.review.reviewers if examined.review else (),
        status=examined.status.name,
    )


def _address(folder_name: str) -> str:
    """Address of a patient's page relative to the cohort's; % in the folder's name is text, not an escape."""
    return f"{run_folder.PATIENTS_DIR}/{urllib.parse.quote(folder_name)}/{PAGE}"

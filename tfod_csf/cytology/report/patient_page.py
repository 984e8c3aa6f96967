"""The page of one patient: collects results for its template; reads and computes nothing itself."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from tfod_csf import cell_classes, run_folder, wording
from tfod_csf.cytology import run_tables
from tfod_csf.cytology.counting.differential import Differential
from tfod_csf.cytology.counting.result_sentence import result_sentence
from tfod_csf.cytology.counting.saturation import Saturation
from tfod_csf.cytology.patient_facts import PatientFacts
from tfod_csf.cytology.report import (
    charts,
    clinical_remarks,
    gallery,
    labeled_fields,
    page_template,
    reviews,
    sentences,
)
from tfod_csf.cytology.signing import report_status
from tfod_csf.cytology.signing.report_status import ReportStatus

_STATUS_WORDS = {
    report_status.PRELIMINARY: "Preliminary report",
    report_status.REVIEWED: "Reviewed report, not signed",
    report_status.FINAL: "Final report",
}


@dataclasses.dataclass(frozen=True)
class PatientPage:
    """Everything on a patient's page.

    Attributes:
      patient: tables read with `details`.
      of_patient: what the table of patients says.
      model: whose cells the gallery, the fields and the curves show.
      groups, fields, num_fields: pictures; `num_fields` counts also the fields that are not shown.
      images_dir: where the original images were looked for, "" when not known.
      review: None when no person has reviewed the patient; `review_error` when the history of reviews or the signatures
        are broken.
      status: preliminary, reviewed or final.
      cohort_href: address of the cohort's page, "" without one.
      made_from: `page_state.state_of` the patient.
    """

    patient: run_tables.PatientTables
    of_patient: PatientFacts
    result: Differential
    settled: Saturation
    model: str
    groups: Sequence[gallery.CellGroup]
    fields: Sequence[labeled_fields.FieldPicture]
    num_fields: int
    images_dir: str
    review: reviews.Review | None
    review_error: str
    status: ReportStatus
    cohort_href: str
    made_from: str


def patient_html(page: PatientPage, facts: page_template.RunFacts) -> str:
    """The page of one patient."""
    result, patient = page.result, page.patient
    numbers = gallery.image_numbers(patient)
    classes = gallery.group_order(list(result.counts))
    failures = patient.images[patient.images["status"] != run_folder.OK].to_dict("records")
    shown_id = wording.visible(result.patient_id)
    remarks = _remarks(page, facts)
    shares = sentences.shown_shares(result, facts.rules)
    is_preliminary = page.status.name == report_status.PRELIMINARY
    return page_template.render(
        "patient.html.j2",
        "; ".join([f"Patient {shown_id}", *_sample_words(page.of_patient)]),
        facts,
        printed_mark="PRELIMINARY" if is_preliminary else "",
        title=f"{shown_id} - CSF cell differential{' (PRELIMINARY)' if is_preliminary else ''}",
        status=page.status,
        status_words=_STATUS_WORDS[page.status.name],
        is_preliminary=is_preliminary,
        level=next((level for level in ("stop", "look", "note") if level in {r.level for r in remarks}), "none"),
        result=result,
        of_patient=page.of_patient,
        sample=_sample_words(page.of_patient),
        white_count=clinical_remarks.white_count(result),
        shares=shares,
        has_ranges=any(share.reference for share in shares.values()),
        range_note=clinical_remarks.range_note(result),
        headline=result_sentence(result, facts.rules),
        remarks=remarks,
        review=page.review,
        review_words=reviews.review_words(page.review, result.images_used) if page.review else "",
        review_rows=reviews.comparison_rows(page.review, result, facts.rules) if page.review else [],
        letters=list(labeled_fields.letters_of(page.fields).items()),
        white_cells=cell_classes.WHITE_CELLS,
        apart=[(name, n) for name, n in result.counts.items() if name not in cell_classes.WHITE_CELLS],
        unknown_words=sentences.unknown_words(result),
        worth_words=sentences.worth_words(result),
        bars=charts.percent_bars(shares, "bars") if shares else "",
        case_words=sentences.CASE_WORDS.get(result.case or "", "none"),
        verdict=sentences.enough_verdict(result, facts.rules),
        curves=charts.saturation_curves(page.settled, result.n_sat, "curves") if shares and page.settled.orders else "",
        bootstrap=page.settled.bootstrap is not None,
        model=page.model,
        several_models=len(result.models) > 1,
        groups=page.groups,
        has_crops=any(cell.picture for group in page.groups for cell in group.cells),
        crops_missing=_crops_missing(page.images_dir),
        fields=page.fields,
        num_fields=page.num_fields,
        fields_missing=_fields_missing(page),
        failures=[{**row, "number": numbers[row["image"]]} for row in failures],
        image_classes=classes,
        images=_image_rows(patient, page.model, classes, numbers),
        cohort_href=page.cohort_href,
        made_from=page.made_from,
    )


def _remarks(page: PatientPage, facts: page_template.RunFacts) -> list[sentences.Remark]:
    remarks = sentences.remarks(page.result, facts.rules, page.patient.num_limited)
    remarks[:0] = [sentences.Remark("look", text) for text in run_folder.restrictions(facts.run)]
    if facts.threshold_remark:
        remarks.insert(0, sentences.Remark("look", facts.threshold_remark))
    domain = sentences.domain_remark(page.result)
    if domain:
        remarks.insert(len(remarks) if page.result.domain.in_domain is not False else 0, domain)
    blood = clinical_remarks.blood_remark(page.result, page.of_patient, facts.rules.cases)
    if blood:
        remarks.append(sentences.Remark("look", blood))
    if page.review_error:
        text = f"The history of reviews is broken, so nobody can say who decided: {page.review_error}"
        return [sentences.Remark("stop", text), *remarks]
    return [*(sentences.Remark("look", text) for text in page.status.missing), *remarks]


def _sample_words(of_patient: PatientFacts) -> list[str]:
    """What identifies the sample, for the top of the page and of every printed sheet."""
    named = (
        ("Sample", of_patient.sample_id),
        ("Puncture", of_patient.collected_at.replace("T", " ")),
        ("Operator", of_patient.operator),
    )
    return [f"{name} {wording.visible(value)}" for name, value in named if value]


def _image_rows(
    patient: run_tables.PatientTables, model: str, classes: Sequence[str], numbers: dict[str, int]
) -> list[dict[str, Any]]:
    """Rows of the table of images the model examined, by number."""
    counts = patient.image_counts(classes, model)
    rows_of = dict(zip(patient.used_images, counts.tolist(), strict=True))
    examined = patient.images[(patient.images["status"] == run_folder.OK) & (patient.images["model"] == model)]
    rows = []
    for row in examined.to_dict("records"):
        is_sized = row["width"] == row["width"] and row["height"] == row["height"]
        rows.append(
            {
                "number": numbers[row["image"]],
                "image": row["image"],
                "size": f"{row['width']:.0f} × {row['height']:.0f}" if is_sized else "",
                "counts": rows_of[row["image"]],
                "remark": "; ".join(_image_remarks(row)),
            }
        )
    return sorted(rows, key=lambda row: row["number"])


def _image_remarks(row: dict[str, Any]) -> list[str]:
    limit = ["detection limit reached"] if row["limit_reached"] else []
    unlike = row.get("in_domain") is False
    return [*limit, *([f"unlike the training images: {row['unlike_training']}"] if unlike else [])]


def _crops_missing(images_dir: str) -> str:
    if not images_dir:
        return "No pictures of cells: the run does not say where its images are; make the report with --images_dir."
    return (
        f"No pictures of cells: the original images were not found under {wording.visible(images_dir)}, or are not "
        "those of the run any more; make the report with --images_dir where they are now."
    )


def _fields_missing(page: PatientPage) -> str:
    if page.num_fields:
        return f"There are {page.num_fields} labeled pictures; none was to be shown (--max_fields=0)."
    return "There are no labeled pictures, and the original images to draw on were not found."

"""The page of all patients: overview, a table that can be sorted and searched, failures."""

import dataclasses
import statistics
from collections.abc import Iterator, Sequence
from typing import Any

from markupsafe import Markup

from tfod_csf import cell_classes
from tfod_csf.cytology.counting.cases import CASES
from tfod_csf.cytology.counting.differential import Differential, DifferentialRules, Share
from tfod_csf.cytology.counting.enough_cells import NO, NOT_KNOWN
from tfod_csf.cytology.report import charts, page_template, sentences
from tfod_csf.cytology.signing import report_status
from tfod_csf.wording import number, plural

MAX_FAILURES = 500
_NOTHING = "–"
_FILTERS = (
    ("m", "a mark against the reference range"),
    ("e", "too few cells for the tolerance"),
    ("k", "enough cells not known"),
    ("u", "unknown cells"),
    ("x", "too many unknown cells to rely on the percentages"),
    ("f", "failed images"),
    ("l", "images at the model's limit"),
    ("p", "a preliminary report"),
    ("n", "a reviewed report that is not signed"),
)
_COLUMNS = (
    "White cells",
    *(f"{name.capitalize()} %" for name in cell_classes.WHITE_CELLS),
    "± points",
    "Cells needed",
    "Erythrocytes per 100",
    "Unknown",
    "Unknown, % of white",
    "Images",
    "Failed",
)


@dataclasses.dataclass(frozen=True)
class CohortPatient:
    """What the cohort's page shows of a patient.

    Attributes:
      href: address of the patient's page, "" without one.
      images_limited: images at a model's limit.
      failures: (image, reason).
      reviewers: people who reviewed the patient.
      status: of the report: preliminary, reviewed or final.
    """

    result: Differential
    href: str
    images_limited: int
    failures: tuple[tuple[str, str], ...]
    reviewers: tuple[str, ...] = ()
    status: str = report_status.PRELIMINARY


def cohort_html(patients: Sequence[CohortPatient], facts: page_template.RunFacts) -> str:
    """The page of all patients."""
    failures = [(p.result.patient_id, *failure) for p in patients for failure in p.failures]
    curve = [p.result.n_sat for p in patients if p.result.is_settled is not None]
    title = f"{len(patients):,} patients" if len(patients) != 1 else "1 patient"
    has_reviews = any(p.reviewers for p in patients)
    return page_template.render(
        "cohort.html.j2",
        f"CSF cell differentials, {title}",
        facts,
        title=title,
        overview=_overview(patients, facts.rules),
        histograms=_histograms(patients, facts),
        cases=list(_case_rows(patients)),
        settled=charts.settled_patients(curve, "settled") if curve else "",
        filters=[*_FILTERS, *([("r", "no review by a person")] if has_reviews else [])],
        has_reviews=has_reviews,
        num_patients=len(patients),
        number_columns=_COLUMNS,
        rows=(_row(patient, facts.rules) for patient in patients),
        failures=failures[:MAX_FAILURES],
        num_failures=len(failures),
    )


def _overview(patients: Sequence[CohortPatient], rules: DifferentialRules) -> list[tuple[str, str, str]]:
    """(name, value, more) of the numbers at the top."""
    results = [p.result for p in patients]
    shown = [sentences.shown_shares(r, rules) for r in results]
    shared = sum(bool(shares) for shares in shown)
    marked = sum(any(share.mark for share in shares.values()) for shares in shown)
    images, failed = sum(r.images_used for r in results), sum(r.images_failed for r in results)
    unknown, cells = sum(sum(r.unknown.likely.values()) for r in results), sum(r.all_cells for r in results)
    of_whom = plural(sum(r.images_failed > 0 for r in results), "patient")
    enough_of = sum(bool(r.shares) for r in results)
    reasons = [f"fewer than {rules.min_white_cells} white cells"] if enough_of < len(results) else []
    reasons += ["too many unknown ones"] if shared < enough_of else []
    few = f"; the others have {' or '.join(reasons)}" if reasons else ""
    enough = sum(r.enough_cells for r in results)
    not_known = sum(r.enough.answer == NOT_KNOWN for r in results)
    beyond = sum(sentences.has_too_many_unknown(r, rules) for r in results)
    of_percentages = f"of {enough_of:,}{f'; not known of {not_known:,}' if not_known else ''}"
    states = [p.status for p in patients]
    return [
        ("With percentages", f"{shared:,}", f"of {len(results):,}{few}"),
        (f"Enough cells for ± {rules.tolerance_points:g} points", f"{enough:,}", of_percentages),
        ("Outside a reference range", f"{marked:,}", f"of {shared:,}"),
        ("Unknown cells", f"{unknown:,.0f}", f"{100 * unknown / cells:.1f} % of {cells:,.0f} cells" if cells else ""),
        (
            f"More than {rules.max_unknown_percent:g} % of the white cells unknown",
            f"{beyond:,}",
            f"of {len(results):,}",
        ),
        ("Images used", f"{images:,}", f"{failed:,} failed, of {of_whom}" if failed else "none failed"),
        ("Reviewed by a person", f"{sum(bool(p.reviewers) for p in patients):,}", f"of {len(results):,}"),
        ("Final reports", f"{states.count(report_status.FINAL):,}", _not_final(states)),
    ]


def _not_final(states: Sequence[str]) -> str:
    preliminary, reviewed = (states.count(name) for name in (report_status.PRELIMINARY, report_status.REVIEWED))
    return f"{reviewed:,} reviewed and not signed, {preliminary:,} preliminary"


def _histograms(patients: Sequence[CohortPatient], facts: page_template.RunFacts) -> list[tuple[str, Markup, str]]:
    """(class, chart, marks in words) of each white-cell class; none without a patient with percentages."""
    shown = [sentences.shown_shares(p.result, facts.rules) for p in patients]
    shares = [share for share in shown if share]
    histograms = []
    for name in cell_classes.WHITE_CELLS if shares else ():
        marks = [share[name].mark for share in shares]
        reference = facts.references.get(name)
        ends = (reference.lowest_percent, reference.highest_percent) if reference else (None, None)
        chart = charts.percent_histogram(name, [share[name].percent for share in shares], *ends)
        words = f"{marks.count('high')} high, {marks.count('low')} low" if reference else "no reference range"
        histograms.append((name, chart, words))
    return histograms


def _case_rows(patients: Sequence[CohortPatient]) -> Iterator[dict[str, Any]]:
    """Patients, those with enough cells and median of n_sat per case and over all; a "no" counts as larger than any."""
    for case in (*CASES, None, "all"):
        chosen = [p for p in patients if case == "all" or p.result.case == case]
        if not chosen:
            continue
        known = [p.result for p in chosen if p.result.is_settled is not None]
        n_sat = [float("inf") if result.n_sat is None else result.n_sat for result in known]
        median = statistics.median_low(n_sat) if n_sat else float("inf")
        yield {
            "name": "none" if case is None else {"all": "all", **sentences.CASE_WORDS}[case],
            "patients": len(chosen),
            "settled": f"{sum(result.enough_cells for result in known)} of {len(known)}",
            "median": f"{median:.0f}" if median < float("inf") else _NOTHING,
        }


def _row(patient: CohortPatient, rules: DifferentialRules) -> dict[str, Any]:
    result = patient.result
    shares = sentences.shown_shares(result, rules)
    marks = [share.mark for share in shares.values() if share.mark]
    letters = {
        "m": bool(marks),
        "e": result.enough.answer == NO,
        "k": result.enough.answer == NOT_KNOWN,
        "u": sum(result.unknown.likely.values()) > 0,
        "x": sentences.has_too_many_unknown(result, rules),
        "f": result.images_failed > 0,
        "l": patient.images_limited > 0,
        "p": patient.status == report_status.PRELIMINARY,
        "n": patient.status == report_status.REVIEWED,
        "r": not patient.reviewers,
    }
    per_100 = result.per_100_white_cells(cell_classes.ERYTHROCYTE)
    cells = [
        number(result.white_cells) if result.images_used else _NOTHING,
        *(_share_cell(shares.get(name)) for name in cell_classes.WHITE_CELLS),
        _NOTHING if result.reach_points is None else f"{result.reach_points:.1f}",
        _NOTHING if result.cells_needed is None else str(result.cells_needed),
        _NOTHING if per_100 is None else f"{per_100:.0f}",
        number(sum(result.unknown.likely.values())) if result.images_used else _NOTHING,
        _NOTHING if result.unknown.white_percent is None else f"{result.unknown.white_percent:.1f}",
        str(result.images_used),
        str(result.images_failed or ""),
    ]
    return {
        "patient_id": result.patient_id,
        "href": patient.href,
        "letters": "".join(letter for letter, applies in letters.items() if applies),
        "status": patient.status,
        "cells": cells,
        "reviewers": ", ".join(patient.reviewers),
        "case": sentences.CASE_WORDS.get(result.case or "", ""),
    }


def _share_cell(share: Share | None) -> str | Markup:
    if share is None:
        return _NOTHING
    # The sign has its own element, so that the numbers are aligned.
    return Markup('{} <span class="s">{}</span>').format(f"{share.percent:.1f}", sentences.mark_sign(share))

"""The page of all patients: overview, a table that can be sorted and searched, failures."""

import collections
import dataclasses
import json
import math
import statistics
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from tfod_csf import cell_classes, run_folder
from tfod_csf.cytology.counting.cases import CASES
from tfod_csf.cytology.counting.differential import Differential, DifferentialRules, Share
from tfod_csf.cytology.counting.enough_cells import NO, NOT_KNOWN
from tfod_csf.cytology.report import charts, page_template, sentences
from tfod_csf.cytology.signing import report_status
from tfod_csf.wording import number, plural, visible

MAX_FAILURES = 500
# Patients on one page; of more, those on a page of their own, and rows that the page of all shows.
MAX_ROWS, ROWS_PER_PAGE, MAX_SHOWN = 5_000, 1_000, 500
_NOTHING = "–"
_FILTERS = (
    ("m", "a mark against the reference range"),
    ("e", "too few cells for the tolerance"),
    ("k", "enough cells not known"),
    ("u", "unknown cells"),
    ("x", "too many unknown cells to rely on the percentages"),
    ("f", "failed images"),
    ("l", "images at the model's limit"),
    ("d", "images unlike those of the training"),
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


@dataclasses.dataclass(frozen=True)
class CohortRow:
    """What is shown of a patient, and what the numbers over all patients are counted from; plain values of JSON.

    Attributes:
      letters: of `_FILTERS` and "r" that apply.
      cells: of `_COLUMNS`; a text, or a percentage and the sign of its mark.
      case: see `cases`; None where no rule applies.
      percents, marks: {white-cell class: percent}, {white-cell class: mark} where percentages are shown.
      has_shares: whether there are percentages, shown or not.
      has_enough: `enough.answer` is yes.
      in_domain: of `DomainFlags`.
      unknown, all_cells: numbers of cells.
    """

    patient_id: str
    href: str
    letters: str
    status: str
    cells: Sequence[str | Sequence[str]]
    reviewers: Sequence[str]
    case: str | None
    percents: Mapping[str, float]
    marks: Mapping[str, str]
    has_shares: bool
    has_enough: bool
    is_settled: bool | None
    n_sat: int | None
    images_used: int
    images_failed: int
    unknown: float
    all_cells: float
    failures: Sequence[Sequence[str]]
    in_domain: bool | None = None


class CohortPages:
    """Makes the page of all patients from their rows, a row at a time.

    Up to `MAX_ROWS` patients are on one page. Of more, every `ROWS_PER_PAGE` have a page of their own as soon as they
    are there, and the page of all has the numbers, the addresses of these pages, and a short row of each patient, in
    which its script searches and sorts. Some hundred bytes of a patient stay in memory.

    Args:
      facts: what every page says.
      write_page: takes the address of a page of some patients, relative to the page of all, and its text.
    """

    def __init__(self, facts: page_template.RunFacts, write_page: Callable[[str, str], None]):
        self._facts, self._write_page = facts, write_page
        self._rows: list[CohortRow] = []
        self._short: list[str] = []
        self._pages: list[dict[str, str]] = []
        self._numbers: dict[str, float] = collections.defaultdict(int)
        self._percents: dict[str, array] = {name: array("d") for name in cell_classes.WHITE_CELLS}
        self._n_sat: dict[str | None, list[float]] = {case: [] for case in (*CASES, None)}
        self._failures: list[tuple[str, str, str]] = []

    def add(self, row: CohortRow) -> None:
        """One more patient, in the order of the table."""
        self._count(row)
        self._rows.append(row)
        if len(self._rows) > MAX_ROWS or (self._pages and len(self._rows) == ROWS_PER_PAGE):
            self._write_pages(ROWS_PER_PAGE)

    def finish(self, made_from: str = "") -> str:
        """The page of all patients, after all have been added.

        Args:
          made_from: `page_state.state_of_all` the patients.
        """
        if self._pages and self._rows:
            self._write_pages(1)
        facts, total = self._facts, int(self._numbers["patients"])
        title = f"{total:,} patients" if total != 1 else "1 patient"
        has_reviews = self._numbers["reviewed by a person"] > 0
        n_sat = (cells for of_case in self._n_sat.values() for cells in of_case)
        settled = [None if math.isinf(cells) else int(cells) for cells in n_sat]
        return page_template.render(
            "cohort.html.j2",
            f"CSF cell differentials, {title}",
            facts,
            scripts=("many_patients.js",) if self._pages else (),
            title=title,
            made_from=made_from,
            overview=self._overview(),
            histograms=self._histograms(),
            cases=list(self._case_rows()),
            settled=charts.settled_patients(settled, "settled") if settled else "",
            failures=self._failures,
            num_failures=int(self._numbers["failures"]),
            pages=self._pages,
            rows_per_page=ROWS_PER_PAGE,
            max_shown=MAX_SHOWN,
            data=self._data(has_reviews) if self._pages else "",
            **_table(self._rows, total, has_reviews),
        )

    def _write_pages(self, at_least: int) -> None:
        """Writes the rows there are, `ROWS_PER_PAGE` on a page, and keeps the short ones."""
        while len(self._rows) >= at_least:
            rows, self._rows = self._rows[:ROWS_PER_PAGE], self._rows[ROWS_PER_PAGE:]
            number = len(self._pages) + 1
            href = f"{run_folder.COHORT_PAGES_DIR}/{number:04d}.html"
            ends = rows[0].patient_id, rows[-1].patient_id
            title = f"Patients {visible(ends[0])} to {visible(ends[1])}"
            page = page_template.render(
                "some_patients.html.j2",
                title,
                self._facts,
                title=title,
                earlier=f"{number - 1:04d}.html" if number > 1 else "",
                **_table(
                    [dataclasses.replace(row, href=row.href and f"../{row.href}") for row in rows],
                    len(rows),
                    any(row.reviewers for row in rows),
                ),
            )
            self._write_page(href, page)
            self._pages.append({"href": href, "first": ends[0], "last": ends[1]})
            self._short += map(_short_row, rows)

    def _data(self, has_reviews: bool) -> Markup:
        """The short rows as the page's script reads them; nothing in it ends the element it is in."""
        rows = self._short if has_reviews else map(_without_reviewers, self._short)
        return Markup(f'{{"shown":{MAX_SHOWN},"rows":[' + ",\n".join(rows) + "]}")

    def _count(self, row: CohortRow) -> None:
        """Adds a patient to the numbers over all."""
        for name, count in {
            "patients": 1,
            "with percentages": bool(row.percents),
            "with shares": row.has_shares,
            "marked": any(row.marks.values()),
            "enough": row.has_enough,
            "not known": "k" in row.letters,
            "beyond": "x" in row.letters,
            "guarded": row.in_domain is not None,
            "unlike": row.in_domain is False,
            "unknown": row.unknown,
            "cells": row.all_cells,
            "images": row.images_used,
            "failed": row.images_failed,
            "with failed": row.images_failed > 0,
            "reviewed by a person": bool(row.reviewers),
            "failures": len(row.failures),
            f"status {row.status}": 1,
            f"case {row.case}": 1,
            f"case {row.case} enough": row.has_enough and row.is_settled is not None,
            **{f"{name} {mark}": 1 for name, mark in row.marks.items()},
        }.items():
            self._numbers[name] += count
        for name, percent in row.percents.items():
            self._percents[name].append(percent)
        if row.is_settled is not None:
            self._n_sat[row.case].append(math.inf if row.n_sat is None else row.n_sat)
        room = MAX_FAILURES - len(self._failures)
        self._failures += [(row.patient_id, image, reason) for image, reason in row.failures[:room]]

    def _overview(self) -> list[tuple[str, str, str]]:
        """(name, value, more) of the numbers at the top."""
        n, rules = self._numbers, self._facts.rules
        patients, shared, enough_of = (int(n[name]) for name in ("patients", "with percentages", "with shares"))
        reasons = [f"fewer than {rules.min_white_cells} white cells"] if enough_of < patients else []
        reasons += ["too many unknown ones"] if shared < enough_of else []
        few = f"; the others have {' or '.join(reasons)}" if reasons else ""
        not_known = f"; not known of {n['not known']:,}" if n["not known"] else ""
        of_counted = f"of {enough_of:,} with {plural(max(rules.min_white_cells, 1), 'white cell')} or more{not_known}"
        of_whom = f"{n['with failed']:,} {'patient' if n['with failed'] == 1 else 'patients'}"
        unknown, cells = n["unknown"], n["cells"]
        return [
            ("Percentages shown", f"{shared:,}", f"of {patients:,}{few}"),
            (f"Enough cells for ± {rules.tolerance_points:g} points", f"{n['enough']:,}", of_counted),
            ("Outside a reference range", f"{n['marked']:,}", f"of {shared:,}"),
            (
                "Unknown cells",
                f"{unknown:,.0f}",
                f"{100 * unknown / cells:.1f} % of {cells:,.0f} cells" if cells else "",
            ),
            (
                f"More than {rules.max_unknown_percent:g} % of the white cells unknown",
                f"{n['beyond']:,}",
                f"of {patients:,}",
            ),
            (
                "Images used",
                f"{n['images']:,}",
                f"{n['failed']:,} failed, of {of_whom}" if n["failed"] else "none failed",
            ),
            (
                "Half of the images or more unlike those of the training",
                f"{n['unlike']:,}" if n["guarded"] else _NOTHING,
                f"of {n['guarded']:,} with a domain guard" if n["guarded"] else "no domain guard",
            ),
            ("Reviewed by a person", f"{n['reviewed by a person']:,}", f"of {patients:,}"),
            ("Final reports", f"{n[f'status {report_status.FINAL}']:,}", self._not_final()),
        ]

    def _not_final(self) -> str:
        names = (report_status.PRELIMINARY, report_status.REVIEWED)
        preliminary, reviewed = (self._numbers[f"status {name}"] for name in names)
        return f"{reviewed:,} reviewed and not signed, {preliminary:,} preliminary"

    def _histograms(self) -> list[tuple[str, Markup, str]]:
        """(class, chart, marks in words) of each white-cell class; none without a patient with percentages."""
        histograms = []
        for name in cell_classes.WHITE_CELLS if self._numbers["with percentages"] else ():
            reference = self._facts.references.get(name)
            ends = (reference.lowest_percent, reference.highest_percent) if reference else (None, None)
            chart = charts.percent_histogram(name, self._percents[name], *ends)
            high, low = (self._numbers[f"{name} {mark}"] for mark in ("high", "low"))
            histograms.append((name, chart, f"{high:,} high, {low:,} low" if reference else "no reference range"))
        return histograms

    def _case_rows(self) -> Iterator[dict[str, Any]]:
        """Patients, those with enough cells and median of n_sat per case and over all; a "no" is larger than any."""
        everybody: tuple[str | None, ...] = (*CASES, None)
        for case in (*CASES, None, "all"):
            of = everybody if case == "all" else (case,)
            patients = sum(self._numbers[f"case {one}"] for one in of)
            if not patients:
                continue
            n_sat = [value for one in of for value in self._n_sat[one]]
            median = statistics.median_low(n_sat) if n_sat else math.inf
            enough = sum(self._numbers[f"case {one} enough"] for one in of)
            yield {
                "name": "none" if case is None else {"all": "all", **sentences.CASE_WORDS}[case],
                "patients": f"{patients:,}",
                "settled": f"{enough:,} of {len(n_sat):,}",
                "median": f"{median:,.0f}" if median < math.inf else _NOTHING,
            }


def _table(rows: Sequence[CohortRow], num_patients: int, has_reviews: bool) -> dict[str, Any]:
    """What the template of the table needs."""
    return {
        "filters": [*_FILTERS, *([("r", "no review by a person")] if has_reviews else [])],
        "has_reviews": has_reviews,
        "num_patients": num_patients,
        "number_columns": _COLUMNS,
        "rows": map(_shown_row, rows),
    }


def _shown_row(row: CohortRow) -> dict[str, Any]:
    # The sign has its own element, so that the numbers are aligned.
    marked = Markup('{} <span class="s">{}</span>')
    return {
        "patient_id": row.patient_id,
        "href": row.href,
        "letters": row.letters,
        "status": row.status,
        "cells": [cell if isinstance(cell, str) else marked.format(*cell) for cell in row.cells],
        "reviewers": ", ".join(row.reviewers),
        "case": sentences.CASE_WORDS.get(row.case or "", ""),
    }


def _short_row(row: CohortRow) -> str:
    """[letters, address, patient, cells ..., status, reviewers, case] as JSON without "<"."""
    cells = [cell if isinstance(cell, str) or cell[1] else cell[0] for cell in row.cells]
    case, reviewers = sentences.CASE_WORDS.get(row.case or "", ""), visible(", ".join(row.reviewers))
    values = [row.letters, row.href, visible(row.patient_id), *cells, row.status, reviewers, case]
    return json.dumps(values, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def _without_reviewers(short: str) -> str:
    """A short row for a table without the column of reviewers."""
    values = json.loads(short)
    del values[-2]
    return json.dumps(values, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def row_of(patient: CohortPatient, rules: DifferentialRules) -> CohortRow:
    """The row of one patient."""
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
        "d": len(result.domain.unlike) > 0,
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
    return CohortRow(
        patient_id=result.patient_id,
        href=patient.href,
        letters="".join(letter for letter, applies in letters.items() if applies),
        status=patient.status,
        cells=cells,
        reviewers=patient.reviewers,
        case=result.case,
        percents={name: share.percent for name, share in shares.items()},
        marks={name: share.mark for name, share in shares.items()},
        has_shares=bool(result.shares),
        has_enough=result.enough_cells,
        is_settled=result.is_settled,
        n_sat=result.n_sat,
        images_used=result.images_used,
        images_failed=result.images_failed,
        unknown=sum(result.unknown.likely.values()),
        all_cells=result.all_cells,
        failures=patient.failures,
        in_domain=result.domain.in_domain,
    )


def _share_cell(share: Share | None) -> str | tuple[str, str]:
    return _NOTHING if share is None else (f"{share.percent:.1f}", sentences.mark_sign(share))

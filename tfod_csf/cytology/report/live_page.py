"""The page and the line that say how far a patient has come while images are still taken.

The page is one file that loads itself again every few seconds, from the disk alone. It says when it was written, and
warns when that is long ago: the program may have ended. It is for the person at the microscope; results are in the
tables.
"""

import dataclasses
import functools
import math
import pathlib
from collections.abc import Mapping, Sequence

from tfod_csf import cell_classes
from tfod_csf.cytology.counting.differential import Differential, DifferentialRules, Share
from tfod_csf.cytology.counting.enough_cells import NO, NOT_KNOWN, YES
from tfod_csf.cytology.counting.live_count import LOOKS, LiveCount
from tfod_csf.cytology.report import charts, sentences
from tfod_csf.pages import svg
from tfod_csf.pages.html_page import PageTemplates
from tfod_csf.wording import number, plural, visible

RELOAD_SECONDS = 3
OLD_SECONDS = 30
_MAX_LISTED = 10  # names of files
_WORDS = {YES: "Enough", NOT_KNOWN: "Not known"}


@dataclasses.dataclass(frozen=True)
class LivePatient:
    """A patient on the page.

    Attributes:
      count: None before the first image was examined.
      images: files there are.
      waiting: names of the files that are not whole, or whose turn has not come.
      unusable: {name: why} of the files that could not be used so far.
      error: why the patient cannot be finished; "" where nothing went wrong.
    """

    patient_id: str
    count: LiveCount | None
    images: int
    waiting: Sequence[str] = ()
    unusable: Mapping[str, str] = dataclasses.field(default_factory=dict)
    error: str = ""


def live_html(
    patients: Sequence[LivePatient],
    num_patients: int,
    rules: DifferentialRules,
    written: float,
    written_words: str,
    error: str = "",
) -> str:
    """The page.

    Args:
      patients: the current one first, then the latest others.
      num_patients: all there are.
      written: now, in seconds since 1970, by which the page knows its age.
      written_words: the same for readers.
      error: why counting is held up; "" when it is not.
    """
    current, others = (patients[0], patients[1:]) if patients else (None, ())
    count = current.count if current else None
    title = f"{_answer(count, rules)}: {visible(current.patient_id)}" if current else "Waiting for images"
    return _templates().render(
        "live.html.j2",
        title,
        title=title,
        short_notice=sentences.SHORT_NOTICE,
        written=written,
        written_words=written_words,
        reload_seconds=RELOAD_SECONDS,
        old_seconds=OLD_SECONDS,
        error=error,
        patient=current,
        count=count,
        result=count.result if count else None,
        answer=_answer(count, rules),
        is_enough=bool(count and count.answer == YES),
        explained=enough_words(count, rules) if count else "",
        limits=limit_words(count) if count else "",
        rows=_rows(count) if count else [],
        bars=charts.percent_bars(count.result.shares, "bars") if count and count.result.shares else "",
        waiting=_listed(current.waiting) if current else "",
        unusable=list(current.unusable.items())[:_MAX_LISTED] if current else [],
        num_unusable=len(current.unusable) if current else 0,
        others=[_other(patient) for patient in others],
        num_others_left_out=num_patients - len(patients),
        tolerance=number(rules.tolerance_points),
        looks=LOOKS,
    )


def ended_html(is_complete: bool) -> str:
    """What takes the page's place when the command ends; it holds no numbers, which the tables have.

    Args:
      is_complete: whether the tables of all patients were written.
    """
    title = "Counting has ended" if is_complete else "Counting was stopped"
    return _templates().render(
        "live_ended.html.j2", title, title=title, short_notice=sentences.SHORT_NOTICE, is_complete=is_complete
    )


def live_line(patient: LivePatient, rules: DifferentialRules) -> str:
    """The state of a patient in a line for the terminal."""
    if patient.count is None:
        return f"{visible(patient.patient_id)}: {plural(patient.images, 'image')}, none examined yet"
    result = patient.count.result
    where = f"{plural(result.white_cells, 'white cell')} on {plural(result.images_used, 'image')}"
    maybe_white = result.unknown.maybe_white
    shares = ", ".join(_share_words(name, share) for name, share in result.shares.items())
    limit = patient.count.limiting_class if patient.count.answer == NO else None
    return "; ".join(
        [
            f"{visible(patient.patient_id)}: {where}",
            *([f"{plural(maybe_white, 'unknown cell')} may be white"] if maybe_white else []),
            *([shares] if shares else []),
            f"{_answer(patient.count, rules).lower()}{_missing_words(patient.count, rules)}",
            *([f"limited by {limit}s"] if limit else []),
            *([result.domain.note] if result.domain.note else []),
            *([f"{len(patient.unusable)} not usable so far"] if patient.unusable else []),
        ]
    )


def enough_words(count: LiveCount, rules: DifferentialRules) -> str:
    """Whether enough white cells were counted, and what is missing."""
    result, within = count.result, f"± {number(rules.tolerance_points)} points"
    if result.enough.answer != YES:
        return sentences.enough_verdict(result, rules)
    if count.answer == YES:
        return (
            f"Yes, for {within}, after each of the last {LOOKS} images with white cells. "
            f"No interval reaches farther than {result.reach_points:.1f} points from its percentage."
        )
    more = plural(LOOKS - count.looks, "more image")
    return (
        f"Almost: the intervals are short enough for {within}, but whoever asks after every image has to get this "
        f"answer {LOOKS} times in a row. Take {more} with white cells."
    )


def limit_words(count: LiveCount) -> str:
    """Which class's interval is the longest; "" without percentages."""
    name = count.limiting_class
    if name is None:
        return ""
    share = count.result.shares[name]
    return (
        f"Least certain: {name}s, {share.percent:.0f}\u00a0%, between {share.ci_low:.0f} and "
        f"{share.ci_high:.0f}\u00a0% with 95\u00a0% confidence for all three classes at once."
    )


@functools.cache
def _templates() -> PageTemplates:
    folder = pathlib.Path(__file__).with_name("templates")
    return PageTemplates(folder, ("page.css", "live.css"), ("live.js",), {"marker": svg.marker})


def _short_answer(count: LiveCount | None) -> str:
    if count is None:
        return "Nothing counted yet"
    return "Almost enough" if count.looks and count.answer != YES else _WORDS.get(count.answer, "Not enough yet")


def _answer(count: LiveCount | None, rules: DifferentialRules) -> str:
    return f"{_short_answer(count)} for ± {number(rules.tolerance_points)} points" if count else _short_answer(None)


def _missing_words(count: LiveCount, rules: DifferentialRules) -> str:
    """What is missing, in brackets; "" where nothing is or nobody knows how much."""
    needed = _needed(count.result, rules)
    if count.answer == NOT_KNOWN:
        return f" ({count.result.enough.why})"
    if count.answer == YES or needed is None:
        return ""
    if count.looks:
        return f" ({plural(LOOKS - count.looks, 'more image')} to confirm it)"
    return f" (about {plural(needed, 'white cell')} needed)"


def _needed(result: Differential, rules: DifferentialRules) -> int | None:
    if result.shares:
        return result.cells_needed
    return max(math.ceil(rules.min_white_cells), 1)


def _share_words(name: str, share: Share) -> str:
    return f"{name} {share.percent:.0f} % ({share.ci_low:.0f}-{share.ci_high:.0f})"


def _rows(count: LiveCount) -> list[dict]:
    """A row per white-cell class."""
    return [
        {
            "name": name,
            "cells": count.result.counts[name],
            "share": count.result.shares.get(name),
            "reach": count.reach_points.get(name),
            "is_limit": name == count.limiting_class and count.answer == NO,
        }
        for name in cell_classes.WHITE_CELLS
    ]


def _other(patient: LivePatient) -> dict:
    result = patient.count.result if patient.count else None
    return {
        "patient_id": patient.patient_id,
        "images": patient.images,
        "white_cells": result.white_cells if result else 0,
        "shares": [result.shares.get(name) if result else None for name in cell_classes.WHITE_CELLS],
        "answer": _short_answer(patient.count),
        "remark": patient.error or (f"{len(patient.unusable)} not usable" if patient.unusable else ""),
    }


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(map(visible, names[:_MAX_LISTED]))
    return f"{shown} and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else shown

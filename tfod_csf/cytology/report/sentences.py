"""The sentences of the report: what it is, what was found, what to check, and what the models cannot see.

Everything is plain text; the templates escape it.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from tfod_csf import cell_classes
from tfod_csf.cytology.counting.differential import Differential, DifferentialRules, Share
from tfod_csf.cytology.counting.enough_cells import MAX_IMAGES_FACTOR, NO, NOT_KNOWN, YES
from tfod_csf.cytology.counting.result_sentence import plain_mark
from tfod_csf.cytology.counting.unknown_cells import UnknownCells
from tfod_csf.cytology.report.gallery import CellPicture
from tfod_csf.wording import number, plural, visible

CASE_WORDS = {
    "low_white_cells": "low white-cell count",
    "high_neutrophils": "high neutrophils",
    "high_erythrocytes": "high erythrocytes",
    "medium_white_cells": "medium white-cell count",
    "high_white_cells": "high white-cell count",
}
SHORT_NOTICE = "Research software, not a medical device. A person has to look at the slide."
CANNOT_SEE = (
    "Blasts and tumor cells. It has no class for them; on a slide with leukemia, lymphoma or carcinoma cells its "
    "percentages may look normal.",
    "Any other cell: plasma cells, eosinophils, basophils, activated lymphocytes, macrophages and what they have "
    "taken up, ependymal and plexus cells, cells in division.",
    "Bacteria, yeasts and other organisms, crystals, stain deposits.",
    "Cells outside the photographed fields, cells that overlap, cells out of focus.",
)
WHAT_HAPPENS_THEN = (
    "Such a cell is called unknown at best; it may also be counted under a wrong class or not be found at all, and "
    "nothing in the numbers shows it."
)
INTERVAL_CAVEAT = (
    "The intervals say how far chance in choosing cells and images can carry the percentages; cells of one kind that "
    "lie together make them wider. They do not hold the detector's mistakes."
)
RANGE_RULE = (
    "no marks where the white-cell count is above normal, and none at an end within 10 points of 0 or 100 %: 100 % "
    "lymphocytes or 0 % monocytes are usual where cells are few"
)


@dataclasses.dataclass(frozen=True)
class Remark:
    """Something to know before relying on a result; `level` is "stop" (no result), "look" or "note"."""

    level: str
    text: str


def percentage(score: float) -> str:
    """Whole percent, rounded down as in the labeled pictures."""
    return f"{cell_classes.whole_percent(score)}\u00a0%"


def mark_sign(share: Share) -> str:
    """An arrow for a mark against the reference range, hollow where it is not certain; "" without one."""
    signs = {("high", True): "▲", ("high", False): "△", ("low", True): "▼", ("low", False): "▽"}
    return signs.get((share.mark, bool(share.mark_certain)), "")


def mark_text(share: Share) -> str:
    """The sign of a mark and the mark in words."""
    if not share.mark:
        return "within" if share.reference else ""
    return f"{mark_sign(share)}\u00a0{plain_mark(share)}"


def has_too_many_unknown(result: Differential, rules: DifferentialRules) -> bool:
    """Whether so many white cells are unknown that a page gives no percentages, only how far they could reach."""
    return result.unknown.exceeds(rules.max_unknown_percent)


def shown_shares(result: Differential, rules: DifferentialRules) -> Mapping[str, Share]:
    """The percentages that a page gives as the result; empty where too many white cells are unknown."""
    return {} if has_too_many_unknown(result, rules) else result.shares


def remarks(result: Differential, rules: DifferentialRules, images_limited: int) -> list[Remark]:
    """What to know before relying on the result, the most serious first."""
    found: list[Remark] = []

    def add(level: str, text: str) -> None:
        found.append(Remark(level, text))

    if not result.images_used:
        add("stop", "No image of this patient could be examined.")
    found += _unknown_remarks(result, rules)
    if result.images_failed:
        all_images = result.images_used + result.images_failed
        add("look", f"{result.images_failed} of {plural(all_images, 'image')} could not be used (see Images).")
    if result.absent_classes == cell_classes.WHITE_CELLS:
        add("stop", "None of the model's classes is lymphocyte, monocyte or neutrophil: there are no percentages.")
    elif result.absent_classes:
        add("look", f"None of the model's classes is {' or '.join(result.absent_classes)}: such cells are not counted.")
    if result.images_used and not result.shares and result.absent_classes != cell_classes.WHITE_CELLS:
        add("look", f"Fewer than {max(rules.min_white_cells, 1)} white cells were found: counts only.")
    elif shown_shares(result, rules) and result.enough.answer == NO:
        add("look", f"{_why_not_enough(result, rules)}: more white cells are needed (see Were enough cells counted?).")
    elif shown_shares(result, rules) and result.clustering.design_effect is None:
        add("look", "Clustering not known: how cells of one kind lie together does not show, and the intervals may be "
            "too narrow (see Were enough cells counted?).")  # fmt: skip
    if images_limited:
        where = f"On {plural(images_limited, 'image')}"
        add("look", f"{where} the model reached its detection limit; some cells may be missing.")
    if result.corrected and result.corrected.remark:
        add("look", f"The corrected percentages may not hold: {result.corrected.remark}.")
    for words in result.skipped_models:
        add("look", f"The {words}: the percentages are of the other models.")
    spread = result.models_range_points
    if spread is not None and spread > rules.tolerance_points:
        add("look", f"The models differ by up to {spread:.1f} points on a class.")
    return found


def domain_remark(result: Differential) -> Remark | None:
    """Whether the images are like those that the model was trained on; None where they all are."""
    domain = result.domain
    if domain.in_domain is None:
        text = "The model has no domain guard: whether these images are like those of its training was not checked."
        return Remark("note", text) if result.images_used else None
    if not domain.unlike:
        return None
    verb = "is" if len(domain.unlike) == 1 else "are"
    found = (
        f"{len(domain.unlike)} of {plural(domain.num_judged, 'image')} {verb} unlike those that the model was trained "
        f"on: {'; '.join(domain.differences)}."
    )
    if domain.in_domain:
        return Remark("look", f"{found} Look at what was found on them (see Images).")
    warning = "On such images a model can be wrong with high scores, and nothing else in this report shows it"
    return Remark("look", f"{found} {warning}: compare with the slide.")


def _why_not_enough(result: Differential, rules: DifferentialRules) -> str:
    if (result.reach_points or 0) > rules.tolerance_points:
        return f"An interval reaches {result.reach_points:.1f} points from its percentage"
    return "Other images could have given other percentages"


def _unknown_remarks(result: Differential, rules: DifferentialRules) -> list[Remark]:
    unknown = result.unknown
    cells = sum(unknown.likely.values())
    if not cells:
        return []
    white = f"{plural(unknown.maybe_white, 'unknown cell')} may be white"
    if unknown.white_percent is not None:
        white += f", {unknown.white_percent:.1f} % of the white cells"
    if has_too_many_unknown(result, rules):
        worst = " Each percentage may lie anywhere in its worst case." if result.shares else ""
        todo = _what_with_unknown(unknown, "a person has to decide on them before the result can be relied on")
        return [Remark("stop", f"{white}, more than {rules.max_unknown_percent:g} %: {todo}.{worst}")]
    if not unknown.maybe_white:
        return [
            Remark("note", f"{plural(cells, 'unknown cell')}, most likely erythrocytes, not decided on by a person.")
        ]
    todo = _what_with_unknown(unknown, "a person decides on them; the gallery shows them first")
    return [Remark("look", f"{white}: {todo}.")]


def _what_with_unknown(unknown: UnknownCells, undecided_words: str) -> str:
    """What is to be done about the unknown cells that may be white, or that a person could not name them."""
    if not unknown.left_unknown:
        return undecided_words
    if unknown.left_unknown >= unknown.maybe_white:
        return "a person looked at them and left them unknown; they are of rarer classes or cannot be named"
    return f"{undecided_words} ({number(unknown.left_unknown)} of them a person looked at and left unknown)"


def unknown_words(result: Differential) -> str:
    """How many unknown cells may be white, and their share, for the table; "" without any."""
    unknown = result.unknown
    if not unknown.maybe_white:
        return "most likely erythrocytes" if sum(unknown.likely.values()) else ""
    share = f"{unknown.white_percent:.1f}\u00a0% of the white cells"
    if not result.counts[cell_classes.UNKNOWN]:
        return f"{number(unknown.maybe_white)} counted above under their most likely class: {share}"
    return f"{number(unknown.maybe_white)} may be white: {share}"


def worth_words(result: Differential) -> str:
    """What the white cells are worth for the intervals, in a sentence; "" without percentages."""
    if result.effective_cells is None:
        return ""
    if result.clustering.design_effect is None:
        return "Clustering not known: the intervals take the cells as independent."
    return (
        f"For the intervals the {plural(result.white_cells, 'white cell')} are worth {result.effective_cells:.0f} "
        f"independent ones: design effect {result.clustering.design_effect:.1f} on "
        f"{plural(result.clustering.images, 'image')}."
    )


def enough_verdict(result: Differential, rules: DifferentialRules) -> str:
    """The one answer to "were enough cells counted?", in one to three sentences."""
    within = f"± {rules.tolerance_points:g} points"
    counted = f"{plural(result.white_cells, 'white cell')} {'was' if result.white_cells == 1 else 'were'} counted"
    if result.absent_classes == cell_classes.WHITE_CELLS:
        return "No: none of the model's classes is a white cell."
    if not result.shares:
        return f"No: {counted}, and percentages need at least {max(rules.min_white_cells, 1)}."
    needed = f"{plural(result.cells_needed, 'white cell')} are needed" if result.cells_needed is not None else ""
    if result.enough.answer == YES:
        return (
            f"Yes, for {within}: {needed} at these percentages, and {counted}. No interval reaches farther than "
            f"{result.reach_points:.1f} points from its percentage, and other images of the slide like these would "
            "seldom have given percentages farther away than that tolerance."
        )
    if result.enough.answer == NOT_KNOWN:
        return f"Not known for {within}: {result.enough.why}. At least {needed} at these percentages; {counted}."
    if result.cells_needed is None:
        return (
            f"No, not for {within}: {counted}, and even {MAX_IMAGES_FACTOR} times as many images like these could give "
            "other percentages."
        )
    beyond = has_too_many_unknown(result, rules)
    images = math.ceil(result.cells_needed * result.images_used / result.white_cells)
    no = f"No, not for {within}: about {needed} at these percentages ({images} images like these); {counted}."
    return no + (" More cells alone are not enough: too many are unknown." if beyond else "")


def count_words(counts: Sequence[tuple[str, int]]) -> str:
    """
    >>> count_words([("unknown", 1), ("lymphocyte", 3)])
    '1 unknown, 3 lymphocyte'
    """
    return ", ".join(f"{count} {name}" for name, count in counts) or "no cells"


def cell_words(cell: CellPicture, group: str) -> str:
    """A cell of the gallery in words, for readers who cannot see it and for the larger view."""
    what = group
    if group == cell_classes.UNKNOWN and cell.predicted_class:
        what += f", most likely {cell.predicted_class}"
    if cell.counted_as != group:
        what += f", counted as {cell.counted_as}"
    scores = ", ".join(f"{name} {percentage(score)}" for name, score in cell.scores if score >= 0.01)
    if not scores and cell.score is not None:
        scores = f"{cell.predicted_class} {percentage(cell.score)}"
    said = [what, f"the model: {scores}" if scores else "", f"{cell.decision} by a person" if cell.decision else ""]
    place = f"image {cell.image_number}, cell {cell.cell_id} ({cell.image})"
    return visible("; ".join(part for part in (*said, place) if part))


def known_classes(run: Mapping[str, Any]) -> list[str]:
    """Classes of the run's models in the order of the first one that lists them."""
    classes = [str(name) for model in run.get("models") or [] for name in model.get("classes") or []]
    return list(dict.fromkeys(classes)) or list(cell_classes.STUDY_CLASSES)

"""The sentences of the report: what it is, what was found, what to check, and what the models cannot see.

Everything is plain text; the templates escape it.
"""

import dataclasses
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from tfod_csf import cell_classes
from tfod_csf.cytology.counting.differential import Differential, DifferentialRules, Share
from tfod_csf.cytology.counting.enough_cells import NO
from tfod_csf.cytology.counting.saturation import Saturation, SaturationRules
from tfod_csf.cytology.report.gallery import CellPicture
from tfod_csf.wording import plural

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
    "The intervals say how far chance in choosing cells can carry the percentages. They do not hold the detector's "
    "mistakes, and cells of one kind that lie together make them somewhat too narrow."
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


def visible(text: str) -> str:
    """Text whose invisible characters are written as their codes.

    Control and direction characters in the name of a folder could make one patient look like another.

    >>> visible("ab\\u202ecd\\n")
    'ab\\\\u202ecd\\\\x0a'
    """
    hidden = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
    return "".join(
        c if unicodedata.category(c) not in hidden else f"\\x{ord(c):02x}" if ord(c) < 256 else f"\\u{ord(c):04x}"
        for c in text
    )


def percentage(score: float) -> str:
    """Whole percent, rounded down as in the labeled pictures."""
    return f"{cell_classes.whole_percent(score)}\u00a0%"


def mark_sign(share: Share) -> str:
    """An arrow for a mark against the reference range, hollow where the interval reaches into the range; else ""."""
    signs = {("high", True): "▲", ("high", False): "△", ("low", True): "▼", ("low", False): "▽"}
    return signs.get((share.mark, bool(share.mark_certain)), "")


def mark_text(share: Share) -> str:
    """The sign of a mark and the mark in words."""
    if not share.mark:
        return "within" if share.reference else ""
    return f"{mark_sign(share)}\u00a0{_plain_mark(share)}"


def _plain_mark(share: Share) -> str:
    return share.mark if share.mark_certain else f"{share.mark}, uncertain"


def headline(result: Differential, rules: DifferentialRules) -> str:
    """The result in a sentence."""
    if not result.images_used:
        return "No image of this patient could be examined. There is no result."
    where = f"{plural(result.white_cells, 'white cell')} on {plural(result.images_used, 'image')}"
    if not result.all_cells:
        return f"No cell was found on {plural(result.images_used, 'image')}."
    if not result.shares:
        counts = ", ".join(plural(result.counts[name], name) for name in cell_classes.WHITE_CELLS)
        return f"{where}: {counts}. Fewer than {max(rules.min_white_cells, 1)}, so no percentages are given."
    parts = [
        f"{name}s {share.percent:.0f}\u00a0%{f' ({_plain_mark(share)})' if share.mark else ''}"
        for name, share in sorted(result.shares.items(), key=lambda item: -item[1].percent)
    ]
    return f"{where}: {', '.join(parts)}."


def remarks(
    result: Differential, settled: Saturation | None, rules: DifferentialRules, images_limited: int
) -> list[Remark]:
    """What to know before relying on the result, the most serious first."""
    found: list[Remark] = []

    def add(level: str, text: str) -> None:
        found.append(Remark(level, text))

    if not result.images_used:
        add("stop", "No image of this patient could be examined.")
    if result.images_failed:
        all_images = result.images_used + result.images_failed
        add("look", f"{result.images_failed} of {plural(all_images, 'image')} could not be used (see Images).")
    unknown = result.counts[cell_classes.UNKNOWN]
    if unknown:
        wait = "waits" if unknown == 1 else "wait"
        add("look", f"{plural(unknown, 'unknown cell')} ({result.unknown_percent:.1f} % of all cells) {wait} for a "
            "person's decision; the gallery shows them first.")  # fmt: skip
    if result.images_used and not result.shares:
        add("look", f"Fewer than {max(rules.min_white_cells, 1)} white cells were found: counts only.")
    elif result.shares and result.enough.answer == NO:
        needs = f"about {result.cells_needed}" if result.cells_needed else "many times more"
        add("look", f"An interval reaches {result.reach_points:.1f} points from its percentage; ± "
            f"{rules.tolerance_points:g} points needs {needs} white cells at these percentages.")  # fmt: skip
    if images_limited:
        where = f"On {plural(images_limited, 'image')}"
        add("look", f"{where} the model reached its detection limit; some cells may be missing.")
    spread = result.models_range_points
    if spread is not None and spread > rules.tolerance_points:
        add("look", f"The models differ by up to {spread:.1f} points on a class.")
    if settled is not None and settled.saturated is False:
        add("note", "The percentages had not settled when the images ended (see Were enough cells counted?).")
    return found


def saturation_verdict(result: Saturation, rules: SaturationRules) -> str:
    """The saturation study's result for a patient, in one or two sentences."""
    within = f"± {rules.tolerance_points:g} points"
    if result.orders is None:
        return (
            f"{plural(result.white_cells, 'white cell')} are too few to ask whether the percentages have settled "
            f"(at least {max(rules.min_white_cells, 1)} are needed)."
        )
    if result.bootstrap is None:
        images = plural(result.num_images, "image")
        return f"Not known: {images} cannot tell what other images of the slide would have given."
    if result.n_sat_bootstrap is not None and result.images_needed is not None:
        return (
            f"Yes, within {within}: from {result.n_sat_bootstrap} white cells on, all three percentages stay that "
            f"close to the final ones in {100 * rules.probability:g} % of redrawn sets of images. "
            f"{plural(result.images_needed, 'image')} of {result.num_images} would have been enough."
        )
    if result.images_needed is None:
        more = f"More than {rules.max_images_factor * result.num_images} images would be needed."
    else:
        more = f"About {result.images_needed} images like these would be needed; there are {result.num_images}."
    return f"Not within {within}: with other images of the same slide the percentages could have been different. {more}"


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

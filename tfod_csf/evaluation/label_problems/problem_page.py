"""The gallery of contradicted labels, and the pictures in it."""

import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfod_csf.evaluation.label_problems import problem_list
from tfod_csf.evaluation.label_problems.problem_list import LabelProblem
from tfod_csf.evaluation.label_problems.suspicion import KINDS, OVERLOOKED
from tfod_csf.files import atomic_write
from tfod_csf.pages import cell_pictures, svg
from tfod_csf.pages.html_page import PageTemplates
from tfod_csf.study.pictures import Picture

PAGE = "label_problems.html"
_QUALITY = 80
_MEANING = {
    "overlooked": "the model finds a cell where nothing is labeled",
    "swapped": "the model gives the labeled cell another class",
    "badly placed": "the model finds the cell at another place, or larger or smaller",
    "doubled": "two labels on what the model finds to be one cell",
}


@functools.cache
def _templates() -> PageTemplates:
    return PageTemplates(
        pathlib.Path(__file__).with_name("templates"), ("page.css",), ("pictures.js",), {"marker": svg.marker}
    )


def picture_of(picture: Picture, problem: LabelProblem) -> str:
    """The cell as a data: address: corners around the model's box, a dashed line along the label's."""
    one = problem.suspicion
    box = np.array(one.suggested_box)
    side = 1.8 * float((box[2:] - box[:2]).max())
    dashed = None if one.label_box is None else np.array(one.label_box)
    return cell_pictures.data_address(cell_pictures.crop(picture, box, side, dashed), _QUALITY)


def write_page(
    problems: Sequence[LabelProblem],
    pictures: Mapping[int, str],
    num_images: int,
    num_labels: int,
    model: str,
    output_dir: pathlib.Path,
) -> None:
    """Writes label_problems.html.

    Args:
      problems: as `problem_list.ranked`.
      pictures: {place in `problems`: data: address} of those that are shown.
      num_images, num_labels: that were looked at.
      model: its name.
    """
    title = f"{len(problems):,} label{'s' if len(problems) != 1 else ''} to check"
    shown = [{"picture": pictures[place], **_words(place, problems[place])} for place in sorted(pictures)]
    counts = problem_list.counts_of(problems)
    page = _templates().render(
        "label_problems.html.j2",
        title,
        title=title,
        model=model,
        num_images=num_images,
        num_labels=num_labels,
        num_problems=len(problems),
        num_shown=len(shown),
        kinds=[(kind, _MEANING[kind], counts[kind], [one for one in shown if one["kind"] == kind]) for kind in KINDS],
    )
    atomic_write.write_text(output_dir / PAGE, page)


def _words(place: int, problem: LabelProblem) -> dict[str, Any]:
    one = problem.suspicion
    label = "no label" if one.kind == OVERLOOKED else f"labeled {one.label_class}"
    ymin, xmin, _, _ = one.suggested_box
    words = (
        f"{place + 1}: {one.kind}, {label}, model {one.suggested_class}, score {one.score:.2f}, at x {xmin:.0f}, "
        f"y {ymin:.0f} of {problem.image}"
    )
    return {"kind": one.kind, "rank": place + 1, "label": one.label_class, "model": one.suggested_class, "words": words}

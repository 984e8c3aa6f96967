"""The page of images to label next: each with the cells that the model sees in it, and the reasons."""

import dataclasses
import functools
import pathlib
from collections.abc import Mapping, Sequence

from PIL import Image

from tfod_csf.evaluation.label_choice.suggestions import Suggestion
from tfod_csf.files import atomic_write
from tfod_csf.pages import cell_pictures
from tfod_csf.pages.html_page import PageTemplates
from tfod_csf.wording import plural

PAGE = "label_suggestions.html"
_WIDTH_PX = 800
_QUALITY = 75


@dataclasses.dataclass(frozen=True)
class Searched:
    """What was looked at.

    Attributes:
      model: its name.
      num_labeled: images that are labeled already.
      numbers: {class: labels}; {} where they are not known.
    """

    model: str
    num_labeled: int
    numbers: Mapping[str, int]


@functools.cache
def _templates() -> PageTemplates:
    return PageTemplates(pathlib.Path(__file__).with_name("templates"), ("page.css",), ("pictures.js",))


def picture_of(drawn: Image.Image) -> str:
    """An image with its cells as a data: address, small enough for a page of many."""
    if drawn.width > _WIDTH_PX:
        height = max(1, round(drawn.height * _WIDTH_PX / drawn.width))
        drawn = drawn.resize((_WIDTH_PX, height), Image.Resampling.LANCZOS)
    return cell_pictures.data_address(drawn, _QUALITY)


def write_page(
    suggestions: Sequence[Suggestion], pictures: Mapping[str, str], searched: Searched, output_dir: pathlib.Path
) -> None:
    """Writes label_suggestions.html.

    Args:
      suggestions: of `suggestions.suggest`.
      pictures: {image: data: address} of those that are shown.
      searched: what was looked at.
    """
    title = f"{plural(len(pictures), 'image')} to label next"
    shown = [
        {"rank": rank, "picture": pictures[one.image], **dataclasses.asdict(one)}
        for rank, one in enumerate(suggestions, start=1)
        if one.image in pictures
    ]
    page = _templates().render(
        "label_suggestions.html.j2",
        title,
        title=title,
        searched=searched,
        num_unlabeled=len(suggestions),
        num_patients=len({one["patient_id"] for one in shown}),
        shown=shown,
    )
    atomic_write.write_text(output_dir / PAGE, page)

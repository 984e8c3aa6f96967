"""Pictures of images with what was found and what was labeled: a field with many mistakes, small enough for a page."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from tfod_csf import cell_classes
from tfod_csf.evaluation.confusion import NOTHING, MatrixEntry
from tfod_csf.graphics import fonts
from tfod_csf.pages import cell_pictures

FIELD_WIDTH_PX = 1000
_LETTER_PX = 14


def abbreviations(names: Sequence[str]) -> dict[str, str]:
    """{class: the shortest beginning of it that no other class has}, the first letter large.

    >>> abbreviations(["lymphocyte", "monocyte", "mitosis"])
    {'lymphocyte': 'L', 'monocyte': 'Mo', 'mitosis': 'Mi'}
    """
    short = {}
    for name in names:
        others = [other.casefold() for other in names if other != name]
        lengths = range(1, len(name) + 1)
        fitting = (n for n in lengths if not any(other.startswith(name[:n].casefold()) for other in others))
        beginning = name[: next(fitting, len(name))]
        short[name] = beginning[:1].upper() + beginning[1:]
    return short


def draw_field(
    pixels: np.ndarray,
    entries: Sequence[MatrixEntry],
    names: Sequence[str],
    truth_boxes: np.ndarray,
    found_boxes: np.ndarray,
) -> Image.Image:
    """A field: rightly named cells have a thin box, mistakes a thick one (dashed: missed) and a sign.

    The sign of a confused cell is "found, then a less-than sign and the label" (L<M), of a spurious one L<–, of a
    missed one –<M.

    Args:
      pixels: uint8 [H, W, 3] RGB.
      entries: what the confusion matrix says of it.
      names: classes in the order of the matrix.
      truth_boxes, found_boxes: [., 4] that the entries count.
    """
    picture = Image.fromarray(pixels)
    if picture.width > FIELD_WIDTH_PX:
        height = max(1, round(picture.height * FIELD_WIDTH_PX / picture.width))
        picture = picture.resize((FIELD_WIDTH_PX, height), Image.Resampling.LANCZOS)
    scale = picture.width / pixels.shape[1]
    draw, short = ImageDraw.Draw(picture), abbreviations(names)
    for entry in sorted(entries, key=lambda entry: entry.row != entry.column):  # mistakes on top
        box = truth_boxes[entry.truth] if entry.detection == NOTHING else found_boxes[entry.detection]
        ymin, xmin, ymax, xmax = np.sort(np.asarray(box, float).reshape(2, 2) * scale, axis=0).ravel()
        name = names[entry.row if entry.detection == NOTHING else entry.column]
        color = cell_classes.rgb_of(name)
        if entry.row == entry.column:
            draw.rectangle((xmin, ymin, xmax, ymax), outline=color, width=1)
            continue
        if entry.detection == NOTHING:
            cell_pictures.draw_dashed(draw, np.array([xmin, ymin]), np.array([xmax, ymax]), color, 2)
        else:
            draw.rectangle((xmin, ymin, xmax, ymax), outline=color, width=3)
        found = "–" if entry.detection == NOTHING else short[names[entry.column]]
        label = "–" if entry.truth == NOTHING else short[names[entry.row]]
        _draw_sign(draw, xmin, ymin, f"{found}<{label}", name, picture.size)
    return picture


def _draw_sign(
    draw: ImageDraw.ImageDraw, left: float, top: float, text: str, name: str, picture_size: tuple[int, int]
) -> None:
    """A text on the color of a class, above a box where there is room."""
    font = fonts.font_for(text, _LETTER_PX)
    width, height = draw.textlength(text, font=font) + 6, _LETTER_PX + 4
    x = min(max(left, 0), max(picture_size[0] - width, 0))
    y = top - height if top >= height else top
    draw.rectangle((x, y, x + width, y + height), fill=cell_classes.rgb_of(name))
    draw.text((x + 3, y + 1), text, font=font, fill=cell_classes.ink_of(name))

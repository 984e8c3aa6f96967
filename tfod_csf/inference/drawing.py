"""Labeled pictures as the paper's Figure 4: every cell with box, name and percentage in the color of its class.

Orange is unknown: a cell below the unknown threshold gets a second, orange box around the first and the label "unknown"
beside its own; the box of a cell of the label map's class `unknown` (rare cells) is orange. Line width and letters grow
with the image and letters are smaller in a crowded one; a label goes where it covers the fewest cells and no other
label, if there is such a place.

Boxes are (ymin, xmin, ymax, xmax) in pixels of the picture; rectangles of labels are (left, top, right, bottom).
"""

import errno
import functools
import os

import numpy as np
from PIL import Image, ImageDraw

from tfod_csf.cell_classes import UNKNOWN, ink_of, rgb_of, whole_percent
from tfod_csf.files import atomic_write
from tfod_csf.graphics import fonts
from tfod_csf.inference.cell_selection import Cells

_PLATE_OPACITY = 215
_CROWDED = 0.6  # boxes and labels would cover more than this share of the picture: smaller letters
_JPEG_QUALITY = 90
_END_OF_IMAGE = b"\xff\xd9"
_MARK, _HEAD_BYTES = b"tfod_csf: cells drawn by batch_infer", 1024  # the comment that Pillow writes first


def line_width_px(width: int, height: int) -> int:
    """Width of a box's line: 2 px on 640 x 480, 6 px on 2592 x 1944."""
    return max(1 if min(width, height) < 200 else 2, round(min(width, height) / 320))


def font_size_px(width: int, height: int) -> int:
    """Height of the letters: 13 px on 640 x 480, 54 px on 2592 x 1944."""
    return int(np.clip(round(min(width, height) / 36), 9, 72))


def draw_cells(pixels: np.ndarray, cells: Cells, unknown_below: float) -> Image.Image:
    """The picture of one image.

    Args:
      pixels: uint8 [H, W, 3] RGB, not changed.
      cells: the cells; boxes in pixels of this image.
      unknown_below: cells with score < this get the orange box.
    """
    picture = Image.fromarray(pixels)
    draw = ImageDraw.Draw(picture)
    line = line_width_px(picture.width, picture.height)
    rectangles = cells.detections.boxes[:, [1, 0, 3, 2]].astype(np.float64)
    is_unsure = cells.detections.scores < unknown_below
    for row in np.argsort(-_areas(rectangles), kind="stable"):  # small cells on top of large ones
        draw.rectangle(tuple(np.round(rectangles[row])), outline=rgb_of(cells.predicted_class[row]), width=line)
        if is_unsure[row]:
            outer = rectangles[row] + np.array([-1, -1, 1, 1]) * (line + 1)
            draw.rectangle(tuple(np.round(outer)), outline=rgb_of(UNKNOWN), width=line)
    labels = [
        [(f"{name} {whole_percent(score)}%", name), *([(UNKNOWN, UNKNOWN)] if unsure else [])]
        for name, score, unsure in zip(cells.predicted_class, cells.detections.scores, is_unsure)
    ]
    size = _letter_size(labels, rectangles, picture.size)
    taken = np.concatenate([rectangles, np.zeros_like(rectangles)])  # and behind the cells, the labels
    for row, plates in enumerate(labels):
        margin = line + (line + 1 if is_unsure[row] else 0)
        end = len(labels) + row
        left, top = _place_label(_label_size(plates, size), taken[:end], row, len(labels), margin, picture.size)
        taken[end] = _draw_label(picture, plates, left, top, size)
    return picture


def _letter_size(labels: list[list], rectangles: np.ndarray, picture_size: tuple[int, int]) -> int:
    """One letter size for the whole picture.

    How it works: letters shrink until a label is about as wide as a cell, and by another quarter in a crowded field,
    but not below what can be read when the picture fills a screen (1/80 of its height, 10 px).
    """
    size = font_size_px(*picture_size)
    if not labels:
        return size
    smallest = min(size, max(10, min(picture_size) // 80))
    sizes = np.array([_label_size(plates[:1], size) for plates in labels])
    shrunk = size * min(1.0, np.median(rectangles[:, 2] - rectangles[:, 0]) / np.median(sizes[:, 0]))
    covered = _areas(rectangles).sum() + sizes.prod(axis=1).sum() * (shrunk / size) ** 2
    if covered > _CROWDED * np.prod(picture_size):
        shrunk *= 0.75
    return int(max(smallest, shrunk))


def save_picture(picture: Image.Image, path: str | os.PathLike) -> None:
    """Writes a JPEG, whole or not at all, that `is_drawn` recognizes.

    How it works: Pillow encodes into the file itself, because it lets other threads run only then; it overlooks that
    a full disk took only a part, so the end of the file is looked at.

    Raises:
      OSError: the disk takes only a part of it.
    """
    with atomic_write.replacing(path, "w+b") as file:
        picture.save(file, format="JPEG", quality=_JPEG_QUALITY, comment=_MARK)
        file.seek(max(0, file.seek(0, os.SEEK_END) - len(_END_OF_IMAGE)))
        if file.read() != _END_OF_IMAGE:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fspath(path))


def is_drawn(jpeg: bytes | None) -> bool:
    """Whether a JPEG file is one of `save_picture`, wherever it was copied."""
    return jpeg is not None and _MARK in jpeg[:_HEAD_BYTES]


def _areas(rectangles: np.ndarray) -> np.ndarray:
    return np.prod(np.maximum(rectangles[:, 2:] - rectangles[:, :2], 0), axis=1)


@functools.lru_cache(maxsize=4096)
def _text_width(text: str, size_px: int) -> float:
    """Pixels; kept, because every label is measured several times and most are on the next picture too."""
    return fonts.font_for(text, size_px).getlength(text)


def _label_size(plates: list, size_px: int) -> tuple[float, float]:
    """Width and height of plates side by side; a plate is (text, class whose color it has)."""
    padding = max(1, size_px // 6)
    widths = [_text_width(text, size_px) + 2 * padding for text, _ in plates]
    return sum(widths), size_px * 1.2 + padding


def _place_label(
    label_size: tuple[float, float],
    taken: np.ndarray,
    row: int,
    num_cells: int,
    margin: float,
    picture_size: tuple[int, int],
) -> tuple[float, float]:
    """Left and top of the best place for the label of cell `row`; `taken` are the cells and the labels so far.

    How it works: places around and inside the box are rated by the area they would cover: labels already there weigh 8,
    other cells 2, the own cell 1. The least wins; among equals the earlier, which is "above the box, left-aligned".
    """
    left, top, right, bottom = taken[row]
    width, height = label_size
    above, below = top - margin - height, bottom + margin
    places = np.array(
        [
            (left - margin, above),
            (left - margin, below),
            (right + margin - width, above),
            (right + margin - width, below),
            (right + margin, top),
            (left - margin - width, top),
            (right + margin, bottom - height),
            (left - margin - width, bottom - height),
            (left + margin, top + margin),
            (left + margin, bottom - margin - height),
        ]
    )
    places = np.minimum(np.maximum(places, 0), np.maximum(np.array(picture_size) - label_size, 0))
    weights = np.where(np.arange(len(taken)) < num_cells, 2.0, 8.0)
    weights[row] = 1.0
    cost = _shared_areas(np.concatenate([places, places + label_size], axis=1), taken) @ weights
    return tuple(places[int(np.argmin(cost))])


def _shared_areas(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Areas [N, M] that rectangles [N, 4] share with rectangles [M, 4]."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.maximum(high - low, 0)
    return shared[..., 0] * shared[..., 1]


def _draw_label(
    picture: Image.Image, plates: list, left: float, top: float, size_px: int
) -> tuple[float, float, float, float]:
    """Puts the plates side by side and returns the rectangle they take."""
    x = left
    for text, name in plates:
        plate = _plate(text, name, size_px)
        picture.paste(plate, (round(x), round(top)), plate)
        x += _label_size([(text, name)], size_px)[0]
    return left, top, x, top + _label_size([], size_px)[1]


@functools.lru_cache(maxsize=512)
def _plate(text: str, name: str, size_px: int) -> Image.Image:
    """A text on a plate of its class's color, RGBA; kept, because most are on the next picture too."""
    width, height = _label_size([(text, name)], size_px)
    plate = Image.new("RGBA", (round(width) + 1, round(height) + 1), (*rgb_of(name), _PLATE_OPACITY))
    letters = Image.new("RGBA", plate.size)
    padding = max(1, size_px // 6)
    font = fonts.font_for(text, size_px)
    ImageDraw.Draw(letters).text((padding, height / 2), text, font=font, fill=ink_of(name), anchor="lm")
    return Image.alpha_composite(plate, letters)

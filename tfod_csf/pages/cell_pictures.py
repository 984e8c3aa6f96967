"""Pictures of single cells, cropped from the original images, small JPEGs in data: addresses.

Boxes are [4] ymin, xmin, ymax, xmax in pixels of the original image (turned as EXIF says).
"""

import base64
import io

import numpy as np
from PIL import Image, ImageDraw

from tfod_csf.study.pictures import Picture

CROP_PX = 112  # shown at 84 px, so that fine screens and prints have pixels to spare
_OUTSIDE = (236, 239, 241)
_INK = (27, 39, 51)
_DASH_PX = 4


def crop(picture: Picture, box: np.ndarray, side: float, dashed: np.ndarray | None = None) -> Image.Image:
    """A square of CROP_PX around the middle of a box, whose corners are marked; outside of the image it is light gray.

    Args:
      picture: where it is.
      box: [4] ymin, xmin, ymax, xmax in pixels, also beyond the image.
      side: of the square in pixels of the image; a larger box gets a larger square.
      dashed: [4] another box, drawn as a dashed line.
    """
    ymin, xmin, ymax, xmax = box
    side = min(max(side, 1.1 * (ymax - ymin), 1.1 * (xmax - xmin), 8), 2 * max(picture.height, picture.width))
    top, left = round((ymin + ymax - side) / 2), round((xmin + xmax - side) / 2)
    side = round(side)
    square = np.empty([side, side, 3], np.uint8)
    square[:] = _OUTSIDE
    y0, x0, y1, x1 = max(top, 0), max(left, 0), min(top + side, picture.height), min(left + side, picture.width)
    if y0 < y1 and x0 < x1:
        square[y0 - top : y1 - top, x0 - left : x1 - left] = picture.read(y0, x0, y1, x1)
    crop = Image.fromarray(square).resize((CROP_PX, CROP_PX), Image.Resampling.LANCZOS)
    if dashed is not None:
        corners = (np.asarray(dashed, float).reshape(2, 2)[:, ::-1] - [left, top]) * CROP_PX / side
        draw_dashed(ImageDraw.Draw(crop), *corners)
    half = np.array([xmax - xmin, ymax - ymin]) / 2 * CROP_PX / side + 2
    _mark_corners(crop, CROP_PX / 2 - half, CROP_PX / 2 + half)
    return crop


def _mark_corners(crop: Image.Image, low: np.ndarray, high: np.ndarray) -> None:
    """Small angles at the corners of a box (x, y): they show which of many cells is meant without covering it."""
    draw = ImageDraw.Draw(crop)
    length = float(np.clip((high - low).min() / 4, 4, 12))
    for color, width in (("white", 3), (_INK, 1)):
        for x, inwards_x in ((low[0], length), (high[0], -length)):
            for y, inwards_y in ((low[1], length), (high[1], -length)):
                draw.line([(x + inwards_x, y), (x, y), (x, y + inwards_y)], fill=color, width=width)


def draw_dashed(
    draw: ImageDraw.ImageDraw, low: np.ndarray, high: np.ndarray, color: tuple[int, int, int] = _INK, width: int = 1
) -> None:
    """A dashed rectangle on a white one, so that it shows on every ground; its corners are x, y in pixels."""
    size = np.array(draw.im.size)
    (x0, y0), (x1, y1) = (np.clip(corner, -_DASH_PX, size + _DASH_PX) for corner in (low, high))
    draw.rectangle((min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)), outline="white", width=width + 2)
    for start, end in (((x0, y0), (x1, y0)), ((x1, y0), (x1, y1)), ((x1, y1), (x0, y1)), ((x0, y1), (x0, y0))):
        along = np.array(end, float) - start
        length = float(np.abs(along).sum())
        for place in np.arange(0, length, 2 * _DASH_PX):
            first, last = start + along * place / length, start + along * min(place + _DASH_PX, length) / length
            draw.line([tuple(first), tuple(last)], fill=color, width=width)


def data_address(picture: Image.Image, quality: int) -> str:
    """A picture as the data: address of a JPEG that holds its pixels alone."""
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(picture)).save(buffer, "JPEG", quality=quality, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"

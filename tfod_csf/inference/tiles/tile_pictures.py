"""Labeled pictures of a large picture: one per tile, and an overview; a tile at a time in memory.

A tile's picture shows the whole tile. What lies outside of its core is pale: the cells there belong to the pictures of
neighboring tiles, and are drawn in both. The overview shows the borders of the cores, "row,column" of each, and every
cell as a box in the color of its class.
"""

import dataclasses
import pathlib

import numpy as np
from PIL import Image, ImageDraw

from tfod_csf.cell_classes import UNKNOWN, rgb_of
from tfod_csf.graphics import fonts
from tfod_csf.inference import drawing
from tfod_csf.inference.cell_selection import Cells
from tfod_csf.study.folder_names import picture_name, tile_picture_name
from tfod_csf.study.pictures import Picture
from tfod_csf.study.tile_grid import Tile, TileGrid

OVERVIEW_PX = 2000
_BORDER_INK = (110, 118, 125)
_LETTER_PX = 18


def save(
    picture: Picture, cells: Cells, grid: TileGrid, folder: pathlib.Path, image: str, unknown_below: float
) -> None:
    """Writes the tiles' pictures and the overview.

    Args:
      picture: the pixels.
      cells: of the whole picture.
      grid: its tiles.
      folder: pictures/ of the patient, or of the patient and model.
      image: name of the image, from which those of the pictures follow (`folder_names`).
      unknown_below: cells with score < this get the orange box.

    Raises:
      ImageLimitError: the file is damaged.
    """
    scale = min(1.0, OVERVIEW_PX / max(grid.width, grid.height))
    overview = Image.new("RGB", (max(1, round(grid.width * scale)), max(1, round(grid.height * scale))))
    for tile in grid:
        pixels = picture.read(*tile.box)
        _paste(overview, pixels, tile, scale)
        labeled = drawing.draw_cells(_paled(pixels, tile), _cells_in(cells, tile), unknown_below)
        drawing.save_picture(labeled, folder / tile_picture_name(image, tile.row, tile.column))
    _mark(overview, cells, grid, scale, unknown_below)
    drawing.save_picture(overview, folder / picture_name(image))


def _paled(pixels: np.ndarray, tile: Tile) -> np.ndarray:
    """The tile with everything outside of its core made pale."""
    top, left = tile.core[0] - tile.box[0], tile.core[1] - tile.box[1]
    bottom, right = tile.core[2] - tile.box[0], tile.core[3] - tile.box[1]
    pale = pixels // 2 + np.uint8(128)
    pale[top:bottom, left:right] = pixels[top:bottom, left:right]
    return pale


def _cells_in(cells: Cells, tile: Tile) -> Cells:
    """The cells that lie in a tile at least in part, boxes in its pixels."""
    boxes = cells.detections.boxes
    ymin, xmin, ymax, xmax = tile.box
    rows = np.flatnonzero((boxes[:, 0] < ymax) & (boxes[:, 1] < xmax) & (boxes[:, 2] > ymin) & (boxes[:, 3] > xmin))
    found = cells.detections.select(rows)
    offset = np.array([ymin, xmin, ymin, xmin], np.float32)
    return dataclasses.replace(
        cells,
        detections=dataclasses.replace(found, width=xmax - xmin, height=ymax - ymin, boxes=found.boxes - offset),
        predicted_class=[cells.predicted_class[row] for row in rows],
        status=[cells.status[row] for row in rows],
        counted_as=[cells.counted_as[row] for row in rows],
    )


def _paste(overview: Image.Image, pixels: np.ndarray, tile: Tile, scale: float) -> None:
    """Puts a tile's core into the overview."""
    ymin, xmin, ymax, xmax = tile.core
    top, left, bottom, right = (round(side * scale) for side in tile.core)
    bottom, right = min(bottom, overview.height), min(right, overview.width)
    if top >= bottom or left >= right:
        return
    core = Image.fromarray(pixels[ymin - tile.box[0] : ymax - tile.box[0], xmin - tile.box[1] : xmax - tile.box[1]])
    overview.paste(core.resize((right - left, bottom - top), Image.Resampling.BOX, reducing_gap=2.0), (left, top))


def _mark(overview: Image.Image, cells: Cells, grid: TileGrid, scale: float, unknown_below: float) -> None:
    """Draws the borders of the cores and the cells."""
    draw = ImageDraw.Draw(overview)
    for tile in grid:
        top, left, bottom, right = (round(side * scale) for side in tile.core)
        draw.rectangle((left, top, right, bottom), outline=_BORDER_INK)
        name = f"{tile.row + 1},{tile.column + 1}"
        draw.text((left + 3, top + 2), name, font=fonts.font_for(name, _LETTER_PX), fill=_BORDER_INK)
    detections = cells.detections
    for row in range(len(detections)):
        ymin, xmin, ymax, xmax = (float(side) * scale for side in detections.boxes[row])
        name = UNKNOWN if detections.scores[row] < unknown_below else cells.predicted_class[row]
        draw.rectangle((xmin, ymin, max(xmax, xmin + 2), max(ymax, ymin + 2)), outline=rgb_of(name), width=2)

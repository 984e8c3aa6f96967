"""Each cell once: the detections of overlapping tiles as those of one picture.

The rule, for the detections of all tiles that count as cells:

  1. A detection belongs to its tile if its middle lies in the tile's core, or farther out by no more than a quarter of
     the overlap: a cell on the border between two cores is then kept by one of the two tiles even where the two see its
     middle on different sides. All others are dropped; the tile in whose core they lie sees them as a whole.
  2. A detection is cut if it ends at a border of its tile inside the picture: there may be more of its cell beyond.
  3. In the order "not cut, best score first; then cut, largest first" each is kept unless a detection of another tile
     that was kept is the same cell: they overlap with IoU >= 0.5, or, of a cut one, half of it lies in the other.

A cell no larger than the overlap lies in at least one tile as a whole, and is counted once. A larger one may be cut in
every tile: its largest piece stays for it, which may be too small and be counted under another class;
`Merged.too_large` names these, and the remedy is a larger overlap. Detections of one tile are never compared here: what
an image's duplicates are is said in `cell_selection`, for tiles as for any image.

Shape shorthand in this module:
  N: detections of all tiles.
  M: detections that stay.

Boxes are [N, 4] ymin, xmin, ymax, xmax in pixels of the whole picture.
"""

import dataclasses

import numpy as np

from tfod_csf import np_box_ops
from tfod_csf.study.tile_grid import TileGrid

SAME_CELL_IOU = 0.5
SAME_CELL_SHARE = 0.5  # of a cut detection, that lies in a detection of another tile
_MARGIN = 0.25  # of the overlap
# How near to the border a detection of a cut cell ends: networks place a box's sides to some hundredths of the cell's
# size, which is at least the longer side of the piece.
_CUT_PX, _CUT_SHARE = 2.0, 0.1


@dataclasses.dataclass(frozen=True)
class Merged:
    """What stays.

    Attributes:
      kept: int [M] rows that stay, in the order of the input.
      too_large: int, rows of `kept` that are larger than the overlap, in a direction in which there are several tiles.
    """

    kept: np.ndarray
    too_large: np.ndarray


def merge(boxes: np.ndarray, scores: np.ndarray, tiles: np.ndarray, grid: TileGrid) -> Merged:
    """Detections of all tiles, each cell once.

    Args:
      boxes: [N, 4].
      scores: [N], of which the higher stays.
      tiles: int [N] the tile that each was found in.
      grid: of the picture.
    """
    boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    own = np.flatnonzero(_belongs(boxes, tiles, grid))
    is_cut = _is_cut(boxes, tiles, grid)
    area = np_box_ops.area(boxes)
    order = sorted(own, key=lambda row: (is_cut[row], -area[row] if is_cut[row] else -scores[row]))
    kept = _PlacedBoxes(grid)
    for row in order:
        others = kept.near(boxes[row])
        others = others[tiles[others] != tiles[row]]
        if len(others) and _is_same_cell(boxes[row], boxes[others], bool(is_cut[row])):
            continue
        kept.add(int(row), boxes[row])
    rows = np.array(sorted(kept.rows), dtype=np.int64)
    sides = boxes[rows, 2:] - boxes[rows, :2]
    overlaps = np.array(grid.overlaps)
    return Merged(rows, rows[((sides > overlaps) & (overlaps > 0)).any(axis=1)])


def _is_same_cell(box: np.ndarray, others: np.ndarray, is_cut: bool) -> bool:
    if np_box_ops.iou(box[None], others).max() >= SAME_CELL_IOU:
        return True
    area = np_box_ops.area(box[None])[0]
    shared = np_box_ops.intersection(box[None], others).max()
    return is_cut and area > 0 and shared / area >= SAME_CELL_SHARE


def _belongs(boxes: np.ndarray, tiles: np.ndarray, grid: TileGrid) -> np.ndarray:
    """bool [N], rule 1."""
    cores = np.array([tile.core for tile in grid], dtype=np.float64)[tiles]
    margins = _MARGIN * np.array(grid.overlaps)
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    # Beyond the picture's own edges there is no other tile; a middle cannot lie there.
    return ((middles >= cores[:, :2] - margins) & (middles <= cores[:, 2:] + margins)).all(axis=1)


def _is_cut(boxes: np.ndarray, tiles: np.ndarray, grid: TileGrid) -> np.ndarray:
    """bool [N], rule 2."""
    extents = np.array([tile.box for tile in grid], dtype=np.float64)[tiles]
    near = _CUT_PX + _CUT_SHARE * (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True)
    starts_inside, ends_inside = extents[:, :2] > 0, extents[:, 2:] < np.array([grid.height, grid.width])
    at_start = starts_inside & (boxes[:, :2] <= extents[:, :2] + near)
    at_end = ends_inside & (boxes[:, 2:] >= extents[:, 2:] - near)
    return (at_start | at_end).any(axis=1)


class _PlacedBoxes:
    """Boxes found by place: a scan has tens of thousands, and comparing all with all would take hours and gigabytes."""

    def __init__(self, grid: TileGrid):
        self._side = max(16, min(grid.settings.width, grid.settings.height) // 8)
        self._cells: dict[tuple[int, int], list[int]] = {}
        self.rows: list[int] = []

    def _places(self, box: np.ndarray) -> list[tuple[int, int]]:
        top, left, bottom, right = (int(side) for side in box // self._side)
        return [(y, x) for y in range(top, bottom + 1) for x in range(left, right + 1)]

    def add(self, row: int, box: np.ndarray) -> None:
        """Adds a box."""
        self.rows.append(row)
        for place in self._places(box):
            self._cells.setdefault(place, []).append(row)

    def near(self, box: np.ndarray) -> np.ndarray:
        """Rows of the boxes that may share pixels with this one."""
        found = {row for place in self._places(box) for row in self._cells.get(place, ())}
        return np.array(sorted(found), dtype=np.int64)

"""Where a large picture is cut into tiles: tiles that overlap, and the core of each, which no two tiles share.

All tiles of a picture have the same size, because the network scales whatever it gets to its own input size: a smaller
tile would show it larger cells. Tiles are spread evenly, so that they overlap by `overlap` pixels or more. Where two
tiles overlap, the border between their cores is in the middle: every pixel lies in one core, and a cell whose middle is
in a tile's core and which is no larger than the overlap lies in that tile as a whole.

Shape shorthand in this module:
  N: points or boxes.
  T: tiles of a picture, numbered from 0 by rows from the upper left.

All numbers are pixels of the whole picture; x to the right, y down.
"""

import dataclasses
import functools
import re
from collections.abc import Iterator

import numpy as np

from tfod_csf.errors import UserError

MIN_TILE_PX = 64


class TileError(UserError):
    """A size or overlap of tiles that makes no sense."""


@dataclasses.dataclass(frozen=True)
class TileSettings:
    """How pictures are cut.

    Attributes:
      width, height: of a tile, at least MIN_TILE_PX.
      overlap: of neighboring tiles at least; at most half of the shorter side.
    """

    width: int
    height: int
    overlap: int

    def __post_init__(self):
        if min(self.width, self.height) < MIN_TILE_PX:
            raise TileError(f"--tile_size is {self}; a side has to have at least {MIN_TILE_PX} pixels.")
        half = min(self.width, self.height) // 2
        if not 0 < self.overlap <= half:
            raise TileError(
                f"--tile_overlap is {self.overlap}; give a number of pixels from 1 to {half}, half of the tile's "
                "shorter side."
            )

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


def parse_tile_size(text: str) -> tuple[int, int]:
    """(width, height) of "2592x1944", or of "1944" for squares.

    Raises:
      TileError: another text.

    >>> parse_tile_size("2592x1944"), parse_tile_size("1024")
    ((2592, 1944), (1024, 1024))
    """
    match = re.fullmatch(r"\s*(\d{1,6})\s*(?:[xX×]\s*(\d{1,6})\s*)?", text)
    if not match:
        raise TileError(f"--tile_size is {text!r}; give WIDTHxHEIGHT in pixels, for example 2592x1944, or one number.")
    return int(match[1]), int(match[2] or match[1])


@dataclasses.dataclass(frozen=True)
class Tile:
    """One tile.

    Attributes:
      row, column: in the grid, from 0.
      box: ymin, xmin, ymax, xmax of the tile.
      core: the same of its core.
    """

    row: int
    column: int
    box: tuple[int, int, int, int]
    core: tuple[int, int, int, int]

    @property
    def name(self) -> str:
        """How messages and pictures name it, counted from 1."""
        return f"row {self.row + 1}, column {self.column + 1}"


@dataclasses.dataclass(frozen=True)
class _Axis:
    """Tiles along one side of a picture.

    Attributes:
      starts, ends: of the tiles.
      borders: between the cores: 0, ..., length; one more than tiles.
      overlap: of neighboring tiles at least; 0 for a single tile.
    """

    starts: tuple[int, ...]
    ends: tuple[int, ...]
    borders: tuple[int, ...]
    overlap: int

    @classmethod
    def of(cls, length: int, tile: int, overlap: int) -> "_Axis":
        """The fewest tiles that cover the length with this overlap or more."""
        if length <= tile:
            return cls((0,), (length,), (0, length), 0)
        number = -(-(length - overlap) // (tile - overlap))
        starts = tuple(place * (length - tile) // (number - 1) for place in range(number))
        ends = tuple(start + tile for start in starts)
        pairs = list(zip(ends, starts[1:]))
        borders = (0, *((end + start) // 2 for end, start in pairs), length)
        return cls(starts, ends, borders, min(end - start for end, start in pairs))


@dataclasses.dataclass(frozen=True)
class TileGrid:
    """The tiles of one picture.

    Attributes:
      width, height: of the picture.
      settings: how it is cut.
    """

    width: int
    height: int
    settings: TileSettings

    @functools.cached_property
    def _axes(self) -> tuple[_Axis, _Axis]:
        """(along y, along x)."""
        size = self.settings
        return _Axis.of(self.height, size.height, size.overlap), _Axis.of(self.width, size.width, size.overlap)

    @property
    def num_rows(self) -> int:
        return len(self._axes[0].starts)

    @property
    def num_columns(self) -> int:
        return len(self._axes[1].starts)

    def __len__(self) -> int:
        return self.num_rows * self.num_columns

    @property
    def overlaps(self) -> tuple[int, int]:
        """(along y, along x): pixels that neighboring tiles share at least; 0 where there is one tile only."""
        return self._axes[0].overlap, self._axes[1].overlap

    def __iter__(self) -> Iterator[Tile]:
        return (self[number] for number in range(len(self)))

    def __getitem__(self, number: int) -> Tile:
        row, column = divmod(number, self.num_columns)
        y, x = self._axes
        return Tile(
            row,
            column,
            (y.starts[row], x.starts[column], y.ends[row], x.ends[column]),
            (y.borders[row], x.borders[column], y.borders[row + 1], x.borders[column + 1]),
        )

    def numbers_of(self, boxes: np.ndarray) -> np.ndarray:
        """[N] the tile in whose core the middle of each box [N, 4] (ymin, xmin, ymax, xmax) lies."""
        boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
        middles = (boxes[:, :2] + boxes[:, 2:]) / 2
        places = [
            np.clip(np.searchsorted(axis.borders, middle, side="right") - 1, 0, len(axis.starts) - 1)
            for axis, middle in zip(self._axes, middles.T)
        ]
        return places[0] * self.num_columns + places[1]

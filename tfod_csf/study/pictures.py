"""Pictures of which rectangles can be read: in memory, or in a file that is too large for it."""

import dataclasses
import pathlib
from typing import Protocol

import numpy as np

from tfod_csf.problems import ProblemLog
from tfod_csf.study import image_io
from tfod_csf.study.image_limits import ImageLimitError
from tfod_csf.study.large_tiff import LargeTiff


class Picture(Protocol):
    """A picture of which rectangles can be read: `PixelPicture` or `large_tiff.LargeTiff`.

    Attributes:
      width, height: pixels.
    """

    @property
    def width(self) -> int: ...

    @property
    def height(self) -> int: ...

    def read(self, top: int, left: int, bottom: int, right: int) -> np.ndarray:
        """uint8 [bottom - top, right - left, 3] RGB of a rectangle inside the picture.

        Raises:
          ImageLimitError: the file is damaged there.
        """


@dataclasses.dataclass(frozen=True)
class PixelPicture:
    """A picture that is in memory: uint8 [height, width, 3] RGB."""

    pixels: np.ndarray

    @property
    def width(self) -> int:
        """Pixels."""
        return self.pixels.shape[1]

    @property
    def height(self) -> int:
        """Pixels."""
        return self.pixels.shape[0]

    def read(self, top: int, left: int, bottom: int, right: int) -> np.ndarray:
        """As `Picture.read`; rows follow each other in memory, as networks want them."""
        return np.ascontiguousarray(self.pixels[top:bottom, left:right])


def open_picture(path: pathlib.Path, sha256: str | None) -> PixelPicture | LargeTiff | None:
    """The picture in an image file, however large.

    Args:
      sha256: that the file must have, as its examination recorded it.

    Returns:
      None where the file cannot be used, or has other bytes.
    """
    if not image_io.needs_tiles(path):
        loaded = image_io.open_image(path, ProblemLog(quiet=True))
        return PixelPicture(loaded.pixels) if loaded is not None and loaded.sha256 == sha256 else None
    try:
        large = LargeTiff(path, ProblemLog(quiet=True))
    except (ImageLimitError, OSError):
        return None
    return large if large.sha256 == sha256 else None

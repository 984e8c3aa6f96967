"""One model on one image, as a whole or in tiles: its cells, what is noted about them, and the labeled pictures."""

import math
import pathlib

import numpy as np

from tfod_csf.detections import Detections
from tfod_csf.domain.training_domain import Judgment
from tfod_csf.domain.unlike_words import unlike_words
from tfod_csf.errors import UserError
from tfod_csf.inference import domain_guard, drawing
from tfod_csf.inference.cell_selection import Cells, ScoreThresholds, select_cells
from tfod_csf.inference.image_detector import ImageDetector
from tfod_csf.inference.tiles import tile_pictures, tiled_detection
from tfod_csf.inference.tiles.tiled_detection import TiledCells
from tfod_csf.problems import ProblemLog
from tfod_csf.study.folder_names import picture_name
from tfod_csf.study.image_io import LoadedImage
from tfod_csf.study.image_limits import ImageLimitError
from tfod_csf.study.large_tiff import LargeTiff
from tfod_csf.study.patients import ImageFile
from tfod_csf.study.pictures import Picture, PixelPicture
from tfod_csf.study.tile_grid import TileGrid, TileSettings
from tfod_csf.wording import plural

_TILE_COLUMNS = ("tile_width", "tile_height", "tile_overlap")


class PicturesError(UserError):
    """Labeled pictures that cannot be made, because the image cannot be read again."""


def grid_of(tiles: TileSettings | None, loaded: LoadedImage | LargeTiff) -> TileGrid | None:
    """The tiles of an image that is larger than one, or too large for memory; None for another."""
    fits = tiles is None or (loaded.width <= tiles.width and loaded.height <= tiles.height)
    if tiles is None or (fits and not isinstance(loaded, LargeTiff)):
        return None
    return TileGrid(loaded.width, loaded.height, tiles)


def _picture(loaded: LoadedImage | LargeTiff) -> Picture:
    return loaded if isinstance(loaded, LargeTiff) else PixelPicture(loaded.pixels)


def detect(
    detector: ImageDetector,
    name: str,
    loaded: LoadedImage | LargeTiff,
    grid: TileGrid | None,
    thresholds: ScoreThresholds,
    detections: Detections | None = None,
) -> TiledCells:
    """The cells of one model on one image, in tiles or as a whole; raises as `tiled_detection.detect`.

    Args:
      detections: of the whole image, where the detector has given them already.
    """
    if grid is None:
        assert isinstance(loaded, LoadedImage), "too large for memory, and not cut"
        if detections is None:
            detections = detector.detect(loaded.pixels, name, jpeg=loaded.jpeg)
        cells = select_cells(detections, detector.label_map, thresholds, detector.max_detections_per_class)
        judgment = domain_guard.judge(detector, loaded.pixels, cells.detections.boxes, cells.predicted_class)
        return TiledCells(cells, (), np.zeros((0, 2)), judgment)
    found = tiled_detection.detect(detector, _picture(loaded), grid, thresholds, name)
    if isinstance(loaded, LargeTiff):
        loaded.check_unchanged()
    return found


def save_pictures(
    loaded: LoadedImage | LargeTiff, cells: Cells, grid: TileGrid | None, folder: pathlib.Path, unknown_below: float
) -> None:
    """Draws the cells of a model into the folder of its pictures.

    Raises:
      PicturesError: the file of a large picture was damaged or changed after its cells had been found.
    """
    name = cells.detections.image
    if grid is None:
        assert isinstance(loaded, LoadedImage), "too large for memory, and not cut"
        drawing.save_picture(drawing.draw_cells(loaded.pixels, cells, unknown_below), folder / picture_name(name))
        return
    try:
        tile_pictures.save(_picture(loaded), cells, grid, folder, name, unknown_below)
    except ImageLimitError as error:
        reason, remedy = error.args
        raise PicturesError(f"{loaded.path}: its labeled pictures cannot be made: {reason}. {remedy}") from error


def close(loaded: LoadedImage | LargeTiff) -> None:
    """Closes the file of a picture that is read by rectangles."""
    if isinstance(loaded, LargeTiff):
        loaded.close()


def note_limits(image: ImageFile, model: str, found: TiledCells, grid: TileGrid | None, problems: ProblemLog) -> None:
    """Notes reached limits, of tiles each, and cells that are larger than the tiles' overlap."""
    remedy = "Export the model with larger max_detections_per_class and max_total_detections."
    if grid is None:
        if found.cells.limit_reached:
            number = len(found.cells.detections)
            problems.noted(
                image.path, f"model {model} reached its limit of {number} cells; some may be missing", remedy
            )
        return
    for tile in found.limited:
        reason = f"model {model} reached its limit of cells in this tile; some may be missing"
        problems.noted(image.path, reason, remedy, f"tile in {tile.name}")
    if len(found.too_large):
        height, width = found.too_large[found.too_large.max(axis=1).argmax()]
        is_or_are = "is" if len(found.too_large) == 1 else "are"
        reason = (
            f"{plural(len(found.too_large), 'cell')} of model {model} {is_or_are} larger than the overlap of the tiles "
            f"(the largest {width:.0f} x {height:.0f} pixels): they may be counted twice, or by a part of them"
        )
        largest = math.ceil(found.too_large.max() * 1.1)
        problems.noted(image.path, reason, f"Give --tile_overlap={largest} or more, if these are cells.")


def tile_columns(grid: TileGrid | None) -> dict[str, int]:
    """Columns of images.csv that say how an image was cut."""
    if grid is None:
        return {}
    return dict(zip(_TILE_COLUMNS, (grid.settings.width, grid.settings.height, grid.settings.overlap), strict=True))


def domain_columns(judgment: Judgment | None) -> dict[str, float | bool | str]:
    """Columns of images.csv that say whether an image is like the training images; none without a domain guard."""
    if judgment is None:
        return {}
    return {
        "domain_distance": judgment.distance,
        "in_domain": judgment.in_domain,
        "unlike_training": unlike_words(judgment.differences),
    }

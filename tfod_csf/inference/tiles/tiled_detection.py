"""A detector over the tiles of a large picture: the cells of the whole picture, each once.

Every tile is an image to the detector, with its own limit of detections. Thresholds, temperature and class scores are
those of any image (`cell_selection`); `seams` says which of the tiles' cells are one. To a domain guard each tile is an
image too: the picture is judged as the middle one of the tiles with cells.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tfod_csf.detections import Detections
from tfod_csf.domain.training_domain import Judgment
from tfod_csf.inference import domain_guard
from tfod_csf.inference.cell_selection import Cells, ScoreThresholds, distinct_cells, likely_cells
from tfod_csf.inference.image_detector import DetectionFailedError, ImageDetector
from tfod_csf.inference.tiles import seams
from tfod_csf.study.pictures import Picture
from tfod_csf.study.tile_grid import Tile, TileGrid


@dataclasses.dataclass(frozen=True)
class TiledCells:
    """The cells of one picture by one model.

    Attributes:
      cells: of the whole picture, boxes in its pixels.
      limited: tiles in which the detector gave as many cells as it can; some of theirs may be missing.
      too_large: [M, 2] height and width of the cells that are larger than the tiles' overlap (`seams`).
      judgment: of the model's domain guard; None where it has none.
    """

    cells: Cells
    limited: Sequence[Tile]
    too_large: np.ndarray
    judgment: Judgment | None = None


def detect(
    detector: ImageDetector,
    picture: Picture,
    grid: TileGrid,
    thresholds: ScoreThresholds,
    image: str = "",
    on_tile: Callable[[], Any] = lambda: None,
) -> TiledCells:
    """Cells of a picture, one tile in memory at a time.

    Args:
      detector: the model, or several as one.
      picture: the pixels.
      grid: of this picture.
      thresholds: what counts as a cell.
      image: name that the detections carry.
      on_tile: called after each tile.

    Raises:
      DetectionFailedError: the model cannot handle a tile; the message names it.
      DetectionsError: it returned nonsense for one.
      ImageLimitError: the file is damaged.
    """
    found: list[Detections] = []
    limited: list[Tile] = []
    judged: list[Judgment] = []
    judged_empty: list[Judgment] = []
    for tile in grid:
        ymin, xmin, ymax, xmax = tile.box
        try:
            pixels = picture.read(ymin, xmin, ymax, xmax)
            detections = detector.detect(pixels, image)
        except DetectionFailedError as error:
            raise DetectionFailedError(f"tile in {tile.name}: {error}") from error
        of_tile, limit_reached = likely_cells(detections, thresholds, detector.max_detections_per_class)
        names = [detector.label_map.name_of(int(class_id)) for class_id in of_tile.classes]
        judgment = domain_guard.judge(detector, pixels, of_tile.boxes, names)
        if judgment is not None:
            (judged if names else judged_empty).append(judgment)
        found.append(_moved(of_tile, tile, grid))
        if limit_reached:
            limited.append(tile)
        on_tile()
    tiles = np.repeat(np.arange(len(found)), [len(of_tile) for of_tile in found])
    together = _joined(found)
    merged = seams.merge(together.boxes, together.raw_scores, tiles, grid)
    sides = together.boxes[merged.too_large, 2:] - together.boxes[merged.too_large, :2]
    cells = distinct_cells(together.select(merged.kept), detector.label_map, thresholds, bool(limited))
    # Of a scan much is empty, as training images seldom are; what counts is where cells are.
    of_tiles = judged or judged_empty
    return TiledCells(cells, limited, sides, domain_guard.in_the_middle(of_tiles) if of_tiles else None)


def _moved(detections: Detections, tile: Tile, grid: TileGrid) -> Detections:
    """Detections of a tile in pixels of the whole picture."""
    offset = np.array([tile.box[0], tile.box[1]] * 2, np.float32)
    return dataclasses.replace(detections, width=grid.width, height=grid.height, boxes=detections.boxes + offset)


def _joined(found: Sequence[Detections]) -> Detections:
    """The rows of several detections of one image."""

    def joined(name: str) -> Any:
        values = [getattr(of_tile, name) for of_tile in found]
        return None if values[0] is None else np.concatenate(values)

    return dataclasses.replace(
        found[0],
        boxes=joined("boxes"),
        classes=joined("classes"),
        scores=joined("scores"),
        multiclass_scores=joined("multiclass_scores"),
        num_at_limit=False,
        raw_multiclass_scores=joined("raw_multiclass_scores"),
    )

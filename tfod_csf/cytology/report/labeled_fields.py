"""Labeled fields of a patient's report: batch_infer's pictures, or boxes drawn here where those are outdated.

batch_infer's pictures show the machine's decisions with the run's thresholds. Where a person has decided since, where
cells are counted with other thresholds, or where there are no pictures, each cell gets a box with the first letter of
its class on the original image. Of an image that was cut into tiles, each tile is a field.
"""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

from tfod_csf import cell_classes
from tfod_csf.cytology import run_tables
from tfod_csf.cytology.report import gallery
from tfod_csf.detections import BOX_SIDES
from tfod_csf.graphics import fonts
from tfod_csf.pages import cell_pictures
from tfod_csf.study.folder_names import picture_name, tile_picture_name
from tfod_csf.study.tile_grid import Tile

FIELD_WIDTH_PX = 1000
_QUALITY = 80
_LETTER_PX = 15
_WHOLE = -1  # in place of the number of a tile: an image that was not cut


@dataclasses.dataclass(frozen=True)
class FieldPicture:
    """One field, at most FIELD_WIDTH_PX wide.

    Attributes:
      image, image_number: which one; the number is that of the page's table of images.
      counts: (class, cells) of the model in the order of the gallery.
      picture: data: address.
      has_letters: whether it was drawn here, with letters instead of names and scores.
    """

    image: str
    image_number: int
    counts: tuple[tuple[str, int], ...]
    picture: str
    has_letters: bool


def letter_of(name: str) -> str:
    """The sign of a class in a box: its first letter, or a question mark for unknown.

    >>> letter_of("lymphocyte"), letter_of("unknown")
    ('L', '?')
    """
    return "?" if name == cell_classes.UNKNOWN else name[:1].upper()


def field_pictures(
    patient: run_tables.PatientTables,
    model: str,
    max_fields: int,
    sources: gallery.SourceImages,
    unknown_below: float,
    recounted: bool = False,
) -> tuple[list[FieldPicture], int]:
    """Labeled fields: those with the most unknown cells first, then those with the most white cells.

    Args:
      patient: tables read with `details`.
      unknown_below: as in `gallery.cell_groups`.
      recounted: whether cells are counted with other thresholds than in batch_infer's pictures.

    Returns:
      (at most `max_fields` fields, number of fields that could be shown).
    """
    cells = gallery.cells_of(patient, model, unknown_below)
    cells["tile"] = _tiles_of(patient, cells)
    units = _units(patient)
    decided = _decided_units(patient, model, cells)
    index = pd.MultiIndex.from_tuples(units, names=["image", "tile"])
    counts = pd.crosstab([cells["image"], cells["tile"]], cells["group"]).reindex(index=index, fill_value=0)
    classes = gallery.group_order(list(counts.columns))
    white = counts[[name for name in classes if name in cell_classes.WHITE_CELLS]].sum(axis=1)
    unknown = counts.get(cell_classes.UNKNOWN, pd.Series(0, index=counts.index))
    order = sorted(units, key=lambda unit: (-unknown[unit], -white[unit], unit))
    numbers = gallery.image_numbers(patient)
    fields: list[FieldPicture] = []
    num_there = 0
    for unit in order:
        image, number = unit
        tile = None if number == _WHOLE else patient.grids[image][number]
        path = None if recounted or unit in decided else _labeled_picture(patient.folder, model, image, tile)
        if len(fields) == max_fields:
            num_there += path is not None or sources.has(image)
            continue
        source = sources.picture(image) if path is None else None
        if path is not None:
            picture = _opened(path)
        elif source is not None:
            box = (0, 0, source.height, source.width) if tile is None else tile.box
            picture = _drawn(source.read(*box), box, cells[cells["image"] == image])
        else:
            continue
        num_there += 1
        found = tuple((name, int(count)) for name, count in counts.loc[unit, classes].items() if count)
        address = cell_pictures.data_address(picture, _QUALITY)
        name = image if tile is None else f"{image}, {tile.name}"
        fields.append(FieldPicture(name, numbers[image], found, address, has_letters=path is None))
    return fields, num_there


def _units(patient: run_tables.PatientTables) -> list[tuple[str, int]]:
    """(image, number of the tile, or _WHOLE) of every field."""
    units = []
    for image in patient.used_images:
        tiles = range(len(patient.grids[image])) if image in patient.grids else (_WHOLE,)
        units += [(image, tile) for tile in tiles]
    return units


def _decided_units(patient: run_tables.PatientTables, model: str, cells: pd.DataFrame) -> set[tuple[str, int]]:
    """Fields in which a cell lies on which a person has decided, also one that was removed.

    Of an image that was cut, these are all tiles that the cell touches: batch_infer drew it in each.
    """
    decided = [cells[~cells["status"].isin(cell_classes.MACHINE_STATUS)]]
    if len(patient.removed):
        decided.append(patient.removed[patient.removed["model"] == model])
    units: set[tuple[str, int]] = set()
    for rows in decided:
        for image, *box in rows[["image", *BOX_SIDES]].itertuples(index=False, name=None):
            grid = patient.grids.get(image)
            touched = [_WHOLE] if grid is None else [number for number, tile in enumerate(grid) if _meet(box, tile.box)]
            units.update((image, number) for number in touched)
    return units


def _meet(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether two boxes (ymin, xmin, ymax, xmax) have an area in common."""
    return one[0] < other[2] and one[1] < other[3] and one[2] > other[0] and one[3] > other[1]


def _tiles_of(patient: run_tables.PatientTables, cells: pd.DataFrame) -> np.ndarray:
    """int [N] the tile in whose core each cell lies, or _WHOLE."""
    tiles = np.full(len(cells), _WHOLE)
    for image, grid in patient.grids.items():
        rows = np.flatnonzero(cells["image"] == image)
        tiles[rows] = grid.numbers_of(cells.iloc[rows][list(BOX_SIDES)].to_numpy(dtype=float))
    return tiles


def _labeled_picture(folder: pathlib.Path, model: str, image: str, tile: Tile | None) -> pathlib.Path | None:
    """The file batch_infer wrote; with several models it lies in a folder of the model's name."""
    name = picture_name(image) if tile is None else tile_picture_name(image, tile.row, tile.column)
    for pictures in (folder / "pictures" / model, folder / "pictures"):
        if (path := pictures / name).is_file():
            return path
    return None


def _opened(path: pathlib.Path) -> Image.Image:
    """A labeled picture, made smaller.

    Raises:
      TableError: the file is damaged.
    """
    try:
        with Image.open(path) as picture:
            picture.draft("RGB", (FIELD_WIDTH_PX, FIELD_WIDTH_PX))
            return _at_most_wide(picture.convert("RGB"))
    except OSError as error:
        raise run_tables.TableError(f"{path}: a labeled picture that cannot be read ({error}); delete it.") from error


def _at_most_wide(picture: Image.Image) -> Image.Image:
    if picture.width <= FIELD_WIDTH_PX:
        return picture
    height = round(picture.height * FIELD_WIDTH_PX / picture.width)
    return picture.resize((FIELD_WIDTH_PX, height), Image.Resampling.LANCZOS)


def _drawn(pixels: np.ndarray, field: tuple[int, int, int, int], cells: pd.DataFrame) -> Image.Image:
    """Boxes and letters on a field; what is unknown comes last, on top.

    Args:
      pixels: uint8 [H, W, 3] of the field.
      field: ymin, xmin, ymax, xmax in its image.
      cells: those of the image.
    """
    picture = _at_most_wide(Image.fromarray(pixels))
    scale = picture.width / pixels.shape[1]
    draw = ImageDraw.Draw(picture)
    ymin, xmin, ymax, xmax = field
    cells = cells[(cells["ymin"] < ymax) & (cells["xmin"] < xmax) & (cells["ymax"] > ymin) & (cells["xmax"] > xmin)]
    boxes = (cells[list(BOX_SIDES)].to_numpy(dtype=float) - [ymin, xmin, ymin, xmin]) * scale
    names = list(cells["group"])
    for row in sorted(range(len(names)), key=lambda row: names[row] == cell_classes.UNKNOWN):
        if np.isfinite(boxes[row]).all():
            draw_box(draw, boxes[row], names[row])
    return picture


def draw_box(draw: ImageDraw.ImageDraw, box: np.ndarray, name: str) -> None:
    """Box and letter of a cell.

    Args:
      box: [4] ymin, xmin, ymax, xmax in pixels of the picture, in any order and also beyond it.
      name: class; an unknown cell has its own color and a question mark.
    """
    ymin, xmin, ymax, xmax = np.sort(box.reshape(2, 2), axis=0).ravel()
    color = cell_classes.rgb_of(name)
    draw.rectangle((xmin, ymin, xmax, ymax), outline=color, width=2)
    letter = letter_of(name)
    font = fonts.font_for(letter, _LETTER_PX)
    width = draw.textlength(letter, font=font) + 6
    draw.rectangle((xmin, ymin, xmin + width, ymin + _LETTER_PX + 3), fill=color)
    draw.text((xmin + 3, ymin + 1), letter, font=font, fill=cell_classes.ink_of(name))


def letters_of(fields: Sequence[FieldPicture]) -> Mapping[str, str]:
    """{class: letter} of the fields that were drawn here."""
    names = [name for field in fields if field.has_letters for name, _ in field.counts]
    return {name: letter_of(name) for name in gallery.group_order(names)}

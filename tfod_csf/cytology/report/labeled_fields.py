"""Labeled fields of a patient's report: batch_infer's pictures, or boxes drawn here where those are outdated.

batch_infer's pictures show the machine's decisions with the run's thresholds. Where a person has decided since, where
cells are counted with other thresholds, or where there are no pictures, each cell gets a box with the first letter of
its class on the original image.
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
from tfod_csf.study.folder_names import picture_name

FIELD_WIDTH_PX = 1000
_QUALITY = 80
_LETTER_PX = 15


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
    decided = set(cells.loc[~cells["status"].isin(cell_classes.MACHINE_STATUS), "image"])
    counts = pd.crosstab(cells["image"], cells["group"]).reindex(index=list(patient.used_images), fill_value=0)
    classes = gallery.group_order(list(counts.columns))
    white = counts[[name for name in classes if name in cell_classes.WHITE_CELLS]].sum(axis=1)
    unknown = counts.get(cell_classes.UNKNOWN, pd.Series(0, index=counts.index))
    order = sorted(counts.index, key=lambda image: (-unknown[image], -white[image], image))
    numbers = gallery.image_numbers(patient)
    fields: list[FieldPicture] = []
    num_there = 0
    for image in order:
        path = None if recounted or image in decided else _labeled_picture(patient.folder, model, image)
        if len(fields) == max_fields:
            num_there += path is not None or sources.has(image)
            continue
        pixels = sources.pixels(image) if path is None else None
        if path is not None:
            picture = _opened(path)
        elif pixels is not None:
            picture = _drawn(pixels, cells[cells["image"] == image])
        else:
            continue
        num_there += 1
        found = tuple((name, int(count)) for name, count in counts.loc[image, classes].items() if count)
        address = gallery.data_address(picture, _QUALITY)
        fields.append(FieldPicture(image, numbers[image], found, address, has_letters=path is None))
    return fields, num_there


def _labeled_picture(folder: pathlib.Path, model: str, image: str) -> pathlib.Path | None:
    """The file batch_infer wrote; with several models it lies in a folder of the model's name."""
    for pictures in (folder / "pictures" / model, folder / "pictures"):
        if (path := pictures / picture_name(image)).is_file():
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


def _drawn(pixels: np.ndarray, cells: pd.DataFrame) -> Image.Image:
    """Boxes and letters on an image; what is unknown comes last, on top."""
    picture = _at_most_wide(Image.fromarray(pixels))
    scale = picture.width / pixels.shape[1]
    draw = ImageDraw.Draw(picture)
    boxes = cells[list(BOX_SIDES)].to_numpy(dtype=float) * scale
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

"""Pictures of the data page: whole images with their boxes, and cells; read again from the records, those alone."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from markupsafe import Markup
from PIL import Image, ImageDraw

from tfod_csf import cell_classes
from tfod_csf.data.dataset_page.record_survey import Cell, LabeledRecord, Survey
from tfod_csf.pages import cell_pictures
from tfod_csf.study.pictures import PixelPicture

_IMAGE_WIDTH = 480
_QUALITY = 80
_IGNORED = (120, 120, 120)


def pictures(
    survey: Survey,
    files: Mapping[str, Sequence[str]],
    images: Iterable[int],
    cells: Iterable[Cell],
    side_of: Mapping[str, float],
) -> tuple[dict[int, Markup], dict[Cell, Markup]]:
    """({number of an image: data: address}, {cell: data: address}), which need no escape in a page.

    Args:
      images: numbers of the images that are shown.
      cells: those shown.
      side_of: side of the square around a cell of each class, in pixels of the image.
    """
    wanted = set(images)
    cells_of: dict[int, list[Cell]] = defaultdict(list)
    for cell in cells:
        cells_of[cell.image].append(cell)
    of_images, of_cells = {}, {}
    for number, record in survey.records(files, wanted | cells_of.keys()):
        if number in wanted:
            of_images[number] = Markup(cell_pictures.data_address(labeled_picture(record), _QUALITY))
        picture = PixelPicture(np.asarray(record.image))
        for cell in cells_of[number]:
            crop = cell_pictures.crop(picture, np.array(cell.box), side_of[cell.class_name])
            of_cells[cell] = Markup(cell_pictures.data_address(crop, _QUALITY))
    return of_images, of_cells


def labeled_picture(record: LabeledRecord) -> Image.Image:
    """The image, small, with its boxes in the colors of their classes; ignored ones are gray and crossed out."""
    scale = min(_IMAGE_WIDTH / record.image.width, 1.0)
    size = max(round(record.image.width * scale), 1), max(round(record.image.height * scale), 1)
    picture = record.image.resize(size, Image.Resampling.BOX)
    draw = ImageDraw.Draw(picture)
    for ymin, xmin, ymax, xmax in record.ignored * scale:
        draw.rectangle((xmin, ymin, xmax, ymax), outline=_IGNORED, width=2)
        draw.line((xmin, ymin, xmax, ymax), fill=_IGNORED, width=2)
    for (ymin, xmin, ymax, xmax), name in zip(record.boxes * scale, record.classes, strict=True):
        color = cell_classes.rgb_of(name)
        draw.rectangle((xmin, ymin, xmax, ymax), outline=color, width=2)
        if min(xmax - xmin, ymax - ymin) >= 16:  # a letter beside the color; in a smaller box it would hide the cell
            draw.rectangle((xmin, ymin, xmin + 9, ymin + 11), fill=color)
            draw.text((xmin + 2, ymin), name[:1].upper(), fill=cell_classes.ink_of(name))
    return picture

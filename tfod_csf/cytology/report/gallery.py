"""Pictures of single cells for a patient's report, cropped from the original images.

Shape shorthand in this module:
  N: cells of one model.

Boxes are [N, 4] ymin, xmin, ymax, xmax in pixels of the original image (turned as EXIF says). All pictures are small
JPEGs in data: addresses, so that a page needs no other file.

All crops of a patient have the same scale, because size distinguishes a lymphocyte from a monocyte; only a box that is
larger than the crop gets a larger one.
"""

import dataclasses
import math
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from tfod_csf import cell_classes, run_folder
from tfod_csf.cytology import run_tables
from tfod_csf.detections import BOX_SIDES
from tfod_csf.files import inner_paths
from tfod_csf.pages import cell_pictures
from tfod_csf.study.large_tiff import LargeTiff
from tfod_csf.study.pictures import PixelPicture, open_picture

_CROP_QUALITY = 82
_MARGIN = 1.35  # side of a crop against the box of a large cell of the patient


@dataclasses.dataclass(frozen=True)
class CellPicture:
    """One cell of the gallery.

    Attributes:
      image, image_number, cell_id: where it is; the number is that of the page's table of images.
      counted_as: class it is counted under.
      predicted_class, score: what the model says; "" and None for a cell that a person added.
      scores: (class, score) of all classes, highest first; empty where the model gives none.
      decision: what a person did with this cell (confirmed, relabelled, added, ...); "" without a person.
      picture: data: address, "" where the original image is not available.
    """

    image: str
    image_number: int
    cell_id: int
    counted_as: str
    predicted_class: str
    score: float | None
    scores: tuple[tuple[str, float], ...]
    decision: str
    picture: str


@dataclasses.dataclass(frozen=True)
class CellGroup:
    """Cells of one class, least certain first.

    Attributes:
      name: class they are shown as.
      total: counts also those that are not shown.
      likely: of unknown cells, the class the model finds most likely; "" where it names none.
    """

    name: str
    total: int
    cells: tuple[CellPicture, ...]
    likely: str = ""


class SourceImages:
    """The images a patient's cells were found on, opened one at a time.

    An image is used only if its bytes have the checksum of images.csv: a crop of another picture with the same name
    would show a doctor the wrong cell.

    Args:
      images_dir: folder batch_infer read; None when it is not known.
      patient: tables read with `details`.
    """

    def __init__(self, images_dir: pathlib.Path | None, patient: run_tables.PatientTables):
        self._folders = [] if images_dir is None else [images_dir]
        if images_dir is not None and inner_paths.is_plain_name(patient.patient_id):
            self._folders.insert(0, images_dir / patient.patient_id)
        used = patient.images[patient.images["status"] == run_folder.OK]
        self._checksums = dict(zip(used["image"], used["sha256"], strict=True))

    def has(self, image: str) -> bool:
        """Whether there is a file of that name; its checksum is not compared."""
        return any(self._candidates(image))

    def picture(self, image: str) -> PixelPicture | LargeTiff | None:
        """The picture; None where the image is missing or has other bytes."""
        for path in self._candidates(image):
            found = open_picture(path, self._checksums.get(image))
            if found is not None:
                return found
        return None

    def _candidates(self, image: str) -> list[pathlib.Path]:
        found = []
        for folder in self._folders:
            try:
                if (folder / image).is_file():
                    found.append(folder / image)
            except (OSError, ValueError):  # a name that cannot be a path (too long)
                continue
        return found


def group_order(names: Sequence[str]) -> list[str]:
    """Unknown first, then classes the study does not have, then white cells, erythrocytes last.

    >>> group_order(["erythrocyte", "neutrophil", "plasma cell", "unknown", "lymphocyte"])
    ['unknown', 'plasma cell', 'lymphocyte', 'neutrophil', 'erythrocyte']
    """
    last = (*cell_classes.WHITE_CELLS, cell_classes.ERYTHROCYTE)
    others = sorted(set(names) - {cell_classes.UNKNOWN, *last})
    return [name for name in (cell_classes.UNKNOWN, *others, *last) if name in names]


def _picture_order(groups: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """(class, most likely class) in the order of the gallery: what a person has to decide on for the percentages first.

    Unknown cells that may be white come first, by most likely class; those that are most likely erythrocytes come after
    the white cells, since in a bloody fluid they are many and change no percentage.

    >>> _picture_order([("erythrocyte", ""), ("unknown", "erythrocyte"), ("lymphocyte", ""), ("unknown", "neutrophil")])
    [('unknown', 'neutrophil'), ('lymphocyte', ''), ('unknown', 'erythrocyte'), ('erythrocyte', '')]
    """
    unknown = [likely for name, likely in groups if name == cell_classes.UNKNOWN]
    others = sorted(set(unknown) - {*cell_classes.WHITE_CELLS, cell_classes.ERYTHROCYTE})
    order = [(cell_classes.UNKNOWN, likely) for likely in (*cell_classes.WHITE_CELLS, *others)]
    known = [(name, "") for name in group_order([name for name, _ in groups if name != cell_classes.UNKNOWN])]
    order += [group for group in known if group[0] != cell_classes.ERYTHROCYTE]
    order += [(cell_classes.UNKNOWN, cell_classes.ERYTHROCYTE), (cell_classes.ERYTHROCYTE, "")]
    return [group for group in order if group in groups]


def cell_groups(
    patient: run_tables.PatientTables,
    model: str,
    unknown_below: float,
    max_cells_per_class: int,
    sources: SourceImages,
) -> list[CellGroup]:
    """The gallery of one model's cells: unknown cells that may be white first, lowest score first.

    Args:
      patient: tables read with `details`.
      unknown_below: cells the machine is less sure of are shown as unknown, however they are counted.
      max_cells_per_class: cells shown of a class; ten times as many of unknown ones of one most likely class, which a
        person has to see.
      sources: the original images.
    """
    cells = cells_of(patient, model, unknown_below)
    cells = cells.sort_values(["score", "image", "cell_id"], kind="stable")
    likely = cells["predicted_class"].map(cell_classes.canonical_name).replace(cell_classes.UNKNOWN, "")
    likely = likely.where(cells["group"] == cell_classes.UNKNOWN, "")
    chosen = {
        (name, most_likely): cells[(cells["group"] == name) & (likely == most_likely)]
        for name, most_likely in _picture_order(list(dict.fromkeys(zip(cells["group"], likely, strict=True))))
    }
    totals = {group: len(rows) for group, rows in chosen.items()}
    for group in chosen:
        is_unknown = group[0] == cell_classes.UNKNOWN
        chosen[group] = chosen[group].head(max_cells_per_class * (10 if is_unknown else 1))
    shown = pd.concat(chosen.values()) if chosen else cells.head(0)
    pictures = _crop_cells(shown, _scale(patient, cells), _widths(patient), sources)
    numbers = image_numbers(patient)
    return [
        CellGroup(
            name,
            totals[name, most_likely],
            tuple(_cell_picture(row, patient.scored_classes, numbers, pictures[row["row"]]) for row in _records(rows)),
            most_likely,
        )
        for (name, most_likely), rows in chosen.items()
    ]


def cells_of(patient: run_tables.PatientTables, model: str, unknown_below: float) -> pd.DataFrame:
    """One model's cells with a column `group`: the class they are shown as, unknown while the machine is unsure."""
    cells = patient.cells[patient.cells["model"] == model].copy()
    unsure = cells["status"].isin(cell_classes.MACHINE_STATUS) & (cells["score"] < unknown_below)
    cells["group"] = cells["counted_as"].map(cell_classes.canonical_name).mask(unsure, cell_classes.UNKNOWN)
    return cells


def image_numbers(patient: run_tables.PatientTables) -> dict[str, int]:
    """{image: 1, 2, ...} of all images of a patient, sorted by name."""
    return {name: number for number, name in enumerate(sorted(set(patient.images["image"])), start=1)}


def _records(rows: pd.DataFrame) -> list[dict]:
    return rows.rename_axis("row").reset_index().to_dict("records")


def _cell_picture(row: dict, classes: Sequence[str], numbers: dict[str, int], picture: str) -> CellPicture:
    scores = [(name, row[f"score_{name}"]) for name in classes if not math.isnan(row[f"score_{name}"])]
    return CellPicture(
        image=row["image"],
        image_number=numbers.get(row["image"], 0),
        cell_id=int(row["cell_id"]),
        counted_as=cell_classes.canonical_name(row["counted_as"]),
        predicted_class=cell_classes.canonical_name(row["predicted_class"]),
        score=None if math.isnan(row["score"]) else row["score"],
        scores=tuple(sorted(scores, key=lambda pair: -pair[1])),
        decision="" if row["status"] in cell_classes.MACHINE_STATUS else row["status"],
        picture=picture,
    )


def _scale(patient: run_tables.PatientTables, cells: pd.DataFrame) -> float:
    """Side of a crop as a fraction of the field's width: that of a large white cell and some surroundings."""
    widths = cells["image"].map(_widths(patient)).astype(float)  # of no cells, pandas makes text
    longer = np.maximum(cells["xmax"] - cells["xmin"], cells["ymax"] - cells["ymin"])
    sides = pd.Series(longer, index=cells.index) / widths
    white = sides[cells["counted_as"].map(cell_classes.group_of) == cell_classes.GROUP_WHITE_CELLS].dropna()
    sides = white if len(white) else sides.dropna()
    return _MARGIN * float(np.quantile(sides, 0.95)) if len(sides) else 0.1


def _widths(patient: run_tables.PatientTables) -> dict[str, float]:
    """{image: width of a field}: of the image, or of its tiles where it was cut into tiles."""
    widths = dict(zip(patient.images["image"], patient.images["width"], strict=True))
    return widths | {image: float(grid.settings.width) for image, grid in patient.grids.items()}


def _crop_cells(
    cells: pd.DataFrame, scale: float, widths: Mapping[str, float], sources: SourceImages
) -> dict[int, str]:
    """{row of the table: data: address}, one image in memory at a time, of a scan some rows of it."""
    pictures = dict.fromkeys(cells.index, "")
    for image, rows in cells.groupby("image", sort=True):
        picture = sources.picture(str(image))
        if picture is None:
            continue
        side = scale * widths[str(image)]
        boxes = rows[list(BOX_SIDES)].to_numpy(dtype=float)
        for row in np.argsort(boxes[:, 0], kind="stable"):  # from top to bottom, as blocks lie in a large file
            if np.isfinite(boxes[row]).all():
                crop = cell_pictures.crop(picture, boxes[row], side)
                pictures[rows.index[row]] = cell_pictures.data_address(crop, _CROP_QUALITY)
    return pictures

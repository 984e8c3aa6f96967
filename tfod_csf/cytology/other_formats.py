"""The cells of a run for other programs: COCO JSON, QuPath GeoJSON and Label Studio predictions.

Every cell has the name a reviewer sees: its class, or `unknown` until a person has decided. Cells that a person removed
are not written. Patients are read one after the other and written at once, so memory does not grow with their number.

    coco.json                          object detection format of cocodataset.org; x, y, width, height in pixels;
                                       score, patient_id, ... beside the format's own fields, which readers ignore
    qupath/<patient>/<image>.geojson   drop it on the image in QuPath 0.4 or later; pixels from the upper left corner
    label_studio.json                  tasks with predictions; x, y, width, height in percent of the image
    label_studio_config.xml            the labeling interface these predictions fit
"""

import contextlib
import dataclasses
import json
import pathlib
import urllib.parse
import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any
from xml.sax.saxutils import quoteattr

from tfod_csf import __version__, cell_classes, run_folder
from tfod_csf.cytology import cell_rows
from tfod_csf.cytology.cell_rows import Cell
from tfod_csf.errors import UserError
from tfod_csf.files import atomic_write, inner_paths

FORMATS = ("coco", "qupath", "label_studio")
QUPATH_DIR = "qupath"
_GEOJSON = ".geojson"


class ForeignFilesError(UserError):
    """A folder to be replaced holds files that this program did not write."""


@dataclasses.dataclass(frozen=True)
class ImageCells:
    """One examined image.

    Attributes:
      patient_id, image: as in cells.csv.
      patient_folder: the patient's folder name in the run.
      file_name: path below the images folder, with "/".
      width, height: pixels.
      model: whose cells they are.
      cells: those that were not removed.
    """

    patient_id: str
    image: str
    patient_folder: str
    file_name: str
    width: int
    height: int
    model: str
    cells: tuple[Cell, ...]


def patient_images(folder: pathlib.Path, model: str, images_dir: pathlib.Path | None = None) -> Iterator[ImageCells]:
    """The images of a patient's folder that the model examined, sorted.

    Args:
      images_dir: where the images lie, to tell whether they are in one folder per patient; they need not be there.
    """
    by_image = cell_rows.read_cells(folder / "cells.csv").of_model(model).by_image()
    rows = [row for row in cell_rows.read_images(folder / "images.csv") if row["status"] == run_folder.OK]
    for row in sorted(rows, key=lambda row: row["image"]):
        if row["model"] != model:
            continue
        image = row["image"]
        # An id that is no folder's name was given by a manifest or pattern, and then the image's path is the whole one.
        is_flat = not inner_paths.is_plain_name(row["patient_id"])
        is_flat = is_flat or (images_dir is not None and (images_dir / image).is_file())
        yield ImageCells(
            patient_id=row["patient_id"],
            image=image,
            patient_folder=folder.name,
            file_name=image if is_flat else f"{row['patient_id']}/{image}",
            width=row["width"],
            height=row["height"],
            model=model,
            cells=tuple(cell for cell in by_image.get(image, []) if cell.counted_as),
        )


def _object_id(cell: Cell) -> str:
    """The same cell has the same id in every export."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, "\n".join([cell.patient_id, cell.image, cell.model, str(cell.cell_id)])))


def coco_image(image: ImageCells, image_id: int) -> dict[str, Any]:
    """An entry of `images`."""
    return {
        "id": image_id,
        "file_name": image.file_name,
        "width": image.width,
        "height": image.height,
        "patient_id": image.patient_id,
    }


def coco_annotations(
    image: ImageCells, image_id: int, first_id: int, categories: dict[str, int], polygons: bool = False
) -> list[dict]:
    """Entries of `annotations`.

    Args:
      categories: {name: id}; a name that it lacks (a reviewer's own class) gets the next id.
      polygons: give each box a segmentation of its four corners, which CVAT then shows as a polygon. Without it the
        segmentation is empty, and the annotation a box.
    """
    entries = []
    for number, cell in enumerate(image.cells, start=first_id):
        xmin, ymin, xmax, ymax = cell.box
        width, height = round(xmax - xmin, 2), round(ymax - ymin, 2)
        entry = {
            "id": number,
            "image_id": image_id,
            "category_id": categories.setdefault(cell.label, len(categories) + 1),
            "bbox": [xmin, ymin, width, height],
            "area": round(width * height, 2),
            "segmentation": [[xmin, ymin, xmax, ymin, xmax, ymax, xmin, ymax]] if polygons else [],
            "iscrowd": 0,
            "attributes": {"cell_id": cell.cell_id, "model": cell.model, "predicted_class": cell.predicted_class},
        }
        entries.append(entry if cell.score is None else {**entry, "score": cell.score})
    return entries


def qupath_collection(image: ImageCells) -> dict[str, Any]:
    """The GeoJSON FeatureCollection of an image; one detection object per cell."""
    features = []
    for cell in image.cells:
        xmin, ymin, xmax, ymax = cell.box
        ring = [[xmin, ymin], [xmax, ymin], [xmax, ymax], [xmin, ymax], [xmin, ymin]]
        scores = {f"score {name}": score for name, score in cell.class_scores.items() if score is not None}
        properties = {
            "objectType": "detection",
            "name": f"cell {cell.cell_id}",
            "classification": {"name": cell.label, "color": cell_classes.rgb_of(cell.label)},
            "measurements": scores if cell.score is None else {"score": cell.score, **scores},
            "metadata": {"model": cell.model, "predicted_class": cell.predicted_class, "status": cell.status},
        }
        geometry = {"type": "Polygon", "coordinates": [ring]}
        features.append({"type": "Feature", "id": _object_id(cell), "geometry": geometry, "properties": properties})
    return {"type": "FeatureCollection", "features": features}


def label_studio_task(image: ImageCells, image_prefix: str) -> dict[str, Any]:
    """A task with one prediction; its score is that of the least certain cell, so that sorting by it brings up work.

    Args:
      image_prefix: what Label Studio puts before the path below the images folder.
    """
    results = []
    for cell in image.cells:
        xmin, ymin, xmax, ymax = cell.box
        value = {
            "x": 100 * xmin / image.width,
            "y": 100 * ymin / image.height,
            "width": 100 * (xmax - xmin) / image.width,
            "height": 100 * (ymax - ymin) / image.height,
            "rotation": 0,
            "rectanglelabels": [cell.label],
        }
        result = {
            "id": _object_id(cell),
            "type": "rectanglelabels",
            "from_name": "label",
            "to_name": "image",
            "original_width": image.width,
            "original_height": image.height,
            "image_rotation": 0,
            "value": value,
        }
        results.append(result if cell.score is None else {**result, "score": cell.score})
    prediction: dict[str, Any] = {"model_version": image.model, "result": results}
    scores = [cell.score for cell in image.cells if cell.score is not None]
    if scores:
        prediction["score"] = min(scores)
    data = {
        "image": image_prefix + urllib.parse.quote(image.file_name),
        "patient_id": image.patient_id,
        "image_name": image.image,
    }
    return {"data": data, "predictions": [prediction]}


def label_studio_config(categories: Iterable[str]) -> str:
    """The labeling interface (XML) whose control names the predictions use."""
    labels = "\n".join(
        f"    <Label value={quoteattr(name)} background={quoteattr(cell_classes.color_of(name))}/>"
        for name in categories
    )
    return (
        '<View>\n  <Image name="image" value="$image"/>\n  <RectangleLabels name="label" toName="image">\n'
        f"{labels}\n  </RectangleLabels>\n</View>\n"
    )


def _check_own(folder: pathlib.Path) -> None:
    """Refuses to replace a folder that holds more than files of an earlier export.

    Raises:
      ForeignFilesError: naming the first.
    """
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or (path.is_file() and path.suffix != _GEOJSON):
            raise ForeignFilesError(
                f"{path}: is not of an earlier export, which would be replaced; move it away, or give another folder."
            )


class _Items:
    """Writes the items of a JSON array one by one."""

    def __init__(self, file: IO):
        self._file = file
        self._is_first = True

    def add(self, item: Any) -> None:
        self._file.write(("\n" if self._is_first else ",\n") + json.dumps(item, ensure_ascii=False, allow_nan=False))
        self._is_first = False


def write_formats(
    images: Iterable[ImageCells],
    output_dir: pathlib.Path,
    formats: Sequence[str],
    categories: Sequence[str],
    image_prefix: str = "",
    coco_polygons: bool = False,
) -> tuple[int, int]:
    """Writes the wanted formats into a folder.

    Args:
      images: a stream.
      categories: the classes in the order of their ids; further names are added as they come up.
      image_prefix: of `label_studio_task`.
      coco_polygons: `polygons` of `coco_annotations`.

    Returns:
      (images, cells) written.

    Raises:
      ForeignFilesError: the folder qupath/, which is replaced as a whole, holds something of another origin.
    """
    num_images = num_cells = 0
    if "qupath" in formats:
        _check_own(output_dir / QUPATH_DIR)
    ids = {name: number for number, name in enumerate(categories, start=1)}
    with contextlib.ExitStack() as stack:
        coco_images: list[dict] = []
        coco = tasks = qupath = None
        if "qupath" in formats:
            qupath = stack.enter_context(atomic_write.replacing_folder(output_dir / QUPATH_DIR))
        if "coco" in formats:
            coco_file = stack.enter_context(atomic_write.replacing(output_dir / "coco.json"))
            coco_file.write('{"annotations": [')
            coco = _Items(coco_file)
        if "label_studio" in formats:
            tasks_file = stack.enter_context(atomic_write.replacing(output_dir / "label_studio.json"))
            tasks_file.write("[")
            tasks = _Items(tasks_file)
        for image in images:
            if coco is not None:
                for entry in coco_annotations(image, num_images + 1, num_cells + 1, ids, coco_polygons):
                    coco.add(entry)
                coco_images.append(coco_image(image, num_images + 1))
            for cell in image.cells:
                ids.setdefault(cell.label, len(ids) + 1)
            if tasks is not None:
                tasks.add(label_studio_task(image, image_prefix))
            if qupath is not None:
                path = qupath / image.patient_folder / f"{image.image}{_GEOJSON}"
                path.parent.mkdir(parents=True, exist_ok=True)
                text = json.dumps(qupath_collection(image), ensure_ascii=False, allow_nan=False)
                path.write_text(text + "\n", encoding="utf-8", newline="\n")
            num_images += 1
            num_cells += len(image.cells)
        if coco is not None:
            rest = {
                "info": {"description": "Cells found by tfod_csf", "version": __version__},
                "licenses": [],
                "categories": [{"id": number, "name": name, "supercategory": "cell"} for name, number in ids.items()],
                "images": coco_images,
            }
            coco_file.write("\n],\n" + json.dumps(rest, ensure_ascii=False)[1:] + "\n")
        if tasks is not None:
            tasks_file.write("\n]\n")
    if "label_studio" in formats:
        atomic_write.write_text(output_dir / "label_studio_config.xml", label_studio_config(ids))
    return num_images, num_cells

"""cells.csv and images.csv of one patient with every column, read and written again without loss.

`run_tables` reads what a differential needs into data frames; a review changes single cells and must keep the rest
unchanged, so here every cell is an object. Boxes: xmin, ymin, xmax, ymax in pixels of the original image, as in
cells.csv.
"""

import dataclasses
import os
import pathlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tfod_csf import cell_classes, run_folder
from tfod_csf.cytology import run_tables
from tfod_csf.cytology.run_tables import TableError
from tfod_csf.files import csv_schemas, csv_tables
from tfod_csf.study.labelimg import BNDBOX_SIDES

_SCORE_PREFIX, _COUNT_PREFIX = "score_", "count_"
_IMAGE_COUNTS = ("width", "height", "cells")


@dataclasses.dataclass(frozen=True)
class Cell:
    """One row of cells.csv.

    Attributes:
      box: xmin, ymin, xmax, ymax.
      predicted_class: "" for a cell that a person added.
      score: of the predicted class; None for a cell that a person added.
      class_scores: {class: score or None}.
      counted_as: "" for a cell that a person removed.
    """

    patient_id: str
    image: str
    cell_id: int
    model: str
    box: tuple[float, float, float, float]
    predicted_class: str
    score: float | None
    class_scores: Mapping[str, float | None]
    status: str
    counted_as: str

    @property
    def label(self) -> str:
        """The name a reviewer sees: `unknown` until it is decided, "" when it was removed."""
        if self.counted_as and self.status == cell_classes.UNKNOWN:
            return cell_classes.UNKNOWN
        return cell_classes.canonical_name(self.counted_as)

    @property
    def is_decided(self) -> bool:
        """Whether a person has decided on it."""
        return self.status not in cell_classes.MACHINE_STATUS


@dataclasses.dataclass(frozen=True)
class CellTable:
    """cells.csv: the model's classes in the order of the score columns, and the cells in file order."""

    classes: tuple[str, ...]
    cells: tuple[Cell, ...]

    def of_model(self, model: str) -> "CellTable":
        """The cells of one model."""
        return dataclasses.replace(self, cells=tuple(cell for cell in self.cells if cell.model == model))

    def by_image(self) -> dict[str, list[Cell]]:
        """{image: its cells in file order}, removed ones included."""
        images: dict[str, list[Cell]] = {}
        for cell in self.cells:
            images.setdefault(cell.image, []).append(cell)
        return images


def run_models(inference_dir: str | os.PathLike) -> tuple[str, ...]:
    """Names of the models of a run, from run.json or else from the first patient with one.

    Raises:
      TableError: the folder is not an output of batch_infer, or no model examined an image.
    """
    stored = run_tables.read_run(inference_dir).get("models") or []
    if stored:
        return tuple(model["name"] for model in stored)
    for patient in run_tables.read_patients(inference_dir):
        if patient.models:
            return patient.models
    raise TableError(f"{inference_dir}: no model has examined an image; run batch_infer again.")


def one_model(models: Sequence[str], wanted: str | None) -> str:
    """The model whose cells are meant: the wanted one, or the only one.

    Raises:
      TableError: the wanted one is not among them, or there are several and none was wanted.
    """
    if wanted is not None and wanted not in models:
        raise TableError(f"--model={wanted}: no such model in the run; it has {', '.join(models) or 'none'}.")
    if wanted is None and len(models) != 1:
        raise TableError(f"the run has {len(models)} models ({', '.join(models)}); give one with --model.")
    return wanted or models[0]


def names_of(classes: Sequence[str]) -> list[str]:
    """The names cells of these classes can have: the classes in the study's spelling, and `unknown`."""
    return list(dict.fromkeys([*map(cell_classes.canonical_name, classes), cell_classes.UNKNOWN]))


def _number(path: pathlib.Path, line: int, row: Mapping[str, str], name: str) -> float | None:
    text = row[name]
    try:
        return float(text) if text else None
    except ValueError:
        raise TableError(f"{path}, line {line}: {name} is {text!r}; expected a number.") from None


def _required(path: pathlib.Path, line: int, row: Mapping[str, str], name: str) -> float:
    value = _number(path, line, row, name)
    if value is None:
        raise TableError(f"{path}, line {line}: {name} is empty; expected a number.")
    return value


def read_cells(path: str | os.PathLike) -> CellTable:
    """Reads cells.csv.

    Raises:
      TableError: a column is missing, or a number is none.
    """
    path = pathlib.Path(path)
    named = [column.name for column in csv_schemas.load("cells").columns if "<" not in column.name]
    rows = csv_tables.read_rows(path, named)
    header = csv_tables.read_header(path)
    classes = tuple(name.removeprefix(_SCORE_PREFIX) for name in header if name.startswith(_SCORE_PREFIX))
    cells = []
    for line, row in enumerate(rows, start=2):
        cells.append(
            Cell(
                patient_id=row["patient_id"],
                image=row["image"],
                cell_id=int(_required(path, line, row, "cell_id")),
                model=row["model"],
                box=tuple(_required(path, line, row, side) for side in BNDBOX_SIDES),
                predicted_class=row["predicted_class"],
                score=_number(path, line, row, "score"),
                class_scores={name: _number(path, line, row, _SCORE_PREFIX + name) for name in classes},
                status=row["status"],
                counted_as=row["counted_as"],
            )
        )
    return CellTable(classes, tuple(cells))


def write_cells(path: str | os.PathLike, table: CellTable) -> None:
    """Writes cells.csv (columns: docs/OUTPUTS.md)."""

    def row_of(cell: Cell) -> dict[str, Any]:
        row = dataclasses.asdict(cell)
        row.update(zip(BNDBOX_SIDES, row.pop("box"), strict=True))
        row.update({_SCORE_PREFIX + name: score for name, score in row.pop("class_scores").items()})
        return row

    csv_schemas.load("cells").write(path, map(row_of, table.cells), table.classes)


def read_images(path: str | os.PathLike) -> list[dict[str, Any]]:
    """Rows of images.csv without the count_<class> columns; counts and seconds as numbers, None where empty.

    Raises:
      TableError: a column is missing, or a number is none.
    """
    path = pathlib.Path(path)
    named = [column.name for column in csv_schemas.load("images").columns if "<" not in column.name]
    rows = []
    for line, row in enumerate(csv_tables.read_rows(path, named), start=2):
        kept: dict[str, Any] = {name: row[name] for name in named}
        for name in (*_IMAGE_COUNTS, "seconds"):
            value = _number(path, line, row, name)
            kept[name] = int(value) if value is not None and name != "seconds" else value
        kept["limit_reached"] = {"yes": True, "no": False}.get(row["limit_reached"])
        rows.append(kept)
    return rows


def write_images(
    path: str | os.PathLike, rows: Iterable[Mapping[str, Any]], cells: Sequence[Cell], classes: Sequence[str]
) -> None:
    """Writes images.csv with `cells` and count_<class> counted from the cells; removed cells do not count."""
    counts: dict[tuple[str, str], Counter] = {}
    for cell in cells:
        if cell.counted_as:
            counts.setdefault((cell.image, cell.model), Counter())[cell.counted_as] += 1
    seen = {name for counter in counts.values() for name in counter} | {cell_classes.UNKNOWN}
    columns = [*classes, *sorted(seen - set(classes))]
    written = []
    for row in rows:
        row = dict(row)
        if row["status"] == run_folder.OK:
            found = counts.get((row["image"], row["model"]), Counter())
            row["cells"] = found.total()
            row.update({_COUNT_PREFIX + name: found[name] for name in columns})
        written.append(row)
    csv_schemas.load("images").write(path, written, columns)

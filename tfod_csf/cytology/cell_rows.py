"""cells.csv and images.csv of one patient with every column, read and written again without loss.

`run_tables` reads what a differential needs into data frames; a review changes single cells and must keep the rest
unchanged, so here every cell is an object. Boxes: xmin, ymin, xmax, ymax in pixels of the original image, as in
cells.csv.
"""

import dataclasses
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tfod_csf import cell_classes, run_folder
from tfod_csf.cytology import run_tables
from tfod_csf.cytology.run_tables import TableError
from tfod_csf.files import csv_schemas
from tfod_csf.study.labelimg import BNDBOX_SIDES

_SCORE_PREFIX, _COUNT_PREFIX = "score_", "count_"


@dataclasses.dataclass(frozen=True)
class Cell:
    """One row of cells.csv.

    Attributes:
      box: xmin, ymin, xmax, ymax.
      predicted_class: "" for a cell that a person added.
      score: of the predicted class; None for a cell that a person added.
      class_scores: {class: score or None}.
      counted_as: "" for a cell that a person removed.
      raw_score: `score` before the model's temperature; None also in tables that do not have it.
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
    raw_score: float | None = None

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
    stored = run_folder.read_run(inference_dir).get("models") or []
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


def read_cells(path: str | os.PathLike) -> CellTable:
    """Reads cells.csv.

    Raises:
      TableError: a column is missing, or a value is not what the schema of cells.csv says.
    """
    schema = csv_schemas.load("cells")
    classes = schema.classes_in(path)
    scores = {name: _SCORE_PREFIX + name for name in classes}
    cells = [
        Cell(
            patient_id=row["patient_id"],
            image=row["image"],
            cell_id=row["cell_id"],
            model=row["model"],
            box=tuple(row[side] for side in BNDBOX_SIDES),
            predicted_class=row["predicted_class"],
            score=row["score"],
            class_scores={name: row[column] for name, column in scores.items()},
            status=row["status"],
            counted_as=row["counted_as"],
            raw_score=row.get("raw_score"),
        )
        for row in schema.read(path)
    ]
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
      TableError: a column is missing, or a value is not what the schema of images.csv says.
    """
    schema = csv_schemas.load("images")
    columns = [column.name for column in schema.columns if not column.name.startswith(_COUNT_PREFIX)]
    return list(schema.read(path, columns))


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
    is_cut = any(row.get("tile_width") for row in written)
    csv_schemas.load("images").write(path, written, columns, with_rare=is_cut)

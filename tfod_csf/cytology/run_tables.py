"""Reads what batch_infer wrote: cells.csv and images.csv of each patient.

Patients are read one after the other, so that memory does not grow with their number:

    for patient in run_tables.read_patients(inference_dir):
        patient.counts_by_model()                 # {model: {class: cells}}
        patient.image_counts(WHITE_CELLS, model)  # [images, classes]
        patient.unit_counts(WHITE_CELLS, model)   # [images, or tiles of a scan; classes]

Shape shorthand in this module:
  I: images of a patient that could be used.
  U: sampling units of a patient: these images, and in place of one that was cut into tiles its tiles.
  K: classes asked for.
  N: cells.
"""

import collections
import dataclasses
import functools
import os
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tfod_csf import cell_classes, run_folder
from tfod_csf.cytology.cell_kinds import CellKind
from tfod_csf.detections import BOX_SIDES
from tfod_csf.files import csv_schemas
from tfod_csf.files.csv_tables import TableError
from tfod_csf.study.tile_grid import TileError, TileGrid, TileSettings

_CELL_COLUMNS = ("patient_id", "image", "model", "predicted_class", "score", "raw_score", "status", "counted_as")
_IMAGE_COLUMNS = ("patient_id", "image", "status", "model", "seconds", "cells", "limit_reached")
_DOMAIN_COLUMNS = ("domain_distance", "in_domain", "unlike_training")
_MORE_IMAGE_COLUMNS = ("sha256", "width", "height", "reason")
_TILE_COLUMNS = ("tile_width", "tile_height", "tile_overlap")
_SCORE_PREFIX = "score_"


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """How cells of a run were counted, or are to be counted.

    Attributes:
      min_score: what counts as a cell; compared with the score before the model's temperature.
      unknown_below: a cell with a lower score (after the temperature) is unknown until a person decides.
      count_unknown: "apart" or "as_predicted".
    """

    min_score: float
    unknown_below: float
    count_unknown: str = cell_classes.APART


@dataclasses.dataclass(frozen=True)
class PatientTables:
    """Cells and images of one patient.

    The frames are for whoever needs single cells. Counts are taken from `_kinds`, which is a tenth of the time.

    Attributes:
      cells: one row per cell and model (columns as in docs/OUTPUTS.md, at least `_CELL_COLUMNS`).
      images: one row per image and model.
      skipped_models: see `of_complete_models`.
      model_classes: the models' classes, of the columns score_<class>; () where the table has none.
      is_reviewed: whether a person has decided on a cell, also on one that was removed and is not in `cells`.
      removed: rows of the cells that a person removed, with the columns of `cells`.
    """

    patient_id: str
    folder: pathlib.Path
    cells: pd.DataFrame
    images: pd.DataFrame
    is_reviewed: bool = False
    skipped_models: tuple[str, ...] = ()
    model_classes: tuple[str, ...] = ()
    removed: pd.DataFrame = dataclasses.field(default_factory=pd.DataFrame)

    @functools.cached_property
    def _kinds(self) -> dict[CellKind, int]:
        """{kind: cells}, in the order in which they come first in the table."""
        columns = (self.cells[name].tolist() for name in CellKind._fields)
        return {CellKind(*kind): count for kind, count in collections.Counter(zip(*columns, strict=True)).items()}

    @functools.cached_property
    def _image_rows(self) -> list[tuple[str, str, str]]:
        """(image, status, model) of every row of `images`."""
        columns = (self.images[name].tolist() for name in ("image", "status", "model"))
        return list(zip(*columns, strict=True))

    @functools.cached_property
    def models(self) -> tuple[str, ...]:
        """Models that examined images, also those that found no cell; in the order of images.csv."""
        names = dict.fromkeys(row[2] for row in self._image_rows) | dict.fromkeys(kind.model for kind in self._kinds)
        return tuple(name for name in names if name)

    def model_or_first(self, wanted: str | None) -> str:
        """The model whose cells are meant: the wanted one, or the first; "" without any model and none wanted.

        Raises:
          TableError: there are models, and the wanted one is not among them.
        """
        if wanted is None:
            return self.models[0] if self.models else ""
        if self.models and wanted not in self.models:
            raise TableError(
                f"{self.folder}: no cells of model {wanted!r}; it has {', '.join(self.models)}: give one of these with "
                "--model."
            )
        return wanted

    def check_not_reviewed(self) -> None:
        """Refuses cells that are not the model's alone any more.

        Raises:
          TableError: a person has decided on cells.
        """
        if self.is_reviewed:
            raise TableError(
                f"{self.folder}: a person has decided on cells; give the output folder of batch_infer, not a reviewed "
                "one."
            )

    def of_model(self, model: str) -> "PatientTables":
        """The same patient with the cells and images of one model alone, and the images that no model could use."""
        cells = self.cells[self.cells["model"] == model]
        images = self.images[self.images["model"].isin((model, ""))]
        return dataclasses.replace(self, cells=cells, images=images)

    @functools.cached_property
    def used_images(self) -> tuple[str, ...]:
        """[I] images that were examined, sorted; an image without cells is one of them."""
        return tuple(sorted({image for image, status, _ in self._image_rows if status == run_folder.OK}))

    def images_used_by(self, model: str) -> tuple[str, ...]:
        """Images that this model examined, sorted: those of `used_images` on which it did not fail."""
        rows = self._image_rows
        return tuple(sorted({image for image, status, by in rows if status == run_folder.OK and by == model}))

    @property
    def num_failed(self) -> int:
        """Images that no model could use."""
        return len({row[0] for row in self._image_rows} - set(self.used_images))

    def of_complete_models(self) -> "PatientTables":
        """Without the models that failed on images which another model could examine.

        Averaged with the others, such a model would look as if it had found fewer cells. `skipped_models` of the result
        says which models these are, in words.
        """
        used = collections.Counter(model for _, status, model in self._image_rows if status == run_folder.OK)
        examined = {model: used[model] for model in self.models}
        most = max(examined.values(), default=0)
        incomplete = [model for model, images in examined.items() if images < most]
        if not incomplete:
            return self
        words = (
            f"model {model} failed on {most - examined[model]} of {most} images; its cells are not counted"
            for model in incomplete
        )
        return dataclasses.replace(
            self,
            cells=self.cells[~self.cells["model"].isin(incomplete)],
            images=self.images[~self.images["model"].isin(incomplete)],
            skipped_models=(*self.skipped_models, *words),
        )

    @property
    def num_limited(self) -> int:
        """Images on which a model reached its detection limit, so that some cells may be missing."""
        is_limited = self.images["limit_reached"].tolist()
        return len({row[0] for row, limited in zip(self._image_rows, is_limited, strict=True) if limited is True})

    def counts_by_model(self, named: bool = False) -> dict[str, dict[str, int]]:
        """{model: {counted_as: cells}} as `differential.differential` takes it; a model without cells is there.

        Args:
          named: leave out undecided cells and those that a person left unknown.
        """
        return self._sizes(lambda kind: not named or kind.is_named, lambda kind: kind.counted_as)

    def undecided_by_model(self) -> dict[str, dict[str, int]]:
        """{model: {predicted_class: undecided cells}}: what they most likely are; a model without any is there."""
        return self._sizes(lambda kind: kind.is_undecided, lambda kind: kind.predicted_class)

    def left_unknown_by_model(self) -> dict[str, dict[str, int]]:
        """{model: {erythrocyte or unknown: cells}} that a person left unknown; a model without any is there."""
        return self._sizes(lambda kind: kind.is_left_unknown, lambda kind: kind.likely_when_left_unknown)

    def _sizes(
        self, is_wanted: Callable[[CellKind], bool], name_of: Callable[[CellKind], str]
    ) -> dict[str, dict[str, int]]:
        """{model: {name: cells}} of the wanted cells."""
        counts: dict[str, dict[str, int]] = {model: {} for model in self.models}
        for kind, count in self._kinds.items():
            if is_wanted(kind):
                of_model, name = counts[kind.model], name_of(kind)
                of_model[name] = of_model.get(name, 0) + count
        return counts

    @functools.cached_property
    def grids(self) -> dict[str, TileGrid]:
        """{image: its tiles} of the images that were cut into tiles.

        Raises:
          TableError: images.csv names tiles that make no sense.
        """
        if "tile_width" not in self.images:
            return {}
        cut = self.images[self.images["tile_width"].notna()]
        columns = ["image", "width", "height", *_TILE_COLUMNS]
        grids = {}
        for image, *numbers in cut[columns].drop_duplicates("image").itertuples(index=False):
            try:
                width, height, *tile = (int(number) for number in numbers)
                grids[image] = TileGrid(width, height, TileSettings(*tile))
            except (ValueError, TileError) as error:
                raise TableError(
                    f"{self.folder / 'images.csv'}: the tiles of {image} make no sense ({error})."
                ) from None
        return grids

    def tiles_of_cells(self, image: str) -> np.ndarray:
        """int [number of the image's rows in `cells`] the tile in whose core each cell of a cut image lies."""
        boxes = self.cells.loc[self.cells["image"] == image, list(BOX_SIDES)].to_numpy(dtype=float)
        return self.grids[image].numbers_of(boxes)

    def mean_unit_counts(self, classes: Sequence[str]) -> np.ndarray:
        """[U, K] `unit_counts` averaged over the models; [0, K] without models."""
        counts = [self.unit_counts(classes, model) for model in self.models]
        return np.mean(counts, axis=0) if counts else np.zeros((0, len(classes)))

    def unit_counts(self, classes: Sequence[str], model: str) -> np.ndarray:
        """[U, K] cells of one model per sampling unit and class.

        A tile of a scan is as large as a photographed field, and stands for one: how cells lie together within an image
        cannot be seen from one large image, and counting its cells as if each had been drawn independently would make
        intervals far too narrow. A cell belongs to the tile in whose core its middle lies.
        """
        whole = self.image_counts(classes, model)
        parts = [
            self._tile_counts(image, classes, model) if image in self.grids else whole[row : row + 1]
            for row, image in enumerate(self.used_images)
        ]
        return np.concatenate(parts) if parts else whole

    def _tile_counts(self, image: str, classes: Sequence[str], model: str) -> np.ndarray:
        """[tiles, K] cells of one model in the tiles of an image that was cut."""
        columns = {name: column for column, name in enumerate(classes)}
        counts = np.zeros((len(self.grids[image]), len(classes)), dtype=int)
        rows = self.cells[self.cells["image"] == image]
        names = rows["counted_as"].map(cell_classes.canonical_name)
        for tile, name, by in zip(self.tiles_of_cells(image), names, rows["model"], strict=True):
            if by == model and name in columns:
                counts[tile, columns[name]] += 1
        return counts

    def image_counts(self, classes: Sequence[str], model: str) -> np.ndarray:
        """[I, K] cells of one model per used image and class; images in the order of `used_images`."""
        counts = np.zeros((len(self.used_images), len(classes)), dtype=int)
        images = {name: row for row, name in enumerate(self.used_images)}
        columns = {name: column for column, name in enumerate(classes)}
        for kind, count in self._kinds.items():
            row, column = images.get(kind.image), columns.get(cell_classes.canonical_name(kind.counted_as))
            if kind.model == model and row is not None and column is not None:
                counts[row, column] += count
        return counts

    @property
    def scored_classes(self) -> tuple[str, ...]:
        """Classes of the columns score_<class>, in the order of the table (read with `details`)."""
        return tuple(c.removeprefix(_SCORE_PREFIX) for c in self.cells.columns if c.startswith(_SCORE_PREFIX))

    def class_scores(self) -> np.ndarray:
        """[N, K] scores of `scored_classes`; of softmax scores what is missing to 1 is the background's."""
        return self.cells[[_SCORE_PREFIX + name for name in self.scored_classes]].to_numpy(dtype=float)

    def counted_with(self, thresholds: Thresholds) -> "PatientTables":
        """The same patient with the machine's cells counted again; cells a person decided on stay as they are."""
        machine = self.cells["status"].isin(cell_classes.MACHINE_STATUS)
        cells = self.cells[~machine | (self.cells["raw_score"] >= thresholds.min_score)].copy()
        machine = cells["status"].isin(cell_classes.MACHINE_STATUS)
        names = [
            cell_classes.counted_as(name, score, thresholds.unknown_below, thresholds.count_unknown)
            for name, score in zip(cells.loc[machine, "predicted_class"], cells.loc[machine, "score"], strict=True)
        ]
        cells.loc[machine, "counted_as"] = names
        unsure = (cells["score"] < thresholds.unknown_below) | (
            cells["predicted_class"].map(cell_classes.canonical_name) == cell_classes.UNKNOWN
        )
        cells.loc[machine, "status"] = unsure[machine].map({True: cell_classes.UNKNOWN, False: cell_classes.COUNTED})
        return dataclasses.replace(self, cells=cells)


def patient_folders(inference_dir: str | os.PathLike) -> list[pathlib.Path]:
    """Folders of all patients of a finished run, sorted.

    Raises:
      RunError: the run is not finished, or a patient's tables are not those that it wrote (`run_folder.finished_run`).
      TableError: the folder is not an output of batch_infer, or holds no patient.
    """
    patients = pathlib.Path(inference_dir) / run_folder.PATIENTS_DIR
    if not patients.is_dir():
        raise TableError(
            f"{inference_dir}: no folder {run_folder.PATIENTS_DIR}/ in it; give the output folder of batch_infer."
        )
    folders = run_folder.folders_of(inference_dir, run_folder.finished_run(inference_dir))
    if not folders:
        raise TableError(f"{patients}: no <patient>/images.csv in it; batch_infer has written no patient here.")
    return folders


def read_patient(folder: str | os.PathLike, details: bool = False) -> PatientTables:
    """Reads one patient's cells.csv and images.csv.

    Args:
      details: read the boxes, the scores per class and the cells' ids too, and of images checksum, size and reason.

    Raises:
      TableError: a file is missing, is not a CSV, lacks a column, or holds a value that its schema does not allow.
    """
    folder = pathlib.Path(folder)
    images = read_images(folder, details)
    needed: tuple[str, ...] = _CELL_COLUMNS
    if details:
        needed = (*_CELL_COLUMNS, "cell_id", *BOX_SIDES, f"{_SCORE_PREFIX}<class>")
    elif "tile_width" in images:
        needed = (*_CELL_COLUMNS, *BOX_SIDES)
    cells = _read_csv(folder / "cells.csv", needed)
    ids = set(images["patient_id"]) | set(cells["patient_id"])
    if len(ids) > 1:
        raise TableError(
            f"{folder}: rows of several patients ({', '.join(sorted(ids)[:3])}); one folder is one patient."
        )
    is_reviewed = not cells["status"].isin(cell_classes.MACHINE_STATUS).all()
    # A removed cell keeps its row, counted under nothing.
    removed, cells = cells[cells["counted_as"] == ""], cells[cells["counted_as"] != ""]
    if "raw_score" not in cells:  # tables of version 0.2.0
        cells = cells.assign(raw_score=np.nan)
    cells = cells.assign(raw_score=cells["raw_score"].fillna(cells["score"]))
    patient_id, classes = ids.pop() if ids else folder.name, csv_schemas.load("cells").classes_in(folder / "cells.csv")
    return PatientTables(patient_id, folder, cells, images, is_reviewed, (), classes, removed)


def folders_by_patient(inference_dir: str | os.PathLike) -> dict[str, pathlib.Path]:
    """{patient_id: folder} of all patients of a run, in the order of `patient_folders`; reads one row per patient.

    Raises:
      TableError: as `read_images`.
    """
    return {patient_id_in(folder): folder for folder in patient_folders(inference_dir)}


def patient_id_in(folder: pathlib.Path) -> str:
    """The id of the patient of a folder; reads one row.

    Raises:
      TableError: as `read_images`.
    """
    row = next(csv_schemas.load("images").read(folder / "images.csv", ["patient_id"]), None)
    return row["patient_id"] if row else folder.name


def read_images(folder: str | os.PathLike, details: bool = False) -> pd.DataFrame:
    """One patient's images.csv alone, for questions that need no cells.

    Args:
      details: read checksum, size and reason too.

    Raises:
      TableError: as `read_patient`.
    """
    path = pathlib.Path(folder) / "images.csv"
    needed: tuple[str, ...] = (*_IMAGE_COLUMNS, *_DOMAIN_COLUMNS)
    if details:
        needed = (*needed, *_MORE_IMAGE_COLUMNS)
    images = _read_csv(path, (*needed, *_TILE_COLUMNS))
    if "tile_width" in images and not details:
        return _read_csv(path, (*needed, "width", "height", *_TILE_COLUMNS))
    return images


def read_patients(inference_dir: str | os.PathLike) -> Iterator[PatientTables]:
    """All patients of a run, one after the other."""
    return map(read_patient, patient_folders(inference_dir))


def _read_csv(path: pathlib.Path, columns: Sequence[str]) -> pd.DataFrame:
    """The named columns of cells.csv or images.csv: text, numbers (empty is NaN), and flags as True, False or None."""
    schema = csv_schemas.load(path.stem)
    if not path.is_file():
        raise TableError(f"{path}: no such file; run batch_infer again on this patient.")
    kinds = {"flag": object, "count": float, "number": float}
    described = schema.columns_for(schema.classes_in(path))
    values = schema.read_columns(path, columns)
    dtypes = {name: kinds.get(described[name].kind, str) for name in values}
    return pd.DataFrame({name: pd.Series(cells, dtype=dtypes[name]) for name, cells in values.items()})


def new_thresholds(
    inference_dir: str | os.PathLike,
    min_score: float | None = None,
    unknown_below: float | None = None,
    count_unknown: str | None = None,
) -> tuple[Thresholds, bool]:
    """The run's thresholds with those given in place of its own.

    Returns:
      (thresholds, whether any of them differs from the run's, so that cells must be counted again).

    Raises:
      RunError: the run is not finished.
      TableError: min_score is below the run's; cells below it were never written.
    """
    stored = run_folder.read_run(inference_dir).get("thresholds", {})
    try:
        run = Thresholds(
            float(stored["min_score"]), float(stored["unknown_below"]), stored.get("count_unknown", cell_classes.APART)
        )
    except (KeyError, TypeError, ValueError) as error:
        raise TableError(f"{inference_dir}/run.json: thresholds lack {error}; run batch_infer again.") from error
    if min_score is not None and min_score < run.min_score:
        raise TableError(
            f"--min_score={min_score:g} is below the {run.min_score:g} batch_infer ran with; cells under it are not in "
            f"{inference_dir}; run batch_infer --min_score={min_score:g}."
        )
    given: dict[str, Any] = {"min_score": min_score, "unknown_below": unknown_below, "count_unknown": count_unknown}
    thresholds = dataclasses.replace(run, **{name: value for name, value in given.items() if value is not None})
    return thresholds, thresholds != run

"""Which class the labeled white cells were given: confusion matrices, shares and balanced accuracy.

Cells are selected as batch_infer does and paired with labels by overlap alone (`confusion.ConfusionMatrix`). Cells that
nobody is sure of are in no count.

Shape shorthand in this module:
  U: units.
  Tables are [U, 4, 6] cells: rows `ROWS`, columns `COLUMNS`.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfod_csf.benchmarks.csf_small import held_out
from tfod_csf.benchmarks.csf_small.held_out import CLASSES, ExaminedImage, Figure, HeldOutSet
from tfod_csf.benchmarks.csf_small.source_images import NOT_SURE
from tfod_csf.cell_classes import ERYTHROCYTE, UNKNOWN, WHITE_CELLS, canonical_name
from tfod_csf.cytology.studies.cell_agreement import bootstrap
from tfod_csf.cytology.studies.method_comparison import Estimate
from tfod_csf.evaluation.confusion import MISSED, NOTHING, ConfusionMatrix
from tfod_csf.study import labelimg

ROWS = (*WHITE_CELLS, UNKNOWN)
COLUMNS = (*WHITE_CELLS, UNKNOWN, ERYTHROCYTE, MISSED)
PREDICTED, COUNTED_AS = "predicted class", "counted as"
CELLS, BALANCED_ACCURACY, RECALL = "labeled cells", "balanced accuracy", "share given its class"
ANY_CLASS, THREE_CLASSES = "unknown is wrong", "among the three classes"
DECIDED_WRONGLY = "share counted as a wrong one of the three classes"
_CATEGORIES = [{"id": number, "name": name} for number, name in enumerate(CLASSES, start=1)]
_ID = {name: number for number, name in enumerate(CLASSES, start=1)}


def type_tables(held: HeldOutSet, reading: str) -> np.ndarray:
    """[U, 4, 6]: labeled white cells by what they were given.

    Args:
      reading: PREDICTED, the class with the best score, or COUNTED_AS, in which a cell below unknown_below is unknown.
    """
    units = held_out.units_of(held.distinct)
    tables = np.array([_image_table(one, reading) for one in held.distinct], int)
    return held_out.sums_of_units(tables.reshape(-1, len(ROWS), len(COLUMNS)), units, len(np.unique(units)))


def _image_table(one: ExaminedImage, reading: str) -> np.ndarray:
    """[4, 6] of one image."""
    given = one.cells.predicted_class if reading == PREDICTED else one.cells.counted_as
    names = [canonical_name(name) for name in given]
    objects = list(one.image.objects)
    not_sure = np.array([label.name == NOT_SURE for label in objects], bool)
    groundtruth: dict[str, Any] = {
        "groundtruth_boxes": labelimg.boxes_of(objects),
        "groundtruth_classes": [_ID[UNKNOWN if label.name == NOT_SURE else label.name] for label in objects],
        "groundtruth_difficult": not_sure,
    }
    found = {
        "detection_boxes": one.cells.detections.boxes,
        "detection_scores": one.cells.detections.scores,
        "detection_classes": [_ID[name] for name in names],
    }
    table = np.zeros((len(ROWS), len(COLUMNS)), int)
    for entry in ConfusionMatrix(_CATEGORIES, iou_threshold=0.5).add_image(groundtruth, found, are_cells=True):
        if entry.truth != NOTHING and objects[entry.truth].name in ROWS:
            name = MISSED if entry.detection == NOTHING else names[entry.detection]
            table[ROWS.index(objects[entry.truth].name), COLUMNS.index(name)] += 1
    return table


def balanced_accuracy(tables: np.ndarray, columns: int) -> np.ndarray:
    """[...]: mean over the three classes of the share of cells that were given their class; NaN where one has no cell.

    Args:
      tables: [..., 4, 6].
      columns: of the cells among which the share is: 5 for all that were found, 3 for those given one of the classes.
    """
    of_class = tables[..., :3, :columns]
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = np.diagonal(of_class, axis1=-2, axis2=-1) / of_class.sum(axis=-1)
    return shares.mean(axis=-1)


def figures(held: HeldOutSet, replicates: int = 1000, seed: int = 0) -> list[Figure]:
    """Both confusion matrices, balanced accuracies, and each class's shares."""
    predicted, counted = (type_tables(held, reading) for reading in (PREDICTED, COUNTED_AS))
    rows = [*_matrix(predicted, PREDICTED), *_matrix(counted, COUNTED_AS)]
    for reading, columns in ((ANY_CLASS, 5), (THREE_CLASSES, 3)):
        estimate = bootstrap(predicted, lambda sums, c=columns: balanced_accuracy(sums, c), replicates, seed)
        of_image = predicted[:, :3, :columns].sum(axis=(1, 2))
        cells, units_with = int(of_image.sum()), int(np.count_nonzero(of_image))
        note = "a class has no cell that was found" if math.isnan(estimate.value) else held_out.note_of(estimate, cells)
        rows.append(Figure(BALANCED_ACCURACY, reading, "", estimate, units_with, cells, note))
    for row, name in enumerate(WHITE_CELLS):
        right, found = predicted[:, row, row], predicted[:, row, :5].sum(axis=1)
        rows.append(held_out.share(RECALL, ANY_CLASS, name, right, found, seed))
    for row, name in enumerate(ROWS):
        wrong = counted[:, row, [column for column in range(3) if column != row]].sum(axis=1)
        rows.append(held_out.share(DECIDED_WRONGLY, COUNTED_AS, name, wrong, counted[:, row].sum(axis=1), seed))
    return rows


def _matrix(tables: np.ndarray, reading: str) -> list[Figure]:
    """A row for each cell of the matrix; the class is "label > given"."""
    total, units = tables.sum(axis=0), np.count_nonzero(tables.sum(axis=2), axis=0).tolist()
    return [
        Figure(CELLS, reading, f"{label} > {given}", _count(total[row, column]), units[row], int(total[row].sum()))
        for row, label in enumerate(ROWS)
        for column, given in enumerate(COLUMNS)
    ]


def _count(number: int) -> Estimate:
    return Estimate(float(number), math.nan, math.nan)


def matrix_of(rows: Sequence[Figure], reading: str) -> dict[str, dict[str, int]]:
    """{label: {given: cells}} of the figures of one reading."""
    found: dict[str, dict[str, int]] = {}
    for row in rows:
        if row.name == CELLS and row.reading == reading:
            label, given = row.class_name.split(" > ")
            found.setdefault(label, {})[given] = int(row.estimate.value)
    return found

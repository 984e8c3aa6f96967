"""How many of the cells that find_label_problems calls overlooked are in labels that other people drew more densely.

    python -m tfod_csf.benchmarks.label_quality.denser_labels MODEL SPARSE DENSE FOLDER [FLAG ...]

SPARSE and DENSE hold the same images (of the same names, in the same folders) with LabelImg XML; DENSE may have fewer
of them. Runs the command on SPARSE, with results in FOLDER and further flags as given (--class_map=platelet=), and
counts over its first 100 suggestions, and over the first 100 on images that DENSE has. Of the latter a suggestion is
confirmed when DENSE has a cell there, of the class that is suggested, that SPARSE does not have.
"""

import pathlib
import subprocess
import sys
from collections import Counter
from typing import Any

import numpy as np

from tfod_csf import np_box_ops
from tfod_csf.evaluation.label_problems.suspicion import OVERLOOKED, SAME_CELL
from tfod_csf.files import csv_schemas
from tfod_csf.problems import ProblemLog
from tfod_csf.study import labelimg
from tfod_csf.study.labelimg import LabeledObject

_FIRST = 100


def missing_cells(sparse: list[LabeledObject], dense: list[LabeledObject]) -> list[LabeledObject]:
    """The cells of denser labels that no box of the sparse ones, whatever its class, is at."""
    if not sparse or not dense:
        return dense
    overlap = np_box_ops.iou(labelimg.boxes_of(dense), labelimg.boxes_of(sparse)).max(axis=1)
    return [cell for cell, largest in zip(dense, overlap, strict=True) if largest < SAME_CELL]


def take_cell(row: dict[str, Any], missing: list[LabeledObject]) -> LabeledObject | None:
    """The missing cell that a row of label_problems.csv suggests; it is taken out of the list, and so counts once."""
    of_class = [cell for cell in missing if cell.name == row["suggested_class"]]
    if row["kind"] != OVERLOOKED or not of_class:
        return None
    box = np.array([[row[f"suggested_{side}"] for side in ("ymin", "xmin", "ymax", "xmax")]], float)
    overlap = np_box_ops.iou(box, labelimg.boxes_of(of_class))[0]
    best = int(overlap.argmax())
    if overlap[best] < SAME_CELL:
        return None
    missing.remove(of_class[best])
    return of_class[best]


def _objects(path: pathlib.Path) -> list[LabeledObject]:
    annotation = labelimg.read_annotation(path, ProblemLog(quiet=True))
    return [] if annotation is None else annotation.objects


def main() -> None:
    """Runs the command and counts."""
    model, sparse, dense, folder = sys.argv[1], *map(pathlib.Path, sys.argv[2:5])
    command = [sys.executable, "-m", "tfod_csf", "find_label_problems", f"--model={model}", f"--images_dir={sparse}"]
    subprocess.run([*command, f"--output_dir={folder}", *sys.argv[5:]], check=True)
    rows = list(csv_schemas.load("label_problems").read(folder / "label_problems.csv"))
    first = Counter(f"{row['kind']} {row['suggested_class']}" for row in rows[:_FIRST])
    print(f"{len(rows)} suggestions; the first {_FIRST}: {dict(first.most_common())}.")

    labels = {path.relative_to(dense).with_suffix(""): path for path in sorted(dense.rglob("*.xml"))}
    missing = {
        name: missing_cells(_objects(sparse / f"{name}.xml"), _objects(path)) for name, path in labels.items()
        if (sparse / f"{name}.xml").is_file()
    }  # fmt: skip
    known = Counter(cell.name for cells in missing.values() for cell in cells)
    print(f"{len(missing)} images have denser labels, which have these cells more: {dict(known.most_common())}.")
    checked = [row for row in rows if pathlib.Path(row["image"]).with_suffix("") in missing][:_FIRST]
    found = [take_cell(row, missing[pathlib.Path(row["image"]).with_suffix("")]) for row in checked]
    print(f"Of the first {len(checked)} suggestions there {sum(cell is not None for cell in found)} are such cells.")


if __name__ == "__main__":
    main()

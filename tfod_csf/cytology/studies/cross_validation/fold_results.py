"""What the evaluation of one fold says, patient by patient.

Shape shorthand in this module: P test patients of the fold, K classes in the order of the label map.
"""

import dataclasses
import math
import os
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from tfod_csf.errors import UserError
from tfod_csf.evaluation.class_counts import KINDS
from tfod_csf.files import csv_schemas, given_files
from tfod_csf.wording import counted, visible

_MEAN_AP = "PascalBoxes_Precision/mAP@0.5IOU"
# As `record_reader` names images: "test.record-00000-of-00001, record 3: p1/0.jpg".
_OF_RECORD = re.compile(r"[^/]+?\.record[^/:]*, \w+ \d+: (.+)", re.DOTALL)


@dataclasses.dataclass(frozen=True)
class FoldMembers:
    """Who tests in a fold.

    Attributes:
      laboratories: in order; () where none are known.
      num_patients, num_images: of them.
    """

    laboratories: tuple[str, ...]
    num_patients: int
    num_images: int

    @property
    def words(self) -> str:
        """Who it is.

        >>> FoldMembers(("HH", "B"), 10, 1418).words, FoldMembers((), 1, 20).words
        ('HH and B: 10 patients, 1,418 images', '1 patient, 20 images')
        """
        numbers = f"{counted(self.num_patients, 'patient')}, {counted(self.num_images, 'image')}"
        return ": ".join([*([visible(" and ".join(self.laboratories))] if self.laboratories else []), numbers])


@dataclasses.dataclass(frozen=True)
class FoldResult:
    """The numbers of one fold.

    Attributes:
      number: of the fold, from 1.
      classes: K names as the evaluation shows them, which are display names where the label map has them.
      class_names: [K] the label map's names, which say what cells of a class are counted as.
      mean_ap: TFOD's Pascal mAP at an IoU of 0.5; NaN without labels.
      average_precisions: [K] of the classes, NaN where a class has no label.
      patient_ids: P of the patients who test.
      counts: {kind of class_counts.KINDS: int [P, K]}.
    """

    number: int
    classes: tuple[str, ...]
    class_names: tuple[str, ...]
    mean_ap: float
    average_precisions: np.ndarray
    patient_ids: tuple[str, ...]
    counts: Mapping[str, np.ndarray]


def read_folds_csv(path: str | os.PathLike) -> dict[int, dict[str, str]]:
    """{number of a fold: {test image: its patient}}, in order.

    Raises:
      TableError: the file cannot be read.
    """
    folds: dict[int, dict[str, str]] = {}
    for row in csv_schemas.load("folds").read(path, ("image", "patient", "fold")):
        folds.setdefault(row["fold"], {})[row["image"]] = row["patient"]
    return dict(sorted(folds.items()))


def read_members(path: str | os.PathLike) -> dict[int, FoldMembers]:
    """{number of a fold: who tests in it}, in order.

    Raises:
      TableError: the file cannot be read.
    """
    rows: dict[int, list[Any]] = {}
    for row in csv_schemas.load("folds").read(path, ("image", "patient", "laboratory", "fold")):
        rows.setdefault(row["fold"], []).append(row)
    return {
        number: FoldMembers(
            tuple(dict.fromkeys(row["laboratory"] for row in of_fold if row["laboratory"])),
            len({row["patient"] for row in of_fold}),
            len(of_fold),
        )
        for number, of_fold in sorted(rows.items())
    }


def read_fold(evaluation_dir: str | os.PathLike, number: int, patient_of: Mapping[str, str]) -> FoldResult:
    """Reads metrics.json and class_counts.csv of a fold's evaluation.

    Args:
      patient_of: {test image of the fold: its patient}.

    Raises:
      UserError: a file cannot be read, or is of other images than those that test in the fold.
    """
    folder = pathlib.Path(evaluation_dir)
    report = _report(folder / "metrics.json")
    table = folder / "class_counts.csv"
    classes = tuple(row["class"] for row in report["per_class"])
    columns = csv_schemas.load("class_counts").read_columns(table)
    keys = [_key(name) for name in columns["image_name"]]
    if sorted(keys) != sorted(patient_of):
        missing, other = len(patient_of.keys() - set(keys)), len(set(keys) - patient_of.keys())
        raise UserError(
            f"{table}: is not of the images that test in fold {number} ({missing} of {len(patient_of)} are missing, "
            f"{other} are others); see problems.csv beside it, remove the folder and run the same command again."
        )
    patient_ids = tuple(sorted(set(patient_of.values())))
    row_of = {patient: row for row, patient in enumerate(patient_ids)}
    rows = [row_of[patient_of[key]] for key in keys]
    counts = {}
    for kind in KINDS:
        of_images = np.array([columns[f"{kind}_{name}"] for name in classes], np.int64).T.reshape(-1, len(classes))
        counts[kind] = np.zeros((len(patient_ids), len(classes)), np.int64)
        np.add.at(counts[kind], rows, of_images)
    return FoldResult(
        number=number,
        classes=classes,
        class_names=tuple(report.get("classes", classes)),  # reports of earlier versions have no names
        mean_ap=float(report["metrics"][_MEAN_AP]),
        average_precisions=np.array([_number(row["average_precision"]) for row in report["per_class"]]),
        patient_ids=patient_ids,
        counts=counts,
    )


def _key(name: str) -> str:
    """The image's path below the images folder, of its name in an evaluation of records."""
    match = _OF_RECORD.fullmatch(name)
    return match[1] if match else name


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _report(path: pathlib.Path) -> dict[str, Any]:
    try:
        report = given_files.read_json(path)
        if _MEAN_AP not in report["metrics"] or not report["per_class"]:
            raise ValueError(f"{_MEAN_AP} is missing")
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: not a report of evaluate ({error}); remove its folder and run the same command again."
        ) from error
    return report

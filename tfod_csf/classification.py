"""How a model classifies: what became of each annotated cell of patients that it never trained on.

Kept as classification.json beside model.json (`evaluate --store`, `calibrate --store`); batch_infer copies it into the
run's folder, and the differential is corrected with it (`cytology/counting/correction.py`).

Shape shorthand in this module:
  T: true classes, `TRUE_CLASSES`; the last row is no cell at all: false detections.
  J: outcomes, `OUTCOMES`; the last one is "missed".
  P: validation patients.
"""

import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfod_csf import cell_classes, run_folder
from tfod_csf.cell_classes import STUDY_CLASSES, UNKNOWN, WHITE_CELLS
from tfod_csf.errors import UserError
from tfod_csf.files import atomic_write, checksums, given_files

# A class of the label map, or a name of the annotator, that the study does not have; `unknown` is one of them.
OTHER = "other"
NO_CELL = "no_cell"
MISSED = "missed"
NAMED = (*STUDY_CLASSES, OTHER)
TRUE_CLASSES = (*NAMED, NO_CELL)
# Counted under a class, then unknown with that class as the most likely one, then missed.
OUTCOMES = (*NAMED, *(f"{UNKNOWN}: {name}" for name in NAMED), MISSED)
# Fewer cells, or cells of fewer patients, say too little about how a class is recognized and how that differs.
MIN_CELLS = 30
MIN_PATIENTS = 3

# A share of unknown cells is a feature of a patient's pictures from so many cells on.
MIN_SHARE_CELLS = 20

_FORMAT = 1
_THRESHOLDS = ("min_score", "unknown_below", "duplicate_iou")


class ClassificationError(UserError):
    """A classification.json that cannot be used, or too few annotated cells for one."""


def true_class(name: str) -> str:
    """The row of a cell that a person named, or "" where a person saw none.

    >>> true_class("Neutrophil"), true_class("eosinophil"), true_class("")
    ('neutrophil', 'other', 'no_cell')
    """
    if not name:
        return NO_CELL
    canonical = cell_classes.canonical_name(name)
    return canonical if canonical in STUDY_CLASSES else OTHER


def outcome(predicted_class: str, score: float, unknown_below: float) -> str:
    """The outcome of a cell that was found.

    >>> outcome("monocyte", 0.9, 0.8), outcome("monocyte", 0.7, 0.8), outcome("unknown", 0.99, 0.8)
    ('monocyte', 'unknown: monocyte', 'unknown: other')
    """
    canonical = cell_classes.canonical_name(predicted_class)
    named = canonical if canonical in STUDY_CLASSES else OTHER
    return f"{UNKNOWN}: {named}" if score < unknown_below or canonical == UNKNOWN else named


@dataclasses.dataclass(frozen=True)
class FoundCells:
    """The cells a model found on the images of a patient.

    Attributes:
      image_sizes: [I, 2] width and height in pixels, of every examined image.
      image_of: int [N] row of the image of each cell.
      predicted: [N] predicted classes.
      scores: [N] scores of them, after the temperature.
      box_sizes: [N, 2] width and height in pixels.
    """

    image_sizes: np.ndarray
    image_of: np.ndarray
    predicted: Sequence[str]
    scores: np.ndarray
    box_sizes: np.ndarray


def picture_features(found: FoundCells, unknown_below: float) -> dict[str, float]:
    """What a patient's pictures and cells look like, by names a person can read; without images nothing."""
    sizes = np.asarray(found.image_sizes, float).reshape(-1, 2)
    if not len(sizes):
        return {}
    features = {
        "image width (pixels)": float(np.median(sizes[:, 0])),
        "image height (pixels)": float(np.median(sizes[:, 1])),
        "cells per image": len(found.scores) / len(sizes),
    }
    if len(found.scores):
        # Square roots of areas, so that a box is as large as the magnification makes it.
        relative = np.sqrt(np.prod(found.box_sizes, axis=1) / np.prod(sizes[found.image_of], axis=1))
        features["box size (% of the image's)"] = float(100 * np.median(relative))
        features["median score"] = float(np.median(found.scores))
    outcomes = [outcome(name, score, unknown_below) for name, score in zip(found.predicted, found.scores, strict=True)]
    for name in STUDY_CLASSES:
        unknown, counted = outcomes.count(f"{UNKNOWN}: {name}"), outcomes.count(name)
        if unknown + counted >= MIN_SHARE_CELLS:
            features[f"unknown cells among those most likely {name} (%)"] = 100 * unknown / (unknown + counted)
    return features


@dataclasses.dataclass(frozen=True)
class ValidationPatient:
    """What was counted on one validation patient.

    Attributes:
      images: annotated images.
      counts: int [T, J].
      pictures: {feature: value} of what the patient's pictures and cells look like (`picture_features`).
    """

    images: int
    counts: np.ndarray
    pictures: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Classification:
    """Contents of classification.json.

    Attributes:
      model, fingerprint, temperature, classes: of the model that was examined.
      thresholds: {"min_score", "unknown_below", "duplicate_iou"} behind the outcomes.
      matching_iou_threshold: overlap from which a detection is an annotated cell.
      patients: the validation patients; their ids are not kept.
      source: where the annotations are from.
      date: when it was made.
    """

    model: str
    fingerprint: str
    temperature: float
    classes: tuple[str, ...]
    thresholds: Mapping[str, float]
    matching_iou_threshold: float
    patients: tuple[ValidationPatient, ...]
    source: str
    date: str

    @property
    def counts(self) -> np.ndarray:
        """int [P, T, J] of all patients."""
        return np.array([patient.counts for patient in self.patients], int).reshape(
            -1, len(TRUE_CLASSES), len(OUTCOMES)
        )

    @property
    def num_cells(self) -> int:
        """Annotated cells of all patients."""
        return int(self.counts[:, : len(NAMED)].sum())

    def check_enough(self) -> None:
        """Refuses a matrix that would be guesswork for a white-cell class.

        Raises:
          ClassificationError: a class has fewer than `MIN_CELLS` annotated cells or is of fewer than `MIN_PATIENTS`.
        """
        of_class = self.counts.sum(axis=2)  # [P, T]
        for name in WHITE_CELLS:
            cells = of_class[:, TRUE_CLASSES.index(name)]
            if cells.sum() < MIN_CELLS or (cells > 0).sum() < MIN_PATIENTS:
                raise ClassificationError(
                    f"{cells.sum()} annotated cells of class {name} in {(cells > 0).sum()} patients are too few for a "
                    f"confusion matrix; at least {MIN_CELLS} in {MIN_PATIENTS} patients are needed: annotate more "
                    "images of patients that the model never trained on."
                )

    def contradiction(self, fingerprint: str, temperature: float, classes: Sequence[str]) -> str:
        """What of a model differs from the one the matrix was made with; "" when nothing does."""
        if fingerprint != self.fingerprint:
            return "it was made with other weights of the model"
        if list(classes) != list(self.classes):
            return f"it was made for the classes {', '.join(self.classes)}, not {', '.join(classes)}"
        if abs(temperature - self.temperature) > 1e-6:
            return f"it was made at temperature {self.temperature:g}, not {temperature:g}"
        return ""

    def other_counting(self, thresholds: Mapping[str, float]) -> str:
        """Which threshold differs from those the matrix was made with; "" when none does."""
        for name in _THRESHOLDS:
            if name in thresholds and abs(thresholds[name] - self.thresholds[name]) > 1e-9:
                return f"it was made with {name} {self.thresholds[name]:g}, not {thresholds[name]:g}"
        return ""

    def write(self, path: str | os.PathLike) -> None:
        """Writes classification.json."""
        contents: dict[str, Any] = {"format": _FORMAT}
        for name in ("model", "fingerprint", "temperature", "matching_iou_threshold", "source", "date"):
            contents[name] = getattr(self, name)
        contents |= {"classes": list(self.classes), "thresholds": dict(self.thresholds)}
        contents |= {"true_classes": list(TRUE_CLASSES), "outcomes": list(OUTCOMES)}
        contents["counts"] = self.counts.sum(axis=0).tolist()
        contents["patients"] = [
            {"images": p.images, "counts": np.asarray(p.counts).tolist(), "pictures": dict(p.pictures)}
            for p in self.patients
        ]
        atomic_write.write_json(path, contents)


def read(path: str | os.PathLike) -> Classification:
    """Reads and checks classification.json.

    Raises:
      ClassificationError: it cannot be read, or is not what `Classification.write` writes.
    """
    path = pathlib.Path(path)
    try:
        contents = given_files.read_json(path)
        found = _from(contents)
    except OSError as error:
        raise ClassificationError(f"{path}: cannot be read ({error.strerror}); run evaluate --store again.") from error
    except KeyError as error:
        raise ClassificationError(f"{path}: lacks {error}; run evaluate --store again.") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise ClassificationError(
            f"{path}: is not what evaluate --store writes ({error}); run it again, or delete the file."
        ) from error
    try:
        found.check_enough()
    except ClassificationError as error:
        raise ClassificationError(f"{path}: {error}") from error
    return found


def write_into_run(output_dir: str | os.PathLike, found: Classification) -> dict[str, str]:
    """Copies the matrix into a run's folder, so that the run alone says how it was corrected.

    Returns:
      The model's entry in run.json: {"file": path below the folder, "sha256": of it}.
    """
    relative = pathlib.PurePosixPath(run_folder.CLASSIFICATION, f"{found.model}.json")
    path = pathlib.Path(output_dir) / relative
    found.write(path)
    return {"file": str(relative), "sha256": checksums.file_sha256(path)}


def read_from_run(output_dir: str | os.PathLike, entry: Mapping[str, str]) -> Classification:
    """The copy that `write_into_run` made.

    Raises:
      ClassificationError: it is missing, was changed, or cannot be used.
    """
    path = pathlib.Path(output_dir) / entry["file"]
    if path.is_file() and checksums.file_sha256(path) != entry["sha256"]:
        raise ClassificationError(f"{path}: is not the file that run.json names any more; run batch_infer again.")
    return read(path)


def _from(contents: Any) -> Classification:
    if contents["format"] != _FORMAT:
        raise ValueError(f"format is {contents['format']!r}, expected {_FORMAT}")
    for name, expected in (("true_classes", TRUE_CLASSES), ("outcomes", OUTCOMES)):
        if tuple(contents[name]) != expected:
            raise ValueError(f"{name} are {contents[name]}, expected {list(expected)}")
    thresholds = {name: float(contents["thresholds"][name]) for name in _THRESHOLDS}
    for name, value in thresholds.items():
        if not 0 <= value <= 1:
            raise ValueError(f"thresholds.{name} is {value:g}, expected a number from 0 to 1")
    if not contents["temperature"] > 0:
        raise ValueError(f"temperature is {contents['temperature']}, expected a number above 0")
    return Classification(
        model=str(contents["model"]),
        fingerprint=str(contents["fingerprint"]),
        temperature=float(contents["temperature"]),
        classes=tuple(map(str, contents["classes"])),
        thresholds=thresholds,
        matching_iou_threshold=float(contents["matching_iou_threshold"]),
        patients=tuple(_patient(number, patient) for number, patient in enumerate(contents["patients"], start=1)),
        source=str(contents["source"]),
        date=str(contents["date"]),
    )


def _patient(number: int, contents: Any) -> ValidationPatient:
    counts = np.array(contents["counts"])
    if counts.shape != (len(TRUE_CLASSES), len(OUTCOMES)):
        raise ValueError(f"patient {number}: counts are {counts.shape}, not {len(TRUE_CLASSES)} x {len(OUTCOMES)}")
    if counts.dtype.kind != "i" or counts.min() < 0 or counts[-1, -1]:
        raise ValueError(f"patient {number}: counts are not whole numbers >= 0, or count missed cells that are none")
    if not isinstance(contents["images"], int) or contents["images"] < 1:
        raise ValueError(f"patient {number}: images is {contents['images']!r}, expected a whole number >= 1")
    pictures = {str(name): float(value) for name, value in contents["pictures"].items()}
    if not np.isfinite(list(pictures.values())).all():
        raise ValueError(f"patient {number}: a number of pictures is not finite")
    return ValidationPatient(contents["images"], counts, pictures)

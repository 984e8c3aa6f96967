"""Writes a simulated cohort as batch_infer writes a run, so that every command that reads a run can be tried on it.

    OUT/run.json, OUT/truth.csv                  thresholds and a made-up model; the true cells of each patient
    OUT/patients/<id>/cells.csv, images.csv      as batch_infer writes them
    OUT/classification/simulated_detector.json   optional: the detector's confusion matrix, from other patients
    ANNOTATIONS/<id>/<image>.xml                 optional: the true cells as LabelImg XML

There are no image files. Cells lie on a grid, so that each annotated cell overlaps with its own detection only.
"""

import dataclasses
import os
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from tfod_csf import __version__, cell_classes, classification, provenance, run_folder
from tfod_csf.cell_classes import STUDY_CLASSES, UNKNOWN
from tfod_csf.classification import Classification, FoundCells, ValidationPatient
from tfod_csf.errors import UserError
from tfod_csf.files import csv_schemas
from tfod_csf.study import labelimg
from tfod_csf.synthetic import cohorts
from tfod_csf.synthetic.cohorts import MISSED, OUTCOMES, TRUE_CLASSES, SimulatedPatient

MODEL = "simulated_detector"
THRESHOLDS: dict[str, Any] = {
    "min_score": 0.5,
    "unknown_below": 0.8,
    "count_unknown": cell_classes.APART,
    "duplicate_iou": 0.5,
}
WIDTH, HEIGHT = 1280, 960
_CELL_PX, _PITCH_PX = 40, 48


def write_cohort(
    output_dir: str | os.PathLike,
    patients: Iterable[SimulatedPatient],
    annotations_dir: str | os.PathLike | None = None,
    validation: Iterable[SimulatedPatient] = (),
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Writes a run, truth.csv and, where wanted, LabelImg XML and the detector's classification.json.

    Args:
      patients: of `cohorts.simulate`.
      annotations_dir: gets the true cells as XML; None writes none.
      validation: other patients, whose annotated cells make the detector's confusion matrix, which the run then holds
      as
        one of batch_infer does; without any it holds none.
      settings: kept in run.json.
      seed: of positions and scores.

    Returns:
      The rows of truth.csv.

    Raises:
      UserError: the folder already holds a run, an image holds more cells than it has room for, or the validation
        patients have too few cells.
    """
    output = pathlib.Path(output_dir)
    if (output / run_folder.RUN_JSON).exists():
        raise UserError(f"{output}: already holds a run; name an empty folder or delete this one.")
    matrix = classification_of(validation, seed)
    model: dict[str, Any] = {"name": MODEL, "fingerprint": MODEL, "temperature": 1.0, "classes": list(STUDY_CLASSES)}
    if matrix.patients:
        matrix.check_enough()
        model[run_folder.CLASSIFICATION] = classification.write_into_run(output, matrix)
    rows: list[dict[str, Any]] = []
    summaries = {}
    for number, patient in enumerate(patients):
        found = _found(patient, np.random.default_rng([seed, number, 1]))
        found.write(output)
        if annotations_dir is not None:
            found.write_annotations(annotations_dir)
        true = dict(zip(STUDY_CLASSES, patient.true_counts.sum(axis=0).tolist(), strict=True))
        row: dict[str, Any] = {"patient_id": patient.patient_id, "images": len(found.images), "case": "simulated"}
        rows.append({**row, **true, UNKNOWN: 0})
        summary: dict[str, Any] = {"folder": patient.patient_id, "images": len(found.images), "failed": 0}
        summaries[patient.patient_id] = {**summary, "cells": {MODEL: len(found.cells)}}
    others = {path.name for path in (output / run_folder.PATIENTS_DIR).iterdir() if path.is_dir()} - set(summaries)
    if others:
        raise UserError(f"{output}: holds patients of another run ({min(others)}); name an empty folder.")
    csv_schemas.load("truth").write_into(output, rows)
    now = provenance.now()
    record = {
        "version": __version__,
        "started": now,
        "finished": now,
        "settings": {"images_dir": None, "simulated": True, **(settings or {})},
        "models": [model],
        "thresholds": THRESHOLDS,
        "patients": summaries,
    }
    run_folder.finish(output, record)
    return rows


def classification_of(patients: Iterable[SimulatedPatient], seed: int = 0) -> Classification:
    """What `evaluate --store` keeps of a model, from simulated patients whose every cell is annotated."""
    rows = [classification.TRUE_CLASSES.index(name) for name in TRUE_CLASSES]
    columns = [_column(outcome) for outcome in OUTCOMES]
    found = []
    for number, patient in enumerate(patients):
        counts = np.zeros((len(classification.TRUE_CLASSES), len(classification.OUTCOMES)), int)
        counts[np.ix_(rows, columns)] = patient.cells.sum(axis=0)
        cells = _found(patient, np.random.default_rng([seed, number, 2])).cells_for_features()
        pictures = classification.picture_features(cells, THRESHOLDS["unknown_below"])
        found.append(ValidationPatient(len(patient.cells), counts, pictures))
    return Classification(
        model=MODEL,
        fingerprint=MODEL,
        temperature=1.0,
        classes=STUDY_CLASSES,
        thresholds={name: THRESHOLDS[name] for name in ("min_score", "unknown_below", "duplicate_iou")},
        matching_iou_threshold=0.5,
        patients=tuple(found),
        source="simulated",
        date=provenance.now(),
    )


def _column(outcome: cohorts.Outcome) -> int:
    if outcome == MISSED:
        return classification.OUTCOMES.index(classification.MISSED)
    return classification.OUTCOMES.index(
        f"{UNKNOWN}: {outcome.predicted}" if outcome.status == UNKNOWN else outcome.predicted
    )


Box = tuple[float, float, float, float]


@dataclasses.dataclass(frozen=True)
class _Found:
    """Rows of a patient's tables, and {image: [(true class, box xmin, ymin, xmax, ymax)]}."""

    patient_id: str
    cells: list[dict[str, Any]]
    images: list[dict[str, Any]]
    true: dict[str, list[tuple[str, Box]]]

    def write(self, output: pathlib.Path) -> None:
        folder = output / run_folder.PATIENTS_DIR / self.patient_id
        csv_schemas.load("cells").write_into(folder, self.cells, STUDY_CLASSES)
        csv_schemas.load("images").write_into(folder, self.images, (*STUDY_CLASSES, UNKNOWN))

    def write_annotations(self, annotations_dir: str | os.PathLike) -> None:
        folder = pathlib.Path(annotations_dir) / self.patient_id
        for image, cells in self.true.items():
            path = folder / f"{pathlib.PurePath(image).stem}.xml"
            objects = [labelimg.LabeledObject(name, *box) for name, box in cells if name != cohorts.NO_CELL]
            annotation = labelimg.Annotation(path, image, WIDTH, HEIGHT, objects, folder=folder.name)
            labelimg.write_annotation(annotation, path)

    def cells_for_features(self) -> FoundCells:
        images = {row["image"]: number for number, row in enumerate(self.images)}
        return FoundCells(
            image_sizes=np.tile([WIDTH, HEIGHT], (len(images), 1)),
            image_of=np.array([images[row["image"]] for row in self.cells], int),
            predicted=[row["predicted_class"] for row in self.cells],
            scores=np.array([row["score"] for row in self.cells]),
            box_sizes=np.full((len(self.cells), 2), float(_CELL_PX)),
        )


def _found(patient: SimulatedPatient, rng: np.random.Generator) -> _Found:
    """Positions and scores for a patient's counts."""
    found = _Found(patient.patient_id, [], [], {})
    for index, of_image in enumerate(patient.cells):
        image = f"{patient.patient_id}_{index + 1:03d}.jpg"
        same: dict[str, Any] = {"patient_id": patient.patient_id, "image": image, "model": MODEL}
        kinds = [(t, j) for t, j in np.argwhere(of_image) for _ in range(of_image[t, j])]
        boxes = _boxes(len(kinds), image, rng)
        found.true[image] = [(TRUE_CLASSES[t], box) for (t, _), box in zip(kinds, boxes, strict=True)]
        seen = [(j, box) for (_, j), box in zip(kinds, boxes, strict=True) if OUTCOMES[j] != MISSED]
        scored = [(_class_scores(j, rng), j, box) for j, box in seen]
        scored.sort(key=lambda cell: -max(cell[0].values()))
        rows = [{**same, "cell_id": n, **_cell_row(*cell)} for n, cell in enumerate(scored, start=1)]
        counted = [row["counted_as"] for row in rows]
        counts = {f"count_{name}": counted.count(name) for name in (*STUDY_CLASSES, UNKNOWN)}
        size: dict[str, Any] = {"width": WIDTH, "height": HEIGHT, "status": run_folder.OK, "seconds": 0.0}
        found.cells.extend(rows)
        found.images.append({**same, **size, "cells": len(rows), "limit_reached": False, **counts})
    return found


def _boxes(number: int, image: str, rng: np.random.Generator) -> list[Box]:
    """xmin, ymin, xmax, ymax of cells on a grid, in random order."""
    columns, rows = WIDTH // _PITCH_PX, HEIGHT // _PITCH_PX
    if number > columns * rows:
        raise UserError(f"{image}: {number} cells do not fit; an image has room for {columns * rows}.")
    places = rng.permutation(columns * rows)[:number]
    corners = [(float(place % columns * _PITCH_PX), float(place // columns * _PITCH_PX)) for place in places]
    return [(x, y, x + _CELL_PX, y + _CELL_PX) for x, y in corners]


def _class_scores(outcome: int, rng: np.random.Generator) -> dict[str, float]:
    """{class: score}: the predicted class on its side of the threshold, all others together below it."""
    predicted, status = OUTCOMES[outcome]
    low, high = (0.8, 1.0) if status == cell_classes.COUNTED else (0.5, 0.8)
    # Whole ten-thousandths, as in cells.csv, so that rounding moves no cell over the threshold.
    score = rng.integers(round(low * 1e4), round(high * 1e4)) / 1e4
    rest = rng.dirichlet(np.ones(len(STUDY_CLASSES))) * (1 - score)
    others = [name for name in STUDY_CLASSES if name != predicted]
    return {predicted: score, **dict(zip(others, rest[1:].tolist(), strict=True))}  # rest[0] is the background's


def _cell_row(scores: Mapping[str, float], outcome: int, box: Box) -> dict[str, Any]:
    predicted, status = OUTCOMES[outcome]
    return {
        **dict(zip(labelimg.BNDBOX_SIDES, box, strict=True)),
        "predicted_class": predicted,
        "score": scores[predicted],
        "raw_score": scores[predicted],
        **{f"score_{name}": score for name, score in scores.items()},
        "status": status,
        "counted_as": UNKNOWN if status == UNKNOWN else predicted,
    }

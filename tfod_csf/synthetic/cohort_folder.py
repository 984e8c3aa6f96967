"""Writes a simulated cohort as batch_infer writes a run, so that every command that reads a run can be tried on it.

    OUT/run.json, OUT/truth.csv                  thresholds and a made-up model; the true cells of each patient
    OUT/patients/<id>/cells.csv, images.csv      as batch_infer writes them
    ANNOTATIONS/<id>/<image>.xml                 optional: the true cells as LabelImg XML

There are no image files. Cells lie on a grid, so that each annotated cell overlaps with its own detection only.
"""

import os
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from tfod_csf import __version__, cell_classes, provenance, run_folder
from tfod_csf.cell_classes import STUDY_CLASSES, UNKNOWN
from tfod_csf.errors import UserError
from tfod_csf.files import atomic_write, csv_schemas
from tfod_csf.study import labelimg
from tfod_csf.synthetic import cohorts
from tfod_csf.synthetic.cohorts import MISSED, OUTCOMES, TRUE_CLASSES, SimulatedPatient

MODEL = "simulated_detector"
THRESHOLDS = {"min_score": 0.5, "unknown_below": 0.8, "count_unknown": cell_classes.APART, "duplicate_iou": 0.5}
WIDTH, HEIGHT = 1280, 960
_CELL_PX, _PITCH_PX = 40, 48


def write_cohort(
    output_dir: str | os.PathLike,
    patients: Iterable[SimulatedPatient],
    annotations_dir: str | os.PathLike | None = None,
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Writes a run, truth.csv and, where wanted, LabelImg XML.

    Args:
      patients: of `cohorts.simulate`.
      annotations_dir: gets the true cells as XML; None writes none.
      settings: kept in run.json.
      seed: of positions and scores.

    Returns:
      The rows of truth.csv.

    Raises:
      UserError: the folder already holds a run, or an image holds more cells than it has room for.
    """
    output = pathlib.Path(output_dir)
    if (output / "run.json").exists():
        raise UserError(f"{output}: already holds a run; name an empty folder or delete this one.")
    rows, summaries = [], {}
    for number, patient in enumerate(patients):
        images = _write_patient(output, patient, annotations_dir, np.random.default_rng([seed, number, 1]))
        true = patient.true_counts.sum(axis=0)
        named = dict(zip(STUDY_CLASSES, true.tolist(), strict=True))
        same = {"patient_id": patient.patient_id, "images": len(images)}
        rows.append({**same, "case": "simulated", **named, UNKNOWN: 0})
        cells = sum(row["cells"] for row in images)
        summaries[patient.patient_id] = {
            "folder": patient.patient_id,
            "images": len(images),
            "failed": 0,
            "cells": {MODEL: cells},
        }
    csv_schemas.load("truth").write_into(output, rows)
    now = provenance.now()
    record = {
        "version": __version__,
        "started": now,
        "finished": now,
        "settings": {"images_dir": None, "simulated": True, **(settings or {})},
        "models": [{"name": MODEL, "fingerprint": MODEL, "temperature": 1.0, "classes": list(STUDY_CLASSES)}],
        "thresholds": THRESHOLDS,
        "patients": summaries,
    }
    atomic_write.write_json(output / "run.json", record)
    return rows


def _write_patient(
    output: pathlib.Path,
    patient: SimulatedPatient,
    annotations_dir: str | os.PathLike | None,
    rng: np.random.Generator,
) -> list[dict[str, Any]]:
    """Writes the tables of one patient and its XML; returns the rows of images.csv."""
    cell_rows, image_rows = [], []
    for index, of_image in enumerate(patient.cells):
        image = f"{patient.patient_id}_{index + 1:03d}.jpg"
        same = {"patient_id": patient.patient_id, "image": image, "model": MODEL}
        kinds = [(t, j) for t, j in np.argwhere(of_image) for _ in range(of_image[t, j])]
        boxes = _boxes(len(kinds), image, rng)
        found = [(j, box) for (_, j), box in zip(kinds, boxes, strict=True) if OUTCOMES[j] != MISSED]
        scored = [(_class_scores(j, rng), j, box) for j, box in found]
        scored.sort(key=lambda cell: -max(cell[0].values()))
        for number, (scores, j, box) in enumerate(scored, start=1):
            cell_rows.append({**same, "cell_id": number, **_cell_row(scores, j, box)})
        counted = [row["counted_as"] for row in cell_rows[len(cell_rows) - len(scored) :]]
        counts = {f"count_{name}": counted.count(name) for name in (*STUDY_CLASSES, UNKNOWN)}
        size = {"width": WIDTH, "height": HEIGHT, "status": run_folder.OK, "seconds": 0.0}
        image_rows.append({**same, **size, "cells": len(scored), "limit_reached": False, **counts})
        if annotations_dir is not None:
            true = [(TRUE_CLASSES[t], box) for (t, _), box in zip(kinds, boxes, strict=True)]
            _write_annotation(pathlib.Path(annotations_dir) / patient.patient_id, image, true)
    folder = output / run_folder.PATIENTS_DIR / patient.patient_id
    csv_schemas.load("cells").write_into(folder, cell_rows, STUDY_CLASSES)
    csv_schemas.load("images").write_into(folder, image_rows, (*STUDY_CLASSES, UNKNOWN))
    return image_rows


def _boxes(number: int, image: str, rng: np.random.Generator) -> list[tuple[float, float, float, float]]:
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


def _cell_row(scores: Mapping[str, float], outcome: int, box: tuple[float, float, float, float]) -> dict[str, Any]:
    predicted, status = OUTCOMES[outcome]
    return {
        **dict(zip(labelimg.BNDBOX_SIDES, box, strict=True)),
        "predicted_class": predicted,
        "score": scores[predicted],
        **{f"score_{name}": score for name, score in scores.items()},
        "status": status,
        "counted_as": UNKNOWN if status == UNKNOWN else predicted,
    }


def _write_annotation(
    folder: pathlib.Path, image: str, true: list[tuple[str, tuple[float, float, float, float]]]
) -> None:
    path = folder / f"{pathlib.PurePath(image).stem}.xml"
    objects = [labelimg.LabeledObject(name, *box) for name, box in true if name != cohorts.NO_CELL]
    labelimg.write_annotation(labelimg.Annotation(path, image, WIDTH, HEIGHT, objects, folder=folder.name), path)

"""A study made from given cells: its images, and the tables batch_infer would have written for them.

Each cell is given as (class, score, (xmin, ymin, xmax, ymax)); below 0.8 it is unknown, as batch_infer counts.
"""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Mapping, Sequence

from tests.support.labeled_folders import HEIGHT, WIDTH, write_image
from tfod_csf import run_folder
from tfod_csf.files import csv_schemas
from tfod_csf.study.folder_names import folder_names

CLASSES = ("lymphocyte", "monocyte", "neutrophil", "erythrocyte")
Cell = tuple[str, float, tuple[float, float, float, float]]


def record_tables(inference_dir: pathlib.Path) -> None:
    """Makes the tables in a folder as they are now those of its finished run."""
    path = inference_dir / "run.json"
    run_folder.finish(inference_dir, json.loads(path.read_text(encoding="utf-8")) if path.exists() else {})


@dataclasses.dataclass(frozen=True)
class Study:
    """Folders of a study.

    Attributes:
      images_dir: one folder per patient.
      inference_dir: as batch_infer writes it (without pictures).
    """

    images_dir: pathlib.Path
    inference_dir: pathlib.Path

    def patient(self, patient_id: str) -> pathlib.Path:
        """The patient's folder of results."""
        return self.inference_dir / "patients" / folder_names([patient_id])[patient_id]

    def examine(self, patient_id: str, images: Mapping[str, Sequence[Cell]], models: Sequence[str] = ("m",)) -> None:
        """Writes the patient's tables for images that exist; every model finds the same cells."""
        cells, rows = [], []
        for model in models:
            for image, found in images.items():
                path = self.images_dir / patient_id / image
                same = {"patient_id": patient_id, "image": image, "model": model}
                for number, (name, score, box) in enumerate(found, start=1):
                    status = "unknown" if score < 0.8 or name == "unknown" else "counted"
                    cells.append(
                        {**same, "cell_id": number, **dict(zip(("xmin", "ymin", "xmax", "ymax"), box))}
                        | {"predicted_class": name, "score": score, f"score_{name}": score, "status": status}
                        | {"counted_as": name if status == "counted" else "unknown"}
                    )
                rows.append(
                    {**same, "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "width": WIDTH, "height": HEIGHT}
                    | {"status": "ok", "seconds": 0.5, "cells": len(found), "limit_reached": False}
                )
        folder = self.patient(patient_id)
        csv_schemas.load("cells").write(folder / "cells.csv", cells, CLASSES)
        csv_schemas.load("images").write(folder / "images.csv", rows, CLASSES)
        self.record()

    def record(self) -> None:
        """Makes the tables as they are now those of the run, for tests that change them."""
        record_tables(self.inference_dir)


def write_study(
    root: pathlib.Path, patients: Mapping[str, Mapping[str, Sequence[Cell]]], models: Sequence[str] = ("m",)
) -> Study:
    """Writes the images (noise, 64 x 48 pixels), run.json and the tables of every patient."""
    study = Study(root / "images", root / "run")
    settings = {"images_dir": str(study.images_dir), "manifest": None, "patient_pattern": None}
    thresholds = {"min_score": 0.5, "unknown_below": 0.8, "count_unknown": "apart"}
    run = {"settings": settings, "thresholds": thresholds, "models": [{"name": m, "fingerprint": m} for m in models]}
    study.inference_dir.mkdir(parents=True)
    run_folder.finish(study.inference_dir, run)
    seed = 0
    for patient_id, images in patients.items():
        for image in images:
            seed += 1
            write_image(study.images_dir / patient_id / image, seed)
        study.examine(patient_id, images, models)
    return study

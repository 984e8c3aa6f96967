"""Small and large inference folders, as batch_infer writes them, made from counts."""

import json
import pathlib
from collections.abc import Mapping, Sequence

import pytest

from tfod_csf import csv_schemas

CLASSES = ("lymphocyte", "monocyte", "neutrophil", "erythrocyte")


def _write_patient(
    folder: pathlib.Path,
    patient_id: str,
    images: Sequence[Mapping[str, int]],
    models: Sequence[str] = ("m",),
    score: float = 0.9,
    failed: int = 0,
    scores: Mapping[str, float] | None = None,
) -> None:
    """One patient: `images` holds {class: cells} per image, the same for every model; each cell has `score`."""
    cells, rows = [], []
    for model in models:
        for number, counts in enumerate(images):
            image = f"img_{number:02d}.jpg"
            names = [name for name, count in counts.items() for _ in range(count)]
            for cell_id, name in enumerate(names, start=1):
                box = {"xmin": 10.0 * cell_id, "ymin": 5, "xmax": 10.0 * cell_id + 8, "ymax": 13}
                status = "unknown" if score < 0.8 else "counted"
                cells.append(
                    {"patient_id": patient_id, "image": image, "cell_id": cell_id, "model": model, **box}
                    | {"predicted_class": name, "score": score, "status": status}
                    | {"counted_as": name if status == "counted" else "unknown", **(scores or {})}
                )
            rows.append(
                {"patient_id": patient_id, "image": image, "sha256": "0" * 64, "width": 640, "height": 480}
                | {"status": "ok", "seconds": 0.5, "model": model, "cells": len(names), "limit_reached": False}
            )
    for number in range(failed):
        row = {"patient_id": patient_id, "image": f"bad_{number}.jpg", "status": "failed", "reason": "truncated"}
        rows.append(row | {"model": ""})
    csv_schemas.load("cells").write(folder / "cells.csv", cells, CLASSES)
    csv_schemas.load("images").write(folder / "images.csv", rows, CLASSES)


def _write_run(output: pathlib.Path, **more) -> None:
    run = {"thresholds": {"min_score": 0.5, "unknown_below": 0.8, "count_unknown": "apart"}, **more}
    output.mkdir(parents=True, exist_ok=True)
    (output / "run.json").write_text(json.dumps(run), encoding="utf-8")


@pytest.fixture(scope="session")
def write_patient():
    """The function that writes one patient's tables."""
    return _write_patient


@pytest.fixture(scope="session")
def write_run():
    """The function that writes run.json."""
    return _write_run


@pytest.fixture
def small_run(tmp_path) -> pathlib.Path:
    """Three patients: 60 white cells of two kinds, one without cells and a failed image, one whose cells score 0.6."""
    output = tmp_path / "run"
    _write_run(output)
    first = [{"lymphocyte": 20, "neutrophil": 10, "erythrocyte": 5}, {"lymphocyte": 25, "neutrophil": 5}, {}]
    _write_patient(output / "patients" / "a", "a", first)
    _write_patient(output / "patients" / "b", "=b", [{}], failed=1)
    _write_patient(output / "patients" / "c", "c", [{"monocyte": 40}], score=0.6)
    return output

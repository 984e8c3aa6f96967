"""Small and large inference folders, as batch_infer writes them, made from counts."""

import pathlib
from collections.abc import Mapping, Sequence

import pytest

from tests.support.examined_study import record_tables
from tfod_csf import run_folder
from tfod_csf.files import csv_schemas

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
    if folder.parent.name == "patients":
        record_tables(folder.parents[1])


def _write_run(output: pathlib.Path, **more) -> None:
    run = {"thresholds": {"min_score": 0.5, "unknown_below": 0.8, "count_unknown": "apart"}, **more}
    run_folder.finish(output, run)


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


@pytest.fixture(scope="session")
def synthetic_run(tmp_path_factory) -> pathlib.Path:
    """batch_infer's output for two synthetic patients of six small fields, and a third with an unreadable image."""
    from tests.support import truth_detector
    from tfod_csf.synthetic import slides

    folder = tmp_path_factory.mktemp("synthetic")
    settings = slides.FieldSettings(width_px=320, height_px=240, rare_fraction=0.15)
    slides.synthesize(folder / "slides", 2, 6, seed=3, settings=settings, num_processes=1)
    broken = folder / "slides" / "王 <b>&lt;" / "broken.jpg"
    broken.parent.mkdir()
    broken.write_bytes(b"\xff\xd8 nothing")
    return truth_detector.infer(folder / "slides", folder / "run")


@pytest.fixture(scope="session")
def odd_run(tmp_path_factory) -> pathlib.Path:
    """Patients whose names are markup, who have no cells, no images, few cells, two models or only unsure cells."""
    output = tmp_path_factory.mktemp("odd") / "run"
    _write_run(output)
    usual = [{"lymphocyte": 40, "neutrophil": 3}, {"monocyte": 5}]
    names = {
        "markup": ("</title><script>document.title='owned'</script><img src=x onerror=alert(1)>", usual, {}),
        "chinese": ("患者 王\u202e=1", [{}], {"failed": 1}),
        "failed": ("failed only", [], {"failed": 3}),
        "few": ("few", [{"lymphocyte": 4, "plasma cell<b>": 1}], {}),
        "models": ("two models", [{"lymphocyte": 40, "neutrophil": 13}] * 6, {"models": ("m", "<i>n")}),
        "unsure": ("unsure", [{"lymphocyte": 40, "neutrophil": 13}] * 6, {"score": 0.6}),
        "red": ("red", [{"erythrocyte": 40}] * 6, {}),
        "one": ("one image", [{"lymphocyte": 40, "neutrophil": 13}], {}),
    }
    for folder, (patient_id, images, more) in names.items():
        _write_patient(output / "patients" / folder, patient_id, images, **more)
    return output

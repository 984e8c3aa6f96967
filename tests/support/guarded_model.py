"""The hand-made model with a domain guard of drawn fields, and a study of fields that the guard judges differently."""

import json
import pathlib
import shutil

import numpy as np
from PIL import Image

from tests.support.drawn_records import field
from tfod_csf.domain import training_domain
from tfod_csf.domain.picture_statistics import CellBoxes, measure
from tfod_csf.inference.image_detector import ImageDetector

BLUE = (180, 190, 250)  # paper of another laboratory
LARGE = "large.png"  # two by two fields, to be cut into tiles of the size of one


def save(model: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    """Copies a model's folder, and adds a guard of 60 fields with the cells that the model itself finds there."""
    from tfod_csf.inference.detector import Detector
    from tfod_csf.model_folder import ModelFolder

    detector = Detector.open(ModelFolder.open(model))
    statistics = [_statistics(detector, np.asarray(field(seed, blur=1.0)[0])) for seed in range(60)]
    domain = training_domain.describe(np.array(statistics), [f"p{seed % 6}" for seed in range(60)])
    shutil.copytree(model, folder)
    info = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**info, "training_domain": domain.as_json()}))
    return folder


def _statistics(detector: ImageDetector, pixels: np.ndarray) -> np.ndarray:
    found = detector.detect(pixels)
    boxes = found.boxes[found.scores >= 0.5]
    names = [detector.label_map.name_of(int(class_id)) for class_id in found.classes[found.scores >= 0.5]]
    return measure(pixels, CellBoxes.of(boxes, names), (1.0, 1.0))


def make_study(folder: pathlib.Path) -> pathlib.Path:
    """Six patients: two of the laboratory, two of another one, one of both, and one with a picture that is cut."""
    papers = {"own": [{}] * 3, "own2": [{}], "other": [{"paper": BLUE}] * 2, "other2": [{"paper": BLUE}],
              "both": [{}, {}, {"blur": 4.0}], "cut": [{}]}  # fmt: skip
    seed = 100
    for patient, fields in papers.items():
        (folder / patient).mkdir(parents=True)
        for number, how in enumerate(fields):
            seed += 1
            field(seed, **{"blur": 1.0, **how})[0].save(folder / patient / f"{number}.png")
    rows = [[np.asarray(field(200 + column, blur=1.0, **how)[0]) for column in (0, 1)] for how in ({}, {"paper": BLUE})]
    Image.fromarray(np.concatenate([np.concatenate(row, axis=1) for row in rows])).save(folder / "cut" / LARGE)
    return folder

import dataclasses

import numpy as np
import pytest

from tests.support.saved_models import ONE_EMPTY_GRAPH
from tfod_csf import classification
from tfod_csf.classification import ClassificationError
from tfod_csf.detections import Detections
from tfod_csf.files import checksums
from tfod_csf.inference.cell_selection import ScoreThresholds, select_cells
from tfod_csf.inference.labeled.ground_truth import LabeledImage
from tfod_csf.inference.labeled.validation import ValidationError, ValidationMatrix, refuse_training_records
from tfod_csf.label_map import label_map_from_names, save_label_map
from tfod_csf.model_folder import ModelFolder

LABEL_MAP = label_map_from_names(["lymphocyte", "monocyte", "neutrophil"])


@dataclasses.dataclass
class Model:
    name: str = "m"
    fingerprint: str = "f"
    label_map: object = LABEL_MAP
    temperature: float = 1.25


def labeled(patient, cells_per_class=12):
    """An image with as many cells of each class, and one that nobody could name."""
    classes = np.repeat([1, 2, 3], cells_per_class)
    boxes = np.array([[0, 20 * n, 10, 20 * n + 10] for n in range(len(classes))], np.float32)
    pixels = np.zeros((100, 2000, 3), np.uint8)
    none = np.zeros(len(classes), bool)
    image = LabeledImage(f"{patient}/1.jpg", pixels, boxes, classes, none, none, none, patient_id=patient)
    return image.with_ignored(np.array([[50, 0, 60, 10]], np.float32), LABEL_MAP.ids)


def found(image):
    """Every labeled cell is found; the unnamed one is called monocyte, with little certainty."""
    boxes = np.concatenate([image.boxes[~image.is_ignored], [[50, 0, 60, 10]]])
    classes = [*image.classes[~image.is_ignored], 2]
    scores = [0.9] * (len(classes) - 1) + [0.6]
    return select_cells(Detections(image.image_id, 2000, 100, boxes, classes, scores), LABEL_MAP, ScoreThresholds())


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "m" / "saved_model").mkdir(parents=True)
    (tmp_path / "m" / "saved_model" / "saved_model.pb").write_bytes(ONE_EMPTY_GRAPH)
    save_label_map(LABEL_MAP, tmp_path / "m" / "label_map.pbtxt")
    return ModelFolder.open(tmp_path / "m")


def test_what_is_stored(folder):
    matrix = ValidationMatrix(ScoreThresholds(), 0.5)
    for patient in ("a", "b", "c"):
        matrix.add(LABEL_MAP, labeled(patient), found(labeled(patient)))
    said = matrix.store(folder, Model(), "/somewhere/validation.record")
    assert said.startswith("confusion matrix of 111 annotated cells of 3 patients stored in ")
    stored = classification.read(folder.path / "classification.json")
    assert (stored.fingerprint, stored.temperature, stored.source) == ("f", 1.25, "validation.record")
    assert stored.thresholds == {"min_score": 0.5, "unknown_below": 0.8, "duplicate_iou": 0.5}
    # The unnamed cell is one cell, though its box is there once for each class.
    assert stored.counts.sum(axis=0)[classification.TRUE_CLASSES.index("other")].sum() == 3
    assert ModelFolder.open(folder.path).classification.num_cells == 111


def test_too_few_cells_are_not_stored(folder):
    matrix = ValidationMatrix(ScoreThresholds(), 0.5)
    matrix.add(LABEL_MAP, labeled("a"), found(labeled("a")))
    with pytest.raises(ClassificationError, match="12 annotated cells of class lymphocyte in 1 patients are too few"):
        matrix.store(folder, Model(), "v")
    assert not (folder.path / "classification.json").exists()


def test_an_image_that_names_no_patient_is_refused():
    image = dataclasses.replace(labeled("a"), patient_id="")
    with pytest.raises(ValidationError, match="names no patient"):
        ValidationMatrix(ScoreThresholds(), 0.5).add(LABEL_MAP, image, found(image))


def test_records_that_the_model_was_trained_on_are_refused(folder, tmp_path):
    for name in ("train", "test"):
        (tmp_path / f"{name}.record").write_bytes(name.encode())
    shards = [str(tmp_path / "test.record"), str(tmp_path / "train.record")]
    refuse_training_records(folder, shards)  # a model that does not say what it was trained on
    files = {"train.record": checksums.file_sha256(tmp_path / "train.record")}
    trained = dataclasses.replace(folder, info={**folder.info, "training_data": {"files": files}})
    refuse_training_records(trained, shards[:1])
    with pytest.raises(ValidationError, match=r"train\.record: the model was trained on this record"):
        refuse_training_records(trained, shards)

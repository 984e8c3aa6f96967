"""What became of the annotated cells of a run's images, for the model's classification.json."""

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from tfod_csf.classification import ValidationPatient
from tfod_csf.cytology import annotated_cells, run_tables
from tfod_csf.cytology.annotated_cells import ImageCells
from tfod_csf.detections import BOX_SIDES
from tfod_csf.evaluation.classification_counts import ClassificationCounter, ValidationImage
from tfod_csf.score_temperature import with_temperature


def count_validation(
    inference_dir: str | os.PathLike,
    annotations: Mapping[str, ImageCells],
    model: str,
    counter: ClassificationCounter,
    temperature: float = 1.0,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> tuple[ValidationPatient, ...]:
    """The validation patients of a run.

    Args:
      inference_dir: output of batch_infer, not reviewed.
      annotations: of `annotated_cells.read_annotations`.
      model: whose cells.
      counter: takes the images.
      temperature: on top of the one the run was made with; the outcomes are those of the new scores.

    Raises:
      TableError: a person has decided on cells, so that they are not the model's alone any more; or an annotated
        picture was cut into tiles, so that its false detections are not those of a field.
    """
    for folder in progress(run_tables.patient_folders(inference_dir)):
        patient = run_tables.read_patient(folder, details=True)
        patient.check_not_reviewed()
        for image in _images(patient, annotations, model, temperature):
            counter.add_image(image)
    return counter.patients()


def _images(
    patient: run_tables.PatientTables, annotations: Mapping[str, ImageCells], model: str, temperature: float
) -> Iterable[ValidationImage]:
    """The annotated images of a patient that the model examined."""
    cells = patient.cells[patient.cells["model"] == model]
    scores = _scores_at(patient, cells.index.to_numpy(), temperature)
    positions = {name: np.flatnonzero(cells["image"] == name) for name in patient.images_used_by(model)}
    sizes = patient.images[patient.images["model"] == model].set_index("image")
    boxes = cells[list(BOX_SIDES)].to_numpy(float)
    predicted = cells["predicted_class"].to_numpy(object)
    for image, rows in positions.items():
        truth = annotated_cells.cells_of_image(annotations, patient.patient_id, image)
        if truth is None:
            continue
        if image in patient.grids:
            raise run_tables.TableError(
                f"{patient.folder}: {image} was cut into tiles, and a confusion matrix describes images that are "
                "examined whole; run batch_infer on validation images of the size of a field, without --tile_size."
            )
        yield ValidationImage(
            patient_id=patient.patient_id,
            width=int(sizes.loc[image, "width"]),
            height=int(sizes.loc[image, "height"]),
            names=truth.names,
            boxes=truth.boxes,
            predicted=list(predicted[rows]),
            scores=scores[rows],
            found_boxes=boxes[rows],
        )


def _scores_at(patient: run_tables.PatientTables, rows: np.ndarray, temperature: float) -> np.ndarray:
    """[N] scores of the predicted classes at a further temperature."""
    cells = patient.cells.loc[rows]
    if temperature == 1:
        return cells["score"].to_numpy(float)
    columns = {name: column for column, name in enumerate(patient.scored_classes, start=1)}
    of_class = cells[[f"score_{name}" for name in columns]].to_numpy(float)
    background = np.clip(1 - of_class.sum(axis=1, keepdims=True), 0, 1)
    scaled = with_temperature(np.concatenate([background, of_class], axis=1), temperature)
    return scaled[np.arange(len(cells)), [columns[name] for name in cells["predicted_class"]]]

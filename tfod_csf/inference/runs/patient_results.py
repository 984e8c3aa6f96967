"""One patient's images through the detectors: rows of cells.csv and images.csv, labeled pictures, and a summary.

Everything is written into the patient's folder; the columns are those of schemas/cells.csv and schemas/images.csv.
"""

import dataclasses
import functools
import pathlib
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from tfod_csf import run_folder
from tfod_csf.cell_classes import UNKNOWN
from tfod_csf.detections import DetectionsError
from tfod_csf.files import csv_schemas
from tfod_csf.inference.cell_selection import Cells, ScoreThresholds
from tfod_csf.inference.image_detector import DetectionFailedError, ImageDetector, RememberingDetector
from tfod_csf.inference.runs import image_cells
from tfod_csf.inference.runs.image_batches import Given, batched
from tfod_csf.inference.runs.image_reading import ReadImage
from tfod_csf.inference.runs.image_workers import ImageWorkers, Pictures
from tfod_csf.problems import ProblemLog
from tfod_csf.study import image_io
from tfod_csf.study.image_limits import ImageLimitError
from tfod_csf.study.large_tiff import LargeTiff, ReadAgainError
from tfod_csf.study.patients import ImageFile
from tfod_csf.study.tile_grid import TileSettings


@dataclasses.dataclass
class PatientSummary:
    """Summary of a patient in run.json and in the stamp.

    Attributes:
      images: images found.
      failed: images that could not be used.
      detector_failures: images that a model could not handle, or that could not be read to their end although nothing
        is wrong with the file; the patient is tried again in the next run.
      examined: images each model examined.
      cells: cells per model.
      duplicates_merged: detections dropped as duplicates of a better one, per model.
      limit_reached: images in which a model's largest number of detections was reached.
      detection_seconds: time the models took, per model.
      seconds: time for everything: reading, detection, drawing, writing.
      input_hash: digest over the names and checksums of the images.
    """

    images: int = 0
    failed: int = 0
    detector_failures: int = 0
    examined: dict[str, int] = dataclasses.field(default_factory=dict)
    cells: dict[str, int] = dataclasses.field(default_factory=dict)
    duplicates_merged: dict[str, int] = dataclasses.field(default_factory=dict)
    limit_reached: list[str] = dataclasses.field(default_factory=list)
    detection_seconds: dict[str, float] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0
    input_hash: str = ""


@dataclasses.dataclass(frozen=True)
class PatientJob:
    """What is to be done with one patient's images.

    Attributes:
      patient_id: the patient.
      folder: the patient's output folder.
      detectors: the models, at least one.
      thresholds: what counts as a cell.
      draw: whether to write the pictures.
      tiles: how images that are larger than a tile are cut; None cuts none.
    """

    patient_id: str
    folder: pathlib.Path
    detectors: Sequence[ImageDetector]
    thresholds: ScoreThresholds
    draw: bool = True
    tiles: TileSettings | None = None

    @property
    def classes(self) -> list[str]:
        """Class names in the order of the first model's ids."""
        return self.detectors[0].label_map.names


@dataclasses.dataclass
class Rows:
    """Rows of a patient's tables.

    Attributes:
      cells, images: of cells.csv and images.csv.
    """

    cells: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    images: list[dict[str, Any]] = dataclasses.field(default_factory=list)


def run_patient(
    job: PatientJob,
    images: Sequence[ImageFile],
    problems: ProblemLog,
    workers: ImageWorkers,
    on_image: Callable[[], Any] = lambda: None,
    refused: Mapping[str, str] = MappingProxyType({}),
) -> Generator[None, None, tuple[PatientSummary, dict[str, str | None]]]:
    """Detects the cells of one patient and writes cells.csv, images.csv and pictures/ into the patient's folder.

    It pauses once, when the models have seen all images and pictures may not be saved yet.

    Args:
      images: the patient's images.
      problems: gets every image that was skipped or repaired, and every reached limit.
      workers: read the images and draw the pictures; whatever they do at the same time, all is as if done in turn.
      on_image: called after each image.
      refused: {image: reason} of images that are not to be opened.

    Returns:
      (summary, {image: sha256 of its file, or None where it cannot be read}), when all pictures are saved.
    """
    started = _clock(job.detectors)
    summary, rows = PatientSummary(images=len(images)), Rows()
    checksums: dict[str, str | None] = {}
    pictures = Pictures()
    first_with: dict[str, str] = {}
    try:
        for read, ticket, given in batched(images, job.detectors, workers, refused, job.tiles):
            image = read.image
            checksums[image.name] = read.sha256
            twin = first_with.setdefault(read.sha256, image.name) if read.sha256 else image.name
            found = examine_image(job, read, given, twin, problems, rows, summary)
            if job.draw and found and read.loaded:
                workers.draw(ticket, functools.partial(_save_pictures, job, read.loaded, found), pictures)
            else:
                if read.loaded:
                    image_cells.close(read.loaded)
                workers.release(ticket)
            on_image()
        paused = _clock(job.detectors)
        yield
        started += _clock(job.detectors) - paused
        pictures.wait()
    finally:
        pictures.cancel()
    write_tables(job, rows)
    summary.seconds = _clock(job.detectors) - started
    return summary, checksums


def write_tables(job: PatientJob, rows: Rows) -> None:
    """Writes cells.csv and images.csv into the patient's folder."""
    csv_schemas.load("cells").write_into(job.folder, rows.cells, job.classes)
    is_cut = any("tile_width" in row for row in rows.images)
    csv_schemas.load("images").write_into(job.folder, rows.images, _counted_classes(job.classes), is_cut)


def examine_image(
    job: PatientJob,
    read: ReadImage,
    given: Mapping[str, Given],
    twin: str,
    problems: ProblemLog,
    rows: Rows,
    summary: PatientSummary,
) -> dict[str, Cells]:
    """All models on one image, unless it cannot be used.

    Args:
      given: {model: what it has given for the image}, of the models that had it in a batch.
      twin: the patient's first image with the same bytes, itself if there is none.
      problems: gets what is wrong with the image, and every reached limit.
      rows, summary: get what was found.

    Returns:
      {model: its cells}, without the models that failed; empty of an image that is not used.
    """
    loaded = _usable(read, twin, problems)
    if isinstance(loaded, str):
        summary.failed += 1
        rows.images.append(_failed_row(job.patient_id, read.image.name, read.sha256, loaded))
        return {}
    return _run_image(job, read.image, loaded, given, problems, rows, summary)


def _usable(read: ReadImage, twin: str, problems: ProblemLog) -> image_io.LoadedImage | LargeTiff | str:
    """The image, or the reason why it is not used, which is reported.

    Args:
      twin: the patient's first image with the same bytes, itself if there is none.
    """
    if twin != read.image.name:
        reason = _twin_reason(twin)
        problems.skipped(read.image.path, reason, "Delete one of the two.")
        return reason
    problems.extend(read.problems)
    return read.loaded or read.reason


def twin_row(patient_id: str, image: str, sha256: str | None, twin: str) -> dict[str, Any]:
    """Row of images.csv of an image with the bytes of another one of the patient, whose cells are counted."""
    return _failed_row(patient_id, image, sha256, _twin_reason(twin))


def _twin_reason(twin: str) -> str:
    return f"the same bytes as {twin} of this patient; its cells are counted once"


def _run_image(
    job: PatientJob,
    image: ImageFile,
    loaded: image_io.LoadedImage | LargeTiff,
    given: Mapping[str, Given],
    problems: ProblemLog,
    rows: Rows,
    summary: PatientSummary,
) -> dict[str, Cells]:
    """All models on one image: {model: its cells}, without the models that failed."""
    examined = {}
    grid = image_cells.grid_of(job.tiles, loaded)
    for detector in job.detectors:
        earlier = given.get(detector.name)
        started = _clock([detector])
        try:
            detections = earlier.detections if earlier else None
            found = image_cells.detect(detector, image.name, loaded, grid, job.thresholds, detections)
        except (DetectionFailedError, DetectionsError) as error:
            reason = f"model {detector.name} failed: {error}"
            remedy = "Free memory, or use another model, and run again; only this patient is redone."
            problems.skipped(image.path, reason, remedy)
            summary.detector_failures += 1
            rows.images.append(_failed_row(job.patient_id, image.name, loaded.sha256, reason, detector.name))
            continue
        except ImageLimitError as error:  # of a file that is read by rectangles
            reason, remedy = error.args
            problems.skipped(image.path, reason, remedy)
            summary.detector_failures += isinstance(error, ReadAgainError)
            rows.images.append(_failed_row(job.patient_id, image.name, loaded.sha256, reason, detector.name))
            continue
        seconds = earlier.seconds if earlier else _clock([detector]) - started
        cells = examined[detector.name] = found.cells
        rows.cells.extend(_cell_rows(job.patient_id, detector, cells))
        row = _image_row(job.patient_id, loaded.sha256, detector, cells, seconds)
        rows.images.append(row | image_cells.domain_columns(found.judgment) | image_cells.tile_columns(grid))
        _add_to_summary(summary, detector.name, cells, seconds)
        image_cells.note_limits(image, detector.name, found, grid, problems)
    summary.failed += not examined
    return examined


def _clock(detectors: Sequence[ImageDetector]) -> float:
    """Seconds, those included that detectors have saved by remembering: work counts with the time that it once took."""
    saved = (d.remembered_seconds for d in detectors if isinstance(d, RememberingDetector))
    return time.perf_counter() + sum(saved)


def _save_pictures(job: PatientJob, loaded: image_io.LoadedImage | LargeTiff, found: Mapping[str, Cells]) -> None:
    """Draws the cells of each model on pictures of its own."""
    grid = image_cells.grid_of(job.tiles, loaded)
    for model, cells in found.items():
        pictures = job.folder / "pictures" / (model if len(job.detectors) > 1 else "")
        image_cells.save_pictures(loaded, cells, grid, pictures, job.thresholds.unknown_below)
    image_cells.close(loaded)


def _add_to_summary(summary: PatientSummary, model: str, cells: Cells, seconds: float) -> None:
    totals: tuple[tuple[dict[str, Any], float], ...] = (
        (summary.examined, 1),
        (summary.cells, len(cells.detections)),
        (summary.duplicates_merged, cells.num_duplicates),
        (summary.detection_seconds, seconds),
    )
    for total, value in totals:
        total[model] = total.get(model, 0) + value
    if cells.limit_reached:
        summary.limit_reached.append(cells.detections.image)


def _counted_classes(classes: Sequence[str]) -> list[str]:
    return [*classes, *([] if UNKNOWN in classes else [UNKNOWN])]


def _cell_rows(patient_id: str, detector: ImageDetector, cells: Cells) -> Iterable[dict[str, Any]]:
    found, raw_scores = cells.detections, cells.detections.raw_scores
    for row in range(len(found)):
        ymin, xmin, ymax, xmax = (float(side) for side in found.boxes[row])
        scores = {}
        if found.multiclass_scores is not None:
            # Column 0 is the background; columns follow the ids 1..K.
            scores = {
                f"score_{name}": float(found.multiclass_scores[row, class_id])
                for class_id, name in zip(detector.label_map.ids, detector.label_map.names)
            }
        yield {
            "patient_id": patient_id,
            "image": found.image,
            "cell_id": row + 1,
            "model": detector.name,
            "xmin": xmin,
            "ymin": ymin,
            "xmax": xmax,
            "ymax": ymax,
            "predicted_class": cells.predicted_class[row],
            "score": float(found.scores[row]),
            "raw_score": float(raw_scores[row]),
            **scores,
            "status": cells.status[row],
            "counted_as": cells.counted_as[row],
        }


def _image_row(patient_id: str, sha256: str, detector: ImageDetector, cells: Cells, seconds: float) -> dict[str, Any]:
    counts = cells.counts()
    return {
        "patient_id": patient_id,
        "image": cells.detections.image,
        "sha256": sha256,
        "width": cells.detections.width,
        "height": cells.detections.height,
        "status": run_folder.OK,
        "seconds": seconds,
        "model": detector.name,
        "cells": len(cells.detections),
        "limit_reached": cells.limit_reached,
        **{f"count_{name}": counts.get(name, 0) for name in _counted_classes(detector.label_map.names)},
    }


def _failed_row(patient_id: str, image: str, sha256: str | None, reason: str, model: str = "") -> dict[str, Any]:
    row = {"patient_id": patient_id, "image": image, "sha256": sha256, "status": run_folder.FAILED, "reason": reason}
    return {**row, "model": model}

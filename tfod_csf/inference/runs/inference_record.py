"""run.json: models, thresholds, versions and machine behind the results, the files they are from, and the speed."""

import dataclasses
import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from typing import Any

from tfod_csf import __version__, provenance, worker_pool
from tfod_csf.inference import domain_guard
from tfod_csf.inference.cell_selection import ScoreThresholds
from tfod_csf.inference.image_detector import ImageDetector
from tfod_csf.inference.runs.batch import BatchResult
from tfod_csf.problems import SKIPPED, ProblemLog

_PACKAGES = ("tensorflow", "numpy", "Pillow", "pandas", "protobuf")


def versions() -> dict[str, str]:
    """Versions of this package, Python and what results depend on."""
    found = {"tfod_csf": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """What the seconds were measured on."""
    cores = worker_pool.available_cores()
    return {"processor": provenance.processor(), "cores": cores, "system": platform.platform()}


def computation(deterministic: bool) -> dict[str, Any]:
    """What the last digits of results may depend on beside images, models and machine; as patients' stamps keep it.

    Patients are not examined again when it changes, unless rounds are compared.

    Args:
      deterministic: of `RunSettings`.
    """
    return {"deterministic": deterministic, "tensorflow": versions().get("tensorflow")}


def record_at_start(
    settings: Mapping[str, Any],
    detectors: Sequence[ImageDetector],
    thresholds: ScoreThresholds,
    num_patients: int,
) -> dict[str, Any]:
    """What run.json says of a run from its start on.

    Args:
      settings: folders and options of the command, as they are to be recorded.
      num_patients: patients in the input.
    """
    return {
        "version": __version__,
        "started": provenance.now(),
        "finished": None,
        "settings": dict(settings),
        "models": [
            {
                "name": detector.name,
                "fingerprint": detector.fingerprint,
                "temperature": detector.temperature,
                "classes": detector.label_map.names,
                "domain_guards": domain_guard.fingerprints(detector),
            }
            for detector in detectors
        ],
        "thresholds": dataclasses.asdict(thresholds),
        "num_patients": num_patients,
    }


def make_record(
    at_start: Mapping[str, Any],
    result: BatchResult,
    problems: ProblemLog,
) -> dict[str, Any]:
    """Contents of run.json of a run whose images have all been examined, without the tables' checksums.

    Args:
      at_start: of `record_at_start`.
    """
    models = [{**model, "seconds_per_image": _seconds_per_image(model["name"], result)} for model in at_start["models"]]
    known = [model["seconds_per_image"] for model in models if model["seconds_per_image"] is not None]
    return {
        **at_start,
        "finished": provenance.now(),
        "models": models,
        "versions": versions(),
        "machine": machine(),
        "images": {"found": result.num_images, "failed": result.num_failed},
        "seconds_per_image": round(sum(known), 4) if known else None,
        "patients": {
            patient_id: {
                "folder": result.folders[patient_id].name,
                "images": summary.images,
                "failed": summary.failed,
                "cells": summary.cells,
                "duplicates_merged": summary.duplicates_merged,
                "limit_reached": summary.limit_reached,
                "detection_seconds": {name: round(value, 4) for name, value in summary.detection_seconds.items()},
                "seconds": round(summary.seconds, 4),
                "input_hash": summary.input_hash,
                "done_in_earlier_run": patient_id in result.reused,
            }
            for patient_id, summary in result.summaries.items()
        },
        "kept_from_earlier_runs": result.kept,
        "failures": [
            {"file": problem.file, "item": problem.item, "reason": problem.reason}
            for problem in problems.problems
            if problem.action == SKIPPED
        ],
    }


def _seconds_per_image(model: str, result: BatchResult) -> float | None:
    """Mean over the images the model examined, also in earlier runs; None without any."""
    summaries = [summary for summary in result.summaries.values() if model in summary.detection_seconds]
    images = sum(summary.examined.get(model, 0) for summary in summaries)
    return round(sum(summary.detection_seconds[model] for summary in summaries) / images, 4) if images else None

"""run.json: models, thresholds, versions and machine behind the results, the files they are from, and the speed."""

import importlib.metadata
import os
import platform
from collections.abc import Mapping, Sequence
from typing import Any

from tfod_csf import __version__, provenance, worker_pool
from tfod_csf.files import atomic_write
from tfod_csf.inference.batch import BatchResult
from tfod_csf.inference.cell_selection import ScoreThresholds
from tfod_csf.inference.image_detector import ImageDetector
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


def make_record(
    started: str,
    settings: Mapping[str, Any],
    detectors: Sequence[ImageDetector],
    thresholds: ScoreThresholds,
    result: BatchResult,
    problems: ProblemLog,
) -> dict[str, Any]:
    """Contents of run.json.

    Args:
      started: `provenance.now()` at the start.
      settings: folders and options of the command, as they are to be recorded.
    """
    seconds = {detector.name: _seconds_per_image(detector.name, result) for detector in detectors}
    known = [value for value in seconds.values() if value is not None]
    return {
        "version": __version__,
        "started": started,
        "finished": provenance.now(),
        "settings": dict(settings),
        "models": [
            {
                "name": detector.name,
                "fingerprint": detector.fingerprint,
                "temperature": detector.temperature,
                "classes": detector.label_map.names,
                "seconds_per_image": seconds[detector.name],
            }
            for detector in detectors
        ],
        "thresholds": {
            "min_score": thresholds.min_score,
            "unknown_below": thresholds.unknown_below,
            "count_unknown": thresholds.count_unknown,
            "duplicate_iou": thresholds.duplicate_iou,
        },
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


def write_record(path: str | os.PathLike, record: Mapping[str, Any]) -> None:
    """Writes run.json."""
    atomic_write.write_json(path, dict(record))

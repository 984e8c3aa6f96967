"""Model folders of one network in several number formats, on the user's own annotated records.

Every image goes through all models before the next one, in an order that changes from image to image, so that other
programs and changes of the processor's clock affect all of them alike. The first model is the one that the others are
compared with.
"""

import itertools
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from tfod_csf.benchmarks import stopwatch
from tfod_csf.cytology.counting.differential import differential
from tfod_csf.detections import Detections
from tfod_csf.errors import UserError
from tfod_csf.evaluation.pascal_evaluator import PascalDetectionEvaluator
from tfod_csf.files import tfrecord
from tfod_csf.inference import jpeg_decoding
from tfod_csf.inference.cell_selection import ScoreThresholds, select_cells
from tfod_csf.inference.detection_differences import DetectionDifferences
from tfod_csf.inference.detector import Detector
from tfod_csf.inference.labeled import ground_truth, record_reader
from tfod_csf.inference.labeled.ground_truth import LabeledImage
from tfod_csf.model_folder import ModelFolder
from tfod_csf.problems import ProblemLog

# Large enough for the matrix product's full speed, small enough to be timed beside every image.
_MATRIX_SIZE = 1536
SAVED_MODEL = "SavedModel"


class FormatsError(UserError):
    """Models that are not of one network, or records without a usable image."""


class _Format:
    """One of the models, and what it has done so far."""

    def __init__(self, folder: ModelFolder):
        self.folder = folder
        self.detector = Detector.open(folder)
        self.turns: list[stopwatch.Timed] = []
        self.differences = DetectionDifferences(folder.thresholds["min_score"])
        self._thresholds = ScoreThresholds(**folder.thresholds)
        self._evaluator = PascalDetectionEvaluator(folder.label_map.categories)
        self._counts: dict[str, Counter[str]] = defaultdict(Counter)

    @property
    def name(self) -> str:
        """Which arithmetic: "SavedModel float32", "OpenVINO int8"."""
        info = self.folder.info
        if "openvino" in info:
            return f"OpenVINO {info['openvino']['number_format']}"
        return f"{SAVED_MODEL} {info.get('compute_dtype', '')}".rstrip()

    @property
    def mean_average_precision(self) -> float:
        return next(iter(self._evaluator.evaluate().values()))

    def add(self, image: LabeledImage, truth: LabeledImage) -> Detections:
        """Detects cells in an image, measures it, and returns the detections."""
        found: list[Detections] = []
        self.turns.append(
            stopwatch.timed(lambda: found.append(self.detector.detect(image.pixels, image.image_id, jpeg=image.jpeg)))
        )
        (detections,) = found
        self._evaluator.add_single_ground_truth_image_info(image.image_id, truth.groundtruth_dict)
        self._evaluator.add_single_detected_image_info(image.image_id, ground_truth.detections_dict(detections))
        cells = select_cells(detections, self.detector.label_map, self._thresholds)
        self._counts[image.patient_id].update(cells.counts())
        return detections

    def percentages(self) -> dict[tuple[str, str], float]:
        """{(patient, class): percent of the white cells}, for those who have enough of them; patient "": all images."""
        found = {}
        for patient, counts in [*self._counts.items(), ("", sum(self._counts.values(), Counter()))]:
            result = differential(patient, {self.folder.name: counts})
            found |= {(patient, name): share.percent for name, share in result.shares.items()}
        return found


def measure(folders: Sequence[ModelFolder], input_path: str, max_images: int) -> list[dict[str, Any]]:
    """Runs all models over the records.

    Args:
      folders: of one network; the first is compared with.
      input_path: TFRecord of annotated images.
      max_images: how many are examined, from the beginning.

    Returns:
      One row of benchmark.csv per model, with the columns of this part.

    Raises:
      FormatsError: fewer than two models, models of other classes, or no image that can be used.
    """
    names = {tuple(folder.label_map.names) for folder in folders}
    if len(folders) < 2 or len(names) != 1:
        raise FormatsError(
            "--parts=formats compares --models of the same classes, two or more; the first is the measure."
        )
    images = _read(folders[0], input_path, max_images, ProblemLog(quiet=True))  # reported by the second reading
    first_image = next(images, None)
    if first_image is None:
        raise FormatsError(f"--input_path={input_path}: no annotated image can be used.")
    formats = [_Format(folder) for folder in folders]
    matmul, matmul_turns = stopwatch.matrix_product(_MATRIX_SIZE), []
    warm_up = [stopwatch.timed(lambda one=one: one.detector.detect(first_image.pixels)) for one in formats]
    matmul()
    (reading,) = ground_truth.unknown_readings(folders[0].label_map, "count").values()
    number = 0
    for number, image in enumerate(_read(folders[0], input_path, max_images, ProblemLog()), start=1):
        matmul_turns.append(stopwatch.timed(matmul))
        start = number % len(formats)
        found = {one.folder.path: one.add(image, reading(image)) for one in (*formats[start:], *formats[:start])}
        for one in formats[1:]:
            one.differences.add(found[folders[0].path], found[one.folder.path])
    gflops = 2 * _MATRIX_SIZE**3 / statistics.median(turn.seconds for turn in matmul_turns) / 1e9
    shared = {"batch_size": 1, "repeats": 1, "images": number, "matmul_gflop_per_second": gflops}
    return [
        shared | {"first_call_seconds": one.detector.load_seconds + first.seconds} | _row(one, formats[0])
        for one, first in zip(formats, warm_up)
    ]


def _read(folder: ModelFolder, input_path: str, max_images: int, problems: ProblemLog) -> Iterator[LabeledImage]:
    shards = tfrecord.find_files(input_path)
    images = record_reader.read_records(shards, folder.label_map, problems, jpeg_decoding.decode)
    return itertools.islice(images, max_images)


def _row(one: _Format, reference: _Format) -> dict[str, Any]:
    """The columns of one model."""
    seconds = [turn.seconds for turn in one.turns]
    row = {
        "model": one.folder.name_or_path,
        "compute_dtype": one.name,
        "images_per_second": 1 / statistics.median(seconds),
        "seconds_per_image": statistics.median(seconds),
        "fastest_seconds_per_image": min(seconds),
        "slowest_seconds_per_image": max(seconds),
        "cpu_seconds_per_image": statistics.median(turn.cpu_seconds for turn in one.turns),
        "map": one.mean_average_precision,
    }
    if one is reference:
        return row
    percentages, others = one.percentages(), reference.percentages()
    changes = {key: abs(percentages[key] - others[key]) for key in percentages.keys() & others.keys()}
    patients = {patient for patient, _ in changes if patient}
    # Both saw each image within moments: the median of the ratios, not the ratio of the medians.
    ratios = [other.seconds / turn.seconds for turn, other in zip(one.turns, reference.turns)]
    cpu_ratios = [other.cpu_seconds / max(turn.cpu_seconds, 1e-6) for turn, other in zip(one.turns, reference.turns)]
    return row | {
        "speed_ratio": statistics.median(ratios),
        "cpu_speed_ratio": statistics.median(cpu_ratios),
        "map_change": one.mean_average_precision - reference.mean_average_precision,
        "percent_change": max((change for (patient, _), change in changes.items() if not patient), default=None),
        "patient_percent_change": max((change for (patient, _), change in changes.items() if patient), default=None),
        "patients_compared": len(patients),
        "score_difference": one.differences.largest_score,
        "box_difference_px": one.differences.largest_box_px,
        "cells_missing": one.differences.num_missing,
        "cells_compared": one.differences.num_cells,
    }

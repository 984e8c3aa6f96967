"""How long batch_infer takes for an image from its file to tables and pictures, and how much of that is the network.

Two settings take turns within each repeat, so that other programs disturb both: the workers that are measured, and
fewer that they are compared with. A repeat examines all slides into a new folder.
"""

import dataclasses
import pathlib
import statistics
import tempfile
import time
from collections.abc import Sequence

import numpy as np

from tfod_csf.benchmarks import stopwatch
from tfod_csf.cell_classes import STUDY_CLASSES
from tfod_csf.detections import Detections
from tfod_csf.inference.cell_selection import ScoreThresholds
from tfod_csf.inference.image_detector import ImageDetector
from tfod_csf.inference.runs import batch
from tfod_csf.inference.runs.image_workers import WorkerLimits
from tfod_csf.label_map import label_map_from_names
from tfod_csf.problems import ProblemLog
from tfod_csf.study import patients
from tfod_csf.study.patients import ImageFile

_CELLS = (4, 5)  # rows and columns of cells that the stand-in finds: as many as a field of the study holds


class StandInNetwork:
    """A network that takes its time and leaves the cores free, as one on a GPU does; it finds 20 cells in a grid.

    Args:
      seconds: for an image.
    """

    name, fingerprint, temperature, max_detections_per_class = "stand_in", "0" * 64, 1.0, None
    label_map = label_map_from_names(STUDY_CLASSES)

    def __init__(self, seconds: float):
        self._seconds = seconds

    def decode_jpeg(self, jpeg: bytes) -> np.ndarray | None:
        """See `image_detector.ImageDetector`."""
        from tfod_csf.inference import jpeg_decoding

        return jpeg_decoding.decode(jpeg)

    def detect(self, pixels: np.ndarray, image: str = "", *, jpeg: bytes | None = None) -> Detections:
        """See `image_detector.ImageDetector`."""
        time.sleep(self._seconds)
        height, width = pixels.shape[:2]
        rows, columns = _CELLS
        y, x = np.divmod(np.arange(rows * columns), columns)
        corners = np.stack([y / rows, x / columns, (y + 0.5) / rows, (x + 0.5) / columns], axis=1)
        scores = np.linspace(0.99, 0.6, rows * columns)
        classes = np.arange(rows * columns) % len(STUDY_CLASSES) + 1
        return Detections(image, width, height, corners * [height, width, height, width], classes, scores)


class _Timed:
    """A detector whose time is added up."""

    def __init__(self, detector: ImageDetector):
        self._detector = detector
        self.name, self.fingerprint, self.label_map = detector.name, detector.fingerprint, detector.label_map
        self.temperature, self.max_detections_per_class = detector.temperature, detector.max_detections_per_class
        self.decode_jpeg = detector.decode_jpeg
        self.seconds = 0.0

    def detect(self, pixels: np.ndarray, image: str = "", *, jpeg: bytes | None = None) -> Detections:
        started = time.perf_counter()
        try:
            return self._detector.detect(pixels, image, jpeg=jpeg)
        finally:
            self.seconds += time.perf_counter() - started


@dataclasses.dataclass(frozen=True)
class _Turn:
    """Seconds per image of one run over all slides, and of the network alone."""

    seconds: float
    cpu_seconds: float
    network_seconds: float


def measure(
    detector: ImageDetector, slides_dir: pathlib.Path, num_workers: int, compared_workers: int, num_repeats: int = 1
) -> dict[str, float]:
    """Examines the slides of a folder again and again.

    Args:
      detector: the model, loaded.
      slides_dir: folders of patients with JPEGs.
      num_workers: threads beside the network.
      compared_workers: threads of the other setting; 0 does everything in turn.
      num_repeats: after the warm-up, which is one run.

    Returns:
      Columns of benchmark.csv of the first setting; network_percent: time of the network as a share of the elapsed
      time; times_compared: images per second as a multiple of the other setting's, within each repeat.
    """
    images = patients.find_images(slides_dir, ProblemLog(quiet=True))
    first = stopwatch.timed(lambda: _run(detector, images, num_workers))
    turns, others = [], []
    for _ in range(num_repeats):
        others.append(_run(detector, images, compared_workers))
        turns.append(_run(detector, images, num_workers))
    seconds = [turn.seconds for turn in turns]
    return {
        "images_per_second": 1 / statistics.median(seconds),
        "seconds_per_image": statistics.median(seconds),
        "fastest_seconds_per_image": min(seconds),
        "slowest_seconds_per_image": max(seconds),
        "cpu_seconds_per_image": statistics.median(turn.cpu_seconds for turn in turns),
        "first_call_seconds": first.seconds,
        "workers": num_workers,
        "network_percent": 100 * statistics.median(turn.network_seconds / turn.seconds for turn in turns),
        "compared_workers": compared_workers,
        "times_compared": statistics.median(other.seconds / turn.seconds for other, turn in zip(others, turns)),
        "repeats": num_repeats,
        "images": num_repeats * len(images),
    }


def _run(detector: ImageDetector, images: Sequence[ImageFile], num_workers: int) -> _Turn:
    timed, limits = _Timed(detector), WorkerLimits.chosen(num_workers, None)
    with tempfile.TemporaryDirectory(prefix="tfod_csf_benchmark_") as folder:
        took = stopwatch.timed(
            lambda: batch.run(
                images,
                [timed],
                ScoreThresholds(),
                pathlib.Path(folder),
                ProblemLog(quiet=True),
                limits=limits,
            )
        )
    number = len(images)
    return _Turn(took.seconds / number, took.cpu_seconds / number, timed.seconds / number)

"""How long an exported model takes for an image, and how much memory the process needs at most."""

import statistics
import sys
import time
from collections.abc import Sequence

import numpy as np

from tfod_csf.model_folder import ModelFolder


def measure(model_folder: ModelFolder, images: Sequence[np.ndarray], repeats: int = 1) -> dict[str, float]:
    """Detects cells in images one by one, as batch_infer does.

    Args:
      model_folder: the exported model.
      images: uint8 [H, W, 3] RGB each; decoding is not part of the measure.
      repeats: how often to go through them.

    Returns:
      seconds_per_image (mean) and median_seconds_per_image, without the first image; first_image_seconds, which holds
      TensorFlow's preparations; load_seconds of the model; peak_memory_mb of the whole process so far (NaN where the
      system does not tell); num_images counted.

    Raises:
      ValueError: no images.
    """
    if not len(images):
        raise ValueError("there is no image to measure with")
    from tfod_csf.inference.detector import Detector

    detector = Detector.open(model_folder)
    first = _seconds(detector, images[0])
    seconds = [_seconds(detector, pixels) for _ in range(repeats) for pixels in images]
    return {
        "seconds_per_image": statistics.fmean(seconds),
        "median_seconds_per_image": statistics.median(seconds),
        "first_image_seconds": first,
        "load_seconds": detector.load_seconds,
        "peak_memory_mb": peak_memory_mb(),
        "num_images": len(seconds),
    }


def _seconds(detector, pixels: np.ndarray) -> float:
    begin = time.perf_counter()
    detector.detect(pixels)
    return time.perf_counter() - begin


def peak_memory_mb() -> float:
    """Largest resident memory of this process since its start, in MiB; NaN on Windows."""
    try:
        import resource
    except ImportError:
        return float("nan")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)  # macOS counts bytes, Linux KiB

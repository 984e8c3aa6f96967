"""How long an exported model takes for an image, as batch_infer calls it."""

import statistics
from collections.abc import Sequence

import numpy as np

from tfod_csf.benchmarks import stopwatch
from tfod_csf.model_folder import ModelFolder


def measure(model_folder: ModelFolder, images: Sequence[np.ndarray], num_repeats: int = 1) -> dict[str, float]:
    """Detects cells in images one by one.

    Args:
      model_folder: the exported model.
      images: uint8 [H, W, 3] RGB each; decoding is not part of the measure.
      num_repeats: passes over the images, after the warm-up, which is the first image.

    Returns:
      Columns of benchmark.csv: images_per_second, (fastest_, slowest_)seconds_per_image and cpu_seconds_per_image,
      medians over the repeats; first_call_seconds: loading and the first image, with TensorFlow's preparations;
      repeats; images counted.

    Raises:
      ValueError: no images.
    """
    if not len(images):
        raise ValueError("there is no image to measure with")
    from tfod_csf.inference.detector import Detector

    detector = Detector.open(model_folder)
    first = stopwatch.timed(lambda: detector.detect(images[0]))
    turns = [
        stopwatch.timed(lambda: [detector.detect(pixels) for pixels in images], num_calls=1) for _ in range(num_repeats)
    ]
    seconds = [turn.seconds / len(images) for turn in turns]
    return {
        "images_per_second": 1 / statistics.median(seconds),
        "seconds_per_image": statistics.median(seconds),
        "fastest_seconds_per_image": min(seconds),
        "slowest_seconds_per_image": max(seconds),
        "cpu_seconds_per_image": statistics.median(turn.cpu_seconds for turn in turns) / len(images),
        "first_call_seconds": detector.load_seconds + first.seconds,
        "repeats": num_repeats,
        "images": num_repeats * len(images),
    }

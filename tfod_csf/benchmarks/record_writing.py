"""Annotated images per second that become records: reading, checking, splitting, encoding, writing, reports."""

import pathlib
import statistics
import time

from tfod_csf.benchmarks import machine
from tfod_csf.problems import ProblemLog


def write(images_dir: str, output_dir: str) -> None:
    """Writes the records of a folder of annotated images."""
    from tfod_csf.data.annotated import create_tf_record

    create_tf_record.create_csf_tf_record(create_tf_record.RecordOptions(images_dir, output_dir), ProblemLog())


def measure(images_dir: str, output_dir: str, num_repeats: int) -> dict[str, float]:
    """Writes the records of a folder of annotated images repeatedly, as create_csf_tf_record does.

    Args:
      images_dir: one folder per patient, LabelImg XML beside each image.
      output_dir: records of the last repeat stay here.
      num_repeats: runs that count; one more before them, which imports TensorFlow, does not.

    Returns:
      Columns of benchmark.csv: images_per_second, (fastest_, slowest_)seconds_per_image, cpu_seconds_per_image with the
      worker processes, first_call_seconds, repeats, images.
    """
    seconds, cpu_seconds = [], []
    for _ in range(num_repeats + 1):
        begin, cpu_begin = time.perf_counter(), machine.cpu_seconds()
        write(images_dir, output_dir)
        seconds.append(time.perf_counter() - begin)
        cpu_seconds.append(machine.cpu_seconds() - cpu_begin)
    num_images = sum(1 for _ in pathlib.Path(images_dir).glob("*/*.xml"))
    first, *seconds = seconds
    median = statistics.median(seconds)
    return {
        "images_per_second": num_images / median,
        "seconds_per_image": median / num_images,
        "fastest_seconds_per_image": min(seconds) / num_images,
        "slowest_seconds_per_image": max(seconds) / num_images,
        "cpu_seconds_per_image": statistics.median(cpu_seconds[1:]) / num_images,
        "first_call_seconds": first,
        "repeats": num_repeats,
        "images": num_repeats * num_images,
    }

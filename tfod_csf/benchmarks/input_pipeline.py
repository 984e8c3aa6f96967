"""Training images per second that the input pipeline makes: reading, decoding, augmenting, resizing, batching."""

import statistics
import time
from collections.abc import Sequence

from tfod_csf.config.protos import pipeline_pb2


def measure(
    records: Sequence[str], config: pipeline_pb2.TrainEvalPipelineConfig, seconds: float, num_repeats: int = 1
) -> dict[str, float]:
    """Runs the training input pipeline for a while, as fast as it can; nothing else waits for its batches.

    Args:
      records: paths or patterns of TFRecord files, instead of those in the config.
      config: a complete config; train_config, train_input_reader and model are used.
      seconds: duration of a repeat. A warm-up of the same length, which fills the buffers, comes first.
      num_repeats: the results are medians over so many.

    Returns:
      Columns of benchmark.csv: images_per_second, (fastest_, slowest_)seconds_per_image; cpu_seconds_per_image, which
      other programs on the machine change little; first_call_seconds until the first batch; repeats; images counted;
      batch_size; height_px and width_px of the images that come out.
    """
    from tfod_csf.data import inputs

    reader = type(config.train_input_reader)()
    reader.CopyFrom(config.train_input_reader)
    reader.num_epochs = 0
    del reader.sample_from_datasets_weights[:]
    del reader.tf_record_input_reader.input_path[:]
    reader.tf_record_input_reader.input_path.extend(records)
    begin = time.perf_counter()
    batches = iter(inputs.train_input(config.train_config, reader, config.model, seed=0))
    batch_size, height, width, _ = next(batches)[0]["image"].shape
    first_batch_seconds = time.perf_counter() - begin
    _count_for(seconds, batches)
    repeats = [_count_for(seconds, batches) for _ in range(num_repeats)]
    seconds_per_image = [elapsed / num_images for num_images, elapsed, _ in repeats]
    median = statistics.median(seconds_per_image)
    return {
        "images_per_second": 1 / median,
        "seconds_per_image": median,
        "fastest_seconds_per_image": min(seconds_per_image),
        "slowest_seconds_per_image": max(seconds_per_image),
        "cpu_seconds_per_image": statistics.median(cpu / num_images for num_images, _, cpu in repeats),
        "first_call_seconds": first_batch_seconds,
        "repeats": num_repeats,
        "images": sum(num_images for num_images, _, _ in repeats),
        "batch_size": int(batch_size),
        "height_px": int(height),
        "width_px": int(width),
    }


def _count_for(seconds: float, batches) -> tuple[int, float, float]:
    """Number of images, elapsed seconds and CPU seconds until the batch that ends after `seconds`."""
    num_images, begin, cpu_begin = 0, time.perf_counter(), time.process_time()
    while True:
        num_images += int(next(batches)[0]["image"].shape[0])
        if (elapsed := time.perf_counter() - begin) >= seconds:
            return num_images, elapsed, time.process_time() - cpu_begin

"""How many training images per second the input pipeline makes: reading, decoding, augmenting, resizing, batching."""

import time
from collections.abc import Sequence

from tfod_csf.config.protos import pipeline_pb2


def measure(records: Sequence[str], config: pipeline_pb2.TrainEvalPipelineConfig, seconds: float) -> dict[str, float]:
    """Runs the training input pipeline for a while, as fast as nothing but itself allows.

    Args:
      records: paths or patterns of TFRecord files; they take the place of those in the config.
      config: a complete config; train_config, train_input_reader and model are used.
      seconds: how long to count, after the first batch, which fills the buffers and is left out.

    Returns:
      images_per_second; num_images and seconds it was counted over; cpu_seconds_per_image, which other programs on the
      machine change little; batch_size; height_px and width_px of the images that come out.
    """
    from tfod_csf.data import inputs

    reader = type(config.train_input_reader)()
    reader.CopyFrom(config.train_input_reader)
    reader.num_epochs = 0
    del reader.sample_from_datasets_weights[:]
    del reader.tf_record_input_reader.input_path[:]
    reader.tf_record_input_reader.input_path.extend(records)
    batches = iter(inputs.train_input(config.train_config, reader, config.model, seed=0))
    image = next(batches)[0]["image"]
    num_images, begin, cpu_begin = 0, time.perf_counter(), time.process_time()
    while (elapsed := time.perf_counter() - begin) < seconds:
        image = next(batches)[0]["image"]
        num_images += int(image.shape[0])
    return {
        "images_per_second": num_images / elapsed,
        "num_images": num_images,
        "seconds": elapsed,
        "cpu_seconds_per_image": (time.process_time() - cpu_begin) / max(1, num_images),
        "batch_size": int(image.shape[0]),
        "height_px": int(image.shape[1]),
        "width_px": int(image.shape[2]),
    }

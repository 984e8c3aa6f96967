"""Time that a network takes for an image: preprocessing, both stages, suppression, with random weights.

The time of a forward pass does not depend on the weights, except for suppression, which is a hundredth of it. The image
is in memory: `input_pipeline` and `detector` measure decoding.
"""

import numpy as np

from tfod_csf import legacy_keras  # noqa: F401  isort: skip

import tensorflow as tf

from tfod_csf.benchmarks import flops, stopwatch
from tfod_csf.config.protos import model_pb2
from tfod_csf.modeling import model_builder

WARM_UP_CALLS = 3


def measure(
    model_config: model_pb2.DetectionModel, image: np.ndarray, compute_dtype: str, num_repeats: int
) -> dict[str, float]:
    """Detects in one image, repeatedly.

    Args:
      model_config: the network.
      image: uint8 [H, W, 3] RGB, before resizing.
      compute_dtype: float32 or bfloat16.
      num_repeats: see `stopwatch`.

    Returns:
      The keys of `row_of`, and height_px and width_px of the network's input.
    """
    model = model_builder.build(model_config, is_training=False, compute_dtype=compute_dtype)
    model.build_variables()
    images = tf.constant(image[np.newaxis])

    @tf.function(input_signature=[tf.TensorSpec(images.shape, tf.uint8)])
    def detect(inputs):
        preprocessed, true_image_shapes = model.preprocess(inputs)
        return preprocessed, model.postprocess(model.predict(preprocessed, true_image_shapes), true_image_shapes)

    function = detect.get_concrete_function()
    num_flops = flops.count(function)
    measured = stopwatch.measure(
        lambda: function(images)[1]["num_detections"].numpy(), num_flops, num_repeats, WARM_UP_CALLS
    )
    _, height, width, _ = function.structured_outputs[0].shape
    return row_of(measured, num_flops, batch_size=1) | {"height_px": height, "width_px": width}


def row_of(measured: stopwatch.Measurement, num_flops: float, batch_size: int) -> dict[str, float]:
    """Columns of benchmark.csv that a step over `batch_size` images fills, per image."""
    return {
        "batch_size": batch_size,
        "images_per_second": batch_size / measured.seconds,
        "seconds_per_image": measured.seconds / batch_size,
        "fastest_seconds_per_image": measured.fastest_seconds / batch_size,
        "slowest_seconds_per_image": measured.slowest_seconds / batch_size,
        "cpu_seconds_per_image": measured.cpu_seconds / batch_size,
        "gflop_per_image": num_flops / batch_size / 1e9,
        "gflop_per_second": num_flops / measured.seconds / 1e9,
        "matmul_gflop_per_second": measured.matmul_gflops,
        "percent_of_matmul": 100.0 * measured.share_of_matmul,
        "cpu_percent_of_matmul": 100.0 * measured.cpu_share_of_matmul,
        "peak_memory_mb": measured.peak_memory_mb,
        "first_call_seconds": measured.first_call_seconds,
        "repeats": measured.num_repeats,
        "images": measured.num_repeats * measured.calls_per_repeat * batch_size,
    }

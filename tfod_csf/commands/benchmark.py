"""Measure speed and memory of training and inference on this machine.

Record writing, input pipeline, training step, inference, exported models, and batch_infer from files to tables and
pictures, with exported models and with a stand-in network that takes 20 ms and leaves the cores free. Images are
synthetic slides, weights are random. Writes one CSV; speeds of networks are also given as a share of the speed of
float32 matrix products, measured in turns with them. Keep the machine otherwise idle, or compare the columns of CPU
time.

Example: tfod_csf benchmark --networks=resnet50 --parts=inference --output_csv=benchmark.csv
"""

import sys

from absl import flags

from tfod_csf.commands import command_line, common_flags

_PARTS = [
    *("record_writing", "input_pipeline", "training_step", "inference", "exported_model", "end_to_end", "stand_in"),
]
_DTYPES = ["float32", "bfloat16"]

FLAGS = flags.FlagValues()
flags.DEFINE_string("output_csv", "benchmark.csv", "Table to write.", flag_values=FLAGS)
common_flags.define_list(FLAGS, "parts", _PARTS, "What to measure.", choices=_PARTS)
common_flags.define_list(
    FLAGS, "networks", ["resnet50", "resnet18"], "Networks to measure: --feature_extractor of generate_pipeline_config."
)
common_flags.define_list(
    FLAGS, "compute_dtypes", _DTYPES, "Number formats in which inference is measured.", choices=_DTYPES
)
common_flags.define_list(FLAGS, "models", [], "Exported model folders to measure as batch_infer runs them.")
common_flags.define_trust(FLAGS)
flags.DEFINE_string(
    "input_size",
    "",
    "Input size of all networks in pixels, MINxMAX; default: each network's own.",
    flag_values=FLAGS,
)
flags.DEFINE_integer("max_proposals", 300, "Proposals that enter the second stage.", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_integer("batch_size", 4, "Images of a training step.", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_integer(
    "num_images", 40, "Slides to render; rounded up to a multiple of five.", lower_bound=5, flag_values=FLAGS
)
flags.DEFINE_integer("image_width", 640, "Width of a slide in pixels.", flag_values=FLAGS)
flags.DEFINE_integer("image_height", 480, "Height of a slide in pixels.", flag_values=FLAGS)
flags.DEFINE_integer("repeats", 7, "Repeats of each measurement; medians are given.", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_float(
    "seconds", 5.0, "Seconds that each repeat of input_pipeline takes.", lower_bound=0.01, flag_values=FLAGS
)


def main() -> None:
    """Measures, and prints a line for each part."""
    from tfod_csf.benchmarks import benchmark_run
    from tfod_csf.progress_bar import write_line

    options = {name: FLAGS[name].value for name in benchmark_run.BenchmarkOptions.__dataclass_fields__}
    rows = benchmark_run.run(
        benchmark_run.BenchmarkOptions(**options),
        FLAGS.output_csv,
        say=lambda row: write_line(benchmark_run.describe(row)),
    )
    about = rows[-1]
    print(
        f"{about['cpu']}, {about['cores']} cores, {about['memory_gb']:.0f} GiB, TensorFlow {about['tensorflow']}: "
        f"{len(rows)} rows in {FLAGS.output_csv}."
    )


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "benchmark"))

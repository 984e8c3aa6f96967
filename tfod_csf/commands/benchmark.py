"""Measures speed and memory on this machine: record writing, input pipeline, training step, inference.

Input is drawn slides, weights are random. Writes one CSV; speeds of networks are also given as a share of the speed of
float32 matrix products, measured in turns with them. Leave the machine alone meanwhile, or compare the CPU columns.

Example: tfod_csf benchmark --networks=resnet50 --parts=inference --output_csv=benchmark.csv
"""

import sys

from absl import flags

from tfod_csf.commands import command_line
from tfod_csf.errors import UserError

_PARTS = ["record_writing", "input_pipeline", "training_step", "inference", "exported_model"]
_DTYPES = ["float32", "bfloat16"]

FLAGS = flags.FlagValues()
flags.DEFINE_string("output_csv", "benchmark.csv", "Table to write.", flag_values=FLAGS)
flags.DEFINE_list("parts", _PARTS, "What to measure.", flag_values=FLAGS)
flags.DEFINE_list(
    "networks", ["resnet50", "resnet18"], "Feature extractors of generate_pipeline_config.", flag_values=FLAGS
)
flags.DEFINE_string(
    "input_size", "", "MINxMAX in px for all networks; by default each preset's own.", flag_values=FLAGS
)
flags.DEFINE_integer("max_proposals", 300, "Proposals that enter the second stage.", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_integer("batch_size", 4, "Images of a training step.", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_list("compute_dtypes", _DTYPES, "Of inference: float32, bfloat16.", flag_values=FLAGS)
flags.DEFINE_list("models", [], "Exported models to measure as batch_infer runs them.", flag_values=FLAGS)
flags.DEFINE_integer("num_images", 40, "Slides to draw; rounded up to fives.", lower_bound=5, flag_values=FLAGS)
flags.DEFINE_integer("image_width", 640, "Width of a drawn slide in pixels.", flag_values=FLAGS)
flags.DEFINE_integer("image_height", 480, "Height of a drawn slide in pixels.", flag_values=FLAGS)
flags.DEFINE_integer("repeats", 7, "Repeats that medians are taken over.", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_float("seconds", 5.0, "How long each repeat of input_pipeline counts.", 0.01, flag_values=FLAGS)


def main() -> None:
    """Checks the lists, measures, prints a line for each part."""
    for flag, known in (("parts", _PARTS), ("compute_dtypes", _DTYPES)):
        for value in FLAGS[flag].value:
            if value not in known:
                raise UserError(f"--{flag}: {value!r} is unknown; use some of {','.join(known)}.")
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

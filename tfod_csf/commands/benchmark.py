"""Measure speed and memory of training and inference on this machine.

Record writing, input pipeline, training step, inference, exported models, batch_infer from files to tables and
pictures, with exported models and with a stand-in network that takes 20 ms and leaves the cores free, and formats:
--models of one network in several number formats (exporter_main_v2, export_openvino) on annotated images of
--input_path, with speed, mAP and percentages compared with those of the first model. Elsewhere images are synthetic
slides, and weights of networks are random. Writes one CSV; speeds of networks are also given as a share of the speed of
float32 matrix products, measured in turns with them. Keep the machine otherwise idle, or compare the columns of CPU
time.

Example: tfod_csf benchmark --networks=resnet50 --parts=inference --output_csv=benchmark.csv
"""

import sys

from absl import flags

from tfod_csf.commands import command_line, common_flags

_PARTS = [
    *("record_writing", "input_pipeline", "training_step", "inference", "exported_model", "end_to_end", "stand_in"),
    "formats",
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
common_flags.define_list(
    FLAGS, "models", [], common_flags.model_help("Exported model folders to measure as batch_infer runs them")
)
common_flags.define_trust(FLAGS)
flags.DEFINE_string(
    "input_path",
    "",
    "TFRecord of annotated images for the part formats, which runs only with it: a file, a glob or name@N.",
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "max_images", 100, "Images of --input_path that the part formats examines.", lower_bound=1, flag_values=FLAGS
)
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
        f"{about['cpu']} ({_instructions(about)}), {about['cores']} cores, {about['memory_gb']:.0f} GiB, TensorFlow "
        f"{about['tensorflow']}: {len(rows)} rows in {FLAGS.output_csv}."
    )


def _instructions(about: dict) -> str:
    """Which number formats the processor has instructions for."""
    words = {True: "with", False: "without", None: "not known whether with"}
    return f"{words[about['has_int8']]} int8, {words[about['has_bfloat16']]} bfloat16 instructions"


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "benchmark"))

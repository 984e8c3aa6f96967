"""Plot precision and losses of a training run, and where they saturated (Figure 3).

Reads best.json and the TensorBoard event files of a training run (without TensorFlow), fits a - b / step, and writes
the figure as PNG and SVG and the numbers as CSV. Figure 3 is the paper's.
"""

import sys

from absl import flags

from tfod_csf.commands import command_line, common_flags

FLAGS = flags.FlagValues()
flags.DEFINE_string(
    "model_dir", None, "Folder of the training run: --model_dir of model_main_tf2.", required=True, flag_values=FLAGS
)
common_flags.define_output_dir(FLAGS)
flags.DEFINE_float(
    "precision_tolerance",
    0.01,
    "Change of a precision below which it counts as saturated.",
    lower_bound=1e-6,
    upper_bound=1.0,
    flag_values=FLAGS,
)
flags.DEFINE_float(
    "loss_tolerance",
    0.02,
    "Change of a loss, as a fraction of its range, below which it counts as saturated.",
    lower_bound=1e-6,
    upper_bound=1.0,
    flag_values=FLAGS,
)


def main() -> None:
    """Reads, fits, writes, and says whether training saturated."""
    output_dir = common_flags.output_dir(FLAGS)
    from tfod_csf.evaluation.training_report import training_tables
    from tfod_csf.files import folder_lock

    with folder_lock.only_writer(output_dir):
        row, best = training_tables.write_training_report(
            FLAGS.model_dir, output_dir, FLAGS.precision_tolerance, FLAGS.loss_tolerance
        )
    if row is None:
        verdict = "neither precision nor total loss was recorded"
    elif "a" not in row:
        verdict = f"{row['tag']}: {row['points']} points are too few for a fit"
    else:
        verdict = (
            f"{row['tag']} {row['last_value']:.4f} at step {row['last_step']:,}, fit {row['a']:.4f} - {row['b']:.1f} / "
            f"step: {'saturated' if row['saturated'] else 'not saturated'}"
        )
    if best:
        verdict += f"; best checkpoint at step {best.get('step')} ({best.get('metric')} {best.get('value'):.4f})"
    print(f"{verdict}; written to {output_dir} (training_report.png, .svg, training_*.csv).")


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "training_report"))

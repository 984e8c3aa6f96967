"""Precision and losses of a training run against steps, and where they saturated (the paper's Figure 3).

Reads the TensorBoard event files of model_main_tf2's --model_dir (without TensorFlow) and best.json; fits a - b / x;
writes the figure as PNG and SVG and the numbers as CSV.
"""

import sys

from absl import flags

from tfod_csf.commands import command_line

FLAGS = flags.FlagValues()
flags.DEFINE_string("model_dir", None, "The --model_dir of model_main_tf2.", flag_values=FLAGS)
flags.DEFINE_string("output_dir", None, "Folder to write to.", flag_values=FLAGS)
flags.DEFINE_float(
    "precision_tolerance", 0.01, "A precision that changes by less than this has saturated.", 1e-6, 1, flag_values=FLAGS
)
flags.DEFINE_float(
    "loss_tolerance", 0.02, "A loss that changes by less than this share of its range has.", 1e-6, 1, flag_values=FLAGS
)
flags.mark_flags_as_required(["model_dir", "output_dir"], flag_values=FLAGS)


def main() -> None:
    """Reads, fits, writes, and says whether training saturated."""
    from tfod_csf.evaluation.training_report import training_tables

    row, best = training_tables.write_training_report(
        FLAGS.model_dir, FLAGS.output_dir, FLAGS.precision_tolerance, FLAGS.loss_tolerance
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
    print(f"{verdict}; written to {FLAGS.output_dir} (training_report.png, .svg, training_*.csv).")


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "training_report"))

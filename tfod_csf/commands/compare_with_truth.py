"""Prints the differentials that batch_infer found beside what synthesize drew, patient by patient."""

import pathlib
import sys

from absl import flags

from tfod_csf.commands import command_line
from tfod_csf.errors import UserError

FLAGS = flags.FlagValues()
flags.DEFINE_string("inference_dir", None, "Output folder of batch_infer.", flag_values=FLAGS)
flags.DEFINE_string("truth", None, "truth.csv of synthesize.", flag_values=FLAGS)
flags.mark_flags_as_required(["inference_dir", "truth"], flag_values=FLAGS)


def main() -> None:
    differentials = pathlib.Path(FLAGS.inference_dir) / "differentials.csv"
    for path in (differentials, pathlib.Path(FLAGS.truth)):
        if not path.is_file():
            raise UserError(f"{path}: no such file; run batch_infer on slides of synthesize first.")
    from tfod_csf.synthetic import truth

    comparisons = truth.compare(differentials, FLAGS.truth)
    output = pathlib.Path(FLAGS.inference_dir) / "truth_comparison.csv"
    truth.write_comparison(comparisons, output)
    print(truth.format_comparison(comparisons))
    print(f"Wrote {output}.")


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "compare_with_truth"))

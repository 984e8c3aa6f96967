"""Compare the differentials of synthetic slides with what synthesize rendered.

Prints them patient by patient and writes truth_comparison.csv into the run's folder.
"""

import pathlib
import sys

from absl import flags

from tfod_csf.commands import command_line, common_flags
from tfod_csf.errors import UserError
from tfod_csf.wording import named, plural

FLAGS = flags.FlagValues()
common_flags.define_inference_dir(FLAGS)
flags.DEFINE_string("truth", None, "The file truth.csv that synthesize wrote.", required=True, flag_values=FLAGS)


def main() -> None:
    """Compares, writes and prints."""
    inference_dir = common_flags.inference_dir(FLAGS)
    differentials = inference_dir / "differentials.csv"
    for path in (differentials, pathlib.Path(FLAGS.truth)):
        if not path.is_file():
            raise UserError(f"{path}: no such file; run batch_infer on slides of synthesize first.")
    from tfod_csf.cytology.counting import cohort
    from tfod_csf.files import folder_lock
    from tfod_csf.synthetic import truth

    cohort.check_made_of(differentials, inference_dir)
    comparisons = truth.compare(differentials, FLAGS.truth)
    output = inference_dir / "truth_comparison.csv"
    with folder_lock.only_writer(inference_dir):
        truth.write_comparison(comparisons, output)
    print(truth.format_comparison(comparisons))
    print(truth.largest_difference(comparisons))
    without = [one.patient_id for one in comparisons if not one.has_result]
    missing = f"; {plural(len(without), 'patient')} of {FLAGS.truth} without a result: {named(without)}"
    unreliable = sum(one.unknown_beyond_limit for one in comparisons)
    words = f"; {plural(unreliable, 'patient')} with too many unknown white cells: percentages not to be relied on"
    print(f"Wrote {output}{missing if without else ''}{words if unreliable else ''}.")


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "compare_with_truth"))

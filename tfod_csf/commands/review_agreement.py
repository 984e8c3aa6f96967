"""Compare reviewers with each other: kappa cell by cell, and their differentials.

For every two people who verified the same images of a patient, each with an export of his own. What each of them said
is rebuilt from the history, whatever was made of their disagreements.
"""

import sys

from absl import flags

from tfod_csf.commands import command_line, common_flags

FLAGS = flags.FlagValues()
common_flags.define_inference_dir(FLAGS, "Folder of the reviewed results, the --output_dir of review_import.")
common_flags.define_output_dir(FLAGS)
common_flags.define_matching_iou_threshold(FLAGS)
common_flags.define_strict(FLAGS)


def main() -> None:
    """Compares, writes two tables, and prints a line per pair of people."""
    inference_dir, output_dir = common_flags.inference_dir(FLAGS), common_flags.output_dir(FLAGS)
    from tfod_csf.cytology import run_tables
    from tfod_csf.cytology.review import reviewer_agreement
    from tfod_csf.files import folder_lock
    from tfod_csf.problems import ProblemLog
    from tfod_csf.progress_bar import bar_over

    problems = ProblemLog(strict=FLAGS.strict)
    folders = bar_over("patient")(run_tables.patient_folders(inference_dir))
    with folder_lock.only_writer(output_dir):
        try:
            found = reviewer_agreement.write_agreement(folders, output_dir, problems, FLAGS.matching_iou_threshold)
        finally:
            problems.write_csv(output_dir / "problems.csv")
    print(found)
    print(f"{problems.summary()}; written to {output_dir}.")


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "review_agreement"))

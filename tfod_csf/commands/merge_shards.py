"""Make the tables of all patients from the shards of a divided batch_infer (--shard).

Reads OUT/shards/ and OUT/patients/, and writes OUT/differentials.csv, OUT/run.json, OUT/problems.csv and each patient's
differential.csv: the files of an undivided run. Images are listed, not read; no model is needed. Shards that are not
finished or have other models or thresholds, and patients who are missing, there twice or have other images now, are
named, and nothing is written. Models, thresholds and the folder of images are those that the shards were given.

Example: tfod_csf merge_shards --output_dir=results
"""

import sys

from absl import flags

from tfod_csf.commands import command_line, common_flags, inference_flags

FLAGS = flags.FlagValues()
common_flags.define_output_dir(FLAGS, "Output folder of the shards (OUT).")
common_flags.define_run_images_dir(FLAGS, whose=True)
common_flags.define_problem_limits(FLAGS)


def main() -> None:
    """Merges, and says in a few lines what was found."""
    output_dir = common_flags.existing_folder(FLAGS, "output_dir", "give the --output_dir of the shards")
    from tfod_csf.inference.runs import merge
    from tfod_csf.problems import ProblemLog

    problems = ProblemLog(FLAGS.strict)
    whose = merge.Whose(FLAGS.images_dir, FLAGS.manifest, FLAGS.patient_pattern)
    done = merge.run(output_dir, problems, inference_flags.write_differentials, whose)
    inference_flags.say_what_was_found(FLAGS, done, output_dir, problems)


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "merge_shards"))

"""Copy images into a train and a test folder, as the tutorial does.

It has the flags of the script in the well-known tutorial. Unlike that script the split has a seed, and with -x it is
stratified by class. create_csf_tf_record splits by itself; this is for workflows that keep images/train and
images/test.

Example: tfod_csf partition_dataset -x -i images -o images -r 0.1
"""

import sys

from absl import flags

from tfod_csf.commands import command_line, common_flags
from tfod_csf.files import folder_lock

FLAGS = flags.FlagValues()
flags.DEFINE_string("imageDir", ".", "Folder of the images.", short_name="i", flag_values=FLAGS)
flags.DEFINE_string(
    "outputDir", None, "Folder in which train and test are made; default: imageDir.", short_name="o", flag_values=FLAGS
)
flags.DEFINE_float(
    "ratio", 0.1, "Share of the images that are copied into the test folder.", short_name="r", flag_values=FLAGS
)
flags.DEFINE_boolean("xml", False, "Copy the XML files too.", short_name="x", flag_values=FLAGS)
flags.DEFINE_integer("seed", 0, "Seed of the split: another seed, another split.", flag_values=FLAGS)
common_flags.define_problem_limits(FLAGS)


def main() -> None:
    """Copies the files."""
    from tfod_csf.data.annotated import single_record
    from tfod_csf.problems import ProblemLog

    problems = ProblemLog(strict=FLAGS.strict)
    output_dir = FLAGS.outputDir or FLAGS.imageDir
    with folder_lock.only_writer(output_dir):
        counts = single_record.partition(
            FLAGS.imageDir, output_dir, FLAGS.ratio, FLAGS.xml, FLAGS.seed, problems, FLAGS.max_skipped_fraction
        )
    print(f"{output_dir}: {counts['train']} images in train, {counts['test']} in test ({problems.summary()}).")


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "partition_dataset"))

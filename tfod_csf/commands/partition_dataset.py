"""Copies images (and their XML) into a train and a test folder, with the flags of the well-known tutorial's script.

Unlike that script the division is seeded, and with -x it is stratified by class. create_csf_tf_record divides by
itself; this is for workflows that keep images/train and images/test.

Example: tfod_csf partition_dataset -x -i images -o images -r 0.1
"""

import sys

from absl import flags

from tfod_csf.commands import command_line

FLAGS = flags.FlagValues()
flags.DEFINE_string("imageDir", ".", "Folder of the images.", short_name="i", flag_values=FLAGS)
flags.DEFINE_string(
    "outputDir", None, "Folder for train and test; by default imageDir.", short_name="o", flag_values=FLAGS
)
flags.DEFINE_float("ratio", 0.1, "Share of images to test with.", short_name="r", flag_values=FLAGS)
flags.DEFINE_boolean("xml", False, "Copy the XML files too.", short_name="x", flag_values=FLAGS)
flags.DEFINE_integer("seed", 0, "Another seed, another division.", flag_values=FLAGS)
flags.DEFINE_boolean("strict", False, "End at the first skipped or mended thing.", flag_values=FLAGS)
flags.DEFINE_float("max_skipped_fraction", 0.1, "Largest share of files that may be skipped.", 0, 1, flag_values=FLAGS)


def main() -> None:
    """Copies the files."""
    from tfod_csf.data.annotated import single_record
    from tfod_csf.problems import ProblemLog

    problems = ProblemLog(strict=FLAGS.strict)
    output_dir = FLAGS.outputDir or FLAGS.imageDir
    counts = single_record.partition(
        FLAGS.imageDir, output_dir, FLAGS.ratio, FLAGS.xml, FLAGS.seed, problems, FLAGS.max_skipped_fraction
    )
    print(f"{output_dir}: {counts['train']} images in train, {counts['test']} in test ({problems.summary()}).")


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "partition_dataset"))

"""Make one TFRecord file from a Pascal VOC tree, with TFOD's flags.

DATA_DIR/YEAR holds ImageSets/Main/aeroplane_SET.txt (or SET.txt), ANNOTATIONS_DIR and JPEGImages.
OUTPUT_PATH.problems.csv lists what was skipped or repaired.
"""

import sys

from absl import flags

from tfod_csf.commands import command_line, common_flags
from tfod_csf.files import folder_lock

FLAGS = flags.FlagValues()
flags.DEFINE_string("data_dir", "", "Root folder of the Pascal VOC data (required).", flag_values=FLAGS)
flags.DEFINE_enum("year", "VOC2007", ["VOC2007", "VOC2012", "merged"], "Challenge year.", flag_values=FLAGS)
flags.DEFINE_enum(
    "set", "train", ["train", "val", "trainval", "test"], "Which list of images to convert.", flag_values=FLAGS
)
flags.DEFINE_string(
    "annotations_dir", "Annotations", "Name of the folder with the XML, below DATA_DIR/YEAR.", flag_values=FLAGS
)
flags.DEFINE_string("output_path", "", "TFRecord file to write (required).", flag_values=FLAGS)
flags.DEFINE_string("label_map_path", "data/pascal_label_map.pbtxt", "Label map (.pbtxt).", flag_values=FLAGS)
common_flags.define_ignore_difficult_instances(FLAGS)
common_flags.define_problem_limits(FLAGS)


def main() -> None:
    """Makes the record."""
    from tfod_csf.data.annotated import single_record
    from tfod_csf.data.annotated.annotated_set import ReadingOptions
    from tfod_csf.data.annotated.create_tf_record import load_classes
    from tfod_csf.errors import UserError
    from tfod_csf.problems import ProblemLog

    for name in ("data_dir", "output_path"):  # TFOD's defaults are empty; nothing can be done with those
        if not getattr(FLAGS, name):
            raise UserError(f"--{name} is empty; see tfod_csf create_pascal_tf_record --help.")
    problems = ProblemLog(strict=FLAGS.strict)
    label_map, class_map = load_classes(FLAGS.label_map_path, [])
    options = ReadingOptions(label_map, class_map, FLAGS.ignore_difficult_instances)
    files = single_record.find_pascal_files(FLAGS.data_dir, FLAGS.year, FLAGS.set, FLAGS.annotations_dir, problems)
    with folder_lock.only_writer(FLAGS.output_path, swapped=True):
        said = single_record.create_record(
            files, options, problems, FLAGS.output_path, max_skipped_fraction=FLAGS.max_skipped_fraction
        )
    print(said)


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "create_pascal_tf_record"))

"""Make one TFRecord file from a folder of LabelImg XML, as the tutorial does.

It has the flags of the script in the well-known tutorial. Unlike that script it keeps images without objects (they are
the negatives), writes all of TFOD's keys, sorts the images, and pairs XML and image by their names.
OUTPUT_PATH.problems.csv lists what was skipped or repaired.

Example: tfod_csf generate_tfrecord -x images/train -l annotations/label_map.pbtxt -o annotations/train.record
"""

import sys

from absl import flags

from tfod_csf.commands import command_line, common_flags
from tfod_csf.files import folder_lock

FLAGS = flags.FlagValues()
flags.DEFINE_string("xml_dir", None, "Folder of the XML files.", short_name="x", required=True, flag_values=FLAGS)
flags.DEFINE_string("labels_path", None, "Label map (.pbtxt).", short_name="l", required=True, flag_values=FLAGS)
flags.DEFINE_string("output_path", None, "TFRecord file to write.", short_name="o", required=True, flag_values=FLAGS)
flags.DEFINE_string("image_dir", None, "Folder of the images; default: XML_DIR.", short_name="i", flag_values=FLAGS)
flags.DEFINE_string(
    "csv_path", None, "CSV of all boxes to write besides the record; default: none.", short_name="c", flag_values=FLAGS
)
common_flags.define_class_map(FLAGS)
common_flags.define_problem_limits(FLAGS)


def main() -> None:
    """Makes the record."""
    from tfod_csf.data.annotated import single_record
    from tfod_csf.data.annotated.annotated_set import ReadingOptions
    from tfod_csf.data.annotated.create_tf_record import load_classes
    from tfod_csf.problems import ProblemLog
    from tfod_csf.study.patients import find_pairs

    problems = ProblemLog(strict=FLAGS.strict)
    options = ReadingOptions(*load_classes(FLAGS.labels_path, FLAGS.class_map))
    files = find_pairs(FLAGS.image_dir or FLAGS.xml_dir, FLAGS.xml_dir if FLAGS.image_dir else None, problems)
    with folder_lock.only_writer(FLAGS.output_path, swapped=True):
        said = single_record.create_record(
            files, options, problems, FLAGS.output_path, FLAGS.csv_path, FLAGS.max_skipped_fraction
        )
    print(said)


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "generate_tfrecord"))

"""Makes one TFRecord file from a folder of LabelImg XML, with the flags of the well-known tutorial's script.

Unlike that script it keeps images without objects (they are the negatives), writes all of TFOD's keys, sorts the images
and pairs XML and image by their names. OUTPUT_PATH.problems.csv lists what was skipped or mended.

Example: tfod_csf generate_tfrecord -x images/train -l annotations/label_map.pbtxt -o annotations/train.record
"""

import sys

from absl import flags

from tfod_csf.commands import command_line

FLAGS = flags.FlagValues()
flags.DEFINE_string("xml_dir", None, "Folder of the XML files.", short_name="x", flag_values=FLAGS)
flags.DEFINE_string("labels_path", None, "Label map (.pbtxt).", short_name="l", flag_values=FLAGS)
flags.DEFINE_string("output_path", None, "TFRecord file to write.", short_name="o", flag_values=FLAGS)
flags.DEFINE_string("image_dir", None, "Folder of the images; by default XML_DIR.", short_name="i", flag_values=FLAGS)
flags.DEFINE_string("csv_path", None, "CSV of all boxes to write; by default none.", short_name="c", flag_values=FLAGS)
flags.DEFINE_list("class_map", [], "Classes to rename (OLD=NEW) or to drop (OLD=).", flag_values=FLAGS)
flags.DEFINE_boolean("strict", False, "End at the first skipped or mended thing.", flag_values=FLAGS)
flags.DEFINE_float("max_skipped_fraction", 0.1, "Largest share of files that may be skipped.", 0, 1, flag_values=FLAGS)
flags.mark_flags_as_required(["xml_dir", "labels_path", "output_path"], flag_values=FLAGS)


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
    print(
        single_record.create_record(
            files, options, problems, FLAGS.output_path, FLAGS.csv_path, FLAGS.max_skipped_fraction
        )
    )


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "generate_tfrecord"))

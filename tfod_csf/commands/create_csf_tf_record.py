"""Make train and test TFRecords from images annotated in LabelImg.

IMAGES_DIR holds one folder per patient (or the images themselves: one patient). Besides the records, the command writes
label_map.pbtxt, annotations.csv, split.csv, dataset_report.json and problems.csv into OUTPUT_DIR, and the data page,
dataset_report.html with three tables, which dataset_report makes again with a config's anchors.

Example: tfod_csf create_csf_tf_record --images_dir=slides --split_by=patient --class_map=platelet=
"""

import sys

from absl import flags

from tfod_csf.commands import command_line, common_flags, record_flags
from tfod_csf.errors import UserError
from tfod_csf.files import folder_lock

FLAGS = flags.FlagValues()
common_flags.define_images_dir(FLAGS)
common_flags.define_annotations_dir(FLAGS)
common_flags.define_output_dir(FLAGS, default="tfrecords", required=False)
record_flags.define_labels(FLAGS)
flags.DEFINE_float("test_fraction", 0.1, "Share of the images that go into the test records.", flag_values=FLAGS)
flags.DEFINE_string(
    "test_set",
    None,
    "CSV of the images or patients to test with, instead of --test_fraction: a column image (path below --images_dir, "
    "or file name) or patient_id; all others train. The split.csv of an earlier set repeats its split.",
    flag_values=FLAGS,
)
flags.DEFINE_enum(
    "split_by",
    "image",
    ["image", "patient"],
    "What is kept on one side of the split. image: as in the paper, one person's images can be on both sides; patient: "
    "all images of a person are on one side (recommended).",
    flag_values=FLAGS,
)
record_flags.define_keep_together(FLAGS)
flags.DEFINE_integer(
    "seed",
    0,
    "Seed of the split: another seed, another split. With --test_set only the order of the records depends on it.",
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "num_shards", 1, "Number of files that the records of each side are spread over.", lower_bound=1, flag_values=FLAGS
)
record_flags.define_num_processes(FLAGS)
record_flags.define_data_page(FLAGS)
common_flags.define_problem_limits(FLAGS)


def main() -> None:
    """Makes the records and prints what is in them."""
    from tfod_csf.data.annotated.create_tf_record import RecordOptions, create_csf_tf_record
    from tfod_csf.data.dataset_page.data_page import PAGE, PageOptions, write_data_page
    from tfod_csf.problems import ProblemLog

    common_flags.output_dir(FLAGS)
    if FLAGS.test_set and FLAGS["test_fraction"].present:
        raise UserError("--test_set and --test_fraction both say which images test; give one of them.")
    problems = ProblemLog(strict=FLAGS.strict)
    names = RecordOptions.__dataclass_fields__
    with folder_lock.only_writer(FLAGS.output_dir):
        statistics = create_csf_tf_record(RecordOptions(**{name: getattr(FLAGS, name) for name in names}), problems)
        options = PageOptions(num_processes=FLAGS.num_processes)
        page = write_data_page(FLAGS.output_dir, FLAGS.output_dir, options, problems) if FLAGS.data_page else None
    print(f"\n{statistics.table()}\n\n{problems.table()}\n")
    if page is not None:
        print(f"{page.warning_text()}\n\nLook at {FLAGS.output_dir}/{PAGE} before training.\n")
    print(f"Wrote records, label map, tables and problems.csv to {FLAGS.output_dir} ({problems.summary()}).")


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "create_csf_tf_record"))

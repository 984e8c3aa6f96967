"""Makes train and test TFRecords from images labelled in LabelImg.

IMAGES_DIR holds one folder per patient (or the images themselves: one patient). Beside the records it writes
label_map.pbtxt, annotations.csv, split.csv, dataset_report.json and problems.csv into OUTPUT_DIR.

Example: tfod_csf create_csf_tf_record --images_dir=slides --split_by=patient --class_map=platelet=
"""

import sys

from absl import flags

from tfod_csf.commands import command_line

FLAGS = flags.FlagValues()
flags.DEFINE_string("images_dir", None, "Folder of images, one sub-folder per patient, or flat.", flag_values=FLAGS)
flags.DEFINE_string(
    "annotations_dir",
    None,
    "Folder of the LabelImg XML files; by default they lie beside their images.",
    flag_values=FLAGS,
)
flags.DEFINE_string(
    "label_map_path", None, "Label map; by default lymphocyte, monocyte, neutrophil, erythrocyte.", flag_values=FLAGS
)
flags.DEFINE_string("output_dir", "tfrecords", "Folder to write to.", flag_values=FLAGS)
flags.DEFINE_float("test_fraction", 0.1, "Share of images to test with.", flag_values=FLAGS)
flags.DEFINE_enum(
    "split_by",
    "image",
    ["image", "patient"],
    "image: as in the paper, a person can be on both sides; patient: each person is on one side (recommended).",
    flag_values=FLAGS,
)
flags.DEFINE_string(
    "keep_together",
    None,
    "CSV of images that stay on one side, for overlapping photographs: columns group,image (one image a row) or "
    "image_1,image_2 (one group a row). With --split_by=patient their patients stay together.",
    flag_values=FLAGS,
)
flags.DEFINE_list(
    "class_map",
    [],
    "Classes to rename (OLD=NEW) or to drop (OLD=), for example rbc=erythrocyte,platelet=",
    flag_values=FLAGS,
)
flags.DEFINE_boolean("ignore_difficult_instances", False, "Leave out objects marked difficult.", flag_values=FLAGS)
flags.DEFINE_enum(
    "other_objects",
    "pass_over",
    ["pass_over", "background"],
    "What becomes of objects named unknown, or by any other name that is not in the label map. pass_over: training "
    "takes them neither for a class nor for background, and evaluation does not count them; background: left out.",
    flag_values=FLAGS,
)
flags.DEFINE_boolean(
    "rescale_boxes", False, "Scale boxes of images that were resized, as a whole, after annotation.", flag_values=FLAGS
)
flags.DEFINE_string(
    "manifest", None, "CSV image,patient_id that says whose image it is, instead of the folders.", flag_values=FLAGS
)
flags.DEFINE_string(
    "patient_pattern",
    None,
    "Regular expression with a group named patient, searched in the path of each image, instead of the folders.",
    flag_values=FLAGS,
)
flags.DEFINE_integer("num_shards", 1, "Files to spread the records of a side over.", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_integer("seed", 0, "Another seed, another split.", flag_values=FLAGS)
flags.DEFINE_integer(
    "num_processes", 0, "Processes that read images; 0: one for each core.", lower_bound=0, flag_values=FLAGS
)
flags.DEFINE_boolean("strict", False, "End at the first skipped or mended thing.", flag_values=FLAGS)
flags.DEFINE_float(
    "max_skipped_fraction",
    0.1,
    "Largest share of files that may be skipped before the run is refused.",
    lower_bound=0.0,
    upper_bound=1.0,
    flag_values=FLAGS,
)
flags.mark_flag_as_required("images_dir", flag_values=FLAGS)


def main() -> None:
    """Makes the records and prints what is in them."""
    from tfod_csf.data.annotated.create_tf_record import RecordOptions, create_csf_tf_record
    from tfod_csf.problems import ProblemLog

    problems = ProblemLog(strict=FLAGS.strict)
    names = RecordOptions.__dataclass_fields__
    statistics = create_csf_tf_record(RecordOptions(**{name: getattr(FLAGS, name) for name in names}), problems)
    print(f"\n{statistics.table()}\n\n{problems.table()}\n")
    print(f"Wrote records, label map, tables and problems.csv to {FLAGS.output_dir} ({problems.summary()}).")


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "create_csf_tf_record"))

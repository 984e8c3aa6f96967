"""Show what training will read: labels, leaks, box sizes, color and focus, warnings first.

Reads the TFRecords of a folder (without TensorFlow) and writes dataset_report.html, dataset_images.csv,
dataset_leaks.csv and dataset_appearance.csv. create_csf_tf_record writes the same page; here it can have a config, with
whose anchors the boxes are compared, and laboratories.

Example: tfod_csf dataset_report --records_dir=tfrecords --pipeline_config_path=pipeline.config
"""

import pathlib
import sys

from absl import flags

from tfod_csf.commands import command_line, common_flags, config_flags, record_flags
from tfod_csf.files import folder_lock

FLAGS = flags.FlagValues()
flags.DEFINE_string(
    "records_dir",
    "tfrecords",
    "Folder of train.record*, test.record* and label_map.pbtxt, as create_csf_tf_record writes it.",
    flag_values=FLAGS,
)
common_flags.define_output_dir(FLAGS, "Folder to write to; default: --records_dir.", required=False)
config_flags.define_pipeline_config_path(FLAGS, required=False)
record_flags.define_laboratory_pattern(FLAGS)
flags.DEFINE_integer(
    "num_processes", 0, "Processes that look at images; 0: one per core.", lower_bound=0, flag_values=FLAGS
)
common_flags.define_strict(FLAGS)


def main() -> None:
    """Looks at the records, writes the page, and prints its warnings."""
    records_dir = common_flags.existing_folder(FLAGS, "records_dir", "give the folder of create_csf_tf_record")
    output_dir = common_flags.output_dir(FLAGS) if FLAGS.output_dir else records_dir
    from tfod_csf.config.pipeline_config import load_pipeline_config
    from tfod_csf.data.dataset_page.data_page import PAGE, PageOptions, write_data_page
    from tfod_csf.problems import ProblemLog

    config = load_pipeline_config(pathlib.Path(FLAGS.pipeline_config_path)) if FLAGS.pipeline_config_path else None
    problems = ProblemLog(strict=FLAGS.strict)
    with folder_lock.only_writer(output_dir):
        options = PageOptions(config, FLAGS.laboratory_pattern, FLAGS.num_processes)
        page = write_data_page(records_dir, output_dir, options, problems)
    print(f"{page.warning_text()}\n\n{problems.table()}\n")
    print(f"Wrote {output_dir / PAGE} and three tables of {len(page.survey.images)} images ({problems.summary()}).")


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "dataset_report"))

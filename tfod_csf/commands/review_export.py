"""Export the cells of a run to folders that LabelImg opens, for review.

Each patient's folder holds the images, XML with the machine's cells (unsure ones named unknown and marked difficult),
predefined_classes.txt and cells.json, which must not be changed. HOW_TO_REVIEW.txt tells the reviewer what to do; then
review_import reads the folders back. To resume a review, or for a second look, export from the output folder of
review_import.
"""

import sys

from absl import flags

from tfod_csf.commands import command_line, common_flags, review_flags

FLAGS = flags.FlagValues()
common_flags.define_inference_dir(FLAGS)
common_flags.define_output_dir(FLAGS, "Folder to write to; the exported patients must not have a folder in it yet.")
common_flags.define_run_images_dir(FLAGS, whose=True)
common_flags.define_patient(FLAGS)
common_flags.define_needed_model_name(FLAGS)
common_flags.define_extra_class(FLAGS)
review_flags.define_sample_images(FLAGS)
common_flags.define_strict(FLAGS)


def main() -> None:
    """Writes a folder per patient and says what to do next."""
    inference_dir, output_dir = common_flags.inference_dir(FLAGS), common_flags.output_dir(FLAGS)
    from tfod_csf.cytology.review import export_session
    from tfod_csf.files import folder_lock
    from tfod_csf.problems import ProblemLog
    from tfod_csf.progress_bar import bar_over

    problems = ProblemLog(strict=FLAGS.strict)
    settings = review_flags.export_settings(FLAGS)
    with folder_lock.only_writer(output_dir):
        session = export_session.export_run(inference_dir, output_dir, settings, problems, bar_over("patient"))
    print(
        f"{session}; {problems.summary()}; written to {output_dir}. Next: see {output_dir / 'HOW_TO_REVIEW.txt'}, then "
        "review_import."
    )


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "review_export"))

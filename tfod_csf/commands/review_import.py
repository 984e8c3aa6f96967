"""Import reviewed folders as new revisions of cells and differentials.

Writes a folder that every command reads like that of batch_infer, with the cells as people decided; the machine's
version is kept unchanged. The folder holds differentials.csv of all patients, review_summary.csv and
review_changes.csv (every change, by whom and when), and for each reviewed patient review_differential.csv (before and
after) and a chain of revisions with checksums, signed if --signing_key is given.
"""

import pathlib
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from absl import flags

from tfod_csf.commands import command_line, common_flags, differential_flags, review_flags
from tfod_csf.errors import UserError

if TYPE_CHECKING:
    from tfod_csf.cytology.review.session import Session
    from tfod_csf.problems import ProblemLog

FLAGS = flags.FlagValues()
flags.DEFINE_string(
    "review_dir",
    None,
    "Folder that review_export wrote, or one patient's folder in it.",
    required=True,
    flag_values=FLAGS,
)
common_flags.define_inference_dir(FLAGS, "Output folder of the batch_infer run that was exported; it is only read.")
common_flags.define_output_dir(FLAGS, "Folder of the reviewed results; use the same one for all imports of a run.")
review_flags.define_reviewer(FLAGS)
common_flags.define_class_map(FLAGS)
common_flags.define_extra_class(FLAGS)
common_flags.define_matching_iou_threshold(FLAGS, old_name="iou")
review_flags.define_disagreements(FLAGS)
flags.DEFINE_string(
    "training_dir",
    None,
    "Folder for the verified images with their XML, to be used by create_csf_tf_record; default: they are not written.",
    flag_values=FLAGS,
)
flags.DEFINE_boolean(
    "report", True, "Write report.html of every reviewed patient who has none of this state.", flag_values=FLAGS
)
common_flags.define_run_images_dir(FLAGS)
common_flags.define_strict(FLAGS)
differential_flags.define(FLAGS)


def main() -> None:
    """Imports patient by patient; one that is refused does not keep the others from being imported."""
    review_flags.reviewer(FLAGS)
    inference_dir, output_dir = common_flags.inference_dir(FLAGS), common_flags.output_dir(FLAGS)
    from tfod_csf.cytology.report import page_state
    from tfod_csf.cytology.review import session as review_session
    from tfod_csf.files import folder_lock
    from tfod_csf.problems import ProblemLog
    from tfod_csf.progress_bar import bar_over

    progress = bar_over("patient")
    folders = review_session.folders_to_import(FLAGS.review_dir, inference_dir, output_dir)
    inputs = differential_flags.read(FLAGS)
    counting = review_flags.counting(FLAGS, inputs)
    problems = ProblemLog(strict=FLAGS.strict)
    facts = differential_flags.run_facts(FLAGS, inputs, inference_dir)
    with folder_lock.only_writer(output_dir):  # else the tables of all patients could lack what another import wrote
        class_map, iou_threshold = common_flags.class_map(FLAGS), FLAGS.matching_iou_threshold
        settings = review_flags.import_settings(FLAGS, class_map=class_map, iou_threshold=iou_threshold)
        page_state.remove_outdated(output_dir, facts, inputs.patient_facts)
        try:
            session = review_session.run(folders, inference_dir, output_dir, settings, counting, problems, progress)
            images = _write_training(session, output_dir, problems)
        finally:
            problems.write_csv(output_dir / "problems.csv")
        pages = _write_pages(session, output_dir, inputs, progress) if FLAGS.report else []
    print(session)
    if inputs.unmatched:
        print(inputs.unmatched)
    if FLAGS.training_dir:
        print(f"{images[0]} verified images with {images[1]} cells for training; written to {FLAGS.training_dir}.")
    more = f", with {len(pages)} report.html" if pages else ""
    print(f"{problems.summary()} (problems.csv); written to {output_dir}{more}.")
    if session.refused:
        raise UserError(f"{len(session.refused)} of {len(folders)} patients were not imported: {session.refused[0]}")


def _write_training(session: "Session", output_dir: pathlib.Path, problems: "ProblemLog") -> tuple[int, int]:
    """Writes the verified images for training where they were asked for; returns (images, cells)."""
    from tfod_csf.cytology.review import session as review_session
    from tfod_csf.files import folder_lock

    if not FLAGS.training_dir:
        return 0, 0
    with folder_lock.only_writer(FLAGS.training_dir):
        return review_session.write_training(session, output_dir, FLAGS.training_dir, problems)


def _write_pages(
    session: "Session", output_dir: pathlib.Path, inputs: differential_flags.DifferentialInputs, progress: Callable
) -> list[pathlib.Path]:
    """The pages that reviewed patients lack: new ones, and those that an import which was stopped did not write.

    `tfod_csf report` writes those of all patients and of the cohort.
    """
    from tfod_csf import run_folder
    from tfod_csf.cytology.report import pages

    reviewed = session.reviewed
    lacking = tuple(one.after.patient_id for one in reviewed if not (one.folder / run_folder.PAGES[0]).is_file())
    if not lacking:
        return []
    facts = differential_flags.run_facts(FLAGS, inputs, output_dir)
    images_dir = pathlib.Path(FLAGS.images_dir) if FLAGS.images_dir else None
    options = pages.ReportOptions(images_dir=images_dir, patients=lacking)
    return pages.write_report(output_dir, output_dir, facts, options, inputs.patient_facts, progress).pages


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "review_import"))

"""Takes reviewed folders back: new revisions of cells and differentials, the machine's version untouched beside them.

Writes a folder that every command reads like batch_infer's, with the cells as people decided: differentials.csv over
all patients, review_summary.csv and review_differential.csv (before and after), review_changes.csv (every change, by
whom and when), and per reviewed patient a chain of revisions with checksums, signed with --signing_key.
"""

import pathlib
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from absl import flags

from tfod_csf.commands import command_line, differential_flags
from tfod_csf.errors import UserError

if TYPE_CHECKING:
    from tfod_csf.cytology.review.patient_import import ImportSettings
    from tfod_csf.cytology.review.session import Session

FLAGS = flags.FlagValues()
flags.DEFINE_string("review_dir", None, "Folder made by review_export, or one patient's in it.", flag_values=FLAGS)
flags.DEFINE_string("inference_dir", None, "The run of batch_infer that was exported; only read.", flag_values=FLAGS)
flags.DEFINE_string(
    "output_dir", None, "Folder of the reviewed state; the same one for all imports.", flag_values=FLAGS
)
flags.DEFINE_string("reviewer", None, "Who reviewed: name or initials, kept in every record.", flag_values=FLAGS)
flags.DEFINE_string("comment", "", "Free text for the record.", flag_values=FLAGS)
flags.DEFINE_multi_string("class_map", [], "OLD=NEW renames a class of the XML, OLD= drops it.", flag_values=FLAGS)
flags.DEFINE_multi_string("extra_class", [], "Accept this class beside those of the export.", flag_values=FLAGS)
flags.DEFINE_float("iou", 0.5, "Boxes that overlap at least this much are one cell.", 0.05, 1, flag_values=FLAGS)
flags.DEFINE_enum(
    "disagreements",
    "refuse",
    ["refuse", "unknown", "newest"],
    "Cells that an earlier review decided otherwise: refuse the patient, count them as unknown, or take this review's.",
    flag_values=FLAGS,
)
flags.DEFINE_string("signing_key", None, "Key file to sign with and check with; made if absent.", flag_values=FLAGS)
flags.DEFINE_string(
    "training_dir", None, "Write verified images and their XML here, for create_csf_tf_record.", flag_values=FLAGS
)
flags.DEFINE_boolean(
    "report", True, "Write the page report.html of every patient with a new revision.", flag_values=FLAGS
)
flags.DEFINE_string(
    "images_dir", None, "Images for the report; default: the folder batch_infer read.", flag_values=FLAGS
)
flags.DEFINE_boolean("strict", False, "End at the first file that is skipped or mended.", flag_values=FLAGS)
differential_flags.define(FLAGS)
flags.mark_flags_as_required(["review_dir", "inference_dir", "output_dir", "reviewer"], flag_values=FLAGS)


def main() -> None:
    """Imports patient by patient; one that is refused does not keep the others from being imported."""
    if not FLAGS.reviewer.strip():
        raise UserError("--reviewer is empty; a review needs a name.")
    from tfod_csf.cytology.review import reviewed_cohort
    from tfod_csf.cytology.review import session as review_session
    from tfod_csf.problems import ProblemLog
    from tfod_csf.progress_bar import progress_bar

    def progress(items):
        return progress_bar(items, unit="patient")

    folders = review_session.folders_to_import(FLAGS.review_dir, FLAGS.inference_dir, FLAGS.output_dir)
    inputs = differential_flags.read(FLAGS)
    counting = reviewed_cohort.Counting(
        references=inputs.references,
        rules=inputs.rules,
        cells_per_ul=inputs.cells_per_ul,
        thresholds=inputs.thresholds if inputs.changed else None,
    )
    problems, output_dir = ProblemLog(strict=FLAGS.strict), pathlib.Path(FLAGS.output_dir)
    try:
        session = review_session.run(
            folders, FLAGS.inference_dir, output_dir, _settings(), counting, problems, progress
        )
        images = review_session.write_training(session, output_dir, FLAGS.training_dir, problems)
    finally:
        problems.write_csv(output_dir / "problems.csv")
    print(session)
    if FLAGS.training_dir:
        print(f"{images[0]} verified images with {images[1]} cells for training; written to {FLAGS.training_dir}.")
    pages = _write_pages(session, output_dir, inputs, progress) if FLAGS.report else []
    more = f", with {len(pages)} report.html" if pages else ""
    print(f"{problems.summary()} (problems.csv); written to {output_dir}{more}.")
    if session.refused:
        raise UserError(f"{len(session.refused)} of {len(folders)} patients were not imported: {session.refused[0]}")


def _settings() -> "ImportSettings":
    """What the flags say about the review itself."""
    from tfod_csf.cytology.review.patient_import import ImportSettings
    from tfod_csf.files import key_files
    from tfod_csf.label_map import parse_class_map

    key = None
    if FLAGS.signing_key:
        path = pathlib.Path(FLAGS.signing_key)
        if path.exists():
            key = key_files.read_key(path)
        else:
            key = key_files.create_key(path)
            print(f"{path}: a new signing key ({key_files.key_id(key)}); keep it for all imports into this folder.")
    return ImportSettings(
        reviewer=" ".join(FLAGS.reviewer.split()),
        comment=FLAGS.comment,
        class_map=parse_class_map(FLAGS.class_map),
        extra_names=[" ".join(name.split()) for name in FLAGS.extra_class],
        iou_threshold=FLAGS.iou,
        disagreements=FLAGS.disagreements,
        key=key,
    )


def _write_pages(
    session: "Session", output_dir: pathlib.Path, inputs: differential_flags.DifferentialInputs, progress: Callable
) -> list[pathlib.Path]:
    """The pages of patients with a new revision; `tfod_csf report` makes those of all and of the cohort."""
    import datetime

    from tfod_csf.cytology import run_tables
    from tfod_csf.cytology.counting.saturation import SaturationRules
    from tfod_csf.cytology.report import page_template, pages

    new = tuple(one.patient_id for one in session.new)
    if not new:
        return []
    facts = page_template.RunFacts(
        run=run_tables.read_run(output_dir),
        thresholds=inputs.thresholds,
        changed=inputs.changed,
        rules=inputs.rules,
        saturation_rules=SaturationRules(FLAGS.tolerance_points, min_white_cells=max(FLAGS.min_white_cells, 1)),
        references=inputs.references,
        population=FLAGS.population,
        made=datetime.date.today().isoformat(),
    )
    images_dir = pathlib.Path(FLAGS.images_dir) if FLAGS.images_dir else None
    options = pages.ReportOptions(images_dir=images_dir, patients=new)
    return pages.write_report(output_dir, output_dir, facts, options, inputs.cells_per_ul, progress).pages


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "review_import"))

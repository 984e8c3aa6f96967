"""Takes reviewed folders back: new revisions of cells and differentials, the machine's version untouched beside them.

Writes a folder that every command reads like batch_infer's, with the cells as people decided: differentials.csv over
all patients, review_summary.csv and review_differential.csv (before and after), review_changes.csv (every change, by
whom and when), and per reviewed patient a chain of revisions with checksums, signed with --signing_key.
"""

import pathlib
import sys

from absl import flags

from tfod_csf.commands import command_line
from tfod_csf.errors import UserError

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
flags.DEFINE_integer("min_white_cells", 30, "Under this many, counts only.", 0, flag_values=FLAGS)
flags.DEFINE_float("tolerance_points", 10.0, "As in differential.", 0.1, 50, flag_values=FLAGS)
flags.DEFINE_string("reference_ranges", None, "CSV of reference ranges; default: the package's.", flag_values=FLAGS)
flags.DEFINE_string("population", "adult", "Whose ranges of that table.", flag_values=FLAGS)
flags.DEFINE_string("patient_table", None, "CSV with patient_id and cells_per_ul.", flag_values=FLAGS)
flags.DEFINE_boolean("strict", False, "End at the first file that is skipped or mended.", flag_values=FLAGS)
flags.mark_flags_as_required(["review_dir", "inference_dir", "output_dir", "reviewer"], flag_values=FLAGS)


def main() -> None:
    """Imports patient by patient; one that is refused does not keep the others from being imported."""
    if not FLAGS.reviewer.strip():
        raise UserError("--reviewer is empty; a review needs a name.")
    from tfod_csf import key_files
    from tfod_csf.cytology import reference_ranges, review_cohort, review_session, tables
    from tfod_csf.cytology.differential import DifferentialRules
    from tfod_csf.cytology.review_import import ImportSettings
    from tfod_csf.label_map import parse_class_map
    from tfod_csf.problems import ProblemLog

    folders = review_session.folders_to_import(FLAGS.review_dir, FLAGS.inference_dir, FLAGS.output_dir)
    ranges_path = FLAGS.reference_ranges or reference_ranges.DEFAULT_TABLE
    counting = review_cohort.Counting(
        references=reference_ranges.load_reference_ranges(ranges_path, FLAGS.population),
        rules=DifferentialRules(min_white_cells=FLAGS.min_white_cells, tolerance_points=FLAGS.tolerance_points),
        cells_per_ul=tables.read_cells_per_ul(FLAGS.patient_table) if FLAGS.patient_table else {},
    )
    key = None
    if FLAGS.signing_key:
        path = pathlib.Path(FLAGS.signing_key)
        key = key_files.read_key(path) if path.exists() else key_files.create_key(path)
    settings = ImportSettings(
        reviewer=" ".join(FLAGS.reviewer.split()),
        comment=FLAGS.comment,
        class_map=parse_class_map(FLAGS.class_map),
        extra_names=[" ".join(name.split()) for name in FLAGS.extra_class],
        iou_threshold=FLAGS.iou,
        disagreements=FLAGS.disagreements,
        key=key,
    )
    problems = ProblemLog(strict=FLAGS.strict)
    output_dir = pathlib.Path(FLAGS.output_dir)
    try:
        session = review_session.run(folders, FLAGS.inference_dir, output_dir, settings, counting, problems)
        images = review_session.write_training(session, output_dir, FLAGS.training_dir, problems)
    finally:
        problems.write_csv(output_dir / "problems.csv")
    print(session)
    if FLAGS.training_dir:
        print(f"{images[0]} verified images with {images[1]} cells for training; written to {FLAGS.training_dir}.")
    print(f"{problems.summary()} (problems.csv); written to {output_dir}.")
    if session.refused:
        raise UserError(f"{len(session.refused)} of {len(folders)} patients were not imported: {session.refused[0]}")


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "review_import"))

"""Runs exported models over folders of patients: cells, labelled pictures and a differential per patient.

Writes OUT/patients/<id>/{cells.csv, images.csv, differential.csv, pictures/}, OUT/differentials.csv, OUT/run.json and
OUT/problems.csv. Run again, it redoes only the patients whose images, models or thresholds changed. An unreadable image
is reported and marks its patient; it stops nothing. Several models are averaged: each patient's percentages (the
paper's way, with the spread between models), or cell by cell (--ensemble=cell).
"""

import pathlib
import sys

from absl import flags

from tfod_csf.commands import command_line
from tfod_csf.errors import UserError

FLAGS = flags.FlagValues()
flags.DEFINE_string(
    "images_dir", None, "Folder of patients: a sub-folder each, or see the next two flags.", flag_values=FLAGS
)
flags.DEFINE_string("manifest", None, "CSV with the columns image, patient_id: whose image it is.", flag_values=FLAGS)
flags.DEFINE_string(
    "patient_pattern", None, "Regular expression with (?P<patient>...), searched in each path.", flag_values=FLAGS
)
flags.DEFINE_multi_string("model", None, "Exported model folder; repeat for several models.", flag_values=FLAGS)
flags.DEFINE_string("output_dir", None, "Folder to write to (OUT).", flag_values=FLAGS)
flags.DEFINE_float("min_score", None, "What counts as a cell; default: the model's own, else 0.5.", flag_values=FLAGS)
flags.DEFINE_float(
    "unknown_below",
    None,
    "Cells with a lower score are unknown; default: the model's own, else 0.8.",
    flag_values=FLAGS,
)
flags.DEFINE_enum(
    "count_unknown",
    "apart",
    ["apart", "as_predicted"],
    "Whether such a cell is counted apart or under its predicted class.",
    flag_values=FLAGS,
)
flags.DEFINE_float(
    "duplicate_iou", 0.5, "Two cells that overlap this much are one; the better score stays.", flag_values=FLAGS
)
flags.DEFINE_enum(
    "ensemble",
    "case",
    ["case", "cell"],
    "Several models: average percentages per patient, or match their boxes and average the scores of each cell.",
    flag_values=FLAGS,
)
flags.DEFINE_boolean("draw", True, "Write labelled pictures.", flag_values=FLAGS)
flags.DEFINE_boolean("deterministic", True, "The same bits on every run, also on a GPU.", flag_values=FLAGS)
flags.DEFINE_integer(
    "rounds", 1, "Repeat the inference and say whether anything differed (OUT/rounds/2, ...).", 1, flag_values=FLAGS
)
flags.DEFINE_boolean("strict", False, "End the run at the first image that is skipped or mended.", flag_values=FLAGS)
flags.DEFINE_float(
    "max_skipped_fraction", 0.1, "Exit with an error if more of the images were skipped.", 0, 1, flag_values=FLAGS
)
flags.mark_flags_as_required(["images_dir", "model", "output_dir"], flag_values=FLAGS)


def main() -> None:
    """Checks paths and models, runs them, counts, and says what was found in a few lines."""
    images_dir, output_dir = pathlib.Path(FLAGS.images_dir), pathlib.Path(FLAGS.output_dir)
    if output_dir.resolve().is_relative_to(images_dir.resolve()):
        raise UserError(f"--output_dir={output_dir} lies in --images_dir; its pictures would be read as images.")
    from tfod_csf import provenance
    from tfod_csf.inference import batch, cell_selection, inference_record
    from tfod_csf.model_folder import ModelFolder
    from tfod_csf.problems import ProblemLog
    from tfod_csf.study import patients

    started = provenance.now()
    folders = [ModelFolder.open(path) for path in FLAGS.model]
    thresholds = cell_selection.common_thresholds(
        {folder.name: folder.thresholds for folder in folders},
        min_score=FLAGS.min_score,
        unknown_below=FLAGS.unknown_below,
        count_unknown=FLAGS.count_unknown,
        duplicate_iou=FLAGS.duplicate_iou,
    )
    problems = ProblemLog(strict=FLAGS.strict)
    try:
        images = patients.find_images(images_dir, problems, FLAGS.manifest, FLAGS.patient_pattern)
        from tfod_csf.cytology.counting import cohort
        from tfod_csf.inference import detector, ensemble, rounds

        if FLAGS.deterministic:
            detector.use_deterministic_ops()
        detectors = [detector.Detector.open(folder) for folder in folders]
        batch.check_detectors(detectors)
        if FLAGS.ensemble == "cell" and len(detectors) > 1:
            detectors = [ensemble.CellEnsemble(detectors)]
        result = batch.run(images, detectors, thresholds, output_dir, problems, FLAGS.draw)
        differing = rounds.run_further_rounds(FLAGS.rounds, images, detectors, thresholds, output_dir)
    except UserError:
        if problems.problems:
            problems.write_csv(output_dir / "problems.csv")
        raise
    problems.write_csv(output_dir / "problems.csv")
    summary = cohort.write_differentials(output_dir, output_dir)
    written_down = ("images_dir", "manifest", "patient_pattern", "model", "ensemble", "deterministic", "draw")
    settings = {flag: FLAGS[flag].value for flag in written_down}
    record = inference_record.run_record(started, settings, detectors, thresholds, result, problems)
    if FLAGS.rounds > 1:
        record["rounds"] = {"number": FLAGS.rounds, "differing_patients": differing}
        print(f"{FLAGS.rounds} rounds: {f'{len(differing)} patients differ' if differing else 'all are equal'}.")
    inference_record.write_run_record(output_dir / "run.json", record)
    print(batch.closing_text(result, record["seconds_per_image"]))
    print(f"{summary}; {problems.summary()} (problems.csv); written to {output_dir}.")
    skipped = problems.skipped_files()
    num_files = len({str(image.path) for image in images} | skipped)
    problems.check_skipped_files(len(skipped), num_files, FLAGS.max_skipped_fraction, "--max_skipped_fraction")


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "batch_infer"))

"""Find the cells in folders of patients, and count them: tables and pictures.

Writes OUT/patients/<id>/{cells.csv, images.csv, differential.csv, pictures/}, OUT/differentials.csv, OUT/run.json and
OUT/problems.csv. A second run with the same flags repeats only the patients whose images, models or thresholds have
changed. An unreadable image is reported and marks its patient; it does not stop the run. Several models are averaged:
the percentages of each patient (the paper's way, with the spread between models), or cell by cell (--ensemble=cell).
A model is a program: one that was changed after its export, or that does more than compute, is refused without --trust.

Example: tfod_csf batch_infer --model=exported_models/csf --images_dir=patients --output_dir=results
"""

import dataclasses
import sys

from absl import flags

from tfod_csf.commands import command_line, common_flags, differential_flags

FLAGS = flags.FlagValues()
common_flags.define_images_dir(FLAGS)
flags.DEFINE_multi_string(
    "model",
    None,
    "Exported model folder, written by exporter_main_v2; repeat for several models.",
    required=True,
    flag_values=FLAGS,
)
common_flags.define_output_dir(FLAGS, "Folder to write to (OUT); made if absent.")
common_flags.define_min_score(FLAGS, default="the model's own, else 0.5")
common_flags.define_unknown_below(FLAGS, default="the model's own, else 0.8")
common_flags.define_count_unknown(FLAGS, default="apart")
common_flags.define_max_unknown_percent(FLAGS)
flags.DEFINE_float(
    "duplicate_iou",
    0.5,
    "Two cells of one model with at least this IoU (intersection over union) are one cell; the one with the better "
    "score is kept.",
    flag_values=FLAGS,
)
flags.DEFINE_enum(
    "ensemble",
    "case",
    ["case", "cell"],
    "How several models are averaged. case: the percentages of each patient; cell: boxes of the same cell are matched "
    "and their scores averaged.",
    flag_values=FLAGS,
)
flags.DEFINE_boolean("draw", True, "Write pictures with every cell marked.", flag_values=FLAGS)
flags.DEFINE_boolean("deterministic", True, "Compute the same bits on every run, also on a GPU.", flag_values=FLAGS)
flags.DEFINE_integer(
    "rounds",
    1,
    "Number of times that all images are examined, to see whether anything differs; further rounds are in OUT/rounds/2 "
    "and so on.",
    lower_bound=1,
    flag_values=FLAGS,
)
common_flags.define_trust(FLAGS)
common_flags.define_problem_limits(FLAGS)


def main() -> None:
    """Checks paths and models, runs them, and says what was found in a few lines."""
    _, output_dir = common_flags.images_dir_apart_from_output(FLAGS)
    from tfod_csf import run_folder
    from tfod_csf.cytology.counting import cohort, corrected_differential
    from tfod_csf.cytology.counting.differential import DifferentialRules
    from tfod_csf.inference import cell_selection
    from tfod_csf.inference.runs import batch_run
    from tfod_csf.model_folder import ModelFolder
    from tfod_csf.problems import ProblemLog

    folders = [ModelFolder.open(path, FLAGS.trust) for path in FLAGS.model]
    for folder in folders:
        differential_flags.warn_of_classes(folder.name, folder.label_map.names)
    thresholds = cell_selection.common_thresholds(
        {folder.name: folder.thresholds for folder in folders},
        min_score=FLAGS.min_score,
        unknown_below=FLAGS.unknown_below,
        count_unknown=FLAGS.count_unknown,
        duplicate_iou=FLAGS.duplicate_iou,
    )
    rules = DifferentialRules(max_unknown_percent=FLAGS.max_unknown_percent)
    names = [field.name for field in dataclasses.fields(batch_run.RunSettings)]
    settings, problems = batch_run.RunSettings(**{name: FLAGS[name].value for name in names}), ProblemLog(FLAGS.strict)
    run = batch_run.run(
        settings,
        lambda: batch_run.open_detectors(folders, settings),
        thresholds,
        output_dir,
        problems,
        write_differentials=lambda folder, record: cohort.write_differentials(
            folder,
            folder,
            rules=rules,
            corrections=corrected_differential.corrections_of_record(folder, record),
            folders=run_folder.folders_of(folder, record),
        ),
        matrices={folder.name: folder.classification for folder in folders if folder.classification},
        num_rounds=FLAGS.rounds,
        vouched_for_by={folder.name: folder.vouched_for_by for folder in folders},
    )
    print(f"{run}\n{run.differentials}; {problems.summary()} (problems.csv); written to {output_dir}.")
    num_skipped = len(problems.skipped_files())
    problems.check_skipped_files(num_skipped, run.num_files, FLAGS.max_skipped_fraction, "--max_skipped_fraction")


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "batch_infer"))

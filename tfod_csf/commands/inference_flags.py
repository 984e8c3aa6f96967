"""The flags and the run that batch_infer and archive_infer share: the same images and models give the same tables."""

import dataclasses
import pathlib
from typing import TYPE_CHECKING, Any

from absl import flags

from tfod_csf.commands import common_flags, differential_flags

if TYPE_CHECKING:
    from tfod_csf.inference.runs.batch_run import RunSettings
    from tfod_csf.problems import ProblemLog


def define(flag_values: flags.FlagValues) -> None:
    """Which images and models, what counts as a cell, and what is drawn."""
    common_flags.define_images_dir(flag_values)
    flags.DEFINE_multi_string(
        "model",
        None,
        "Exported model folder, written by exporter_main_v2; repeat for several models.",
        required=True,
        flag_values=flag_values,
    )
    common_flags.define_output_dir(flag_values, "Folder to write to (OUT); made if absent.")
    common_flags.define_min_score(flag_values, default="the model's own, else 0.5")
    common_flags.define_unknown_below(flag_values, default="the model's own, else 0.8")
    common_flags.define_count_unknown(flag_values, default="apart")
    common_flags.define_max_unknown_percent(flag_values)
    flags.DEFINE_float(
        "duplicate_iou",
        0.5,
        "Two cells of one model with at least this IoU (intersection over union) are one cell; the one with the better "
        "score is kept.",
        flag_values=flag_values,
    )
    flags.DEFINE_enum(
        "ensemble",
        "case",
        ["case", "cell"],
        "How several models are averaged. case: the percentages of each patient; cell: boxes of the same cell are "
        "matched and their scores averaged.",
        flag_values=flag_values,
    )
    flags.DEFINE_boolean("draw", True, "Write pictures with every cell marked.", flag_values=flag_values)
    flags.DEFINE_boolean(
        "deterministic", True, "Compute the same bits on every run, also on a GPU.", flag_values=flag_values
    )


def settings(flag_values: flags.FlagValues) -> "RunSettings":
    """What run.json says of the flags."""
    from tfod_csf.inference.runs import batch_run

    names = [field.name for field in dataclasses.fields(batch_run.RunSettings)]
    return batch_run.RunSettings(**{name: flag_values[name].value for name in names})


def run(flag_values: flags.FlagValues, output_dir: pathlib.Path, problems: "ProblemLog", **how: Any) -> None:
    """Checks the models, runs them, and says what was found in a few lines.

    Args:
      flag_values: with the flags of `define`, --trust, the limits of problems and the rules of the differential.
      problems: gets everything that was skipped or repaired.
      **how: further arguments of `batch_run.run`.
    """
    from tfod_csf import run_folder
    from tfod_csf.cytology.counting import cohort, corrected_differential
    from tfod_csf.cytology.counting.differential import DifferentialRules
    from tfod_csf.inference import cell_selection
    from tfod_csf.inference.runs import batch_run
    from tfod_csf.model_folder import ModelFolder

    folders = [ModelFolder.open(path, flag_values.trust) for path in flag_values.model]
    for folder in folders:
        differential_flags.warn_of_classes(folder.name, folder.label_map.names)
    thresholds = cell_selection.common_thresholds(
        {folder.name: folder.thresholds for folder in folders},
        min_score=flag_values.min_score,
        unknown_below=flag_values.unknown_below,
        count_unknown=flag_values.count_unknown,
        duplicate_iou=flag_values.duplicate_iou,
    )
    rules = DifferentialRules(max_unknown_percent=flag_values.max_unknown_percent)
    asked = settings(flag_values)
    done = batch_run.run(
        asked,
        lambda: batch_run.open_detectors(folders, asked),
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
        vouched_for_by={folder.name: folder.vouched_for_by for folder in folders},
        **how,
    )
    print(f"{done}\n{done.differentials}; {problems.summary()} (problems.csv); written to {output_dir}.")
    num_skipped = len(problems.skipped_files())
    limit = flag_values.max_skipped_fraction
    problems.check_skipped_files(num_skipped, done.num_files, limit, "--max_skipped_fraction")

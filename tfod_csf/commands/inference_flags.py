"""The flags and the run that batch_infer, its shards and archive_infer share: the same images give the same tables."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from absl import flags

from tfod_csf.commands import common_flags, differential_flags

if TYPE_CHECKING:
    from tfod_csf.inference.runs.batch_run import BatchRun, RunSettings
    from tfod_csf.inference.runs.image_workers import WorkerLimits
    from tfod_csf.inference.runs.shards import Shard
    from tfod_csf.model_folder import ModelFolder
    from tfod_csf.problems import ProblemLog
    from tfod_csf.study.tile_grid import TileSettings


def define(flag_values: flags.FlagValues) -> None:
    """Which images and models, what counts as a cell, and what is drawn."""
    common_flags.define_images_dir(flag_values)
    flags.DEFINE_multi_string(
        "model",
        None,
        common_flags.model_help("Exported model folder, written by exporter_main_v2, repeated for several models"),
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
    flags.DEFINE_string(
        "tile_size",
        None,
        "Cut images that are larger into tiles of this size (WIDTHxHEIGHT in pixels, or one number for squares), for "
        "stitched fields and scans: TIFFs of up to 20,000 x 20,000 pixels. Give the size of the training images: the "
        "model scales a tile to its own input size, and in a smaller one cells look larger to it than in training. "
        "model: the size that model.json names. Default: images are not cut.",
        flag_values=flag_values,
    )
    flags.DEFINE_integer(
        "tile_overlap",
        None,
        "Pixels that neighboring tiles share at least: no less than the longer side of the largest cell, or it may be "
        "counted twice or by a part of it. Default: the largest annotated cell of the training, where model.json names "
        "it, and at least an eighth of the tile's shorter side.",
        lower_bound=1,
        flag_values=flag_values,
    )
    flags.DEFINE_boolean(
        "deterministic", True, "Compute the same bits on every run, also on a GPU.", flag_values=flag_values
    )


def settings(flag_values: flags.FlagValues) -> "RunSettings":
    """What run.json says of the flags."""
    from tfod_csf.inference.runs import batch_run

    names = [field.name for field in dataclasses.fields(batch_run.RunSettings)]
    return batch_run.RunSettings(**{name: flag_values[name].value for name in names})


def _what_to_run(flag_values: flags.FlagValues, output_dir: pathlib.Path, problems: "ProblemLog") -> dict[str, Any]:
    """Arguments that `batch_run.run` and `shard_run.run` have in common, with the models checked."""
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
    tiles = _tiles(flag_values, folders, problems)
    asked = settings(flag_values)
    if tiles:
        asked = dataclasses.replace(asked, tile_size=str(tiles), tile_overlap=tiles.overlap)
    return {
        "settings": asked,
        "open_models": lambda: batch_run.open_detectors(folders, asked),
        "thresholds": thresholds,
        "output_dir": output_dir,
        "problems": problems,
        "matrices": {folder.name: folder.classification for folder in folders if folder.classification},
        "vouched_for_by": {folder.name: folder.vouched_for_by for folder in folders},
    }


def _tiles(
    flag_values: flags.FlagValues, folders: "Sequence[ModelFolder]", problems: "ProblemLog"
) -> "TileSettings | None":
    """How large images are cut; notes where cells would not look to a model as in training."""
    from tfod_csf.inference.tiles import tile_choice

    infos = {folder.name: folder.info for folder in folders}
    tiles = tile_choice.choose(flag_values.tile_size, flag_values.tile_overlap, infos)
    if tiles:
        places = {folder.name: folder.path for folder in folders}
        for model, reason, remedy in tile_choice.notices(tiles, infos):
            problems.noted(places[model], reason, remedy)
    return tiles


def write_differentials(folder: pathlib.Path, record: Mapping[str, Any], counting: Mapping[str, Any]) -> Any:
    """Counts the cells of a run that is about to be finished.

    Args:
      folder: the run's.
      record: contents of its run.json.
      counting: numbers of `DifferentialRules`.
    """
    from tfod_csf import run_folder, worker_pool
    from tfod_csf.cytology.counting import cohort, corrected_differential
    from tfod_csf.cytology.counting.differential import DifferentialRules

    return cohort.write_differentials(
        folder,
        folder,
        rules=DifferentialRules(**counting),
        corrections=corrected_differential.corrections_of_record(folder, record),
        folders=run_folder.folders_of(folder, record),
        num_processes=worker_pool.available_cores(),
    )


def _counting(flag_values: flags.FlagValues) -> dict[str, Any]:
    return {"max_unknown_percent": flag_values.max_unknown_percent}


def run(
    flag_values: flags.FlagValues, output_dir: pathlib.Path, problems: "ProblemLog", watch: bool = False, **how: Any
) -> None:
    """Checks the models, runs them, and says what was found in a few lines.

    Args:
      flag_values: with the flags of `define`, --trust, the limits of problems and the rules of the differential.
      problems: gets everything that was skipped or repaired.
      watch: examine images as they arrive.
      **how: further arguments of `batch_run.run`, or of `watched_run.run`.
    """
    from tfod_csf.inference.runs import batch_run
    from tfod_csf.inference.watch import watched_run

    counting = _counting(flag_values)
    done = (watched_run.run if watch else batch_run.run)(
        **_what_to_run(flag_values, output_dir, problems),
        write_differentials=lambda folder, record: write_differentials(folder, record, counting),
        **how,
    )
    say_what_was_found(flag_values, done, output_dir, problems)


def say_what_was_found(
    flag_values: flags.FlagValues, done: "BatchRun", output_dir: pathlib.Path, problems: "ProblemLog"
) -> None:
    """The closing lines of a run of all patients.

    Raises:
      TooManySkippedError: more files were skipped than --max_skipped_fraction allows.
    """
    from tfod_csf import run_folder

    print(f"{done}\n{done.differentials}; {problems.summary()} (problems.csv); written to {output_dir}.")
    for text in run_folder.restrictions(done.record):
        print(text)
    num_skipped = len(problems.skipped_files())
    limit = flag_values.max_skipped_fraction
    problems.check_skipped_files(num_skipped, done.num_files, limit, "--max_skipped_fraction")


def run_shard(
    flag_values: flags.FlagValues,
    shard: "Shard",
    output_dir: pathlib.Path,
    problems: "ProblemLog",
    limits: "WorkerLimits",
) -> None:
    """As `run`, for the patients of one shard.

    Args:
      limits: of `shard_run.run`.

    Raises:
      TooManySkippedError: more of the shard's files were skipped than --max_skipped_fraction allows.
    """
    from tfod_csf.inference.runs import shard_run

    arguments = _what_to_run(flag_values, output_dir, problems)
    done = shard_run.run(**arguments, shard=shard, counting=_counting(flag_values), limits=limits)
    print(
        f"Shard {shard}: {done}\n{problems.summary()} ({shard.folder(output_dir)}); when all {shard.total} shards are "
        "done, merge_shards makes the tables of all patients."
    )
    done.check_skipped(problems, flag_values.max_skipped_fraction, "--max_skipped_fraction")

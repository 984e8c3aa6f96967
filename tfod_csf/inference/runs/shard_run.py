"""One shard of a run of batch_infer: its own patients from images to tables; `merge` makes what is of all patients.

It needs to know nothing of the other shards. Each lists all images, because the name of a patient's folder depends on
the ids of all patients, and examines those of its own.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tfod_csf import classification, run_folder
from tfod_csf.classification import Classification
from tfod_csf.errors import UserError
from tfod_csf.files import folder_lock
from tfod_csf.inference.cell_selection import ScoreThresholds
from tfod_csf.inference.image_detector import ImageDetector
from tfod_csf.inference.runs import batch, batch_run, inference_record, output_folder, patient_manifest, shards
from tfod_csf.inference.runs.batch_run import RunSettings
from tfod_csf.inference.runs.image_workers import IN_TURN, WorkerLimits
from tfod_csf.inference.runs.patient_examination import Examination
from tfod_csf.inference.runs.patient_manifest import ManifestRow
from tfod_csf.inference.runs.shards import Shard
from tfod_csf.problems import ProblemLog
from tfod_csf.study import patients
from tfod_csf.study.folder_names import folder_names
from tfod_csf.study.patients import ImageFile

# Of run.json, what is said per patient, and of all of them; shard.json leaves it to patient_manifest.csv and the merge.
_OF_PATIENTS = ("patients", "failures", "kept_from_earlier_runs")


@dataclasses.dataclass(frozen=True)
class ShardRun:
    """What a shard did.

    Attributes:
      result: what happened to its patients.
      record: contents of shard.json.
      skipped: (files skipped, files found) when the images of all patients were looked for, and of the shard's own.
    """

    result: batch.BatchResult
    record: dict[str, Any]
    skipped: tuple[tuple[int, int], tuple[int, int]]

    def __str__(self) -> str:
        return batch.closing_text(dataclasses.replace(self.result, kept=[]), self.record["seconds_per_image"])

    def check_skipped(self, problems: ProblemLog, max_skipped_fraction: float, flag: str) -> None:
        """Refuses a shard that lost too many files.

        Raises:
          TooManySkippedError: of all files when they were listed, or of the shard's own.
        """
        for num_skipped, num_files in self.skipped:
            problems.check_skipped_files(num_skipped, num_files, max_skipped_fraction, flag)


def run(
    settings: RunSettings,
    shard: Shard,
    open_models: Callable[[], Sequence[ImageDetector]],
    thresholds: ScoreThresholds,
    output_dir: pathlib.Path,
    problems: ProblemLog,
    counting: Mapping[str, Any],
    matrices: Mapping[str, Classification] | None = None,
    vouched_for_by: Mapping[str, str] | None = None,
    limits: WorkerLimits = IN_TURN,
) -> ShardRun:
    """Examines the patients of a shard and writes what `shards` says.

    Args:
      settings, open_models, thresholds, problems, matrices, vouched_for_by, limits: as in `batch_run.run`.
      output_dir: OUT of the module `shards`.
      counting: numbers that the cells of all patients are to be counted with by the merge.

    Raises:
      UserError: as `batch_run.run` and `shards.only_process_of`. The shard's problems.csv is written if there were
        problems.
    """
    of_own = ProblemLog(problems.strict, problems.quiet)
    noted_first = [dataclasses.asdict(problem) for problem in problems.problems]
    with shards.only_process_of(shard, output_dir) as lock:
        try:
            images, names, skipped_in_all = _own_images(settings, shard, output_dir, problems)
            detectors = open_models()
            used = batch_run.matrices_of(detectors, matrices or {})
            at_start = _record_at_start(settings, detectors, thresholds, images, counting)
            at_start[shards.NOTED_FIRST] = noted_first
            begin = functools.partial(_begin, shard, output_dir, at_start)
            result = batch.run(
                images,
                detectors,
                thresholds,
                output_dir,
                of_own,
                settings.draw,
                begin,
                lock.check,
                names=names,
                limits=limits,
                tiles=settings.tiles,
                computed_by=inference_record.computation(settings.deterministic),
            )
        except UserError:
            problems.problems.extend(of_own.problems)
            if problems.problems and not shards.is_finished(shard, output_dir):
                problems.write_csv(shard.folder(output_dir) / output_folder.PROBLEMS)
            raise
        problems.problems.extend(of_own.problems)
        record = inference_record.make_record(at_start, result, problems)
        record["models_vouched_for_by"] = dict(vouched_for_by or {})
        record = _finish(shard, output_dir, record, result, used, problems)
    skipped_of_own = (len(of_own.skipped_files()), batch_run.num_files_of(images, of_own))
    return ShardRun(result, record, (skipped_in_all, skipped_of_own))


def _own_images(
    settings: RunSettings, shard: Shard, output_dir: pathlib.Path, problems: ProblemLog
) -> tuple[list[ImageFile], dict[str, str], tuple[int, int]]:
    """The shard's images, the folders' names of all patients, and how many of all files were (skipped, found)."""
    images = patients.find_images(settings.images_dir, problems, settings.manifest, settings.patient_pattern)
    skipped = (len(problems.skipped_files()), batch_run.num_files_of(images, problems))
    names = folder_names([image.patient_id for image in images])
    own = {patient_id: name for patient_id, name in names.items() if Shard.of(patient_id, shard.total) == shard}
    images = [image for image in images if image.patient_id in own]
    folders = [f"{run_folder.PATIENTS_DIR}/{name}" for name in own.values()]
    output_folder.refuse_images_among_results(pathlib.Path(settings.images_dir), images, output_dir, folders)
    for folder in folders:  # of its own patients alone: others may be at work on the rest
        folder_lock.make_ready(output_dir / folder, inside=output_dir)
    return images, names, skipped


def _record_at_start(
    settings: RunSettings,
    detectors: Sequence[ImageDetector],
    thresholds: ScoreThresholds,
    images: Sequence[ImageFile],
    counting: Mapping[str, Any],
) -> dict[str, Any]:
    num_patients = len({image.patient_id for image in images})
    record = inference_record.record_at_start(dataclasses.asdict(settings), detectors, thresholds, num_patients)
    examination = Examination(detectors, thresholds, settings.draw, tiles=settings.tiles)
    return {**record, shards.EXAMINATION: examination.settings, shards.COUNTING: dict(counting)}


def _begin(shard: Shard, output_dir: pathlib.Path, at_start: Mapping[str, Any]) -> None:
    """Nothing keeps the shard from starting, and nothing has been changed yet."""
    shards.mark_unfinished(output_dir, at_start, shard.total)
    shards.begin(shard, output_dir, at_start)


def _finish(
    shard: Shard,
    output_dir: pathlib.Path,
    record: Mapping[str, Any],
    result: batch.BatchResult,
    matrices: Mapping[str, Classification],
    problems: ProblemLog,
) -> dict[str, Any]:
    """Writes what the merge needs besides the patients' folders, shard.json last."""
    folder = shard.folder(output_dir)
    problems.write_csv(folder / output_folder.PROBLEMS)
    digest = patient_manifest.settings_digest(record[shards.EXAMINATION])
    rows = (ManifestRow.of(outcome, digest, str(shard)) for outcome in result.outcomes())
    patient_manifest.write(folder / patient_manifest.FILE_NAME, rows)
    for model in record["models"]:
        if model["name"] in matrices:
            model[run_folder.CLASSIFICATION] = classification.write_into_run(folder, matrices[model["name"]])
    record = {name: value for name, value in record.items() if name not in _OF_PATIENTS}
    return shards.finish(shard, output_dir, record)

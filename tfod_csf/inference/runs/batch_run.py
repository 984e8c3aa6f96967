"""A whole run of batch_infer: from folders of patients to tables, run.json and problems.csv.

Mistakes come first: images are found before a model is loaded, which takes seconds. run.json says from before the first
patient is touched that the run is not finished, and is written last as finished (`run_folder`).
"""

import dataclasses
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from tfod_csf import classification, model_folder, run_folder
from tfod_csf.classification import Classification, ClassificationError
from tfod_csf.errors import UserError
from tfod_csf.inference.cell_selection import ScoreThresholds
from tfod_csf.inference.image_detector import ImageDetector
from tfod_csf.inference.runs import batch, inference_record, output_folder, rounds, shards
from tfod_csf.inference.runs.image_workers import IN_TURN, WorkerLimits
from tfod_csf.model_folder import ModelFolder
from tfod_csf.problems import ProblemLog
from tfod_csf.study import patients
from tfod_csf.study.patients import ImageFile
from tfod_csf.study.tile_grid import TileError, TileSettings, parse_tile_size
from tfod_csf.wording import plural


@dataclasses.dataclass(frozen=True)
class RunSettings:
    """What the user asked for, as run.json keeps it under `settings`.

    Attributes:
      images_dir, manifest, patient_pattern: which images, and whose: see `patients.find_images`.
      model: exported model folders as they were given.
      ensemble: "case" (percentages of several models are averaged) or "cell" (their boxes are).
      deterministic: whether a GPU gives the same bits on every run.
      draw: whether pictures with the cells marked are written.
      tile_size, tile_overlap: how images larger than a tile are cut ("2592x1944" and pixels); None cuts none.
    """

    images_dir: str
    manifest: str | None = None
    patient_pattern: str | None = None
    model: Sequence[str] = ()
    ensemble: str = "case"
    deterministic: bool = True
    draw: bool = True
    tile_size: str | None = None
    tile_overlap: int | None = None

    @property
    def tiles(self) -> TileSettings | None:
        """How large images are cut.

        Raises:
          TileError: a size or overlap that makes no sense, or one without the other.
        """
        if self.tile_size is None and self.tile_overlap is None:
            return None
        if self.tile_size is None or self.tile_overlap is None:
            raise TileError("--tile_size and --tile_overlap go together; give both.")
        return TileSettings(*parse_tile_size(self.tile_size), self.tile_overlap)


@dataclasses.dataclass(frozen=True)
class BatchRun:
    """What a run did.

    Attributes:
      result: what happened to every patient.
      record: contents of run.json.
      differentials: what `write_differentials` returned.
      num_files: image files that were found, those that could not be used included.
    """

    result: batch.BatchResult
    record: dict[str, Any]
    differentials: Any
    num_files: int

    def __str__(self) -> str:
        lines = [batch.closing_text(self.result, self.record["seconds_per_image"])]
        if "rounds" in self.record:
            differing = len(self.record["rounds"]["differing_patients"])
            verdict = plural(differing, "patient differs", "patients differ") if differing else "all are equal"
            lines.insert(0, f"{self.record['rounds']['number']} rounds: {verdict}.")
        return "\n".join(lines)


def open_detectors(folders: Sequence[ModelFolder], settings: RunSettings) -> list[ImageDetector]:
    """Loads the models with TensorFlow; with `ensemble` "cell" they become one detector.

    Raises:
      UserError: a SavedModel that cannot be used, or models that do not fit each other.
    """
    from tfod_csf.inference import detector, ensemble

    if settings.deterministic:
        detector.use_deterministic_ops()
    detectors: list[ImageDetector] = [detector.Detector.open(folder) for folder in folders]
    batch.check_detectors(detectors)
    if settings.ensemble == "cell" and len(detectors) > 1:
        return [ensemble.CellEnsemble(detectors)]
    return detectors


def run(
    settings: RunSettings,
    open_models: Callable[[], Sequence[ImageDetector]],
    thresholds: ScoreThresholds,
    output_dir: pathlib.Path,
    problems: ProblemLog,
    write_differentials: Callable[[pathlib.Path, Mapping[str, Any]], Any],
    num_rounds: int = 1,
    matrices: Mapping[str, Classification] | None = None,
    vouched_for_by: Mapping[str, str] | None = None,
    engine: batch.Engine = batch.in_this_process,
    limits: WorkerLimits = IN_TURN,
    before: Callable[[Callable[[], Any]], Any] = lambda check_lock: None,
) -> BatchRun:
    """Examines all images and writes everything that batch_infer writes.

    Args:
      settings: which images, and how.
      open_models: loads the models; called when the images have been found.
      thresholds: what counts as a cell.
      output_dir: OUT of the module `batch`.
      problems: gets everything that was skipped or repaired; written to OUT/problems.csv.
      write_differentials: counts the cells of a folder (`cohort.write_differentials`), given the folder and the
        contents of its run.json, which is written last.
      num_rounds: how often the images are examined; see `rounds`.
      matrices: {model: contents of its classification.json}; copied into the folder and named in run.json.
      vouched_for_by: {model: `ModelFolder.vouched_for_by`}, for run.json.
      engine: who examines the patients, further rounds apart.
      limits: what may be used beside the network.
      before: called before images are looked for, while nobody else can write into the folder; it is given what has to
        be called before each patient (`FolderLock.check`).

    Raises:
      UserError: no images, models that cannot be used, a matrix of another model, or an output folder that holds
        another run. problems.csv is written if there were problems.
    """
    images_dir, tiles = pathlib.Path(settings.images_dir), settings.tiles
    computed_by = inference_record.computation(settings.deterministic)
    output_folder.refuse_foreign_files(output_dir)
    has_begun = False

    def begin() -> None:
        nonlocal has_begun
        run_folder.begin(output_dir, at_start)
        has_begun = True

    with shards.only_process_of_all(output_dir) as lock:
        try:
            before(lock.check)
            images = patients.find_images(settings.images_dir, problems, settings.manifest, settings.patient_pattern)
            output_folder.refuse_images_among_results(images_dir, images, output_dir)
            detectors = open_models()
            used = matrices_of(detectors, matrices or {})
            at_start = inference_record.record_at_start(
                dataclasses.asdict(settings), detectors, thresholds, len({image.patient_id for image in images})
            )
            result = batch.run(
                images,
                detectors,
                thresholds,
                output_dir,
                problems,
                settings.draw,
                begin,
                lock.check,
                engine,
                limits=limits,
                tiles=tiles,
                computed_by=computed_by,
                is_compared=num_rounds > 1,
            )
            differing = rounds.run_further_rounds(
                num_rounds, images, detectors, thresholds, output_dir, at_start, computed_by, limits, tiles
            )
        except UserError:
            # Before its start a run changes nothing of an earlier one.
            if problems.problems and (has_begun or not (output_dir / run_folder.RUN_JSON).exists()):
                problems.write_csv(output_dir / output_folder.PROBLEMS)
            raise
        record = inference_record.make_record(at_start, result, problems)
        of_rounds = {"rounds": {"number": num_rounds, "differing_patients": differing}} if num_rounds > 1 else {}
        tables = result.tables
        record, differentials = write_tables(
            output_dir, record, tables, problems, used, vouched_for_by or {}, write_differentials, of_rounds
        )
    return BatchRun(result, record, differentials, num_files_of(images, problems))


def num_files_of(images: Iterable[ImageFile], problems: ProblemLog) -> int:
    """Image files that were found, those that could not be used included."""
    return len({str(image.path) for image in images} | problems.skipped_files())


def write_tables(
    output_dir: pathlib.Path,
    record: Mapping[str, Any],
    tables: run_folder.Tables,
    problems: ProblemLog,
    matrices: Mapping[str, Classification],
    vouched_for_by: Mapping[str, str],
    write_differentials: Callable[[pathlib.Path, Mapping[str, Any]], Any],
    of_rounds: Mapping[str, Any] | None = None,
) -> tuple[dict[str, Any], Any]:
    """Writes what is of all patients, when every patient has been examined: run.json last.

    Args:
      record: of `inference_record.make_record`.
      tables: checksums of the patients' tables as they were written.
      matrices: of `matrices_of`.
      vouched_for_by, write_differentials: as in `run`.
      of_rounds: what run.json says of further rounds.

    Returns:
      (contents of run.json, what `write_differentials` returned).

    Raises:
      RunError: a patient's tables are not those that were written.
    """
    problems.write_csv(output_dir / output_folder.PROBLEMS)
    record = {**record, "tables": tables}
    for model in record["models"]:
        if model["name"] in matrices:
            model[run_folder.CLASSIFICATION] = classification.write_into_run(output_dir, matrices[model["name"]])
    record["models_vouched_for_by"] = dict(vouched_for_by)
    differentials = write_differentials(output_dir, record)
    run_folder.check_tables(output_dir, tables)
    return run_folder.finish(output_dir, {**record, **(of_rounds or {})}, tables), differentials


def matrices_of(
    detectors: Sequence[ImageDetector], matrices: Mapping[str, Classification]
) -> dict[str, Classification]:
    """{model: matrix} of the detectors that have one; models averaged cell by cell are another detector without one.

    Raises:
      ClassificationError: a matrix was made with other weights, classes or temperature.
    """
    used = {}
    for detector in detectors:
        found = matrices.get(detector.name)
        if found is None:
            continue
        differs = found.contradiction(detector.fingerprint, detector.temperature, detector.label_map.names)
        if differs:
            raise ClassificationError(
                f"{detector.name}/{model_folder.CLASSIFICATION}: {differs}; run evaluate --store again, or delete the "
                "file."
            )
        used[detector.name] = found
    return used

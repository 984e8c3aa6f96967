"""Check whether scores mean what they say, and fit a temperature.

Compares a run of batch_infer with LabelImg XML of the same images, which must be validation images, never training
images. Writes reliability, calibration error, and coverage and accuracy for every possible --unknown_below. With
--model the temperature is stored in that model folder's model.json and used by later runs, if it lowers the calibration
error; without --model nothing is changed. With --store the model folder keeps what became of the annotated cells too,
and later runs give corrected percentages (docs/CORRECTION.md).
"""

import pathlib
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from absl import flags

from tfod_csf.commands import command_line, common_flags
from tfod_csf.errors import UserError

if TYPE_CHECKING:
    from tfod_csf.classification import Classification
    from tfod_csf.cytology.annotated_cells import ImageCells
    from tfod_csf.cytology.studies.calibration_tables import CalibrationResult
    from tfod_csf.model_folder import ModelFolder

FLAGS = flags.FlagValues()
common_flags.define_inference_dir(FLAGS, "Output folder of batch_infer on the validation images.")
common_flags.define_run_annotations_dir(FLAGS, required=True)
common_flags.define_output_dir(FLAGS)
flags.DEFINE_string(
    "model",
    None,
    "Exported model folder of the run, whose model.json gets the temperature; default: it is not stored. A model that "
    "ships with this package is not changed: use a copy (tfod_csf models NAME --output_dir=FOLDER).",
    flag_values=FLAGS,
)
flags.DEFINE_boolean(
    "store",
    False,
    "Keep the confusion matrix too in the folder of --model (classification.json), with which later runs correct "
    "percentages; that of the scores at the stored temperature.",
    flag_values=FLAGS,
)
common_flags.define_trust(FLAGS)
common_flags.define_class_map(FLAGS)
flags.DEFINE_boolean(
    "ignore_unmatched",
    False,
    "Ignore cells of the machine where nothing was annotated; for annotations that are not complete.",
    flag_values=FLAGS,
)
common_flags.define_matching_iou_threshold(FLAGS, old_name="iou")
flags.DEFINE_integer(
    "min_cells",
    100,
    "Number of machine cells on annotated images below which nothing is fitted; without --ignore_unmatched those that "
    "match no annotation count too.",
    lower_bound=1,
    flag_values=FLAGS,
)


def _model_name(run: dict) -> str:
    """Name of the model whose cells are compared: that of --model, or else the run's first."""
    names = [entry.get("name", "") for entry in run.get("models", [])]
    if FLAGS.model:
        name = pathlib.Path(FLAGS.model).resolve().name
        if names and name not in names:
            raise UserError(f"--model={FLAGS.model}: the run was made with {', '.join(names)}, not with {name}.")
        return name
    return names[0] if names else ""


def main() -> None:
    """Matches cells, fits, writes, stores where asked, and says what changed."""
    from tfod_csf.files import folder_lock

    with folder_lock.only_writer(common_flags.output_dir(FLAGS)):
        _calibrate()


def _calibrate() -> None:
    from tfod_csf.model_folder import ModelFolder
    from tfod_csf.shipped_models import by_name

    inference_dir, output_dir = common_flags.inference_dir(FLAGS), common_flags.output_dir(FLAGS)
    annotations_dir = common_flags.annotations_dir(FLAGS)
    if FLAGS.store and not FLAGS.model:
        raise UserError("--store needs --model, the folder that is to keep the confusion matrix.")
    folder = None
    if FLAGS.model:
        by_name.refuse_to_change(by_name.find(FLAGS.model))
        common_flags.existing_folder(FLAGS, "model", "give the folder that exporter_main_v2 wrote")
        folder = ModelFolder.open(FLAGS.model, FLAGS.trust)
        _check_score_converter(folder)
    from tfod_csf import run_folder
    from tfod_csf.cytology import annotated_cells, run_tables
    from tfod_csf.cytology.studies import agreement_tables, calibration_tables
    from tfod_csf.problems import ProblemLog
    from tfod_csf.progress_bar import bar_over

    run = run_folder.read_run(inference_dir)
    name = _model_name(run)
    if folder is not None:  # before tables are read and anything is written
        _check_weights(run, name, folder)
    problems = ProblemLog()
    class_map = common_flags.class_map(FLAGS)
    annotated_cells.check_class_map(class_map, [annotations_dir], run_folder.classes(inference_dir))
    annotations = annotated_cells.read_annotations(annotations_dir, problems, class_map)
    matched, _ = agreement_tables.match_all(
        inference_dir,
        annotations,
        name or None,
        FLAGS.matching_iou_threshold,
        progress=bar_over("patient"),
        is_machine_alone=True,
    )
    problems.write_csv(output_dir / "problems.csv")
    thresholds, _ = run_tables.new_thresholds(inference_dir)
    result = calibration_tables.write_calibration(
        output_dir, matched, thresholds.unknown_below, FLAGS.ignore_unmatched, FLAGS.min_cells
    )
    print(
        f"{result.cells} cells, {100 * result.accuracy:.1f} % right ({result.num_left_out} ignored); temperature "
        f"{result.temperature:.3f}: expected calibration error {100 * result.ece_before:.1f} -> "
        f"{100 * result.ece_after:.1f} points; written to {output_dir}."
    )
    print(calibration_tables.class_table(result.classes, thresholds.unknown_below))
    print(result.changes)
    if folder is not None:
        _store(result, run, name, folder, annotations)


def _store(
    result: "CalibrationResult", run: dict, name: str, folder: "ModelFolder", annotations: Mapping[str, "ImageCells"]
) -> None:
    """Stores the temperature where it is an improvement, and the matrix where asked; nothing if that is refused."""
    from tfod_csf import model_folder
    from tfod_csf.cytology.studies import calibration_tables

    made_with = calibration_tables.run_temperature(run, name)
    temperature = calibration_tables.new_temperature(result, made_with) if result.is_improvement else made_with
    matrix = None
    if FLAGS.store:  # counted first: a new temperature beside the matrix of an earlier one would contradict it
        matrix = _matrix(run, name, folder, annotations, temperature / made_with)
        matrix.check_enough()
    if result.is_improvement:
        _store_temperature(result, made_with)
    else:
        if matrix is not None:
            _check_same_temperature(folder, made_with)
        print(f"not stored in {FLAGS.model}/model.json: the temperature does not bring scores nearer to accuracy.")
    if matrix is not None:
        print(model_folder.store_classification(FLAGS.model, matrix))
    elif temperature != made_with and (pathlib.Path(FLAGS.model) / model_folder.CLASSIFICATION).is_file():
        print(f"{FLAGS.model}/classification.json is of the earlier temperature; run calibrate --store to replace it.")


def _store_temperature(result: "CalibrationResult", made_with: float) -> None:
    """Stores the temperature and says what else depends on it."""
    from tfod_csf import model_folder
    from tfod_csf.cytology.studies import calibration_tables

    stored = calibration_tables.store_temperature(
        FLAGS.model, result, made_with, annotations_dir=FLAGS.annotations_dir, inference_dir=FLAGS.inference_dir
    )
    print(f"temperature {stored:.4f} stored in {FLAGS.model}/model.json; batch_infer uses it from now on.")
    if model_folder.chosen_at_other_temperature(FLAGS.model, stored):
        print(
            f"unknown_below in {FLAGS.model}/model.json was chosen on scores of the earlier temperature; run "
            "evaluate --store_thresholds again."
        )


def _check_same_temperature(folder: "ModelFolder", made_with: float) -> None:
    """Refuses a matrix of other scores than those that the model gives now.

    Raises:
      UserError: the model's temperature was changed since the run.
    """
    from tfod_csf.score_temperature import temperature_of

    now = temperature_of(folder.info, FLAGS.model)
    if abs(now - made_with) > 1e-6:
        raise UserError(
            f"--model={FLAGS.model}: its model.json has the temperature {now:g}, the run was made at {made_with:g}; "
            "run batch_infer again with this folder."
        )


def _check_score_converter(folder: "ModelFolder") -> None:
    """Refuses a model whose config says that its scores are not made to add up to 1; data may not show it.

    Raises:
      UserError: its second stage has another score_converter than SOFTMAX.
    """
    from tfod_csf.config import pipeline_config
    from tfod_csf.config.protos import post_processing_pb2

    try:
        config = pipeline_config.load_pipeline_config(folder.pipeline_config_path)
    except pipeline_config.ConfigError:
        return  # there is none, or one that only TFOD reads: the scores themselves are looked at later
    converter = config.model.faster_rcnn.second_stage_post_processing.score_converter
    name = post_processing_pb2.PostProcessing.ScoreConverter.Name(converter)
    if name != "SOFTMAX":
        raise UserError(
            f"{folder.pipeline_config_path}: second_stage_post_processing.score_converter is {name}; a temperature is "
            "for scores that add up to 1 over classes and background (SOFTMAX). Use this model without one."
        )


def _entry_of(run: dict, name: str) -> dict:
    """What run.json says about a model; empty where it does not name it."""
    return next((model for model in run.get("models", []) if model.get("name") == name), {})


def _check_weights(run: dict, name: str, folder: "ModelFolder") -> None:
    """Refuses a run of another network than that in the folder, or of other classes: exports may share a name.

    Raises:
      UserError: the run is not of the model in the folder, or does not say of which it is.
    """
    from tfod_csf.model_folder import fingerprint

    if _entry_of(run, name).get("fingerprint") != fingerprint(folder.network_dir):
        raise UserError(
            f"--model={FLAGS.model}: the run was made with other weights than those of this folder, or does not name "
            "them; run batch_infer again with this folder."
        )
    classes = _entry_of(run, name).get("classes", folder.label_map.names)
    if list(classes) != folder.label_map.names:
        raise UserError(
            f"--model={FLAGS.model}: the run was made with the classes {', '.join(classes)}, and the label map of this "
            f"folder has {', '.join(folder.label_map.names)}; run batch_infer again with this folder."
        )


def _matrix(
    run: dict, name: str, folder: "ModelFolder", annotations: Mapping[str, "ImageCells"], further: float
) -> "Classification":
    """The matrix of the validation at the run's temperature times `further`."""
    from tfod_csf import provenance
    from tfod_csf.classification import Classification
    from tfod_csf.cytology import validation_counts
    from tfod_csf.evaluation.classification_counts import ClassificationCounter

    entry, thresholds = _entry_of(run, name), run["thresholds"]
    counter = ClassificationCounter(
        float(thresholds["unknown_below"]), FLAGS.matching_iou_threshold, not FLAGS.ignore_unmatched
    )
    return Classification(
        model=name,
        fingerprint=entry["fingerprint"],
        temperature=round(float(entry.get("temperature") or 1.0) * further, 6),
        classes=tuple(folder.label_map.names),
        thresholds={key: float(thresholds[key]) for key in ("min_score", "unknown_below", "duplicate_iou")},
        matching_iou_threshold=FLAGS.matching_iou_threshold,
        patients=validation_counts.count_validation(FLAGS.inference_dir, annotations, name, counter, further),
        source=pathlib.PurePath(FLAGS.annotations_dir).name,
        date=provenance.now(),
    )


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "calibrate"))

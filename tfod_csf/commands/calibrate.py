"""Check whether scores mean what they say, and fit a temperature.

Compares a run of batch_infer with LabelImg XML of the same images, which must be validation images, never training
images. Writes reliability, calibration error, and coverage and accuracy for every possible --unknown_below. With
--model the temperature is stored in that model folder's model.json and used by later runs, if it lowers the calibration
error; without --model nothing is changed.
"""

import pathlib
import sys

from absl import flags

from tfod_csf.commands import command_line, common_flags
from tfod_csf.errors import UserError

FLAGS = flags.FlagValues()
common_flags.define_inference_dir(FLAGS, "Output folder of batch_infer on the validation images.")
common_flags.define_run_annotations_dir(FLAGS, required=True)
common_flags.define_output_dir(FLAGS)
flags.DEFINE_string(
    "model",
    None,
    "Exported model folder of the run, whose model.json gets the temperature; default: it is not stored.",
    flag_values=FLAGS,
)
common_flags.define_class_map(FLAGS)
flags.DEFINE_boolean(
    "ignore_unmatched",
    False,
    "Ignore cells of the machine where nothing was annotated; for annotations that are not complete.",
    flag_values=FLAGS,
)
common_flags.define_matching_iou_threshold(FLAGS, old_name="iou")
flags.DEFINE_integer(
    "min_cells", 100, "Number of annotated cells below which nothing is fitted.", lower_bound=1, flag_values=FLAGS
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
    inference_dir, output_dir = common_flags.inference_dir(FLAGS), common_flags.output_dir(FLAGS)
    annotations_dir = common_flags.annotations_dir(FLAGS)
    if FLAGS.model:
        common_flags.existing_folder(FLAGS, "model", "give the folder that exporter_main_v2 wrote")
    from tfod_csf.cytology import annotated_cells, run_tables
    from tfod_csf.cytology.studies import agreement_tables, calibration_tables
    from tfod_csf.problems import ProblemLog
    from tfod_csf.progress_bar import bar_over

    run = run_tables.read_run(inference_dir)
    name = _model_name(run)
    problems = ProblemLog()
    annotations = annotated_cells.read_annotations(annotations_dir, problems, common_flags.class_map(FLAGS))
    matched, _ = agreement_tables.match_all(
        inference_dir, annotations, name or None, FLAGS.matching_iou_threshold, progress=bar_over("patient")
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
    if FLAGS.model and not result.is_improvement:
        print(f"not stored in {FLAGS.model}/model.json: the temperature does not bring scores nearer to accuracy.")
    elif FLAGS.model:
        made_with = calibration_tables.run_temperature(run, name)
        stored = calibration_tables.store_temperature(
            FLAGS.model, result, made_with, annotations_dir=FLAGS.annotations_dir, inference_dir=FLAGS.inference_dir
        )
        print(f"temperature {stored:.4f} stored in {FLAGS.model}/model.json; batch_infer uses it from now on.")


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "calibrate"))

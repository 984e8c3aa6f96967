"""Do scores mean what they say? Reliability, calibration error, coverage and accuracy; fits a temperature.

Runs on a batch_infer output and LabelImg XML of the same images (the validation side, never the training side). With
--model the temperature is stored in that model folder's model.json and used by later runs, if it lowers the calibration
error; without --model nothing changes.
"""

import pathlib
import sys

from absl import flags

from tfod_csf.commands import command_line
from tfod_csf.errors import UserError

FLAGS = flags.FlagValues()
flags.DEFINE_string("inference_dir", None, "Output folder of batch_infer on the validation images.", flag_values=FLAGS)
flags.DEFINE_string("annotations_dir", None, "LabelImg XML of the same images.", flag_values=FLAGS)
flags.DEFINE_string("output_dir", None, "Folder to write to.", flag_values=FLAGS)
flags.DEFINE_string("model", None, "Exported model folder that gets the temperature.", flag_values=FLAGS)
flags.DEFINE_multi_string("class_map", [], "OLD=NEW renames a class of the XML, OLD= drops it.", flag_values=FLAGS)
flags.DEFINE_boolean(
    "ignore_unmatched",
    False,
    "Leave out machine cells where nothing was annotated (for annotations that are not complete).",
    flag_values=FLAGS,
)
flags.DEFINE_float("iou", 0.5, "Boxes that overlap at least this much are one cell.", 0.05, 1, flag_values=FLAGS)
flags.DEFINE_integer("min_cells", 100, "Fewer annotated cells are refused.", 1, flag_values=FLAGS)
flags.mark_flags_as_required(["inference_dir", "annotations_dir", "output_dir"], flag_values=FLAGS)


def _model_name(run: dict) -> str:
    names = [entry.get("name", "") for entry in run.get("models", [])]
    if FLAGS.model:
        name = pathlib.Path(FLAGS.model).resolve().name
        if names and name not in names:
            raise UserError(f"--model={FLAGS.model}: the run was made with {', '.join(names)}, not with {name}.")
        return name
    return names[0] if names else ""


def main() -> None:
    """Matches cells, fits, writes, stores where asked, and says what changed."""
    for flag in ("inference_dir", "annotations_dir", *(["model"] if FLAGS.model else [])):
        if not pathlib.Path(FLAGS[flag].value).is_dir():
            raise UserError(f"--{flag}={FLAGS[flag].value}: no such folder.")
    from tfod_csf.cytology import annotated_cells, run_tables
    from tfod_csf.cytology.studies import agreement_tables, calibration_tables
    from tfod_csf.label_map import parse_class_map
    from tfod_csf.problems import ProblemLog
    from tfod_csf.progress_bar import bar_over

    run = run_tables.read_run(FLAGS.inference_dir)
    name = _model_name(run)
    problems = ProblemLog()
    annotations = annotated_cells.read_annotations(FLAGS.annotations_dir, problems, parse_class_map(FLAGS.class_map))
    matched, _ = agreement_tables.match_all(
        FLAGS.inference_dir,
        annotations,
        name or None,
        FLAGS.iou,
        progress=bar_over("patient"),
    )
    problems.write_csv(pathlib.Path(FLAGS.output_dir) / "problems.csv")
    thresholds, _ = run_tables.new_thresholds(FLAGS.inference_dir)
    result = calibration_tables.write_calibration(
        FLAGS.output_dir, matched, thresholds.unknown_below, FLAGS.ignore_unmatched, FLAGS.min_cells
    )
    print(
        f"{result.cells} cells, {100 * result.accuracy:.1f} % right ({result.num_left_out} left out); temperature "
        f"{result.temperature:.3f}: expected calibration error {100 * result.ece_before:.1f} -> "
        f"{100 * result.ece_after:.1f} points; written to {FLAGS.output_dir}."
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

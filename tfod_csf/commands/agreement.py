"""Machine differentials against the hospital's (the paper's Table 2 and blind test), with the statistics behind it.

Per patient the differences and whether counting so many cells explains them; per class the mean absolute difference,
Bland-Altman, Passing-Bablok, Deming and Lin's concordance; the paper's "accuracy" is 100 minus the mean difference.
With annotations of the same images, also Cohen's kappa cell by cell.
"""

import pathlib
import sys

from absl import flags

from tfod_csf.commands import command_line
from tfod_csf.errors import UserError

FLAGS = flags.FlagValues()
flags.DEFINE_string(
    "machine", None, "differentials.csv, or an output folder of batch_infer or differential.", flag_values=FLAGS
)
flags.DEFINE_string(
    "hospital",
    None,
    "CSV with patient_id, lymphocyte, monocyte, neutrophil (percent) and optionally n (cells).",
    flag_values=FLAGS,
)
flags.DEFINE_enum(
    "hospital_unit",
    "percent",
    ["percent", "cells"],
    "What those columns hold; cells is also right for truth.csv of synthesize.",
    flag_values=FLAGS,
)
flags.DEFINE_string("output_dir", None, "Folder to write to.", flag_values=FLAGS)
flags.DEFINE_integer("assumed_cells", 200, "Cells the hospital counted where n is not given.", 1, flag_values=FLAGS)
flags.DEFINE_float(
    "error_ratio", 1.0, "Deming: error variance of the machine over the hospital's.", 1e-6, flag_values=FLAGS
)
flags.DEFINE_string("inference_dir", None, "Output folder of batch_infer, for single cells.", flag_values=FLAGS)
flags.DEFINE_string("annotations_dir", None, "LabelImg XML of the same images, for single cells.", flag_values=FLAGS)
flags.DEFINE_multi_string("class_map", [], "OLD=NEW renames a class of the XML, OLD= drops it.", flag_values=FLAGS)
flags.DEFINE_string("model", None, "Whose cells are compared; default: the first model.", flag_values=FLAGS)
flags.DEFINE_float("iou", 0.5, "Boxes that overlap at least this much are one cell.", 0.05, 1, flag_values=FLAGS)
flags.mark_flags_as_required(["machine", "hospital", "output_dir"], flag_values=FLAGS)


def main() -> None:
    """Reads both sides, compares, writes, and says the result in the paper's words and the experts'."""
    machine_path = pathlib.Path(FLAGS.machine)
    if machine_path.is_dir():
        machine_path = machine_path / "differentials.csv"
    for flag, path in (("machine", machine_path), ("hospital", pathlib.Path(FLAGS.hospital))):
        if not path.is_file():
            raise UserError(f"--{flag}={FLAGS[flag].value}: no file {path}.")
    if bool(FLAGS.inference_dir) != bool(FLAGS.annotations_dir):
        raise UserError("--inference_dir and --annotations_dir go together: single cells need both.")
    from tfod_csf.cytology import annotated_cells
    from tfod_csf.cytology.studies import agreement_tables
    from tfod_csf.label_map import parse_class_map
    from tfod_csf.problems import ProblemLog
    from tfod_csf.progress_bar import bar_over

    machine, without = agreement_tables.read_machine(machine_path)
    hospital = agreement_tables.read_hospital(FLAGS.hospital, FLAGS.assumed_cells, FLAGS.hospital_unit == "cells")
    problems, matched = ProblemLog(), None
    if FLAGS.annotations_dir:
        found = annotated_cells.read_annotations(FLAGS.annotations_dir, problems, parse_class_map(FLAGS.class_map))
        matched = agreement_tables.match_all(
            FLAGS.inference_dir,
            found,
            FLAGS.model,
            FLAGS.iou,
            progress=bar_over("patient"),
        )
        problems.write_csv(pathlib.Path(FLAGS.output_dir) / "problems.csv")
    rows = agreement_tables.write_agreement(FLAGS.output_dir, machine, without, hospital, FLAGS.error_ratio, matched)
    value = {(row["class"], row["measure"]): row["value"] for row in rows}
    print(
        f"{rows[0]['patients']} patients compared: mean absolute difference "
        f"{value['all', 'mean_absolute_difference']:.2f} points (100 minus it, the paper's accuracy: "
        f"{value['all', 'paper_accuracy']:.1f} %)"
        + (f", kappa of {value['cells', 'cells_matched']:.0f} cells {value['cells', 'kappa']:.3f}" if matched else "")
        + f"; written to {FLAGS.output_dir}."
    )


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "agreement"))

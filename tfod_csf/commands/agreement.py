"""Compare the machine's differentials with the hospital's (Table 2).

Per patient: the differences, and whether counting that many cells explains them. Per class: the mean absolute
difference, Bland-Altman, Passing-Bablok, Deming and Lin's concordance; the paper's "accuracy" is 100 minus the mean
difference. With --inference_dir and --annotations_dir also Cohen's kappa, cell by cell. Table 2 and the blind test are
the paper's.
"""

import pathlib
import sys
from typing import TYPE_CHECKING

from absl import flags

from tfod_csf.commands import command_line, common_flags
from tfod_csf.errors import UserError

if TYPE_CHECKING:
    from tfod_csf.cytology.annotated_cells import MatchedCells

FLAGS = flags.FlagValues()
flags.DEFINE_string(
    "machine",
    None,
    "The machine's differentials.csv, or the output folder of batch_infer, differential or review_import with it.",
    required=True,
    flag_values=FLAGS,
)
flags.DEFINE_string(
    "hospital",
    None,
    "The hospital's CSV with the columns patient_id, lymphocyte, monocyte, neutrophil and, if known, n (cells).",
    required=True,
    flag_values=FLAGS,
)
flags.DEFINE_enum(
    "hospital_unit",
    "percent",
    ["percent", "cells"],
    "What the hospital's columns of classes hold; cells is also right for truth.csv of synthesize.",
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "assumed_cells",
    200,
    "Cells that the hospital counted where its CSV does not say so in the column n.",
    lower_bound=1,
    flag_values=FLAGS,
)
common_flags.define_output_dir(FLAGS)
flags.DEFINE_float(
    "error_ratio",
    1.0,
    "For Deming regression: error variance of the machine divided by that of the hospital.",
    lower_bound=1e-6,
    flag_values=FLAGS,
)
common_flags.define_inference_dir(
    FLAGS,
    "To compare single cells: output folder of batch_infer, or of review_import for the cells as people decided.",
    required=False,
)
common_flags.define_run_annotations_dir(FLAGS, ", to compare single cells")
common_flags.define_class_map(FLAGS)
common_flags.define_model_name(FLAGS)
common_flags.define_matching_iou_threshold(FLAGS, old_name="iou")


def main() -> None:
    """Reads both sides, compares, writes, and says the result in the paper's words and the experts'."""
    machine_path = pathlib.Path(FLAGS.machine)
    if machine_path.is_dir():
        machine_path = machine_path / "differentials.csv"
    if not machine_path.is_file():
        raise UserError(
            f"--machine={FLAGS.machine}: no file {machine_path}; give differentials.csv of batch_infer or its folder."
        )
    if not pathlib.Path(FLAGS.hospital).is_file():
        raise UserError(f"--hospital={FLAGS.hospital}: no such file; give the CSV of the hospital's differentials.")
    if bool(FLAGS.inference_dir) != bool(FLAGS.annotations_dir):
        raise UserError("--inference_dir and --annotations_dir go together: single cells need both.")
    output_dir = common_flags.output_dir(FLAGS)
    from tfod_csf.cytology.studies import agreement_tables

    machine, without = agreement_tables.read_machine(machine_path)
    hospital = agreement_tables.read_hospital(FLAGS.hospital, FLAGS.assumed_cells, FLAGS.hospital_unit == "cells")
    matched = _match_cells(output_dir) if FLAGS.annotations_dir else None
    rows = agreement_tables.write_agreement(output_dir, machine, without, hospital, FLAGS.error_ratio, matched)
    value = {(row["class"], row["measure"]): row["value"] for row in rows}
    print(
        f"{rows[0]['patients']} patients compared: mean absolute difference "
        f"{value['all', 'mean_absolute_difference']:.2f} points (100 minus it, the paper's accuracy: "
        f"{value['all', 'paper_accuracy']:.1f} %)"
        + (f", kappa of {value['cells', 'cells_matched']:.0f} cells {value['cells', 'kappa']:.3f}" if matched else "")
        + f"; written to {output_dir}."
    )


def _match_cells(output_dir: pathlib.Path) -> tuple["MatchedCells", int]:
    """Pairs the cells of the run with the annotated ones, problems.csv being written; also what `match_all` counts."""
    from tfod_csf.cytology import annotated_cells
    from tfod_csf.cytology.studies import agreement_tables
    from tfod_csf.problems import ProblemLog
    from tfod_csf.progress_bar import bar_over

    problems = ProblemLog()
    inference_dir, annotations_dir = common_flags.inference_dir(FLAGS), common_flags.annotations_dir(FLAGS)
    annotations = annotated_cells.read_annotations(annotations_dir, problems, common_flags.class_map(FLAGS))
    matched = agreement_tables.match_all(
        inference_dir, annotations, FLAGS.model, FLAGS.matching_iou_threshold, progress=bar_over("patient")
    )
    problems.write_csv(output_dir / "problems.csv")
    return matched


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "agreement"))

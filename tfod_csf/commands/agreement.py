"""Compare the machine's differentials with the hospital's (Table 2).

Per patient: the differences, and whether counting that many cells explains them. Per class: the mean absolute
difference, Bland-Altman, Passing-Bablok, Deming and Lin's concordance, the spread that counting alone gives, normal or
abnormal at the reference limits, and the bias there; the paper's "accuracy" is 100 minus the mean difference. With
--inference_dir and --annotations_dir also Cohen's kappa, sensitivity, specificity and predictive values, cell by cell.
Table 2 and the blind test are the paper's.
"""

import pathlib
import sys
from typing import TYPE_CHECKING

from absl import flags

from tfod_csf import cell_classes
from tfod_csf.commands import command_line, common_flags, differential_flags
from tfod_csf.errors import UserError
from tfod_csf.wording import named, plural

if TYPE_CHECKING:
    from tfod_csf.cytology.annotated_cells import MatchedCells
    from tfod_csf.study.patient_ids import Matched

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
flags.DEFINE_boolean(
    "effective_cells",
    True,
    "Test each patient with the effective cells of differentials.csv, where it has them: cells of one kind lie "
    "together. Without it all cells are taken as independent, and more patients differ.",
    flag_values=FLAGS,
)
flags.DEFINE_float(
    "error_ratio",
    1.0,
    "For Deming regression: error variance of the machine divided by that of the hospital.",
    lower_bound=1e-6,
    flag_values=FLAGS,
)
differential_flags.define_reference_ranges(FLAGS)
common_flags.define_list(
    FLAGS,
    "decision_level",
    [],
    "CLASS=PERCENT: a percentage at which a decision is made, for example neutrophil=10; the bias is estimated there. "
    "The ends of the reference ranges are always among them.",
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
    of_cells = [name for name in ("model", "class_map", "matching_iou_threshold") if FLAGS[name].present]
    if of_cells and not FLAGS.annotations_dir:
        raise UserError(
            f"--{of_cells[0]} is for single cells; give --inference_dir and --annotations_dir too, or leave it out. "
            "The differentials are those of --machine whatever it says."
        )
    if bool(FLAGS.inference_dir) != bool(FLAGS.annotations_dir):
        raise UserError("--inference_dir and --annotations_dir go together: single cells need both.")
    output_dir = common_flags.output_dir(FLAGS)
    levels = _decision_levels()
    from tfod_csf.cytology.counting import reference_ranges
    from tfod_csf.cytology.studies import agreement_tables
    from tfod_csf.files import folder_lock

    references = reference_ranges.load_reference_ranges(
        FLAGS.reference_ranges or reference_ranges.DEFAULT_TABLE, FLAGS.population
    )
    machine = agreement_tables.read_machine(machine_path, FLAGS.effective_cells)
    hospital = agreement_tables.read_hospital(FLAGS.hospital, FLAGS.assumed_cells, FLAGS.hospital_unit == "cells")
    ids = agreement_tables.match_patients(machine, hospital, FLAGS.hospital)
    hospital = hospital.with_ids_of(ids)
    with folder_lock.only_writer(output_dir):
        matched = _match_cells(output_dir) if FLAGS.annotations_dir else None
        rows = agreement_tables.write_agreement(
            output_dir, machine, hospital, references, levels, FLAGS.error_ratio, matched
        )
    print(f"{_found(rows)}; written to {output_dir}.")
    print(_not_on_both_sides(ids), end="")
    if hospital.notes:
        print(
            f"{plural(len(hospital.notes), 'patient')} of the hospital with cells of other classes: percentages "
            "divided by their sum (note in agreement_patients.csv)."
        )
        if 2 * len(hospital.notes) > len(hospital.differentials.patient_ids):
            print("If its columns hold cells, not percent, give --hospital_unit=cells.")
    (unreliable,) = (row["value"] for row in rows if row["measure"] == "patients_unknown_beyond_limit")
    if unreliable:
        print(
            f"{plural(unreliable, 'compared patient')} with too many unknown white cells: percentages not to be relied "
            "on (note in agreement_patients.csv)."
        )


def _not_on_both_sides(ids: "Matched") -> str:
    """Lines on patients that only one side has."""
    lines = ""
    if ids.only_given:
        count = plural(len(ids.only_given), "patient")
        lines += f"{count} of the hospital not examined by the machine ({named(ids.only_given)}){ids.hint}.\n"
    if ids.only_known:
        count = plural(len(ids.only_known), "patient")
        lines += f"{count} of the machine without a result of the hospital ({named(ids.only_known)}).\n"
    return lines


def _decision_levels() -> dict[str, list[float]]:
    """{class: percentages} of --decision_level.

    Raises:
      UserError: an entry that is not CLASS=PERCENT of a white-cell class.
    """
    levels: dict[str, list[float]] = {}
    for entry in FLAGS.decision_level:
        name, _, text = entry.partition("=")
        name = cell_classes.canonical_name(name)
        try:
            percent = float(text)
        except ValueError:
            percent = -1.0
        if name not in cell_classes.WHITE_CELLS or not 0 <= percent <= 100:
            classes = ", ".join(cell_classes.WHITE_CELLS)
            raise UserError(f"--decision_level={entry}: write CLASS=PERCENT with 0 to 100 and one of {classes}.")
        levels.setdefault(name, []).append(percent)
    return levels


def _found(rows: list[dict]) -> str:
    """The result in the paper's words and the experts'."""
    value = {(row["class"], row["measure"]): row["value"] for row in rows}
    differing = value["all", "patients_differing"]
    text = (
        f"{plural(rows[0]['patients'], 'patient')} compared: mean absolute difference "
        f"{value['all', 'mean_absolute_difference']:.2f} points (100 minus it, the paper's accuracy: "
        f"{value['all', 'paper_accuracy']:.1f} %), {plural(differing, 'of them differs', 'of them differ')} by more "
        "than counting explains"
    )
    if ("cells", "kappa") not in value:
        return text
    cells = plural(value["cells", "cells_matched"], "cell")
    white = value["cells", "kappa_white_cells"]
    return f"{text}, kappa of {cells} {value['cells', 'kappa']:.3f}, of white cells alone {white:.3f}"


def _match_cells(output_dir: pathlib.Path) -> "MatchedCells":
    """Pairs the cells of the run with the annotated ones, problems.csv being written."""
    from tfod_csf import run_folder
    from tfod_csf.cytology import annotated_cells
    from tfod_csf.cytology.studies import agreement_tables
    from tfod_csf.problems import ProblemLog
    from tfod_csf.progress_bar import bar_over

    problems = ProblemLog()
    inference_dir, annotations_dir = common_flags.inference_dir(FLAGS), common_flags.annotations_dir(FLAGS)
    class_map = common_flags.class_map(FLAGS)
    classes = run_folder.classes(inference_dir) if class_map else ()
    annotated_cells.check_class_map(class_map, [annotations_dir], classes)
    annotations = annotated_cells.read_annotations(annotations_dir, problems, class_map)
    matched, _ = agreement_tables.match_all(
        inference_dir, annotations, FLAGS.model, FLAGS.matching_iou_threshold, progress=bar_over("patient")
    )
    problems.write_csv(output_dir / "problems.csv")
    return matched


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "agreement"))

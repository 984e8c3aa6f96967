"""Find how many white cells are enough, per patient and case (Figure 2).

Percentages against the number of cells counted: in random orders of the patient's own images (whose band closes by
construction) and in bootstrap samples of them (whose band does not). Writes the number of cells from which on there are
enough, which is the answer of differentials.csv and of the report, the images needed for it, and a planner. The paper
reports an onset at about 150 cells and 315 on average, against the hospital's rule of 200; Figure 2 is the paper's.
"""

import pathlib
import sys
from typing import TYPE_CHECKING

from absl import flags

from tfod_csf.commands import command_line, common_flags
from tfod_csf.errors import UserError

if TYPE_CHECKING:
    from tfod_csf.cytology.studies.saturation_tables import Answer

FLAGS = flags.FlagValues()
common_flags.define_inference_dir(FLAGS)
common_flags.define_output_dir(FLAGS)
flags.DEFINE_string(
    "differentials",
    None,
    "CSV with the columns patient_id and case, as differential writes it; default: differentials.csv of the run.",
    flag_values=FLAGS,
)
common_flags.define_model_name(FLAGS, default="curves of the first, results of all")
common_flags.define_unknown_below(FLAGS, default="the run's")
common_flags.define_count_unknown(FLAGS, default=None)
common_flags.define_tolerance_points(FLAGS)
common_flags.define_max_unknown_percent(FLAGS)
common_flags.define_replicates(FLAGS)
flags.DEFINE_integer(
    "min_white_cells",
    30,
    "White cells below which a patient cannot count as saturated.",
    lower_bound=1,
    flag_values=FLAGS,
)
common_flags.define_numbers(
    FLAGS,
    "plan_points",
    [10.0, 7.0, 5.0, 3.0],
    "Precisions to plan for, in percentage points: how many cells each would need.",
    upper_bound=50,
)
flags.DEFINE_integer(
    "max_plots", 50, "Number of patients that get a plot of their own.", lower_bound=0, flag_values=FLAGS
)
flags.DEFINE_integer("seed", 0, "Seed of the random orders and samples.", lower_bound=0, flag_values=FLAGS)
common_flags.define_num_processes(FLAGS)


def main() -> None:
    """Reads, computes, writes, and says the medians next to the paper's numbers."""
    inference_dir, output_dir = common_flags.inference_dir(FLAGS), common_flags.output_dir(FLAGS)
    if FLAGS.differentials and not pathlib.Path(FLAGS.differentials).exists():
        raise UserError(f"--differentials={FLAGS.differentials}: no such file.")
    from tfod_csf.cytology import run_tables
    from tfod_csf.cytology.counting.saturation import SaturationRules
    from tfod_csf.cytology.studies import saturation_tables
    from tfod_csf.files import folder_lock
    from tfod_csf.progress_bar import bar_over

    differentials = FLAGS.differentials or inference_dir / "differentials.csv"
    thresholds, is_changed = run_tables.new_thresholds(
        inference_dir, unknown_below=FLAGS.unknown_below, count_unknown=FLAGS.count_unknown
    )
    with folder_lock.only_writer(output_dir):
        answers = saturation_tables.write_saturation(
            inference_dir,
            output_dir,
            SaturationRules(
                tolerance_points=FLAGS.tolerance_points,
                replicates=FLAGS.replicates,
                min_white_cells=FLAGS.min_white_cells,
                seed=FLAGS.seed,
            ),
            max_unknown_percent=FLAGS.max_unknown_percent,
            model=FLAGS.model,
            cases=saturation_tables.read_cases(differentials),
            thresholds=thresholds if is_changed else None,
            max_plots=FLAGS.max_plots,
            plan_points=FLAGS.plan_points,
            progress=bar_over("patient"),
            num_processes=common_flags.num_processes(FLAGS),
        )
    print(
        f"{_found(answers)}; written to {output_dir} (saturation.csv, saturation_cases.csv, saturation_planner.csv, "
        "plots)."
    )


def _found(answers: "list[Answer]") -> str:
    """The medians next to the paper's numbers."""
    from tfod_csf.cytology.counting.saturation import summarize_cases

    known = [answer.n_sat_bootstrap for answer in answers if answer.saturated is not None]
    overall = summarize_cases(known, ["all"] * len(known))[-1] if known else None
    middle = f"median {overall.median:.0f} white cells" if overall and overall.median < float("inf") else "no median"
    not_known = f", {len(answers) - len(known)} not known" if len(known) < len(answers) else ""
    return (
        f"{sum(answer.saturated is True for answer in answers)} of {len(answers)} patients saturated within "
        f"+-{FLAGS.tolerance_points:g} points{not_known} ({middle}; "
        "the paper: onset about 150, 315 on average, hospital rule 200)"
    )


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "saturation"))

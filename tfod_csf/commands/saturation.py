"""How many white cells are enough: percentages against cells counted (the paper's Figure 2), per patient and case.

Random orders of the patient's own images (their band closes by construction), images drawn with replacement (theirs
does not), the smallest number from which on all three percentages stay within the tolerance, images needed, and a
planner. The paper reports an onset at about 150 cells and 315 on average, against the hospital's rule of 200.
"""

import pathlib
import sys

from absl import flags

from tfod_csf.commands import command_line
from tfod_csf.errors import UserError

FLAGS = flags.FlagValues()
flags.DEFINE_string("inference_dir", None, "Output folder of batch_infer.", flag_values=FLAGS)
flags.DEFINE_string("output_dir", None, "Folder to write to.", flag_values=FLAGS)
flags.DEFINE_string("differentials", None, "CSV with each patient's case; default: the run's own.", flag_values=FLAGS)
flags.DEFINE_string("model", None, "Whose cells; default: the first model.", flag_values=FLAGS)
flags.DEFINE_float(
    "unknown_below", None, "A cell with a lower score is unknown; default: the run's.", flag_values=FLAGS
)
flags.DEFINE_enum(
    "count_unknown",
    None,
    ["apart", "as_predicted"],
    "Whether such a cell is left out or counted under its predicted class; default: the run's.",
    flag_values=FLAGS,
)
flags.DEFINE_float("tolerance_points", 10.0, "Tolerated error of a percentage, in points.", 0.1, 50, flag_values=FLAGS)
flags.DEFINE_integer("replicates", 1000, "Random orders and bootstrap replicates.", 100, flag_values=FLAGS)
flags.DEFINE_integer("min_white_cells", 30, "Patients with fewer cannot saturate.", 1, flag_values=FLAGS)
flags.DEFINE_integer("max_plots", 50, "Patients that get a plot of their own.", 0, flag_values=FLAGS)
flags.DEFINE_multi_float("plan_points", [10, 7, 5, 3], "Precisions to plan for; repeat the flag.", flag_values=FLAGS)
flags.DEFINE_integer("seed", 0, "Seed of the random numbers.", 0, flag_values=FLAGS)
flags.mark_flags_as_required(["inference_dir", "output_dir"], flag_values=FLAGS)


def main() -> None:
    """Reads, computes, writes, and says the medians beside the paper's numbers."""
    if not pathlib.Path(FLAGS.inference_dir).is_dir():
        raise UserError(
            f"--inference_dir={FLAGS.inference_dir}: no such folder; give the output folder of batch_infer."
        )
    if min(FLAGS.plan_points) <= 0 or max(FLAGS.plan_points) > 50:
        raise UserError(f"--plan_points={FLAGS.plan_points}: expected percentage points above 0 and up to 50.")
    if FLAGS.differentials and not pathlib.Path(FLAGS.differentials).exists():
        raise UserError(f"--differentials={FLAGS.differentials}: no such file.")
    from tfod_csf.cytology import run_tables
    from tfod_csf.cytology.counting.saturation import SaturationRules, summarize_cases
    from tfod_csf.cytology.studies import saturation_tables
    from tfod_csf.progress_bar import bar_over

    differentials = FLAGS.differentials or pathlib.Path(FLAGS.inference_dir) / "differentials.csv"
    thresholds, is_changed = run_tables.new_thresholds(
        FLAGS.inference_dir, unknown_below=FLAGS.unknown_below, count_unknown=FLAGS.count_unknown
    )
    rows = saturation_tables.write_saturation(
        FLAGS.inference_dir,
        FLAGS.output_dir,
        SaturationRules(
            tolerance_points=FLAGS.tolerance_points,
            replicates=FLAGS.replicates,
            min_white_cells=FLAGS.min_white_cells,
            seed=FLAGS.seed,
        ),
        model=FLAGS.model,
        cases=saturation_tables.read_cases(differentials),
        thresholds=thresholds if is_changed else None,
        max_plots=FLAGS.max_plots,
        plan_points=FLAGS.plan_points,
        progress=bar_over("patient"),
    )
    known = [row["n_sat_bootstrap"] for row in rows if row["saturated"] is not None]
    overall = summarize_cases(known, ["all"] * len(known))[-1] if known else None
    middle = f"median {overall.median:.0f} white cells" if overall and overall.median < float("inf") else "no median"
    print(
        f"{sum(row['saturated'] is True for row in rows)} of {len(rows)} patients saturated within "
        f"+-{FLAGS.tolerance_points:g} points ({middle}; the paper: onset about 150, 315 on average, hospital rule 200)"
        f"; written to {FLAGS.output_dir} (saturation.csv, saturation_cases.csv, saturation_planner.csv, plots)."
    )


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "saturation"))

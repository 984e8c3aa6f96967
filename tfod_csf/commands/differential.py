"""Counts the cells of a batch_infer run anew, with other thresholds, ranges or rules, into per-patient differentials.

Works on the CSV files only (seconds for thousands of patients). Cells a person has decided on keep that decision.
Percentages are of lymphocyte + monocyte + neutrophil; erythrocytes, unknown and other classes are counted apart.
"""

import pathlib
import sys

from absl import flags

from tfod_csf.commands import command_line
from tfod_csf.errors import UserError

FLAGS = flags.FlagValues()
flags.DEFINE_string("inference_dir", None, "Output folder of batch_infer.", flag_values=FLAGS)
flags.DEFINE_string("output_dir", None, "Folder to write to; may be the same one.", flag_values=FLAGS)
flags.DEFINE_float("min_score", None, "What counts as a cell; not below the run's own.", flag_values=FLAGS)
flags.DEFINE_float(
    "unknown_below", None, "A cell with a lower score is unknown; default: the run's.", flag_values=FLAGS
)
flags.DEFINE_enum(
    "count_unknown",
    None,
    ["apart", "as_predicted"],
    "Whether such a cell is counted apart or under its predicted class; default: the run's.",
    flag_values=FLAGS,
)
flags.DEFINE_integer("min_white_cells", 30, "Under this many, counts only.", 0, flag_values=FLAGS)
flags.DEFINE_float(
    "tolerance_points", 10.0, "enough_cells: every interval within +- this many points.", 0.1, 50, flag_values=FLAGS
)
flags.DEFINE_string("reference_ranges", None, "CSV of reference ranges; default: the package's.", flag_values=FLAGS)
flags.DEFINE_string("population", "adult", "Whose ranges of that table.", flag_values=FLAGS)
flags.DEFINE_string("patient_table", None, "CSV with patient_id and cells_per_ul.", flag_values=FLAGS)
flags.DEFINE_float("low_below_per_ul", 5, "Case 1: white cells per uL below this.", 0, flag_values=FLAGS)
flags.DEFINE_float("high_from_per_ul", 50, "Case 5: white cells per uL from this on.", 0, flag_values=FLAGS)
flags.DEFINE_float("neutrophil_percent", 50, "Case 2: neutrophils from this percentage on.", 0, 100, flag_values=FLAGS)
flags.DEFINE_float(
    "erythrocytes_per_100", 100, "Case 3: erythrocytes per 100 white cells from this on.", 0, flag_values=FLAGS
)
flags.mark_flags_as_required(["inference_dir", "output_dir"], flag_values=FLAGS)


def main() -> None:
    """Reads, counts, writes, and says what it did in a sentence."""
    if not pathlib.Path(FLAGS.inference_dir).is_dir():
        raise UserError(
            f"--inference_dir={FLAGS.inference_dir}: no such folder; give the output folder of batch_infer."
        )
    import dataclasses

    from tqdm import tqdm

    from tfod_csf.cytology import cases, cohort, reference_ranges, tables
    from tfod_csf.cytology.differential import DifferentialRules

    ranges_path = FLAGS.reference_ranges or reference_ranges.DEFAULT_TABLE
    references = reference_ranges.load_reference_ranges(ranges_path, FLAGS.population)
    cells_per_ul = tables.read_cells_per_ul(FLAGS.patient_table) if FLAGS.patient_table else {}
    thresholds, changed = tables.new_thresholds(
        FLAGS.inference_dir, FLAGS.min_score, FLAGS.unknown_below, FLAGS.count_unknown
    )
    rules = DifferentialRules(
        min_white_cells=FLAGS.min_white_cells,
        tolerance_points=FLAGS.tolerance_points,
        cases=cases.CaseRules(
            low_below_per_ul=FLAGS.low_below_per_ul,
            high_from_per_ul=FLAGS.high_from_per_ul,
            erythrocytes_per_100=FLAGS.erythrocytes_per_100,
            neutrophil_percent=FLAGS.neutrophil_percent,
        ),
    )
    summary = cohort.write_differentials(
        FLAGS.inference_dir,
        FLAGS.output_dir,
        thresholds=thresholds if changed else None,
        cells_per_ul=cells_per_ul,
        references=references,
        rules=rules,
        progress=lambda folders: tqdm(folders, unit="patient", disable=not sys.stderr.isatty()),
    )
    cohort.write_rules(
        pathlib.Path(FLAGS.output_dir) / "differential_rules.json",
        dataclasses.asdict(thresholds),
        rules,
        reference_ranges=str(ranges_path),
        population=FLAGS.population,
    )
    print(f"{summary}; written to {FLAGS.output_dir} (differentials.csv, patients/<id>/differential.csv).")


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "differential"))

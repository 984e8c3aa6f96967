"""Compute how far repeated results of the same fluid differ: by day, slide and counting.

Give a table of repeats (--table), whose results are patients of one or several runs of batch_infer (--run) or
cells counted by hand. Without a table, every patient is a sample and every run a repeat of it. Writes the standard
deviation that each level adds, per sample and class, with the one that counting alone gives beside it. The components
are those of CLSI EP05 and EP15.
"""

import pathlib
import sys

from absl import flags

from tfod_csf.commands import command_line, common_flags
from tfod_csf.errors import UserError
from tfod_csf.wording import plural

_LEVELS = ("run", "day", "operator", "slide")

FLAGS = flags.FlagValues()
flags.DEFINE_string(
    "table",
    None,
    "CSV with the columns sample and, where known, day, operator, slide; patient_id names the result in "
    "--run. Without --run it holds the cells itself: lymphocyte, monocyte, neutrophil.",
    flag_values=FLAGS,
)
flags.DEFINE_multi_string("run", [], "Output folder of batch_infer; repeat for several runs.", flag_values=FLAGS)
common_flags.define_output_dir(FLAGS)
common_flags.define_list(
    FLAGS,
    "levels",
    list(_LEVELS),
    "Levels to separate, outermost first; those that the table does not have are ignored.",
    choices=_LEVELS,
)
common_flags.define_model_name(FLAGS)
flags.DEFINE_integer(
    "min_white_cells", 30, "Results with fewer white cells are skipped.", lower_bound=1, flag_values=FLAGS
)


def main() -> None:
    """Reads the repeats, separates their spread, writes, and says the total per class."""
    if not FLAGS.table and not FLAGS.run:
        raise UserError("give repeats with --table=CSV, with --run=FOLDER for every run, or with both.")
    if FLAGS.table and not pathlib.Path(FLAGS.table).is_file():
        raise UserError(f"--table={FLAGS.table}: no such file; give the CSV of repeats.")
    if len({pathlib.Path(folder).resolve() for folder in FLAGS.run}) < len(FLAGS.run):
        raise UserError("--run: a folder is given twice; a run cannot repeat itself.")
    for folder in FLAGS.run:
        if not pathlib.Path(folder).is_dir():
            raise UserError(f"--run={folder}: no such folder; give the output folder of batch_infer.")
    output_dir = common_flags.output_dir(FLAGS)
    from tfod_csf.cytology.studies.repeatability import repeatability_tables
    from tfod_csf.files import folder_lock
    from tfod_csf.problems import ProblemLog
    from tfod_csf.progress_bar import bar_over

    problems = ProblemLog()
    if FLAGS.run:
        results = repeatability_tables.read_runs(
            FLAGS.run, FLAGS.table, problems, FLAGS.model, progress=bar_over("patient")
        )
    else:
        results = repeatability_tables.read_counts(FLAGS.table)
    used = repeatability_tables.enough_cells(results, FLAGS.min_white_cells, problems)
    with folder_lock.only_writer(output_dir):
        rows = repeatability_tables.write_repeatability(output_dir, used, FLAGS.levels)
        problems.write_csv(output_dir / "problems.csv")
    last = rows[-1]["sample"]
    for row in rows:
        if row["sample"] == last and row["component"] == "within_laboratory":
            print(
                f"{row['class']}: SD {row['sd_points']:.1f} points within the laboratory "
                f"({row['sd_counting_points']:.1f} by counting alone)"
            )
    print(
        f"{plural(rows[-1]['results'], 'result')} of {'all samples' if last == 'all' else f'sample {last}'}; "
        f"{problems.summary()}; written to {output_dir} (repeatability.csv, repeatability.png)."
    )


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "repeatability"))

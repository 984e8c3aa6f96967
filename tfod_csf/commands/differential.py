"""Counts the cells of a batch_infer run anew, with other thresholds, ranges or rules, into per-patient differentials.

Works on the CSV files only (seconds for thousands of patients). Cells a person has decided on keep that decision.
Percentages are of lymphocyte + monocyte + neutrophil; erythrocytes, unknown and other classes are counted apart.
"""

import pathlib
import sys

from absl import flags

from tfod_csf.commands import command_line, differential_flags
from tfod_csf.errors import UserError

FLAGS = flags.FlagValues()
flags.DEFINE_string("inference_dir", None, "Output folder of batch_infer.", flag_values=FLAGS)
flags.DEFINE_string("output_dir", None, "Folder to write to; may be the same one.", flag_values=FLAGS)
differential_flags.define(FLAGS)
flags.mark_flags_as_required(["inference_dir", "output_dir"], flag_values=FLAGS)


def main() -> None:
    """Reads, counts, writes, and says what it did in a sentence."""
    if not pathlib.Path(FLAGS.inference_dir).is_dir():
        raise UserError(
            f"--inference_dir={FLAGS.inference_dir}: no such folder; give the output folder of batch_infer."
        )
    import dataclasses

    from tfod_csf.cytology.counting import cohort
    from tfod_csf.progress_bar import bar_over

    inputs = differential_flags.read(FLAGS)
    summary = cohort.write_differentials(
        FLAGS.inference_dir,
        FLAGS.output_dir,
        thresholds=inputs.thresholds if inputs.changed else None,
        cells_per_ul=inputs.cells_per_ul,
        references=inputs.references,
        rules=inputs.rules,
        progress=bar_over("patient"),
    )
    cohort.write_rules(
        pathlib.Path(FLAGS.output_dir) / "differential_rules.json",
        dataclasses.asdict(inputs.thresholds),
        inputs.rules,
        reference_ranges=str(inputs.ranges_path),
        population=FLAGS.population,
    )
    print(f"{summary}; written to {FLAGS.output_dir} (differentials.csv, patients/<id>/differential.csv).")


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "differential"))

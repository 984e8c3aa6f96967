"""Count the cells of a run again, with other thresholds, reference ranges or rules.

Reads and writes CSV files only (seconds for thousands of patients). Cells that a person decided on keep that decision.
Percentages are of lymphocytes + monocytes + neutrophils; erythrocytes, unknown cells and other classes are counted
separately. Where the run holds a confusion matrix of its model (evaluate --store), percentages corrected with it are
given beside them. Pages of the report in the same folder that were made by other rules are removed.
"""

import sys

from absl import flags

from tfod_csf.commands import command_line, common_flags, differential_flags

FLAGS = flags.FlagValues()
common_flags.define_inference_dir(FLAGS)
common_flags.define_output_dir(
    FLAGS, "Folder to write to; may be that of --inference_dir, whose differentials are then replaced."
)
differential_flags.define(FLAGS)
common_flags.define_num_processes(FLAGS)


def main() -> None:
    """Reads, counts, writes, and says what it did in a sentence."""
    inference_dir, output_dir = common_flags.inference_dir(FLAGS), common_flags.output_dir(FLAGS)
    import dataclasses

    from tfod_csf import run_folder
    from tfod_csf.cytology.counting import cohort
    from tfod_csf.cytology.report import page_state
    from tfod_csf.files import folder_lock
    from tfod_csf.progress_bar import bar_over
    from tfod_csf.wording import named, plural

    inputs = differential_flags.read(FLAGS)
    facts = differential_flags.run_facts(FLAGS, inputs, inference_dir)
    for model in run_folder.read_run(inference_dir).get("models") or []:
        differential_flags.warn_of_classes(model["name"], model.get("classes") or [])
    with folder_lock.only_writer(output_dir):
        # First, so that no page contradicts the tables when this is stopped.
        removed = page_state.remove_outdated(output_dir, facts, inputs.patient_facts, inference_dir)
        summary = cohort.write_differentials(
            inference_dir,
            output_dir,
            thresholds=inputs.thresholds if inputs.changed else None,
            cells_per_ul=inputs.cells_per_ul,
            references=inputs.references,
            rules=inputs.rules,
            corrections=inputs.corrections,
            progress=bar_over("patient"),
            num_processes=common_flags.num_processes(FLAGS),
        )
        cohort.write_rules(
            output_dir / cohort.RULES_JSON,
            dataclasses.asdict(inputs.thresholds),
            inputs.rules,
            reference_ranges=str(inputs.ranges_path),
            population=FLAGS.population,
            inference_dir=str(inference_dir.resolve()),
        )
    if inputs.corrections and inputs.corrections.why_not:
        print(f"No corrected percentages: {inputs.corrections.why_not}.")
    if inputs.unmatched:
        print(inputs.unmatched)
    if removed:
        names = named([path.as_posix() for path in removed])
        print(f"{plural(len(removed), 'page')} of earlier rules or tables removed ({names}); run report again.")
    print(f"{summary}; written to {output_dir} (differentials.csv, patients/<id>/differential.csv).")


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "differential"))

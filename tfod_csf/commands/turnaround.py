"""Compute the time that the machine saves, and its seconds per image (Table 3).

Compares run.json and images.csv of a run of batch_infer with a CSV of technicians' times and, where there is one, a CSV
of review times. Patients that all tables have are also compared one by one. Also writes how seconds per image depend on
cells per image and on the time into the run. Standard errors and standard deviations are propagated twice: as
independent, and as the worst case in which all parts vary together. Table 3 is the paper's.
"""

import math
import sys

from absl import flags

from tfod_csf.commands import command_line, common_flags
from tfod_csf.errors import UserError

FLAGS = flags.FlagValues()
common_flags.define_inference_dir(FLAGS, "Output folder of batch_infer.")
common_flags.define_output_dir(FLAGS)
flags.DEFINE_string(
    "technician_times",
    None,
    "CSV with the columns patient_id, classification_minutes, report_minutes and, if known, day.",
    flag_values=FLAGS,
)
flags.DEFINE_string(
    "review_times",
    None,
    "CSV with the columns patient_id and review_minutes: what a person still spends on each patient, taking pictures "
    "included.",
    flag_values=FLAGS,
)


def main() -> None:
    """Reads times, compares, writes, and says the saving in a sentence."""
    inference_dir, output_dir = common_flags.inference_dir(FLAGS), common_flags.output_dir(FLAGS)
    if FLAGS.review_times and not FLAGS.technician_times:
        raise UserError("--review_times needs --technician_times: there is nothing to compare it with.")
    from tfod_csf import run_folder
    from tfod_csf.cytology.studies import turnaround_tables
    from tfod_csf.files import folder_lock

    hand = turnaround_tables.read_hand_times(FLAGS.technician_times) if FLAGS.technician_times else None
    review = turnaround_tables.read_review_times(FLAGS.review_times) if FLAGS.review_times else None
    with folder_lock.only_writer(output_dir):
        rows, image_rows = turnaround_tables.write_turnaround(inference_dir, output_dir, hand, review)
    found = {(row["per"], row["step"]): row for row in rows}
    for per in ("patient", "day"):
        if (per, "saved_percent") in found:
            saved, percent = found[per, "saved"], found[per, "saved_percent"]
            note = "" if review is not None else "; without review times the machine's side is its running time only"
            print(
                f"per {per}: {saved['mean']:.1f} minutes saved, {percent['mean']:.1f} %; standard error "
                f"{percent['error_independent']:.1f} (independent) or {percent['error_worst_case']:.1f} (worst case), "
                f"standard deviation {percent['sd_independent']:.1f} or {percent['sd_worst_case']:.1f}; the paper's +- "
                f"are most likely standard deviations{note}"
            )
    if ("patient", "saved_paired") in found:
        paired = found["patient", "saved_paired"]
        print(
            f"per patient, {paired['count']} timed both ways: {paired['mean']:.1f} minutes saved, standard error "
            f"{paired['error_independent']:.1f}, standard deviation {paired['sd']:.1f}"
        )
    if hand is not None:
        minutes = turnaround_tables.machine_minutes(run_folder.read_run(inference_dir))
        print("\n".join(turnaround_tables.remarks(hand, minutes, review)))
    for row in image_rows:
        rank = "not defined" if math.isnan(row["spearman"]) else f"{row['spearman']:+.2f}"
        print(f"{row['model']}: {row['median_seconds']:.3f} s per image, rank correlation with {row['against']} {rank}")
    print(f"written to {output_dir}.")


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "turnaround"))

"""Simulate a run of batch_infer with known truth: tables of patients, no images, no model.

A made-up detector with the mistakes the paper describes (neutrophils look like monocytes; the less certain classes are
more often unknown; 3 % missed) looks at patients of known composition, whose cells lie together by kind as much as
--correlation says. The folder can be given to every command that reads a run (differential, saturation, report,
agreement, calibrate, compare_with_truth), to try them, and to see how far their numbers are from the truth.
"""

import sys

from absl import flags

from tfod_csf.commands import command_line, common_flags
from tfod_csf.files import folder_lock

FLAGS = flags.FlagValues()
common_flags.define_output_dir(FLAGS, "Folder to write to, as batch_infer writes it; it must not hold a run yet.")
flags.DEFINE_string(
    "annotations_dir", None, "Folder for the true cells as LabelImg XML; default: none is written.", flag_values=FLAGS
)
flags.DEFINE_integer("num_patients", 40, "Number of patients.", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_integer("images_per_patient", 15, "Number of images of each patient.", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_float(
    "white_cells_per_image", 20.0, "Mean number of white cells on an image.", lower_bound=0.0, flag_values=FLAGS
)
flags.DEFINE_float(
    "erythrocytes_per_image", 0.0, "Mean number of erythrocytes on an image.", lower_bound=0.0, flag_values=FLAGS
)
flags.DEFINE_float(
    "false_per_image", 0.0, "Mean number of detections on an image where there is no cell.", 0.0, flag_values=FLAGS
)
flags.DEFINE_float(
    "correlation",
    0.05,
    "Correlation of two white cells of one image: 0 for cells that are spread at random.",
    lower_bound=0.0,
    upper_bound=0.99,
    flag_values=FLAGS,
)
flags.DEFINE_float(
    "rate_correlation",
    0.0,
    "How much the detector's mistakes differ between patients: correlation of the outcomes of two cells of one class.",
    lower_bound=0.0,
    upper_bound=0.99,
    flag_values=FLAGS,
)
flags.DEFINE_boolean("perfect", False, "A detector without mistakes instead of the made-up one.", flag_values=FLAGS)
flags.DEFINE_integer(
    "validation_patients",
    0,
    "Number of further patients whose annotated cells make the detector's confusion matrix, with which differential "
    "and report then correct the percentages; 0 for none.",
    lower_bound=0,
    flag_values=FLAGS,
)
flags.DEFINE_integer("seed", 0, "Seed: the same seed gives the same cohort.", lower_bound=0, flag_values=FLAGS)


def main() -> None:
    """Simulates, writes, and says what is there."""
    output_dir = common_flags.output_dir(FLAGS)
    import dataclasses

    from tfod_csf.synthetic import cohort_folder, cohorts

    settings = cohorts.CohortSettings(
        patients=FLAGS.num_patients,
        images_per_patient=FLAGS.images_per_patient,
        white_cells_per_image=FLAGS.white_cells_per_image,
        erythrocytes_per_image=FLAGS.erythrocytes_per_image,
        false_per_image=FLAGS.false_per_image,
        correlation=FLAGS.correlation,
        rates=cohorts.PERFECT_DETECTOR if FLAGS.perfect else cohorts.MADE_UP_DETECTOR,
        rate_correlation=FLAGS.rate_correlation,
        seed=FLAGS.seed,
    )
    # Numbered after the cohort's, so that no patient is both.
    numbers = range(FLAGS.num_patients, FLAGS.num_patients + FLAGS.validation_patients)
    kept = {key: value for key, value in dataclasses.asdict(settings).items() if key != "rates"}
    with folder_lock.only_writer(output_dir):
        rows = cohort_folder.write_cohort(
            output_dir,
            cohorts.simulate(settings),
            FLAGS.annotations_dir,
            validation=[cohorts.simulate_patient(settings, number) for number in numbers],
            settings={**kept, "perfect": FLAGS.perfect},
            seed=FLAGS.seed,
        )
    cells = {name: sum(row[name] for row in rows) for name in cohorts.STUDY_CLASSES}
    print(
        f"{output_dir}: {len(rows)} patients, {sum(row['images'] for row in rows)} images; truly "
        + ", ".join(f"{count} {name}" for name, count in cells.items())
        + f". Next: tfod_csf differential --inference_dir={output_dir} --output_dir={output_dir}"
    )


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "simulate_cohort"))

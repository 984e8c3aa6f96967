"""Render synthetic CSF slides with known cells: images, LabelImg XML and truth.csv.

Fields of MGG-stained smears at 100x with lymphocytes, monocytes, neutrophils, erythrocytes and rare cells ("unknown"),
in patients of the paper's five kinds. They are for the demo, the tests, the notebook and the benchmarks; they are not
photographs of patients.
"""

import sys

from absl import flags

from tfod_csf.commands import command_line, common_flags
from tfod_csf.files import folder_lock

FLAGS = flags.FlagValues()
common_flags.define_output_dir(FLAGS, "Folder to write to; it must not hold synthetic slides yet.")
flags.DEFINE_integer(
    "num_patients", 10, "Number of patients; the five kinds take turns.", lower_bound=1, flag_values=FLAGS
)
flags.DEFINE_integer("images_per_patient", 15, "Number of fields of each patient.", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_integer(
    "white_cells_per_patient",
    0,
    "Give a patient more fields than --images_per_patient where it is expected to have fewer white cells than these.",
    lower_bound=0,
    flag_values=FLAGS,
)
flags.DEFINE_integer("width", 640, "Width of a field in pixels; cells scale with it.", flag_values=FLAGS)
flags.DEFINE_integer("height", 480, "Height of a field in pixels.", flag_values=FLAGS)
flags.DEFINE_float(
    "rare_fraction",
    0.02,
    "Share of the white cells that are of rare kinds, annotated as unknown.",
    lower_bound=0.0,
    upper_bound=1.0,
    flag_values=FLAGS,
)
flags.DEFINE_integer("seed", 0, "Seed: the same seed gives the same slides.", lower_bound=0, flag_values=FLAGS)
flags.DEFINE_integer("num_processes", None, "Processes that render fields; default: one per core.", flag_values=FLAGS)


def main() -> None:
    """Renders the slides and says what is on them."""
    from tfod_csf.synthetic import slides

    settings = slides.FieldSettings(FLAGS.width, FLAGS.height, FLAGS.rare_fraction)
    output_dir = common_flags.output_dir(FLAGS)
    with folder_lock.only_writer(output_dir):
        rows = slides.synthesize(
            output_dir,
            FLAGS.num_patients,
            FLAGS.images_per_patient,
            FLAGS.seed,
            settings,
            FLAGS.num_processes,
            FLAGS.white_cells_per_patient,
        )
    cells = {name: sum(row[name] for row in rows) for name in slides.CLASSES}
    print(
        f"{FLAGS.output_dir}: {len(rows)} patients, {sum(row['images'] for row in rows)} images, "
        + ", ".join(f"{count} {name}" for name, count in cells.items())
        + "; truth.csv holds the counts of each patient."
    )


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "synthesize"))

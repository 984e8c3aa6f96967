"""Draws MGG-like CSF slides with known truth: patients' folders of JPEG and LabelImg XML, and truth.csv.

Fields at 100x with lymphocytes, monocytes, neutrophils, erythrocytes and rare cells ("unknown"), in patients of
the paper's five kinds. They feed the demo, the tests, the notebook and the benchmarks; they are drawings, not patients.
"""

import sys

from absl import flags

from tfod_csf.commands import command_line

FLAGS = flags.FlagValues()
flags.DEFINE_string("output_dir", None, "Folder to write; must not hold drawn slides yet.", flag_values=FLAGS)
flags.mark_flag_as_required("output_dir", flag_values=FLAGS)
flags.DEFINE_integer("num_patients", 10, "Patients; their kinds take turns.", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_integer("images_per_patient", 15, "Fields of each patient.", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_integer("width", 640, "Width of a field in pixels; cells scale with it.", flag_values=FLAGS)
flags.DEFINE_integer("height", 480, "Height of a field in pixels.", flag_values=FLAGS)
flags.DEFINE_float("rare_fraction", 0.02, "Share of white cells that are rare kinds.", 0, 1, flag_values=FLAGS)
flags.DEFINE_integer("seed", 0, "Same seed, same slides.", lower_bound=0, flag_values=FLAGS)
flags.DEFINE_integer("num_processes", None, "Drawing processes; default one per core.", flag_values=FLAGS)


def main() -> None:
    from tfod_csf.synthetic import slides

    rows = slides.synthesize(
        FLAGS.output_dir,
        FLAGS.num_patients,
        FLAGS.images_per_patient,
        FLAGS.seed,
        slides.FieldSettings(FLAGS.width, FLAGS.height, FLAGS.rare_fraction),
        FLAGS.num_processes,
    )
    cells = {name: sum(row[name] for row in rows) for name in slides.CLASSES}
    print(
        f"{FLAGS.output_dir}: {len(rows)} patients, {sum(row['images'] for row in rows)} images, "
        + ", ".join(f"{count} {name}" for name, count in cells.items())
        + "; truth.csv holds the counts of each patient."
    )


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "synthesize"))

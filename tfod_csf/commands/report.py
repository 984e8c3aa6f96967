"""HTML report of a batch_infer run: one page per patient with its cells' pictures, and one for all patients.

Each page is a single file that needs no network, to be read in a browser, printed on A4 or sent. Pages go beside the
tables: OUT/report.html and OUT/patients/<id>/report.html. With --pdf an installed Chromium prints every page too.
Differentials are computed from the cells with the flags below, as the command differential does.
"""

import pathlib
import sys

from absl import flags

from tfod_csf.commands import command_line, differential_flags
from tfod_csf.errors import UserError

FLAGS = flags.FlagValues()
flags.DEFINE_string("inference_dir", None, "Output folder of batch_infer.", flag_values=FLAGS)
flags.DEFINE_string("output_dir", None, "Folder to write to; default: the same one.", flag_values=FLAGS)
flags.DEFINE_string(
    "images_dir", None, "Where the original images are; default: where batch_infer read them.", flag_values=FLAGS
)
flags.DEFINE_multi_string("patient", [], "Only this patient's page; repeat for several.", flag_values=FLAGS)
flags.DEFINE_enum("pages", "all", ["all", "patients", "cohort"], "Which pages to make.", flag_values=FLAGS)
flags.DEFINE_string(
    "model", None, "Whose cells are shown where several models ran; default: the first.", flag_values=FLAGS
)
flags.DEFINE_integer(
    "max_cells_per_class",
    100,
    "Pictures of cells per class and patient, the least certain ones; ten times as many unknown ones.",
    0,
    flag_values=FLAGS,
)
flags.DEFINE_integer("max_fields", 6, "Labelled fields on a patient's page.", 0, flag_values=FLAGS)
flags.DEFINE_boolean("pdf", False, "Print every page as PDF through Chromium.", flag_values=FLAGS)
flags.DEFINE_integer("replicates", 1000, "Random orders and redrawn sets of images.", 100, flag_values=FLAGS)
flags.DEFINE_string("date", None, "Date printed on the pages; default: today.", flag_values=FLAGS)
differential_flags.define(FLAGS)
flags.mark_flag_as_required("inference_dir", flag_values=FLAGS)


def main() -> None:
    """Reads, computes, writes the pages, and says where they are."""
    for name in ("inference_dir", "images_dir"):
        if FLAGS[name].value is not None and not pathlib.Path(FLAGS[name].value).is_dir():
            raise UserError(f"--{name}={FLAGS[name].value}: no such folder.")
    import datetime

    from tfod_csf.cytology import run_tables
    from tfod_csf.cytology.counting.saturation import SaturationRules
    from tfod_csf.cytology.report import chromium, page_template, pages
    from tfod_csf.progress_bar import progress_bar
    from tfod_csf.wording import plural

    program = chromium.find_chromium() if FLAGS.pdf else ""
    inputs = differential_flags.read(FLAGS)
    facts = page_template.RunFacts(
        run=run_tables.read_run(FLAGS.inference_dir),
        thresholds=inputs.thresholds,
        changed=inputs.changed,
        rules=inputs.rules,
        saturation_rules=SaturationRules(
            tolerance_points=FLAGS.tolerance_points,
            replicates=FLAGS.replicates,
            min_white_cells=max(FLAGS.min_white_cells, 1),
        ),
        references=inputs.references,
        population=FLAGS.population,
        made=FLAGS.date or datetime.date.today().isoformat(),
    )
    options = pages.ReportOptions(
        images_dir=pathlib.Path(FLAGS.images_dir) if FLAGS.images_dir else None,
        model=FLAGS.model,
        max_cells_per_class=FLAGS.max_cells_per_class,
        max_fields=FLAGS.max_fields,
        patients=tuple(FLAGS.patient),
        patient_pages=FLAGS.pages != "cohort",
        cohort_page=FLAGS.pages != "patients",
    )
    output_dir = pathlib.Path(FLAGS.output_dir or FLAGS.inference_dir)

    def progress(items):
        return progress_bar(items, unit="patient")

    summary = pages.write_report(FLAGS.inference_dir, output_dir, facts, options, inputs.cells_per_ul, progress)
    if FLAGS.pdf:
        for page in progress_bar(summary.pages, unit="PDF"):
            chromium.print_pdf(program, page, page.with_suffix(".pdf"))
    if summary.without_crops:
        lack = f"{plural(summary.without_crops, 'patient')} without pictures of cells"
        print(f"{lack}: give --images_dir where the images are now.")
    where = summary.cohort_page or (summary.patient_pages[0] if summary.patient_pages else output_dir)
    pdf = ", each as PDF too" if FLAGS.pdf else ""
    print(f"{plural(len(summary.pages), 'page')} written{pdf}; open {where} in a browser.")


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "report"))

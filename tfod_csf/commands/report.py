"""Write HTML pages of a run: one per patient, and one of all patients.

Each page is a single file that needs no network, to be read in a browser, printed on A4 or sent. Pages are written next
to the tables: OUT/report.html and OUT/patients/<id>/report.html. A patient's page shows the differential, whether
enough cells were counted, and the picture of every cell. Differentials are computed from the cells with the flags
below, as the command differential does.
"""

import sys

from absl import flags

from tfod_csf.commands import command_line, common_flags, differential_flags
from tfod_csf.errors import UserError

FLAGS = flags.FlagValues()
common_flags.define_inference_dir(FLAGS)
common_flags.define_output_dir(FLAGS, "Folder to write to (OUT); default: that of --inference_dir.", required=False)
common_flags.define_run_images_dir(FLAGS)
flags.DEFINE_enum("pages", "all", ["all", "patients", "cohort"], "Which pages to write.", flag_values=FLAGS)
common_flags.define_patient(FLAGS)
common_flags.define_model_name(
    FLAGS, shown="whose pictures, curves and images are shown; percentages are the means of all models"
)
flags.DEFINE_integer(
    "max_cells_per_class",
    100,
    "Pictures of cells of each class on a patient's page, least certain first; of unknown cells ten times as many.",
    lower_bound=0,
    flag_values=FLAGS,
)
flags.DEFINE_integer("max_fields", 6, "Fields with marked cells on a patient's page.", lower_bound=0, flag_values=FLAGS)
flags.DEFINE_boolean("pdf", False, "Print every page as PDF too, with an installed Chromium.", flag_values=FLAGS)
flags.DEFINE_string("date", None, "Date printed on the pages; default: today.", flag_values=FLAGS)
common_flags.define_replicates(FLAGS)
differential_flags.define(FLAGS)
common_flags.define_num_processes(FLAGS)


def main() -> None:
    """Reads, computes, writes the pages, and says where they are."""
    if FLAGS.pages == "cohort" and FLAGS.patient:
        raise UserError(
            "--pages=cohort writes the page of all patients, so --patient would write nothing; give one of them."
        )
    inference_dir = common_flags.inference_dir(FLAGS)
    images_dir = (
        common_flags.existing_folder(FLAGS, "images_dir", "give the folder of images") if FLAGS.images_dir else None
    )
    output_dir = common_flags.output_dir(FLAGS) if FLAGS.output_dir else inference_dir
    from tfod_csf.cytology.report import chromium, pages
    from tfod_csf.files import folder_lock
    from tfod_csf.progress_bar import bar_over, progress_bar
    from tfod_csf.wording import plural

    program = chromium.find_chromium() if FLAGS.pdf else ""
    inputs = differential_flags.read(FLAGS)
    facts = differential_flags.run_facts(FLAGS, inputs, inference_dir, FLAGS.replicates, FLAGS.date)
    differential_flags.warn_of_other_rules(inputs, FLAGS.population, inference_dir)
    options = pages.ReportOptions(
        images_dir=images_dir,
        model=FLAGS.model,
        max_cells_per_class=FLAGS.max_cells_per_class,
        max_fields=FLAGS.max_fields,
        patients=tuple(FLAGS.patient),
        patient_pages=FLAGS.pages != "cohort",
        cohort_page=FLAGS.pages != "patients",
    )
    with folder_lock.only_writer(output_dir):
        summary = pages.write_report(
            inference_dir,
            output_dir,
            facts,
            options,
            inputs.patient_facts,
            bar_over("patient"),
            common_flags.num_processes(FLAGS),
        )
        if FLAGS.pdf:
            for page in progress_bar(summary.pages, unit="PDF"):
                chromium.print_pdf(program, page, page.with_suffix(".pdf"))
    if summary.without_crops:
        lack = f"{plural(summary.without_crops, 'patient')} without pictures of cells"
        print(f"{lack}: give --images_dir where the images are now.")
    if inputs.unmatched:
        print(inputs.unmatched)
    where = summary.cohort_page or (summary.patient_pages[0] if summary.patient_pages else output_dir)
    pdf = ", each as PDF too" if FLAGS.pdf else ""
    print(f"{plural(len(summary.pages), 'page')} written{pdf}; open {where} in a browser.")


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "report"))

"""Gives a run's cells to a person: for each patient a folder that LabelImg opens, to be read back by review_import.

Each folder holds the images, XML with the machine's cells (unsure ones named unknown and marked difficult),
predefined_classes.txt and cells.json, which must stay as it is. HOW_TO_REVIEW.txt tells the reviewer what to do.
Export from the output folder of review_import to go on with a review, or for a second look.
"""

import pathlib
import sys

from absl import flags

from tfod_csf.commands import command_line
from tfod_csf.errors import UserError

FLAGS = flags.FlagValues()
flags.DEFINE_string("inference_dir", None, "Output folder of batch_infer or review_import.", flag_values=FLAGS)
flags.DEFINE_string("output_dir", None, "Folder to write to; a patient's folder in it is new.", flag_values=FLAGS)
flags.DEFINE_string("images_dir", None, "Images; default: the folder batch_infer read.", flag_values=FLAGS)
flags.DEFINE_string("manifest", None, "As for batch_infer; default: what it was given.", flag_values=FLAGS)
flags.DEFINE_string("patient_pattern", None, "As for batch_infer; default: what it was given.", flag_values=FLAGS)
flags.DEFINE_multi_string("patient", [], "Only this patient; repeat for several.", flag_values=FLAGS)
flags.DEFINE_string("model", None, "Whose cells; needed when the run has several models.", flag_values=FLAGS)
flags.DEFINE_multi_string(
    "extra_class", [], "A class the reviewer may use beside the model's, such as eosinophil; repeat.", flag_values=FLAGS
)
flags.DEFINE_boolean("strict", False, "End the run at the first image that is skipped.", flag_values=FLAGS)
flags.mark_flags_as_required(["inference_dir", "output_dir"], flag_values=FLAGS)


def main() -> None:
    """Finds the images again, writes a folder per patient, and says what to do next."""
    if not pathlib.Path(FLAGS.inference_dir).is_dir():
        raise UserError(
            f"--inference_dir={FLAGS.inference_dir}: no such folder; give the output folder of batch_infer."
        )
    import uuid

    from tfod_csf.cytology import cell_rows, run_tables
    from tfod_csf.cytology.review import export
    from tfod_csf.problems import ProblemLog
    from tfod_csf.progress_bar import progress_bar
    from tfod_csf.study import patients

    run, output_dir = run_tables.read_run(FLAGS.inference_dir), pathlib.Path(FLAGS.output_dir)
    settings = run.get("settings", {})
    images_dir = FLAGS.images_dir or settings.get("images_dir")
    if not images_dir:
        raise UserError("--images_dir is needed: run.json does not say where the images are.")
    manifest = FLAGS.manifest or settings.get("manifest")
    pattern = FLAGS.patient_pattern or settings.get("patient_pattern")
    folders = {
        patients.patient_id_of(folder.name): folder for folder in run_tables.patient_folders(FLAGS.inference_dir)
    }
    unknown = [patient for patient in FLAGS.patient if patient not in folders]
    if unknown:
        raise UserError(f"--patient={unknown[0]}: no such patient in {FLAGS.inference_dir} ({len(folders)} patients).")
    chosen = FLAGS.patient or list(folders)
    export.check_is_new(output_dir / folders[patient_id].name for patient_id in chosen)
    model = cell_rows.one_model(cell_rows.run_models(FLAGS.inference_dir), FLAGS.model)
    problems = ProblemLog(strict=FLAGS.strict)
    files: dict[str, dict[str, pathlib.Path]] = {}
    for image in patients.find_images(images_dir, ProblemLog(quiet=True), manifest, pattern):
        files.setdefault(image.patient_id, {})[image.name] = image.path
    export_id = str(uuid.uuid4())
    shown = []
    for patient_id in progress_bar(chosen, unit="patient"):
        thresholds = run.get("thresholds", {})
        source = export.ExportSource(folders[patient_id], files.get(patient_id, {}), model, thresholds)
        names = [" ".join(name.split()) for name in FLAGS.extra_class]
        shown.append(export.export_patient(source, output_dir, export_id, names, problems))
    export.write_instructions(output_dir)
    problems.write_csv(output_dir / "problems.csv")
    images = [image for sidecar in shown if sidecar for image in sidecar.images.values()]
    cells = [cell for image in images for cell in image.cells]
    print(
        f"{sum(map(bool, shown))} of {len(shown)} patients, {len(images)} images, {len(cells)} cells, "
        f"{sum(cell.name == 'unknown' for cell in cells)} of them unknown; {problems.summary()}; written to "
        f"{output_dir}. Next: see {output_dir / 'HOW_TO_REVIEW.txt'}, then review_import."
    )


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "review_export"))

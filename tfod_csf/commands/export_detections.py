"""Writes the cells of a batch_infer run for other programs: COCO JSON, QuPath GeoJSON, Label Studio predictions.

Cells keep the name a reviewer sees: their class, or unknown until a person has decided. Works on the output folder of
batch_infer and on that of review_import, where it gives the reviewed cells.
"""

import pathlib
import sys

from absl import flags

from tfod_csf.commands import command_line
from tfod_csf.errors import UserError

FLAGS = flags.FlagValues()
flags.DEFINE_string("inference_dir", None, "Output folder of batch_infer or review_import.", flag_values=FLAGS)
flags.DEFINE_string("output_dir", None, "Folder to write to.", flag_values=FLAGS)
flags.DEFINE_list(
    "formats",
    None,
    "Which to write, separated by commas: coco, qupath, label_studio; default: all of them.",
    flag_values=FLAGS,
)
flags.DEFINE_string("model", None, "Whose cells; needed when the run has several models.", flag_values=FLAGS)
flags.DEFINE_string("images_dir", None, "Where the images lie; default: the run's own folder.", flag_values=FLAGS)
flags.DEFINE_string(
    "image_prefix",
    "/data/local-files/?d=",
    "Label Studio: what stands before an image's path below --images_dir (this one is for its local storage).",
    flag_values=FLAGS,
)
flags.mark_flags_as_required(["inference_dir", "output_dir"], flag_values=FLAGS)


def main() -> None:
    """Reads each patient's cells and writes the formats."""
    if not pathlib.Path(FLAGS.inference_dir).is_dir():
        raise UserError(
            f"--inference_dir={FLAGS.inference_dir}: no such folder; give the output folder of batch_infer."
        )
    from tfod_csf.cytology import cell_rows, other_formats, run_tables
    from tfod_csf.progress_bar import progress_bar

    formats = other_formats.FORMATS if FLAGS.formats is None else FLAGS.formats
    if not formats or not set(formats) <= set(other_formats.FORMATS):
        raise UserError(f"--formats={','.join(formats)}: expected some of {', '.join(other_formats.FORMATS)}.")
    folders = run_tables.patient_folders(FLAGS.inference_dir)
    model = cell_rows.one_model(cell_rows.run_models(FLAGS.inference_dir), FLAGS.model)
    settings = run_tables.read_run(FLAGS.inference_dir).get("settings", {})
    images_dir = pathlib.Path(FLAGS.images_dir or settings.get("images_dir") or ".")
    progress = progress_bar(folders, unit="patient")
    images = (image for folder in progress for image in other_formats.patient_images(folder, model, images_dir))
    classes = cell_rows.read_cells(folders[0] / "cells.csv").classes
    num_images, num_cells = other_formats.write_formats(
        images, pathlib.Path(FLAGS.output_dir), formats, cell_rows.names_of(classes), FLAGS.image_prefix
    )
    print(
        f"{num_cells} cells on {num_images} images of {len(folders)} patients as {', '.join(formats)}; "
        f"written to {FLAGS.output_dir}."
    )


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "export_detections"))

"""Write the cells of a run for other programs: COCO, QuPath and Label Studio.

COCO JSON, QuPath GeoJSON (one file per image) and Label Studio predictions. Cells have the name that a reviewer sees:
their class, or unknown until a person has decided. Of a folder of review_import it writes the reviewed cells.
"""

import pathlib
import sys

from absl import flags

from tfod_csf.commands import command_line, common_flags
from tfod_csf.errors import UserError

_FORMATS = ["coco", "qupath", "label_studio"]

FLAGS = flags.FlagValues()
common_flags.define_inference_dir(FLAGS)
common_flags.define_output_dir(FLAGS)
common_flags.define_list(FLAGS, "formats", _FORMATS, "Formats to write.", choices=_FORMATS)
common_flags.define_needed_model_name(FLAGS)
common_flags.define_run_images_dir(FLAGS)
flags.DEFINE_string(
    "image_prefix",
    "/data/local-files/?d=",
    "For Label Studio: text before an image's path below --images_dir (the default is for its local storage).",
    flag_values=FLAGS,
)
flags.DEFINE_boolean(
    "coco_polygons",
    False,
    "For COCO: give each box a segmentation of its four corners, for programs that show nothing without one; CVAT then "
    "makes a polygon of it. Without the flag the segmentation is empty, and CVAT and COCO's tools read a box.",
    flag_values=FLAGS,
)


def main() -> None:
    """Reads each patient's cells and writes the formats."""
    inference_dir, output_dir = common_flags.inference_dir(FLAGS), common_flags.output_dir(FLAGS)
    if not FLAGS.formats:
        raise UserError(f"--formats is empty; use some of {','.join(_FORMATS)}.")
    from tfod_csf import run_folder
    from tfod_csf.cytology import cell_rows, other_formats, run_tables
    from tfod_csf.files import folder_lock
    from tfod_csf.progress_bar import progress_bar

    folders = run_tables.patient_folders(inference_dir)
    model = cell_rows.one_model(cell_rows.run_models(inference_dir), FLAGS.model)
    settings = run_folder.read_run(inference_dir).get("settings", {})
    images_dir = pathlib.Path(FLAGS.images_dir or settings.get("images_dir") or ".")
    progress = progress_bar(folders, unit="patient")
    images = (image for folder in progress for image in other_formats.patient_images(folder, model, images_dir))
    classes = cell_rows.read_cells(folders[0] / "cells.csv").classes
    with folder_lock.only_writer(output_dir):
        num_images, num_cells = other_formats.write_formats(
            images, output_dir, FLAGS.formats, cell_rows.names_of(classes), FLAGS.image_prefix, FLAGS.coco_polygons
        )
    print(
        f"{num_cells} cells on {num_images} images of {len(folders)} patients as {', '.join(FLAGS.formats)}; "
        f"written to {output_dir}."
    )


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "export_detections"))

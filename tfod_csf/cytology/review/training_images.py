"""Reviewed images as new training data: a folder of images and LabelImg XML for create_csf_tf_record.

Only verified images are used: a person vouches for every box in them, and that there is no other cell. Names and boxes
are those of the current revision. A cell that is still unknown, or that two people dispute, is written as `unknown` and
difficult; create_csf_tf_record ignores it without making it background. Images keep their original names, in a folder
per patient, so that a split by patient and a list of image groups still fit.
"""

import pathlib

from tfod_csf import cell_classes
from tfod_csf.cytology import cell_rows
from tfod_csf.cytology.review import revisions
from tfod_csf.cytology.review.revisions import Revision
from tfod_csf.cytology.review.sidecar import FILE_NAME, IMPORTED, read_sidecar
from tfod_csf.files.checksums import file_sha256
from tfod_csf.problems import ProblemLog
from tfod_csf.study import labelimg
from tfod_csf.study.labelimg import Annotation, LabeledObject


def _marked_difficult(chain: tuple[Revision, ...]) -> set[tuple[str, int]]:
    """(image, cell id) of cells that a reviewer marked difficult.

    LabelImg keeps the mark of an unknown cell when the cell gets a class; so on cells of which the machine was not sure
    the mark means nothing, and they are not returned.
    """
    machine = cell_rows.read_cells(revisions.machine_revision(chain).folder / "cells.csv").cells
    unsure = {(cell.image, cell.cell_id) for cell in machine if cell.label == cell_classes.UNKNOWN}
    imported = read_sidecar(chain[-1].folder / IMPORTED)
    marked = {(one.image, cell.cell_id) for one in imported.images.values() for cell in one.cells if cell.difficult}
    return marked - unsure


def write_training_images(
    review_dir: pathlib.Path, patient_folder: pathlib.Path, output_dir: pathlib.Path, problems: ProblemLog
) -> tuple[int, int]:
    """Writes the verified images of a reviewed patient into output_dir/<patient>/.

    Args:
      review_dir: the patient's folder of the export, where the pictures are.
      patient_folder: the patient's folder with the history.

    Returns:
      (images, cells) written.
    """
    chain = revisions.read_revisions(patient_folder)
    if not chain or chain[-1].kind == revisions.MACHINE:
        return 0, 0
    verified = chain[-1].record["images_verified"]
    cells = cell_rows.read_cells(chain[-1].folder / "cells.csv").by_image()
    marked = _marked_difficult(chain)
    num_images = num_cells = 0
    for name, shown in read_sidecar(review_dir / FILE_NAME).images.items():
        if shown.image not in verified:
            continue
        source = review_dir / name
        if not source.is_file() or file_sha256(source) != shown.picture_sha256:
            reason = "the picture is missing or was swapped; it is not in the training data"
            problems.skipped(source, reason, "Put the exported picture back.")
            continue
        objects = []
        for cell in cells.get(shown.image, []):
            is_difficult = cell.label == cell_classes.UNKNOWN or (cell.image, cell.cell_id) in marked
            if cell.counted_as:
                objects.append(LabeledObject(cell.label, *cell.box, difficult=int(is_difficult)))
        target = output_dir / patient_folder.name / shown.image
        annotation = Annotation(target, target.name, shown.width, shown.height, objects, verified=True)
        annotation.folder = target.parent.name
        revisions.copy_file(source, target)
        labelimg.write_annotation(annotation, target.with_suffix(".xml"))
        num_images, num_cells = num_images + 1, num_cells + len(objects)
    return num_images, num_cells

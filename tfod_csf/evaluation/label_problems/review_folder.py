"""Images with contradicted labels as a folder for LabelImg: their labels, and as boxes to check what the model says.

A suggestion is a box called check_KIND_CLASS. Training ignores objects whose name is not in the label map, so one that
is left by mistake changes no class.
"""

import pathlib
from collections.abc import Sequence

from tfod_csf.evaluation import labeling_folder
from tfod_csf.evaluation.label_problems.problem_list import LabelProblem
from tfod_csf.evaluation.label_problems.suspicion import Suspicion
from tfod_csf.evaluation.labeling_folder import LabelingFolderError
from tfod_csf.problems import ProblemLog
from tfod_csf.study import labelimg
from tfod_csf.study.annotated_images import AnnotatedImage
from tfod_csf.study.labelimg import Annotation, LabeledObject
from tfod_csf.wording import plural

FOLDER = "review"
TEXT = """\
Labels to check with LabelImg

Every image here has labels that a model contradicts; ../label_problems.csv lists them, the most likely mistakes first.
Boxes called check_... are the model's suggestions, for example check_swapped_monocyte. The model may be wrong.

- Correct the label, or leave it, then delete the box called check_...
- check_overlooked_CLASS on a cell without a box: rename it to its class (Ctrl+E).
- Save with Ctrl+S, format PascalVOC, and do not rename files.

Then copy the XML files over the originals: the folders have the same names. Leave the images here: some were turned or
converted so that LabelImg shows them as they were read. A box called check_... that is left is ignored by training, as
every name that is not in the label map.
"""


def write_image(read: AnnotatedImage, problems: Sequence[LabelProblem], folder: pathlib.Path) -> str:
    """Writes an image and its labels with the suggestions beside it, in the place it has in the images folder.

    Args:
      read: the image with its labels.
      problems: those of this image.
      folder: of `labeling_folder.new`.

    Returns:
      Why nothing was written: the XML replaces the original, and must hold every object of it. "": it was written.
    """
    labels, lost = _labels_as_written(read)
    if lost:
        return f"{plural(lost, 'object')} of its XML cannot be used and would be lost in a corrected copy"
    target = labeling_folder.write_image(read.loaded, folder / read.image.key)
    suggested = [_to_check(problem.suspicion) for problem in problems]
    annotation = Annotation(
        path=target.with_suffix(".xml"),
        filename=target.name,
        width=read.loaded.width,
        height=read.loaded.height,
        objects=[*labels, *suggested],
        folder=target.parent.name,
    )
    labelimg.write_annotation(annotation, annotation.path)
    return ""


def _labels_as_written(read: AnnotatedImage) -> tuple[list[LabeledObject], int]:
    """(labels before --class_map, which renames and drops some, number of objects that cannot be written again)."""
    quiet = ProblemLog(quiet=True)
    written = labelimg.read_annotation(read.annotation.path, quiet)
    fitted = written and labelimg.fit_to_image(
        written, read.loaded.width, read.loaded.height, quiet, rescale_boxes=True
    )
    if not fitted:
        raise LabelingFolderError(f"{read.annotation.path}: changed while this command ran; run it again.")
    assert written is not None
    return fitted.objects, written.num_unusable + len(written.objects) - len(fitted.objects)


def _to_check(one: Suspicion) -> LabeledObject:
    ymin, xmin, ymax, xmax = one.suggested_box
    name = f"check_{one.kind.replace(' ', '_')}_{one.suggested_class}"
    return LabeledObject(name, xmin, ymin, xmax, ymax, difficult=1)

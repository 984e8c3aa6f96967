"""Images with contradicted labels as a folder for LabelImg: their labels, and as boxes to check what the model says.

A suggestion is a box called check_KIND_CLASS. Training ignores objects whose name is not in the label map, so one that
is left by mistake changes no class.
"""

import contextlib
import pathlib
from collections.abc import Iterator, Sequence

from tfod_csf.errors import UserError
from tfod_csf.evaluation.label_problems.problem_list import LabelProblem
from tfod_csf.evaluation.label_problems.suspicion import Suspicion
from tfod_csf.files import atomic_write
from tfod_csf.problems import ProblemLog
from tfod_csf.study import labelimg
from tfod_csf.study.annotated_images import AnnotatedImage
from tfod_csf.study.labelimg import Annotation, LabeledObject

FOLDER = "review"
INSTRUCTIONS = "READ_ME.txt"
_TEXT = """\
Labels to check with LabelImg

Every image here has labels that a model contradicts; ../label_problems.csv lists them, the most likely mistakes first.
Boxes called check_... are the model's suggestions, for example check_swapped_monocyte. The model may be wrong.

- Correct the label, or leave it, then delete the box called check_...
- check_overlooked_CLASS on a cell without a box: rename it to its class (Ctrl+E).
- Save with Ctrl+S, format PascalVOC, and do not rename files.

Then copy the XML files over the originals: the folders have the same names. A box called check_... that is left is
ignored by training, as every name that is not in the label map.
"""


class ReviewFolderError(UserError):
    """The review folder cannot be written."""


def check_is_new(output_dir: pathlib.Path) -> None:
    """Refuses a folder that has a review folder, before hours of computing.

    Raises:
      ReviewFolderError: there is one, which may hold a person's corrections.
    """
    target = output_dir / FOLDER
    if target.exists():
        raise ReviewFolderError(
            f"{target}: is there already and may hold corrections; move it away, or give another --output_dir."
        )


@contextlib.contextmanager
def new(output_dir: pathlib.Path, classes: Sequence[str]) -> Iterator[pathlib.Path]:
    """A folder to write images into; when the block ends it is there as a whole.

    Args:
      classes: what LabelImg offers.

    Raises:
      ReviewFolderError: as `check_is_new`.
    """
    check_is_new(output_dir)
    with atomic_write.replacing_folder(output_dir / FOLDER, may_exist=False) as folder:
        atomic_write.write_text(folder / INSTRUCTIONS, _TEXT)
        atomic_write.write_text(folder / "classes.txt", "".join(f"{name}\n" for name in classes))
        yield folder


def write_image(read: AnnotatedImage, problems: Sequence[LabelProblem], folder: pathlib.Path) -> None:
    """Copies an image and writes its labels with the suggestions beside it, in the place it has in the images folder.

    Args:
      read: the image with its labels.
      problems: those of this image.
      folder: of `new`.
    """
    target = folder / read.image.key
    atomic_write.copy_file(read.image.path, target)
    suggested = [_to_check(problem.suspicion) for problem in problems]
    annotation = Annotation(
        path=target.with_suffix(".xml"),
        filename=target.name,
        width=read.loaded.width,
        height=read.loaded.height,
        objects=[*_labels_as_written(read), *suggested],
        folder=target.parent.name,
    )
    labelimg.write_annotation(annotation, annotation.path)


def _labels_as_written(read: AnnotatedImage) -> list[LabeledObject]:
    """The labels before --class_map, which renames and drops some: the file written here replaces the original."""
    quiet = ProblemLog(quiet=True)
    written = labelimg.read_annotation(read.annotation.path, quiet)
    fitted = written and labelimg.fit_to_image(
        written, read.loaded.width, read.loaded.height, quiet, rescale_boxes=True
    )
    if not fitted:
        raise ReviewFolderError(f"{read.annotation.path}: changed while this command ran; run it again.")
    return fitted.objects


def _to_check(one: Suspicion) -> LabeledObject:
    ymin, xmin, ymax, xmax = one.suggested_box
    name = f"check_{one.kind.replace(' ', '_')}_{one.suggested_class}"
    return LabeledObject(name, xmin, ymin, xmax, ymax, difficult=1)

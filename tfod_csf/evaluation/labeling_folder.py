"""A new folder of images and XML for LabelImg, with instructions; it is there as a whole, or not at all."""

import contextlib
import pathlib
from collections.abc import Iterator, Sequence

from tfod_csf.errors import UserError
from tfod_csf.files import atomic_write

INSTRUCTIONS = "READ_ME.txt"


class LabelingFolderError(UserError):
    """The folder for LabelImg cannot be written."""


def check_is_new(target: pathlib.Path) -> None:
    """Refuses a folder that exists, before hours of computing.

    Raises:
      LabelingFolderError: there is one, which may hold a person's corrections.
    """
    if target.exists():
        raise LabelingFolderError(
            f"{target}: is there already and may hold corrections; move it away, or give another --output_dir."
        )


@contextlib.contextmanager
def new(target: pathlib.Path, instructions: str, classes: Sequence[str]) -> Iterator[pathlib.Path]:
    """A folder to write images into; when the block ends it is in its place.

    Args:
      instructions: text of READ_ME.txt.
      classes: what LabelImg offers.

    Raises:
      LabelingFolderError: as `check_is_new`.
    """
    check_is_new(target)
    with atomic_write.replacing_folder(target, may_exist=False) as folder:
        atomic_write.write_text(folder / INSTRUCTIONS, instructions)
        atomic_write.write_text(folder / "classes.txt", "".join(f"{name}\n" for name in classes))
        yield folder

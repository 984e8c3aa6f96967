"""Where batch_infer may write: apart from the images, and not among files that this program did not write."""

import os
import pathlib
import re
from collections.abc import Iterable, Sequence

from tfod_csf import run_folder
from tfod_csf.errors import UserError
from tfod_csf.files import csv_schemas, folder_lock
from tfod_csf.study.patients import ImageFile

PROBLEMS = "problems.csv"
LIVE_PAGE = "live.html"  # of batch_infer --watch
# Names of the folders in shards/.
SHARD_FOLDER = re.compile(r"(?P<number>[1-9]\d*)-of-(?P<total>[1-9]\d*)")
# Everything that batch_infer writes directly into its output folder.
_WRITTEN = (
    run_folder.PATIENTS_DIR,
    run_folder.ROUNDS_DIR,
    run_folder.SHARDS_DIR,
    run_folder.CLASSIFICATION,
    "differentials.csv",
    PROBLEMS,
    LIVE_PAGE,
)


class OutputFolderError(UserError):
    """The output folder cannot take this run."""


def refuse_foreign_files(output_dir: pathlib.Path) -> None:
    """Refuses a folder without a run.json that holds files with names that batch_infer writes.

    Raises:
      OutputFolderError: so that nobody's files are replaced.
    """
    if (output_dir / run_folder.RUN_JSON).exists():
        return
    for name in set(_WRITTEN) & set(folder_lock.entries(output_dir)):
        path = output_dir / name
        is_empty_folder = path.is_dir() and not any(path.iterdir())
        if not is_empty_folder and not _is_left_by_a_start(path):
            raise OutputFolderError(
                f"--output_dir={output_dir}: holds {name}, but no run.json of batch_infer, so it is not known whose it "
                "is; give a new folder, or move it away."
            )


def _is_left_by_a_start(path: pathlib.Path) -> bool:
    """Whether it is what a run leaves that found no image, for example: a problems.csv, or folders of shards."""
    if path.name == run_folder.SHARDS_DIR:
        return path.is_dir() and all(map(SHARD_FOLDER.fullmatch, folder_lock.entries(path)))
    if path.name == LIVE_PAGE:  # nothing had been finished yet
        return run_folder.is_our_page(path)
    return path.name == PROBLEMS and csv_schemas.is_table("problems", path)


def refuse_images_among_results(
    images_dir: pathlib.Path,
    images: Sequence[ImageFile],
    output_dir: pathlib.Path,
    written: Sequence[str] = (run_folder.PATIENTS_DIR, run_folder.ROUNDS_DIR),
) -> None:
    """Refuses images that lie where results are written, and results among the images.

    Folders are compared by what they are, not by their names, so that links, mounts and capitals make no difference.

    Args:
      written: folders below the output folder, with "/", in which results are written.

    Raises:
      OutputFolderError: images would be replaced, or the pictures of this run be read as images later.
    """
    if any(_is_same(parent, images_dir) for parent in (output_dir, *output_dir.resolve().parents)):
        raise OutputFolderError(
            f"--output_dir={output_dir}: lies in --images_dir={images_dir}, and its pictures would be read as images; "
            "give a folder apart from it."
        )
    folders = {image.path.parent for image in images}
    folders |= {pathlib.Path(os.path.realpath(image.path)).parent for image in images if image.path.is_symlink()}
    places = {_identity(folder): folder for folder in (images_dir, *sorted(folders))}
    for name in written:
        for path in _folders_below(output_dir / name):
            found = places.get(_identity(path))
            if found is not None:
                raise OutputFolderError(
                    f"{found}: holds images, and batch_infer writes its results into the same folder "
                    f"(--output_dir={output_dir}, {name}/); give a folder apart from the images."
                )


def _folders_below(folder: pathlib.Path) -> Iterable[str]:
    """A folder and the folders in it; a linked one is named, not looked into."""
    yield str(folder)
    for root, names, _ in os.walk(folder):
        yield from (os.path.join(root, name) for name in names)


def _identity(path: str | os.PathLike) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _is_same(first: pathlib.Path, second: pathlib.Path) -> bool:
    found = _identity(first)
    return found is not None and found == _identity(second)

"""The files of a folder of images or annotations, and what is said about those that are not read."""

import dataclasses
import os
import pathlib
from collections.abc import Sequence

from tfod_csf.files import given_files, inner_paths
from tfod_csf.problems import ProblemLog
from tfod_csf.study.image_io import IMAGE_SUFFIXES, OTHER_IMAGE_SUFFIXES, RAW_SUFFIXES
from tfod_csf.study.patient_ids import PatientsError, loose


@dataclasses.dataclass(frozen=True, slots=True)
class ListedFile:
    """A file below a folder: where it is, and its path below the folder with "/"."""

    path: str
    key: str

    @property
    def suffix(self) -> str:
        """In small letters, with its dot."""
        return os.path.splitext(self.path)[1].lower()

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return os.path.splitext(self.key.rpartition("/")[2])[0]

    @property
    def parent(self) -> str:
        """Path of its folder below the folder that was listed; "" for that one."""
        return self.key.rpartition("/")[0]


def _is_wanted(name: str) -> bool:
    """Whether a name is none of the system's: .DS_Store, and macOS's ._IMG_0001.jpg, which is not an image."""
    return not name.startswith(".") and name != "__MACOSX"


def _is_file_name(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in (*IMAGE_SUFFIXES, ".xml")


def _is_portable(path: str, key: str, problems: ProblemLog) -> bool:
    """Whether the tables can name the file: as text, and so that no system takes the name for a path elsewhere."""
    if inner_paths.leads_out(key):
        problems.skipped(path, "other systems take the file name for a path to another folder", "Rename the file.")
        return False
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        shown = os.fsencode(path).decode("utf-8", "backslashreplace")
        problems.skipped(shown, "the file name is not UTF-8", "Rename the file (convmv renames whole folders).")
        return False
    return True


def list_files(
    folder: pathlib.Path, what: str, problems: ProblemLog, except_below: Sequence[pathlib.Path] = ()
) -> list[ListedFile]:
    """Files below a folder in sorted order; linked folders are followed, system files and folders ignored.

    Args:
      folder: which one.
      what: it is, for the message.
      problems: gets files whose names the tables cannot hold, and folders that cannot be listed.
      except_below: folders whose files are not listed.

    Raises:
      PatientsError: no such folder.
    """
    if not folder.is_dir():
        raise PatientsError(f"{folder}: {'is not a folder' if folder.exists() else 'no such folder'}; give the {what}.")
    start = len(os.path.join(folder, ""))
    paths = given_files.files_below(folder, problems.unlisted_folder, _is_wanted, _is_file_name)
    if except_below:
        others = tuple(os.path.join(os.path.realpath(path), "") for path in except_below)
        paths = (path for path in paths if not os.path.realpath(path).startswith(others))
    files = (ListedFile(path, path[start:].replace(os.sep, "/")) for path in paths)
    return [listed for listed in files if _is_portable(listed.path, listed.key, problems)]


def readable_images(folder: pathlib.Path, listed: list[ListedFile], problems: ProblemLog) -> list[ListedFile]:
    """Images of formats that are read; all others are skipped, but a camera's raw file beside its image is noted."""
    readable = [one for one in listed if one.suffix in IMAGE_SUFFIXES]
    has_raw = any(one.suffix in RAW_SUFFIXES for one in listed)
    exported = {(one.parent, loose(one.stem)) for one in readable} if has_raw else set()
    num_raw = 0
    for one in listed:
        if one.suffix in RAW_SUFFIXES and (one.parent, loose(one.stem)) in exported:
            num_raw += 1
        elif one.suffix in OTHER_IMAGE_SUFFIXES:
            problems.skipped(one.path, f"{one.suffix} images are not read", "Export it as JPEG, PNG or TIFF.")
    if num_raw:
        reason = "a camera's raw file is not read; the image of the same name beside it is"
        problems.noted(folder, reason, "No action is needed if both are one picture.", count=num_raw)
    return readable


def note_folders_without_images(
    folder: pathlib.Path, listed: list[ListedFile], problems: ProblemLog, others: Sequence[str | os.PathLike]
) -> None:
    """Notes folders directly in the images folder without an image or a row in `problems`, apart from `others`."""
    start = os.path.join(folder, "")
    known = {one.key.partition("/")[0] for one in listed if one.suffix in IMAGE_SUFFIXES}
    reported = (row.file.removeprefix(start) for row in problems.problems if row.file.startswith(start))
    known |= {file.partition(os.sep)[0] for file in reported}
    real = [os.path.join(os.path.realpath(other), "") for other in others]
    for name in filter(_is_wanted, given_files.folder_names(folder)):
        is_of_others = any(other.startswith(os.path.join(os.path.realpath(start + name), "")) for other in real)
        if name not in known and not is_of_others:
            shown = os.fsencode(start + name).decode("utf-8", "backslashreplace")
            reason = "no image was found in this folder, so that it has no result"
            problems.noted(shown, reason, "If it is a patient's, export its images as JPEG, PNG or TIFF.")

"""SHA256SUMS: the checksums of a folder's files, kept in it in the form that `sha256sum --check` reads.

It shows that a file was changed or damaged after the folder was made. It is not a signature: who changes a file on
purpose can write its checksum too.
"""

import contextlib
import os
import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping

from tfod_csf.errors import UserError
from tfod_csf.files import atomic_write, checksums, folder_lock, given_files, inner_paths

FILE_NAME = "SHA256SUMS"
_LINE = re.compile(r"(?P<sha256>[0-9a-f]{64})  (?P<name>[^/\0][^\0]*)")


class ManifestError(UserError):
    """A SHA256SUMS that cannot be read."""


def write(folder: str | os.PathLike) -> None:
    """Lists all files of a folder and its subfolders."""
    folder = pathlib.Path(folder)
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    _write(folder, {name: {checksums.file_sha256(folder / name)} for name in names if name != FILE_NAME})


def read(folder: str | os.PathLike) -> dict[str, set[str]] | None:
    """{path below the folder: checksums that it may have}; None where there is no manifest.

    A file has two checksums only while `replacing_listed` replaces it.

    Raises:
      ManifestError: it is not what `write` writes.
    """
    path = pathlib.Path(folder) / FILE_NAME
    try:
        text = given_files.read_text(path)
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path}: is not UTF-8; copy the folder again.") from error
    listed: dict[str, set[str]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        match = _LINE.fullmatch(line)
        if match is None or inner_paths.leads_out(match["name"]):
            raise ManifestError(f"{path}, line {number}: is not a checksum and a file's name; copy the folder again.")
        listed.setdefault(match["name"], set()).add(match["sha256"])
    return listed


def differences(folder: str | os.PathLike, listed: Mapping[str, set[str]], names: Iterable[str]) -> list[str]:
    """What does not match, for example "label_map.pbtxt was changed"; [] when everything does.

    Args:
      folder: of the manifest.
      listed: of `read`.
      names: files that are there and ought to be listed.
    """
    found = []
    for name, expected in sorted(listed.items()):
        path = pathlib.Path(folder) / name
        if not path.is_file():
            found.append(f"{name} is missing")
        elif checksums.file_sha256(path) not in expected:
            found.append(f"{name} was changed")
    return found + [f"{name} was added" for name in sorted(set(names) - set(listed))]


@contextlib.contextmanager
def replacing_listed(folder: str | os.PathLike, name: str) -> Iterator[pathlib.Path]:
    """Yields a path for new contents of a file; they replace it, and its checksum in the manifest where there is one.

    The manifest lists the old and the new checksum while the file is replaced, so that the folder matches its manifest
    at every moment.

    Raises:
      FolderInUseError: another process changes a file of the folder.
    """
    folder = pathlib.Path(folder)
    with folder_lock.only_writer(folder):
        listed = read(folder)
        with atomic_write.replacing_path(folder / name) as beside:
            yield beside
            new = checksums.file_sha256(beside)
            if listed is not None:
                _write(folder, {**listed, name: listed.get(name, set()) | {new}})
        if listed is not None:
            _write(folder, {**listed, name: {new}})


def _write(folder: pathlib.Path, listed: Mapping[str, set[str]]) -> None:
    lines = [f"{sha256}  {name}\n" for name, allowed in sorted(listed.items()) for sha256 in sorted(allowed)]
    atomic_write.write_text(folder / FILE_NAME, "".join(lines))

"""Files that people hand in: only regular ones, of bounded size, and no folder that cannot be listed passes unnoticed.

A pipe or a device with the name of an image would be read forever, and a file of terabytes into memory; a folder that
cannot be listed looks like an empty one. Whatever a person gave is therefore opened, read and listed here.
"""

import errno
import json
import os
import pathlib
import re
import stat
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

MAX_TEXT_BYTES = 100_000_000  # the largest JSON this package writes, a review of a large study, has a tenth of that
# Windows has no O_NONBLOCK and no named pipes in folders; Linux and macOS have no O_BINARY.
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
_KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}
_REMOTE = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+)://")


class UnusableFileError(OSError):
    """A path that is not a regular file, or a file that is too large; `strerror` says which."""


def open_file(path: str | os.PathLike, max_bytes: int | None = None) -> BinaryIO:
    """Opens a regular file (after following links) for reading bytes; never waits, whatever lies there.

    Args:
      max_bytes: a larger file is refused before it is read.

    Raises:
      UnusableFileError: not a regular file, or too large.
      OSError: it cannot be opened.
    """
    try:
        # Without O_NONBLOCK, opening a pipe waits for a writer. What was opened is looked at, not what the name meant.
        descriptor = os.open(path, _FLAGS)
    except OSError as error:
        if error.errno == errno.ENXIO:  # what Linux says of a socket
            raise UnusableFileError(error.errno, "is a socket, not a file", os.fspath(path)) from None
        raise
    try:
        _check(os.fstat(descriptor), path, max_bytes)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def _check(status: os.stat_result, path: str | os.PathLike, max_bytes: int | None) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "a device")
        raise UnusableFileError(errno.EINVAL, f"is {kind}, not a file", os.fspath(path))
    if max_bytes is not None and status.st_size > max_bytes:
        reason = f"has {status.st_size:,} bytes, more than the {max_bytes:,} that are read"
        raise UnusableFileError(errno.EFBIG, reason, os.fspath(path))


def read_bytes(path: str | os.PathLike, max_bytes: int = MAX_TEXT_BYTES) -> bytes:
    """The content of a regular file.

    Raises:
      UnusableFileError: not a regular file, or larger than max_bytes, also when it grows while it is read.
      OSError: it cannot be read.
    """
    with open_file(path, max_bytes) as file:
        return read_open(file, path, max_bytes)


def read_open(file: BinaryIO, path: str | os.PathLike, max_bytes: int) -> bytes:
    """The rest of a file that `open_file` opened; raises as `read_bytes`."""
    data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        reason = f"grew beyond {max_bytes:,} bytes while it was read"
        raise UnusableFileError(errno.EFBIG, reason, os.fspath(path))
    return data


def read_text(path: str | os.PathLike, max_bytes: int = MAX_TEXT_BYTES, encoding: str = "utf-8-sig") -> str:
    """The text of a regular file, line ends as "\\n"; a byte order mark is not part of it.

    Raises:
      OSError: as `read_bytes`.
      UnicodeDecodeError: another encoding.
    """
    return read_bytes(path, max_bytes).decode(encoding).replace("\r\n", "\n").replace("\r", "\n")


def read_json(path: str | os.PathLike, max_bytes: int = MAX_TEXT_BYTES) -> Any:
    """The value in a JSON file.

    Raises:
      OSError: as `read_bytes`.
      ValueError: not UTF-8, not JSON, nested too deeply, or with NaN or Infinity, which JSON does not have.
    """
    try:
        return json.loads(read_text(path, max_bytes), parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("brackets are nested too deeply") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON value")


def files_below(
    folder: str | os.PathLike,
    on_error: Callable[[OSError], None] | None = None,
    is_wanted: Callable[[str], bool] = lambda name: True,
    is_file_name: Callable[[str], bool] = lambda name: False,
    follow_links: bool = True,
) -> Iterator[str]:
    """Paths of everything below a folder that is not a folder, sorted; a folder's own files before those further down.

    A link into a folder that it lies in is an error.

    Args:
      on_error: gets the error of each folder that cannot be listed, `filename` being its path; None raises it.
      is_wanted: tells by its name whether a file or folder is to be looked at.
      is_file_name: tells by its name what should be a file; a folder with such a name is reported too (EISDIR), and
        what is in it is yielded nevertheless.
      follow_links: whether a linked folder is one; else its path is yielded like a file's.

    Raises:
      OSError: a folder cannot be listed, or a link leads to a folder that it lies in; with `on_error`, nothing.
    """
    yield from _below(os.fspath(folder), on_error or _raise, is_wanted, is_file_name, follow_links, ())


def folders_with(folder: str | os.PathLike, name: str) -> list[pathlib.Path]:
    """Folders directly in a folder that hold a file of this name, sorted; none where there is no such folder.

    Raises:
      OSError: the folder, or one in it, cannot be looked into.
    """
    folder = pathlib.Path(folder)
    return [folder / found for found in folder_names(folder) if (folder / found / name).is_file()]


def folder_names(folder: str | os.PathLike) -> list[str]:
    """Names of the folders directly in a folder, linked ones too, sorted; none where there is no such folder.

    Raises:
      OSError: the folder cannot be listed.
    """
    if not pathlib.Path(folder).is_dir():
        return []
    with os.scandir(os.fspath(folder)) as listing:
        return sorted(entry.name for entry in listing if _is_folder(entry, follow_links=True))


def _raise(error: OSError) -> None:
    raise error


def _below(
    folder: str,
    on_error: Callable[[OSError], None],
    is_wanted: Callable[[str], bool],
    is_file_name: Callable[[str], bool],
    follow_links: bool,
    parents: tuple[tuple[int, int], ...],
) -> Iterator[str]:
    try:
        identity = os.stat(folder)
        place = (identity.st_dev, identity.st_ino)
        if place in parents:
            raise UnusableFileError(errno.ELOOP, "is a link to a folder that it lies in", folder)
        with os.scandir(folder) as listing:
            entries = sorted((entry for entry in listing if is_wanted(entry.name)), key=lambda entry: entry.name)
    except OSError as error:
        on_error(error)
        return
    folders = []
    for entry in entries:
        if not _is_folder(entry, follow_links):
            yield entry.path
            continue
        folders.append(entry.path)
        if is_file_name(entry.name):
            on_error(UnusableFileError(errno.EISDIR, "is a folder, not a file", entry.path))
    for path in folders:
        yield from _below(path, on_error, is_wanted, is_file_name, follow_links, (*parents, place))


def _is_folder(entry: os.DirEntry, follow_links: bool) -> bool:
    try:
        return entry.is_dir(follow_symlinks=follow_links)
    except OSError:  # a link that cannot be followed; whoever opens it learns why
        return False


def remote_path(path: str) -> str:
    """Why a path such as gs://bucket/run cannot be used, as the end of a sentence; "" for a local one.

    >>> remote_path("gs://bucket/run")
    'is not a local path: gs:// is not supported; give a local file or folder (mounted storage will do)'
    >>> remote_path("C:/run")
    ''
    """
    match = _REMOTE.match(path)
    if not match:
        return ""
    return (
        f"is not a local path: {match['scheme']}:// is not supported; give a local file or folder (mounted storage "
        "will do)"
    )

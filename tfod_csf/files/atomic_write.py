"""Files and folders appear whole or not at all: they are written next to their final place, then renamed.

What is written beside has a hidden name that ends in ".HOST-PID-RANDOM.part". A process that is killed leaves it there;
`remove_leftovers` removes it at the next start of a command in that folder (`folder_lock.only_writer` does that).
"""

import contextlib
import ctypes
import errno
import hashlib
import json
import logging
import os
import pathlib
import re
import secrets
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from typing import IO, Any

from tfod_csf.errors import UserError

_LONGEST_NAME = 255  # bytes, on every file system in use
_LONGEST_HOST = 40
_LEFTOVER = re.compile(r"\..*\.(?P<host>[A-Za-z0-9-]+)-(?P<pid>[0-9]+)-[0-9a-f]{8}\.(?P<kind>part|old)", re.DOTALL)
_TAG_LENGTH = _LONGEST_HOST + len("..-1234567890-12345678.part")
_TOO_OLD = 24 * 3600  # s: after that a file of another computer is taken for one of a dead process
# What the system says about a full or vanished disk without naming the file.
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO)
_RENAME_EXCHANGE = 2
_COPIED_AT_ONCE = 1 << 20  # bytes
_log = logging.getLogger("tfod_csf")
_being_written: set[pathlib.Path] = set()


class NotAFileError(UserError):
    """A path to be written is a device, a pipe or a folder."""


def host_name() -> str:
    """This computer's name as temporary names hold it: letters, digits and hyphens, at most 40 of them."""
    name = re.sub("[^A-Za-z0-9-]", "-", socket.gethostname()) or "unnamed"
    if len(name) <= _LONGEST_HOST:
        return name
    return f"{name[: _LONGEST_HOST - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _prefix(name: str) -> str:
    """What a temporary name holds of the final one: all of it unless the whole would be too long for the system."""
    encoded = os.fsencode(name)
    if len(encoded) + _TAG_LENGTH <= _LONGEST_NAME:
        return f".{name}"
    return "." + encoded[: _LONGEST_NAME - _TAG_LENGTH].decode("utf-8", "ignore")


def _beside(path: pathlib.Path, kind: str = "part") -> pathlib.Path:
    return path.with_name(f"{_prefix(path.name)}.{host_name()}-{os.getpid()}-{secrets.token_hex(4)}.{kind}")


def hidden_beside(path: pathlib.Path, ending: str) -> pathlib.Path:
    """A hidden name in the folder of `path` that begins with its name and is not too long, for example of a lock."""
    return path.with_name(f"{_prefix(path.name)}{ending}")


def is_temporary(name: str) -> bool:
    """Whether a file or folder of this name is one that is being written by this program, or was left by a dead run."""
    return _LEFTOVER.fullmatch(name) is not None


@contextlib.contextmanager
def replacing_path(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Yields a path in the folder of `path` for a writer that opens its own file; at the end it replaces `path`.

    The bytes are on the disk before the rename, so that a power cut leaves the old file or the new one.

    Raises:
      NotAFileError: `path` is a folder, a device or a pipe.
    """
    path = pathlib.Path(path)
    if os.path.lexists(path) and not path.is_file() and not (path.is_symlink() and not path.exists()):
        raise NotAFileError(f"{path}: is not a file and cannot be replaced by one; give the path of a file.")
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = _beside(path)
    _being_written.add(beside)
    try:
        yield beside
        _sync(beside)
        os.replace(beside, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            beside.unlink()
        if isinstance(error, OSError):
            _name_the_final_path(error, beside, path)
        raise
    finally:
        _being_written.discard(beside)


def _name_the_final_path(error: OSError, beside: pathlib.Path, path: pathlib.Path) -> None:
    """Puts the path that the user knows into an error about the temporary one, or about a full disk."""
    if error.filename == str(beside) or (error.filename is None and error.errno in _DISK_ERRORS):
        error.filename = str(path)


@contextlib.contextmanager
def replacing(path: str | os.PathLike, mode: str = "w", **open_arguments: Any) -> Iterator[IO]:
    """Opens a file that replaces `path` when the block ends and is removed when the block raises.

    Args:
      path: final path; missing parent folders are created.
      mode: "w" (text, UTF-8 unless `encoding` is given), "wb", or "w+b" to read what was written.
      **open_arguments: passed to `open`, for example `newline=""`.
    """
    with replacing_path(path) as beside:
        if "b" not in mode:
            open_arguments.setdefault("encoding", "utf-8")
        with open(beside, mode, **open_arguments) as file:
            yield file


def create_text(path: str | os.PathLike, text: str) -> None:
    """Writes a file that must not be there yet: of two processes at the same moment, one gets the error.

    Raises:
      FileExistsError: it is there.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = _beside(path)
    _being_written.add(beside)
    try:
        with open(beside, "x", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(beside, path)
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links: reserve the name, then fill it
            path.touch(exist_ok=False)
            os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
        _being_written.discard(beside)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes UTF-8 text with "\\n" line ends."""
    with replacing(path, newline="\n") as file:
        file.write(text)


def write_bytes(path: str | os.PathLike, data: bytes | memoryview) -> None:
    """Writes bytes that a library has encoded in memory.

    Libraries that write into an open file by themselves, like Pillow, overlook that a full disk took only a part of it.
    """
    with replacing(path, "wb") as file:
        file.write(data)


def copy_file(source: str | os.PathLike, target: str | os.PathLike) -> None:
    """Copies a file's bytes; the target is complete or unchanged."""
    with open(source, "rb") as original, replacing(target, "wb") as file:
        shutil.copyfileobj(original, file, _COPIED_AT_ONCE)


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Writes indented UTF-8 JSON that keeps the order of keys; NaN is refused because JSON has none."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


@contextlib.contextmanager
def folder_beside(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Yields an empty folder in the folder of `path`, for files that the caller moves on; it is removed at the end."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = _beside(path)
    _being_written.add(beside)
    try:
        beside.mkdir()
        yield beside
    except OSError as error:
        _name_the_final_path(error, beside, path)
        raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        _being_written.discard(beside)


@contextlib.contextmanager
def replacing_folder(path: str | os.PathLike, may_exist: bool = True) -> Iterator[pathlib.Path]:
    """Yields an empty folder beside `path`; at the end it takes the place of `path`, where possible in one step.

    Args:
      path: a folder, or a link to one, that is replaced with everything in it; or nothing yet.
      may_exist: False refuses a `path` that is there at the end.

    Raises:
      FileExistsError: `path` is there and may not be.
    """
    path = pathlib.Path(os.path.realpath(path))
    with folder_beside(path) as beside:
        yield beside
        _sync_tree(beside)
        if not may_exist and os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
        put_in_place(beside, path)


def put_in_place(beside: pathlib.Path, path: pathlib.Path) -> None:
    """Renames the folder `beside` to `path`; an earlier `path` is removed.

    Where the system cannot exchange two folders in one step, a process killed between the two renames leaves no `path`
    and the earlier folder under a temporary name ending in ".old": `remove_leftovers` puts it back.
    """
    if not os.path.lexists(path):
        os.rename(beside, path)
    elif not _exchange(beside, path):
        earlier = _beside(path, "old")
        os.rename(path, earlier)
        os.rename(beside, path)
        beside = earlier
    sync_folder(path.parent)
    shutil.rmtree(beside, ignore_errors=True)


def _exchange(first: pathlib.Path, second: pathlib.Path) -> bool:
    """Swaps two paths in one step; False where the system or the file system cannot."""
    if sys.platform != "linux":
        return False
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    at_cwd = -100
    return renameat2(at_cwd, os.fsencode(first), at_cwd, os.fsencode(second), _RENAME_EXCHANGE) == 0


def _sync(path: str | os.PathLike) -> None:
    """Returns when a file's bytes, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY if os.path.isdir(path) else os.O_RDWR)  # Windows syncs what it may write
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: str | os.PathLike) -> None:
    """Returns when the names in a folder are on the disk; does nothing where folders cannot be opened (Windows)."""
    with contextlib.suppress(OSError):
        _sync(folder)


def _sync_tree(folder: pathlib.Path) -> None:
    """Returns when everything in a folder is on the disk."""
    for root, _, names in os.walk(folder):
        for name in names:
            _sync(os.path.join(root, name))
        sync_folder(root)


def remove_leftovers(folder: str | os.PathLike) -> list[pathlib.Path]:
    """Removes what dead runs of this program left half-written in a folder and below; links are not followed.

    Of this computer, what a process left that is no longer there; of others, and on Windows, what is older than a day.
    A folder that was moved away to be replaced is put back if its place is empty.

    Returns:
      The temporary paths that are gone.
    """
    gone = []
    for root, folders, names in os.walk(os.fspath(folder)):
        found = [name for name in (*folders, *names) if _is_left_over(pathlib.Path(root, name))]
        folders[:] = [name for name in folders if not is_temporary(name)]
        gone += [path for path in (pathlib.Path(root, name) for name in found) if _clear(path, _final_path(path))]
    return gone


def remove_leftovers_of(path: str | os.PathLike) -> list[pathlib.Path]:
    """As `remove_leftovers`, for what was to become this one file or folder."""
    path = pathlib.Path(path)
    try:
        names = os.listdir(path.parent)
    except OSError:
        return []
    beside = [path.with_name(name) for name in names if name.startswith(f"{_prefix(path.name)}.")]
    return [one for one in beside if _is_left_over(one) and _clear(one, path)]


def _is_left_over(path: pathlib.Path) -> bool:
    match = _LEFTOVER.fullmatch(path.name)
    if match is None or path in _being_written:
        return False
    if match["host"] == host_name() and not _is_running(int(match["pid"])):
        return True
    try:
        return time.time() - path.lstat().st_mtime > _TOO_OLD
    except OSError:
        return False


def _is_running(pid: int) -> bool:
    """Whether another process has this number; Windows gives no harmless way to ask."""
    if pid == os.getpid():
        return False
    if sys.platform == "win32":
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # another user's
    return True


def _final_path(leftover: pathlib.Path) -> pathlib.Path | None:
    """What a temporary path was to become; None where the name was too long to hold all of it."""
    name = leftover.name.removeprefix(".").rsplit(".", 2)[0]
    # A cut may fall up to three bytes short, within a letter.
    return leftover.with_name(name) if len(os.fsencode(name)) + _TAG_LENGTH <= _LONGEST_NAME - 4 else None


def _clear(leftover: pathlib.Path, final: pathlib.Path | None) -> bool:
    """Removes one temporary file or folder, or puts a folder back that was moved away; False when it stays."""
    moved_away = leftover.name.endswith(".old")
    if moved_away and final is None:
        return False  # `remove_leftovers_of` knows its name
    try:
        if moved_away and final is not None and not os.path.lexists(final):
            os.rename(leftover, final)
            _log.warning("%s: put back; the command that was to replace it had been killed.", final)
        elif leftover.is_dir() and not leftover.is_symlink():
            shutil.rmtree(leftover)
        else:
            leftover.unlink()
    except FileNotFoundError:
        return True
    except OSError as error:
        _log.warning("%s: left by a run that was killed, and cannot be removed (%s).", leftover, error.strerror)
        return False
    return True

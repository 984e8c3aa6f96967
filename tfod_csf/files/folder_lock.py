"""One process at a time writes into a folder; a second one is refused."""

import contextlib
import errno
import logging
import os
import pathlib
import sys
import time
from collections.abc import Iterator

from tfod_csf.errors import UserError
from tfod_csf.files import atomic_write

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

FILE_NAME = ".tfod_csf.lock"
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
_LOCKED_BYTE = 1 << 30  # Windows keeps others from reading locked bytes, so it is none of those that name the owner
_log = logging.getLogger("tfod_csf")
_TURN_SECONDS, _PAUSE_SECONDS = 60.0, 0.1
_held: set[int] = set()


class FolderInUseError(UserError):
    """Another process is writing into the folder."""


class FolderVanishedError(UserError):
    """The folder was removed or replaced while it was written."""


class LinkedFolderError(UserError):
    """A folder below the one that is written is a link to somewhere else."""


class FolderLock:
    """A lock that this process holds.

    Attributes:
      folder: the folder that nobody else may write into.
    """

    def __init__(self, folder: pathlib.Path, path: pathlib.Path, descriptor: int):
        self.folder = folder
        self._path = path
        self._descriptor = descriptor

    def check(self) -> None:
        """Long runs call this now and then: what is written into a removed folder is lost.

        Raises:
          FolderVanishedError: the folder is gone, or another one has its name.
        """
        if not _is_at(self._path, self._descriptor):
            raise FolderVanishedError(
                f"{self.folder}: was removed or replaced while this command wrote into it; what it wrote before is "
                "not there. Run the same command again."
            )


@contextlib.contextmanager
def only_writer(folder: str | os.PathLike, swapped: bool = False) -> Iterator[FolderLock]:
    """Nobody else is in this block for the same folder, which is made if absent; what dead runs left there is removed.

    The lock ends with the process that holds it, also when that is killed. Its file is removed at the end; after a kill
    it stays and means nothing. Where the file system has no locks, a line in the log says so and the block is entered.

    Args:
      folder: the folder that is written.
      swapped: the folder is replaced as a whole (`atomic_write.replacing_folder`): it is not made, and the lock's file
        lies beside it.

    Raises:
      FolderInUseError: another process, or another block of this one, holds the lock.
      FolderVanishedError: at the end, the folder is no longer where it was.
      LinkedFolderError: a folder in it is a link that leads out, so that files would be written there.
    """
    folder = pathlib.Path(folder)
    path = folder / FILE_NAME
    if swapped:
        folder = pathlib.Path(os.path.realpath(folder))
        path = atomic_write.hidden_beside(folder, FILE_NAME)
    made = not path.parent.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _acquired(path, folder)
    try:
        if swapped:
            _remove_leftovers(folder, swapped)
        else:
            make_ready(folder)
        lock = FolderLock(folder, path, descriptor)
        yield lock
        lock.check()
    finally:
        _release(path, descriptor)
        if made:
            with contextlib.suppress(OSError):
                path.parent.rmdir()  # which leaves it unless it is empty


@contextlib.contextmanager
def in_turn(folder: str | os.PathLike, seconds: float = _TURN_SECONDS) -> Iterator[None]:
    """For a moment nobody else is in this block, or in `only_writer`, for the same folder; others wait for their turn.

    For several processes that write different things into one folder and change something of it together now and then.
    The folder is made if absent. Nothing in it is looked at.

    Args:
      seconds: how long to wait for others.

    Raises:
      FolderInUseError: another process has had the lock all that time.
    """
    folder = pathlib.Path(folder)
    path, last = folder / FILE_NAME, time.monotonic() + seconds
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = _acquired(path, folder)
            break
        except (FolderInUseError, FileNotFoundError):  # or somebody has just removed the folder that it had made
            if time.monotonic() >= last:
                raise
            time.sleep(_PAUSE_SECONDS)
    try:
        yield
    finally:
        _release(path, descriptor)


def make_ready(folder: str | os.PathLike, inside: str | os.PathLike | None = None) -> None:
    """What `only_writer` does before the first change: refuses links, and removes what dead runs left half-written.

    Args:
      folder: that is written; it need not be there.
      inside: the folder that nothing may lead out of; by default `folder`.

    Raises:
      LinkedFolderError: it, or a folder in it, is a link that leads out.
    """
    folder = pathlib.Path(folder)
    _check_links(folder, folder if inside is None else pathlib.Path(inside))
    _remove_leftovers(folder, swapped=False)


def entries(folder: str | os.PathLike) -> list[str]:
    """Names in a folder apart from the lock's file and what is being written, sorted; none where there is no folder."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    return sorted(name for name in names if name != FILE_NAME and not atomic_write.is_temporary(name))


def _check_links(folder: pathlib.Path, inside: pathlib.Path) -> None:
    """Refuses links to folders elsewhere. A link to a file is replaced by the file that is written.

    Raises:
      LinkedFolderError: naming the first.
    """
    inside = pathlib.Path(os.path.realpath(inside))
    _refuse_outside(os.fspath(folder), inside)
    waiting = [os.fspath(folder)]
    while waiting:
        try:
            entries = list(os.scandir(waiting.pop()))
        except OSError:
            continue  # whoever writes there will say so
        for entry in entries:
            if not entry.is_symlink():
                waiting += [entry.path] if entry.is_dir() else []
            elif entry.is_dir():
                _refuse_outside(entry.path, inside)


def _refuse_outside(path: str, inside: pathlib.Path) -> None:
    target = os.path.realpath(path)
    if not pathlib.Path(target).is_relative_to(inside):
        raise LinkedFolderError(
            f"{path}: is a link to {target}, where this command would write; put a folder in its place, or give "
            "another output folder."
        )


def _remove_leftovers(folder: pathlib.Path, swapped: bool) -> None:
    gone = atomic_write.remove_leftovers_of(folder) if swapped else atomic_write.remove_leftovers(folder)
    if gone:
        what = "1 unfinished file" if len(gone) == 1 else f"{len(gone)} unfinished files or folders"
        _log.warning("%s: removed %s of a run that was killed.", folder, what)


def _acquired(path: pathlib.Path, folder: pathlib.Path) -> int:
    """The open and locked file at `path`, which says whose it is."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        try:
            _lock(descriptor)
        except BlockingIOError:
            owner = _owner(descriptor)
            os.close(descriptor)
            raise FolderInUseError(
                f"{folder}: {owner} is writing into this folder; wait until that is done or stop it, or give another "
                "folder."
            ) from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                os.close(descriptor)
                error.filename = str(path)
                raise
            _log.warning(
                "%s: this file system has no locks (%s); see to it that no second command writes there.",
                folder,
                error.strerror,
            )
        if _is_at(path, descriptor):
            break
        os.close(descriptor)  # its owner has removed it in the meantime
    _held.add(descriptor)
    os.ftruncate(descriptor, 0)
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.write(descriptor, f"{os.getpid()} {atomic_write.host_name()}\n".encode())
    return descriptor


def _lock(descriptor: int) -> None:
    """Locks an open file, or raises BlockingIOError."""
    if sys.platform == "win32":
        os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            raise BlockingIOError from None
    else:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _owner(descriptor: int) -> str:
    """ "process 12 on HOST", read from the lock's file; its owner may be about to write that."""
    for _ in range(50):
        os.lseek(descriptor, 0, os.SEEK_SET)
        words = os.read(descriptor, 200).decode("ascii", "replace").split()
        if len(words) == 2:
            return f"process {words[0]} on {words[1]}"
        time.sleep(0.01)
    return "another process"


def _is_at(path: pathlib.Path, descriptor: int) -> bool:
    """Whether the file that is open has this path."""
    try:
        return os.path.samestat(os.stat(path, follow_symlinks=False), os.fstat(descriptor))
    except OSError:
        return False


def _release(path: pathlib.Path, descriptor: int) -> None:
    """Removes the file while it is locked, so that nobody can lock one that is about to go."""
    if descriptor not in _held:
        return  # in a forked copy of the process that entered the block
    if _is_at(path, descriptor):
        with contextlib.suppress(OSError):
            path.unlink()
    _held.discard(descriptor)
    os.close(descriptor)


def _forget_in_child() -> None:
    """A forked copy of the process must not hold the lock after the process itself has ended."""
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)

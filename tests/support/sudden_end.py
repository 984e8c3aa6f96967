"""A command that ends without a word, as by kill -9, at a chosen rename: what it wrote so far stays as it is."""

import os
import pathlib
import shutil
from collections.abc import Callable, Iterable

from tfod_csf.files import atomic_write

_KILLED = 137


def ends_at(number: int, command: Callable[[], int]) -> bool:
    """Runs a command in a copy of this process that ends just before its rename of that number (from 1).

    Returns:
      True when it ended there, False when it made fewer renames and ended well.
    """
    child = os.fork()
    if not child:
        status = 1
        try:
            _end_at(number)
            status = command()
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) in (0, _KILLED)
    return os.waitstatus_to_exitcode(status) == _KILLED


def _end_at(number: int) -> None:
    done = 0

    def counted(original: Callable) -> Callable:
        def call(*arguments, **named):
            nonlocal done
            done += 1
            if done == number:
                os._exit(_KILLED)
            return original(*arguments, **named)

        return call

    os.replace, os.rename, os.link = counted(os.replace), counted(os.rename), counted(os.link)
    atomic_write._exchange = counted(atomic_write._exchange)


def files_in(folder: pathlib.Path) -> dict[str, bytes]:
    """{path: bytes} of every file below a folder; of an empty folder, its path alone."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() or not any(path.iterdir())]
    return {path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else b"" for path in paths}


def differences(root: pathlib.Path, command: Callable[[], int], numbers: Iterable[int]) -> tuple[int, dict[int, list]]:
    """Kills a command at each of these renames and runs it again, always from the files that are in `root` now.

    Args:
      root: a folder that holds all the command reads and writes.

    Returns:
      (kills, {number: paths that differ from those of an undisturbed run}).
    """
    start = root.with_name(f"{root.name}.start")
    shutil.copytree(root, start, symlinks=True)
    assert not ends_at(0, command)
    expected, kills, found = files_in(root), 0, {}
    for number in numbers:
        shutil.rmtree(root)
        shutil.copytree(start, root, symlinks=True)
        if not ends_at(number, command):
            break
        kills += 1
        if ends_at(0, command):
            raise AssertionError(f"killed at {number}: the second run did not end well")
        now = files_in(root)
        wrong = sorted(path for path in {**expected, **now} if expected.get(path) != now.get(path))
        found.update({number: wrong} if wrong else {})
    return kills, found

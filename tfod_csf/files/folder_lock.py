"""One writer at a time in a folder that several people write to."""

import contextlib
import logging
import os
import pathlib
import sys
from collections.abc import Iterator

if sys.platform != "win32":
    import fcntl

FILE_NAME = ".lock"
_log = logging.getLogger("tfod_csf")


@contextlib.contextmanager
def one_writer(folder: str | os.PathLike) -> Iterator[None]:
    """Waits until no other process is in this block for the same folder, which is made if absent.

    The lock ends with the process that holds it, also when that is killed; the file FILE_NAME stays and means nothing.
    Windows has no such lock: there nothing keeps two writers apart.
    """
    path = pathlib.Path(folder) / FILE_NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        if sys.platform != "win32":
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                _log.warning("%s: another command is writing to this folder; waiting until it is done.", folder)
                fcntl.flock(file, fcntl.LOCK_EX)
        yield

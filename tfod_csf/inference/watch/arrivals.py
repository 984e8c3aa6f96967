"""Which image files of a folder that is being filled are whole.

No system says of a file on a network share that its writer is done. A file counts as whole when it holds bytes and its
size, time of change and place on the disk have stayed the same for some seconds, by this computer's clock; one that is
replaced or written on is waited for again. A file whose writer pauses for longer cannot be decoded, as a rule, and is
tried again when it changes.
"""

import os
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from tfod_csf.study.patients import ImageFile

SETTLE_SECONDS = 2.0


class FileState(NamedTuple):
    """What changes when a file does: bytes, time of its last change in ns, device and number on it."""

    size: int
    changed: int
    device: int
    number: int


class Arrival(NamedTuple):
    """An image file as it is now.

    Attributes:
      state: None where it is gone or cannot be asked for.
      since: when it was first seen in this state, in seconds of the clock.
      is_whole: whether it has stayed in this state for long enough.
    """

    image: ImageFile
    state: FileState | None
    since: float
    is_whole: bool


class Arrivals:
    """Looks at files again and again.

    Args:
      settle_seconds: for so long a file has to stay as it is.
      clock: seconds.
    """

    def __init__(self, settle_seconds: float = SETTLE_SECONDS, clock: Callable[[], float] = time.monotonic):
        self._settle_seconds = settle_seconds
        self._clock = clock
        self._seen: dict[ImageFile, tuple[FileState | None, float]] = {}

    def look(self, images: Sequence[ImageFile]) -> list[Arrival]:
        """The files as they are now; what is not among them is forgotten."""
        now, seen, arrivals = self._clock(), {}, []
        for image in images:
            state = file_state(image)
            earlier = self._seen.get(image)
            since = earlier[1] if earlier and earlier[0] == state else now
            seen[image] = state, since
            is_whole = state is not None and state.size > 0 and now - since >= self._settle_seconds
            arrivals.append(Arrival(image, state, since, is_whole))
        self._seen = seen
        return arrivals


def file_state(image: ImageFile) -> FileState | None:
    """The state of an image's file; None where it is gone or cannot be asked for."""
    try:
        status = os.stat(image.file)
    except OSError:
        return None
    return FileState(status.st_size, status.st_mtime_ns, status.st_dev, status.st_ino)

"""Which images end the process that examines them: written down before the work begins; after it, nobody can say.

    OUT/archive/attempts/<patient's folder>.json   a patient under way, or whose process ended, or with dead letters

An attempt that was begun and neither done nor forgiven ended its process: a decoder that crashed, no memory left, a
power cut, `kill -9`. After the first such end a patient's images are tried one by one, so that the next end has a name.
An image that ended its process `max_attempts` - 1 times while it was tried alone is a dead letter: it is not opened any
more and fails its patient as an unreadable image does, until its file changes or the letters are forgotten. A patient
that ends its process `max_attempts` times although every image alone went well has dead letters only.
"""

import contextlib
import dataclasses
import os
import pathlib
import signal
from collections.abc import Mapping
from typing import Any

from tfod_csf.files import atomic_write, given_files

ALL_IMAGES = ""
"""What is begun when a patient is examined as a whole."""


@dataclasses.dataclass
class Attempts:
    """The attempts at one patient.

    Attributes:
      path: the patient's file; it need not exist.
      run_id: the run of the command that began the last attempt.
      process: the one that began it, its number.
      begun: name of the image, or ALL_IMAGES, that was begun last and is neither done nor forgiven; None otherwise.
      ends: {image, or ALL_IMAGES: how often the process ended while it was examined}.
      dead_letters: {image: {"sha256", "reason"}} of images that are not opened any more.
    """

    path: pathlib.Path
    run_id: str = ""
    process: int = 0
    begun: str | None = None
    ends: dict[str, int] = dataclasses.field(default_factory=dict)
    dead_letters: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)

    @classmethod
    def open(cls, path: pathlib.Path) -> "Attempts":
        """Reads what is known, and counts an attempt that neither ended well nor was forgiven."""
        attempts = cls._read(path)
        if attempts.begun is not None:
            attempts.ends[attempts.begun] = attempts.ends.get(attempts.begun, 0) + 1
            attempts.begun = None
        return attempts

    @classmethod
    def _read(cls, path: pathlib.Path) -> "Attempts":
        try:
            return cls(path, **given_files.read_json(path))
        except (OSError, ValueError, TypeError):
            return cls(path)

    def begin(self, run_id: str, image: str = ALL_IMAGES) -> None:
        """Writes down that an image, or the whole patient, is about to be examined."""
        self.run_id, self.process, self.begun = run_id, os.getpid(), image
        self._write()

    def done(self) -> None:
        """The attempt, or the patient, ended well."""
        self.begun, self.ends = None, {}
        if self.dead_letters:
            self._write()
        else:
            self.path.unlink(missing_ok=True)

    def forgive(self, is_resumed: bool = False) -> None:
        """The attempt was stopped for another reason, and does not count.

        Args:
          is_resumed: the same run will examine the patient again, and it stays known that this run began it: if the
            results are there already, they are not those of an earlier run.
        """
        self.begun = None
        if self.ends or self.dead_letters or is_resumed:
            self._write()
        else:
            self.path.unlink(missing_ok=True)

    def _write(self) -> None:
        content = {name: value for name, value in dataclasses.asdict(self).items() if name != "path"}
        atomic_write.write_json(self.path, content)


def dead_letters(folder: pathlib.Path) -> dict[str, Mapping[str, Mapping[str, Any]]]:
    """{patient's folder: {image: {"sha256", "reason"}}} of all patients that have dead letters, sorted."""
    found = ((path.stem, Attempts._read(path).dead_letters) for path in sorted(folder.glob("*.json")))
    return {name: letters for name, letters in found if letters}


def forgive_all(folder: pathlib.Path) -> None:
    """Forgives every attempt that is under way; for who has stopped the processes."""
    for path in folder.glob("*.json"):
        Attempts._read(path).forgive()


def stop_and_forgive_group(folder: pathlib.Path) -> None:
    """Ends the processes of this process group that have a patient under way, and forgives their attempts.

    Attempts of processes that are gone already remain, and count.
    """
    for path in folder.glob("*.json"):
        found = Attempts._read(path)
        with contextlib.suppress(ProcessLookupError):
            if found.begun is not None and os.getpgid(found.process) == os.getpgrp():
                os.kill(found.process, signal.SIGKILL)
                Attempts._read(path).forgive(is_resumed=True)


def forget_dead_letters(folder: pathlib.Path) -> None:
    """Forgets all attempts, so that dead letters are opened again."""
    for path in folder.glob("*.json"):
        path.unlink()


def state(folder: pathlib.Path) -> dict[str, Attempts]:
    """{patient's folder: its attempts}: what changes when a process ends over a patient."""
    return {path.stem: Attempts._read(path) for path in folder.glob("*.json")}

"""Which patients of a run are done: every process adds a line to a file of its own when a patient's results are there.

    OUT/archive/rows/<host>-<process>-<random>.jsonl   ["patient's folder", true where it was done before this run]

The files are opened for each line, so that what one machine wrote is what the next one reads, on a network share too.
What decides whether a patient is done is its stamp; a line only says that this run has looked.
"""

import json
import os
import pathlib
import secrets

from tfod_csf.files import atomic_write


class RowWriter:
    """Adds lines for one process.

    Args:
      folder: OUT/archive/rows.
    """

    def __init__(self, folder: pathlib.Path):
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"{atomic_write.host_name()}-{os.getpid()}-{secrets.token_hex(4)}.jsonl"

    def add(self, patient_folder: str, done_before: bool) -> None:
        """Says that a patient is done."""
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps([patient_folder, done_before]) + "\n")


class FinishedRows:
    """The patients that are done, read as the files grow.

    Args:
      folder: OUT/archive/rows.

    Attributes:
      done_before: {patient's folder: whether it was done before this run}.
    """

    def __init__(self, folder: pathlib.Path):
        self._folder = folder
        self._read: dict[pathlib.Path, int] = {}
        self.done_before: dict[str, bool] = {}

    def update(self) -> None:
        """Reads the lines that were added since the last time; half a line is left for the next one."""
        for path in sorted(self._folder.glob("*.jsonl")):
            with open(path, "rb") as file:
                file.seek(self._read.get(path, 0))
                added = file.read()
            whole = added[: added.rfind(b"\n") + 1]
            self._read[path] = self._read.get(path, 0) + len(whole)
            for line in whole.splitlines():
                name, done_before = json.loads(line)
                # Of a patient that was sent out twice, the first line is that of the process that examined it.
                self.done_before.setdefault(name, done_before)

"""A file to which lines are only ever added, each on the disk when `append` returns.

A line is JSON with the SHA-256 of the line before it, so that a line that was changed, removed or inserted is noticed.
What a killed process left of a last line has never been acknowledged to anybody; it is removed when the file is opened.
"""

import hashlib
import json
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from tfod_csf.errors import UserError
from tfod_csf.files import atomic_write, given_files

FILE_NAME = "review_journal.jsonl"
Entry: TypeAlias = Mapping[str, Any]
_PREVIOUS = "previous_sha256"


class JournalError(UserError):
    """A journal that cannot be read, or a line that could not be written."""


class Journal:
    """An open journal of one process; the caller sees to it that there is only one (`folder_lock.only_writer`).

    Attributes:
      path: the file; made, with its first line, if absent.
      cut_bytes: length of the unfinished last line that was removed.
    """

    def __init__(self, path: pathlib.Path):
        """Opens the file and checks all of it; the entries are then there once, from `read`.

        Raises:
          JournalError: a line is damaged, or the chain is broken.
        """
        self.path = path
        is_new = not path.exists()
        data = b"" if is_new else given_files.read_bytes(path, _MAX_BYTES)
        whole = data[: data.rfind(b"\n") + 1]
        self.cut_bytes = len(data) - len(whole)
        self._last = ""
        self._entries = list(self._checked(whole))
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115 (closed by `close`)
        self._size = len(whole)
        self._is_damaged = False
        if self.cut_bytes:
            self._cut()
        if is_new:
            atomic_write.sync_folder(path.parent)

    def read(self) -> list[Entry]:
        """The entries that were in the file when it was opened."""
        return self._entries

    def append(self, entry: Mapping[str, Any]) -> None:
        """Returns when the entry is on the disk.

        Raises:
          JournalError: it could not be written; the file is as before.
        """
        if self._is_damaged:
            raise JournalError(f"{self.path}: an earlier line could not be written; free the disk and start again.")
        line = _line(entry, self._last)
        try:
            written = self._file.write(line)
            if written != len(line):
                raise OSError(f"only {written} of {len(line)} bytes were taken")
            os.fsync(self._file.fileno())
        except OSError as error:
            self._take_back()
            reason = error.strerror or error
            raise JournalError(f"{self.path}: cannot be written ({reason}); what was saved before is there.") from None
        self._size += len(line)
        self._last = hashlib.sha256(line).hexdigest()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _take_back(self) -> None:
        """Removes what there is of a line that could not be written whole."""
        try:
            self._cut()
        except OSError:
            self._is_damaged = True

    def _cut(self) -> None:
        os.truncate(self._file.fileno(), self._size)
        os.fsync(self._file.fileno())

    def _checked(self, data: bytes) -> Iterator[Entry]:
        for number, line in enumerate(data.splitlines(keepends=True), start=1):
            try:
                entry = json.loads(line)
                previous = entry.pop(_PREVIOUS)
            except (ValueError, KeyError, AttributeError, TypeError) as error:
                raise JournalError(
                    f"{self.path}: line {number} is damaged ({error}); put the file back from a backup."
                ) from None
            if previous != self._last:
                raise JournalError(
                    f"{self.path}: line {number} does not follow from the line before it, which was changed or "
                    "removed; put the file back from a backup."
                )
            self._last = hashlib.sha256(line).hexdigest()
            yield entry


_MAX_BYTES = 1 << 30


def _line(entry: Mapping[str, Any], previous: str) -> bytes:
    text = json.dumps({**entry, _PREVIOUS: previous}, ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "surrogatepass") + b"\n"

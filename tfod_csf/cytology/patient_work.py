"""Work on every patient of a run: in order, on several processes, and resumed where a run was stopped.

    with patient_work.resumable(output / "differential.unfinished") as done:
        for result in patient_work.results(work, patients, done, num_processes):
            ...

What was found for a patient is noted in a file, a line each, until all patients are done; then the file is removed. A
command that was stopped and is run again takes a patient's result from it if the patient's state is the same (tables,
settings and version) and the files written for him still have the bytes that were noted; everybody else is done again.
"""

import abc
import contextlib
import dataclasses
import functools
import hashlib
import itertools
import json
import os
import pathlib
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO, Generic, TypeVar

from tfod_csf import __version__, run_folder, worker_pool
from tfod_csf.files.checksums import file_sha256

# A process is started for so many patients: less work would not pay for its start of one to two seconds.
_LEAST_FOR_A_PROCESS = 100


@dataclasses.dataclass(frozen=True)
class Patient:
    """What a process is given of a patient.

    Attributes:
      folder: with the patient's tables.
      tables: {table: sha256} as run.json has them; None where they are whatever is there.
      more: what else is known of this patient.
    """

    folder: pathlib.Path
    tables: Mapping[str, str] | None = None
    more: Any = None


_Result = TypeVar("_Result")


class Work(abc.ABC, Generic[_Result]):
    """What is done for each patient; picklable, and the same for all.

    Attributes:
      at_once: patients that a process is given at a time.
      least_for_a_process: number of patients for which starting a process pays.
    """

    at_once = 16
    least_for_a_process = _LEAST_FOR_A_PROCESS

    @abc.abstractmethod
    def state(self, patient: Patient, tables: Mapping[str, str]) -> str:
        """What the result depends on (`digest`).

        Args:
          tables: checksums of the patient's tables as they are now.
        """

    @abc.abstractmethod
    def do(self, patient: Patient, tables: Mapping[str, str]) -> tuple[_Result, Sequence[pathlib.Path] | None]:
        """Writes the patient's files.

        Returns:
          (result of plain values that JSON holds, the files); None in place of the files is not noted and done again.
        """


def digest(*content: Any) -> str:
    """sha256 of plain values, dataclasses and arrays, and of the version of this program."""
    text = json.dumps([__version__, *content], sort_keys=True, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any) -> Any:
    """What JSON writes of a dataclass, an array, a number of NumPy, or a path."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"{type(value).__name__} is not a value of JSON")


class Done:
    """The file of what is done: lines of a checksum and {"patient", "state", "files", "result"}."""

    def __init__(self, path: pathlib.Path):
        """Finds the lines of an earlier run; what follows a torn one is removed. Without a line there is no file."""
        self.path = path
        self._file: BinaryIO | None = None
        self._places: dict[str, int] = {}
        if path.exists():
            place = 0
            for line in self._opened():
                entry = _entry_in(line)
                if entry is None:
                    break
                self._places[entry["patient"]] = place
                place += len(line)
            self._opened().truncate(place)

    def _opened(self) -> BinaryIO:
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("a+b")
            self._file.seek(0)
        return self._file

    def of(self, patient: Patient) -> bytes | None:
        """The line of a patient; None without one."""
        place = self._places.get(patient.folder.name)
        if place is None:
            return None
        self._opened().seek(place)
        return self._opened().readline()

    def add(self, line: bytes) -> None:
        """Notes one more patient."""
        file = self._opened()
        file.seek(0, os.SEEK_END)
        file.write(line)
        file.flush()

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            self._file.close()


@contextlib.contextmanager
def resumable(path: str | os.PathLike) -> Iterator[Done]:
    """What is done, noted in a file that is removed at the end, but not after an error or when stopped.

    The caller alone writes into the folder (`folder_lock.only_writer`), and writes what is made of all results before
    the end.
    """
    path = pathlib.Path(path)
    with contextlib.closing(Done(path)) as done:
        yield done
    path.unlink(missing_ok=True)


def results(
    work: Work[_Result],
    patients: Sequence[Patient],
    done: Done,
    num_processes: int = 1,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> Iterator[_Result]:
    """Yields the result of every patient in the order of `patients`, whatever the number of processes.

    Args:
      progress: wraps the list of patients, for example in a progress bar.

    Raises:
      RunError: a patient's tables are not those of run.json.
      UserError: what `work` raises.
    """
    num_processes = min(num_processes, 1 + (len(patients) - 1) // work.least_for_a_process)
    waiting = iter(progress(patients))
    parts = iter(lambda: [(one, done.of(one)) for one in itertools.islice(waiting, work.at_once)], [])
    do_some = functools.partial(_do_some, work, done.path.parent)
    for lines in worker_pool.ordered_map(do_some, parts, num_processes):
        for is_new, line in lines:
            if is_new:
                done.add(line)
            yield json.loads(line[_CHECKED:])["result"]


_CHECKED = 9  # bytes of a line before its JSON


def _line_of(entry: Mapping[str, Any]) -> bytes:
    text = json.dumps(entry, default=_plain, separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _entry_in(line: bytes) -> dict[str, Any] | None:
    """What `_line_of` wrote; None of a line that was not written to its end."""
    text = line[_CHECKED:].removesuffix(b"\n")
    return json.loads(text) if line == b"%08x %s\n" % (zlib.crc32(text), text) else None


def _do_some(
    work: Work, output: pathlib.Path, patients: Sequence[tuple[Patient, bytes | None]]
) -> list[tuple[bool, bytes]]:
    """(whether it is to be noted, line) of each patient."""
    return [_do(work, output, patient, line) for patient, line in patients]


def _do(work: Work, output: pathlib.Path, patient: Patient, line: bytes | None) -> tuple[bool, bytes]:
    tables = run_folder.table_checksums(patient.folder)
    _check(patient, tables)
    state = work.state(patient, tables)
    noted = _entry_in(line) if line else None
    if line and noted and noted["state"] == state and _are_there(output, noted["files"]):
        return False, line
    result, files = work.do(patient, tables)
    _check(patient, run_folder.table_checksums(patient.folder), tables)
    found = {os.path.relpath(path, output): file_sha256(path) for path in files or ()}
    entry = {"patient": patient.folder.name, "state": state, "files": found, "result": result}
    return files is not None, _line_of(entry)


def _check(patient: Patient, found: Mapping[str, str], before: Mapping[str, str] | None = None) -> None:
    if found != (before or patient.tables or found):
        raise run_folder.RunError(f"{patient.folder}: its tables were changed while they were read; run again.")


def _are_there(output: pathlib.Path, files: Mapping[str, str]) -> bool:
    """Whether files have their noted checksums."""
    try:
        return all(file_sha256(output / path) == checksum for path, checksum in files.items())
    except OSError:
        return False

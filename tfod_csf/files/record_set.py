"""Record files as a set: which shards are there, none twice, and each is what the dataset_report.json beside it says.

A TFRecord file that was cut between two records, or replaced by one of another run, looks whole by itself.
create_csf_tf_record lists each file with its number of records and their checksum in dataset_report.json; while it
writes, that file says that the set is not finished.
"""

import collections
import errno
import fnmatch
import hashlib
import os
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tfod_csf.files import atomic_write, given_files, tfrecord
from tfod_csf.files.tfrecord import TFRecordError

REPORT = "dataset_report.json"
NAMES_WITHOUT_CLASS = "names_without_class"
_STATE, _UNFINISHED = "state", "unfinished"
_SHARD = re.compile(r"(.+)-(\d{5,})-of-(\d{5,})", re.DOTALL)


def begin(folder: str | os.PathLike, files: Sequence[str]) -> None:
    """Marks the folder's set as unfinished, until the caller writes another dataset_report.json.

    Args:
      files: names of all record files that the folder may hold from now on.
    """
    records = [{"file": name} for name in files]
    atomic_write.write_json(pathlib.Path(folder, REPORT), {_STATE: _UNFINISHED, "records": records})


def listed_files(folder: str | os.PathLike) -> dict[str, Mapping[str, Any]]:
    """{file name: its entry} of the folder's dataset_report.json; empty where there is none.

    Raises:
      TFRecordError: it cannot be read.
    """
    return _entries(_report(pathlib.Path(folder, REPORT)))


def most_boxes(folder: str | os.PathLike) -> int:
    """Boxes of the most crowded Example of the folder's set, where an object without a class has one for every class.

    0 where there is no dataset_report.json, or one without that number.

    Raises:
      TFRecordError: it cannot be read.
    """
    sides = _report(pathlib.Path(folder, REPORT)).get("sides")
    counts = [side.get("max_boxes_per_example") for side in sides.values()] if isinstance(sides, dict) else []
    return max((count for count in counts if isinstance(count, int)), default=0)


def names_without_class(folder: str | os.PathLike) -> dict[str, tuple[int, int]]:
    """{name that is not in the label map: (its objects, images with one)} of the folder's set.

    Records do not hold these names. {} where there is no dataset_report.json, or one without them.

    Raises:
      TFRecordError: it cannot be read.
    """
    names = _report(pathlib.Path(folder, REPORT)).get(NAMES_WITHOUT_CLASS)
    found = {}
    for name, counts in names.items() if isinstance(names, dict) else ():
        if isinstance(counts, dict):
            objects, images = counts.get("objects"), counts.get("images")
            if isinstance(objects, int) and isinstance(images, int):
                found[name] = (objects, images)
    return found


def check_finished(folder: str | os.PathLike) -> None:
    """Refuses a folder in which create_csf_tf_record was interrupted.

    Raises:
      TFRecordError: it was, or its dataset_report.json cannot be read.
    """
    path = pathlib.Path(folder, REPORT)
    if _report(path).get(_STATE) == _UNFINISHED:
        raise TFRecordError(
            f"{path}: create_csf_tf_record did not finish in this folder, which may hold parts of two sets; run it "
            "again."
        )


def check_shards(paths: Sequence[str], pattern: str) -> list[str]:
    """Says which shards that a pattern means are not there; refuses what contradicts itself.

    Args:
      paths: files that the pattern found.
      pattern: what the user gave; one file by its own name is what the user wants, and so is a pattern that the missing
        shards do not fit.

    Returns:
      A sentence per set of which some shards are missing.

    Raises:
      TFRecordError: shards of two sets with one name, or a missing shard that dataset_report.json beside them lists.
    """
    if list(paths) == [pattern]:
        return []
    notices = []
    sets: dict[str, dict[int, set[int]]] = collections.defaultdict(lambda: collections.defaultdict(set))
    for path in paths:
        if shard := _SHARD.fullmatch(path):
            sets[shard[1]][int(shard[3])].add(int(shard[2]))
    for name, by_number in sets.items():
        if len(by_number) > 1:
            numbers = " and ".join(f"-of-{number:05d}" for number in sorted(by_number))
            raise TFRecordError(f"{pattern}: holds shards of {numbers}, two sets; keep one of them.")
        [(num_shards, found)] = by_number.items()
        names = dict(enumerate(tfrecord.shard_paths(name, num_shards)))
        missing = [names[shard] for shard in sorted(names.keys() - found) if fnmatch.fnmatch(names[shard], pattern)]
        if not missing:
            continue
        listed = listed_files(os.path.dirname(name))
        if any(os.path.basename(path) in listed for path in missing):
            raise TFRecordError(
                f"{pattern}: {len(missing)} of {num_shards} shards are missing, the first is {missing[0]}, which "
                f"{REPORT} lists; put them there, or name the files to be read."
            )
        notices.append(
            f"{pattern}: {num_shards - len(missing)} of {num_shards} shards are there; {len(missing)} missing, the "
            f"first is {missing[0]}."
        )
    return notices


def read_records(path: str | os.PathLike) -> Iterator[bytes]:
    """The records of one file as `tfrecord.read_records`, at the end compared with the dataset_report.json beside it.

    Raises:
      TFRecordError: a damaged record (the message says how many are before it, and how many are missing where that is
          known), no record at all, others than are listed, or a set that is not finished.
    """
    path = pathlib.Path(path)
    check_finished(path.parent)
    entry = listed_files(path.parent).get(path.name, {})
    expected, checksum = entry.get("examples"), entry.get("sha256_of_examples")
    number, digest = 0, hashlib.sha256()
    try:
        for record in tfrecord.read_records(path):
            yield record
            number += 1
            digest.update(record)
    except TFRecordError as error:
        if not number:
            raise
        known = f" of {expected} in {REPORT}, so {expected - number} are missing" if isinstance(expected, int) else ""
        raise type(error)(f"{str(error).rstrip('.')} ({number} records before it can be read{known}).") from error
    if not number:
        raise TFRecordError(f"{path}: holds no record (0 bytes); copy or write the file again, or do not name it.")
    if isinstance(expected, int) and number < expected:
        raise TFRecordError(
            f"{path}: holds {number} records, but {REPORT} beside it lists {expected}: {expected - number} are "
            "missing; copy or write the file again."
        )
    if (checksum is not None and digest.hexdigest() != checksum) or expected not in (None, number):
        raise TFRecordError(
            f"{path}: is not the file that {REPORT} beside it lists (other records); write the records again, or move "
            f"{REPORT} away if they are of another program."
        )


def num_missing(path: str | os.PathLike, num_read: int) -> int:
    """How many records of a damaged file are missing, at least: what is listed beside it, else 1."""
    expected = listed_files(pathlib.Path(path).parent).get(pathlib.Path(path).name, {}).get("examples")
    return max(1, expected - num_read) if isinstance(expected, int) else 1


def numbered_records(paths: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """(file and number of the record, for messages; the record) of all files.

    Raises:
      TFRecordError: as `read_records`, or two shards of a set hold the same records.
    """
    seen: dict[str, str] = {}
    for path in paths:
        digest = hashlib.sha256()
        for number, record in enumerate(read_records(path), start=1):
            digest.update(record)
            yield f"{path}, record {number}", record
        _refuse_repeated(path, digest.hexdigest(), seen)


def _refuse_repeated(path: str, checksum: str, seen: dict[str, str]) -> None:
    """Refuses a shard that holds the records of one before; adds it to those seen.

    Args:
      checksum: over the data of its records.
      seen: {checksum: path} of the files before.

    Raises:
      TFRecordError: it does.
    """
    earlier = seen.setdefault(checksum, path)
    if earlier != path and _SHARD.fullmatch(path) and _SHARD.fullmatch(earlier):
        raise TFRecordError(f"{path}: holds the same records as {earlier}; copy the right shard.")


def _report(path: pathlib.Path) -> dict[str, Any]:
    try:
        report = given_files.read_json(path)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return {}
        raise TFRecordError(f"{path}: cannot be read ({error.strerror}).") from error
    except ValueError as error:
        raise TFRecordError(f"{path}: is not JSON ({error}); run create_csf_tf_record again.") from error
    return report if isinstance(report, dict) else {}


def _entries(report: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    records = report.get("records")
    if not isinstance(records, list):
        return {}
    return {entry["file"]: entry for entry in records if isinstance(entry, dict) and isinstance(entry.get("file"), str)}

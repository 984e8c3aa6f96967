"""A run divided among processes or machines that know nothing of each other but their number: --shard=i/n.

    OUT/patients/<id>/                            each patient is examined by one shard
    OUT/shards/<i>-of-<n>/shard.json              settings, models and thresholds of a shard; unfinished without a time
                                                  under `finished`
    OUT/shards/<i>-of-<n>/patient_manifest.csv    its patients, with checksums
    OUT/shards/<i>-of-<n>/problems.csv            what it skipped or repaired
    OUT/shards/<i>-of-<n>/classification/         copies of the models' classification.json

A patient's shard follows from the id alone, so it is the same on every machine and does not change when other patients
are added. Each shard has a lock of its own. A run of all patients, and the merge, have that of OUT: they are refused
while a shard is at work, and a shard is refused while they are.
"""

import contextlib
import dataclasses
import hashlib
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from tfod_csf import provenance, run_folder
from tfod_csf.errors import UserError
from tfod_csf.files import atomic_write, folder_lock, given_files
from tfod_csf.inference.runs import output_folder
from tfod_csf.study.patient_ids import composed

SHARD_JSON = "shard.json"
# Keys of shard.json: `Examination.settings`, and the numbers that the merge counts the cells with.
EXAMINATION, COUNTING = "examination", "counting"
# Key of shard.json: problems that were noted of models and flags, before the images were looked for.
NOTED_FIRST = "noted_first"
_TEXT = re.compile(r"\s*(?P<number>\d+)\s*/\s*(?P<total>\d+)\s*")


class ShardError(UserError):
    """A shard that there cannot be, or that does not fit what is in the output folder."""


@dataclasses.dataclass(frozen=True, order=True)
class Shard:
    """One of the parts of a run.

    Attributes:
      number: from 1 to `total`.
      total: parts in all.
    """

    number: int
    total: int

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """The shard that --shard names.

        Raises:
          ShardError: the text is not i/n with 1 <= i <= n.

        >>> Shard.parse("2/5")
        Shard(number=2, total=5)
        """
        match = _TEXT.fullmatch(text)
        if match is None or not 1 <= int(match["number"]) <= int(match["total"]):
            raise ShardError(
                f"--shard={text}: expected i/n, for example 2/5 for the second of five, with i from 1 to n."
            )
        return cls(int(match["number"]), int(match["total"]))

    def __str__(self) -> str:
        return f"{self.number}/{self.total}"

    def folder(self, output_dir: pathlib.Path) -> pathlib.Path:
        """Where the shard keeps what is not a patient's."""
        return output_dir / run_folder.SHARDS_DIR / f"{self.number}-of-{self.total}"

    @classmethod
    def of(cls, patient_id: str, total: int) -> "Shard":
        """The shard that examines a patient: SHA-256 of the id, as a number, modulo `total`, plus 1.

        The id is taken in UTF-8 with accents composed, because systems store them in two ways.

        >>> str(Shard.of("patient_01", 5))
        '1/5'
        """
        digest = hashlib.sha256(composed(patient_id).encode("utf-8")).digest()
        return cls(int.from_bytes(digest, "big") % total + 1, total)


def all_of(total: int) -> list[Shard]:
    """The shards of a run in their order."""
    return [Shard(number, total) for number in range(1, total + 1)]


def shards_in(output_dir: pathlib.Path) -> list[Shard]:
    """Shards that have a folder in an output folder, sorted; whatever else lies there is not looked at."""
    names = folder_lock.entries(output_dir / run_folder.SHARDS_DIR)
    matches = [match for match in map(output_folder.SHARD_FOLDER.fullmatch, names) if match]
    return sorted(Shard(int(match["number"]), int(match["total"])) for match in matches)


@contextlib.contextmanager
def only_process_of(shard: Shard, output_dir: pathlib.Path) -> Iterator[folder_lock.FolderLock]:
    """Nobody else runs this shard, all patients, or the merge while in this block; other shards do as they like.

    Raises:
      FolderInUseError: somebody else does.
      ShardError: OUT holds shards of another number of parts.
      OutputFolderError: OUT holds what is not of batch_infer.
    """
    with contextlib.ExitStack() as stack:
        with folder_lock.in_turn(output_dir):
            output_folder.refuse_foreign_files(output_dir)
            one_division(output_dir, shard.total)
            lock = stack.enter_context(folder_lock.only_writer(shard.folder(output_dir)))
        yield lock


@contextlib.contextmanager
def only_process_of_all(output_dir: pathlib.Path) -> Iterator[folder_lock.FolderLock]:
    """Nobody else runs all patients, the merge, or any shard while in this block.

    Raises:
      FolderInUseError: somebody else does.
    """
    if shards_in(output_dir):  # before `only_writer` removes what it may take for leftovers
        with folder_lock.in_turn(output_dir, seconds=0):
            _refuse_working_shards(output_dir)
    with folder_lock.only_writer(output_dir) as lock:
        _refuse_working_shards(output_dir)
        yield lock


def _refuse_working_shards(output_dir: pathlib.Path) -> None:
    """For whoever has the lock of OUT, so that no shard can begin."""
    for shard in shards_in(output_dir):
        with folder_lock.only_writer(shard.folder(output_dir)):
            pass


def one_division(output_dir: pathlib.Path, total: int | None = None) -> int:
    """The number of parts that the shards in an output folder are of.

    Args:
      total: the number that is expected; None takes that of the shards.

    Raises:
      ShardError: there are shards of two divisions, or of another than expected, or none where one is needed.
    """
    found = shards_in(output_dir)
    total = found[-1].total if found and total is None else total
    if total is None:
        raise ShardError(
            f"{output_dir}: holds no shard; run batch_infer with --shard=1/n, 2/n, ... into this folder first."
        )
    others = [shard for shard in found if shard.total != total]
    if others:
        raise ShardError(
            f"{others[0].folder(output_dir)}: is a shard of {others[0].total}, and another is one of {total}; finish "
            f"with one number, or remove {output_dir / run_folder.SHARDS_DIR}: what is done of the patients stays."
        )
    return total


def mark_unfinished(output_dir: pathlib.Path, record: Mapping[str, Any], total: int) -> None:
    """Says in OUT's run.json, before a shard changes the first patient, that the run is divided and not merged."""
    with folder_lock.in_turn(output_dir):
        try:
            now = given_files.read_json(output_dir / run_folder.RUN_JSON)
        except (OSError, ValueError):
            now = None
        if not isinstance(now, dict) or now.get("finished") or now.get("shards") != total:
            run_folder.begin(output_dir, {**record, "shards": total})


def begin(shard: Shard, output_dir: pathlib.Path, record: Mapping[str, Any]) -> None:
    """Writes shard.json of a shard that has not finished."""
    atomic_write.write_json(shard.folder(output_dir) / SHARD_JSON, {**record, "shard": str(shard), "finished": None})


def finish(shard: Shard, output_dir: pathlib.Path, record: Mapping[str, Any]) -> dict[str, Any]:
    """Writes shard.json of a shard that has finished, after everything else of it, and returns its contents."""
    record = {**record, "shard": str(shard), "finished": provenance.now()}
    atomic_write.write_json(shard.folder(output_dir) / SHARD_JSON, record)
    return record


def is_finished(shard: Shard, output_dir: pathlib.Path) -> bool:
    """Whether the shard has finished since it last began."""
    try:
        read(shard, output_dir)
    except ShardError:
        return False
    return True


def read(shard: Shard, output_dir: pathlib.Path) -> dict[str, Any]:
    """shard.json of a finished shard.

    Raises:
      ShardError: it has not begun, is not finished, or its file cannot be read.
      RunError: as `run_folder.check_inner_names`.
    """
    path = shard.folder(output_dir) / SHARD_JSON
    try:
        record = given_files.read_json(path)
    except FileNotFoundError:
        raise ShardError(f"shard {shard} has not begun") from None
    except (OSError, ValueError) as error:
        raise ShardError(f"shard {shard}: {path} cannot be read ({error})") from error
    if not isinstance(record, dict) or record.get("shard") != str(shard):
        raise ShardError(f"shard {shard}: {path} is not the file of this shard")
    if not record.get("finished"):
        raise ShardError(f"shard {shard}, begun at {record.get('started', 'a time not noted')}, is not finished")
    run_folder.check_inner_names(path, record)
    return record

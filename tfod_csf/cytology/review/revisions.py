"""The history of a patient's cells: what the machine found, and each person's review of it, in a chain.

    patients/<id>/cells.csv, images.csv, differential.csv    the current state, a copy of the newest revision's
    patients/<id>/revisions/0000/                            the machine's version
    patients/<id>/revisions/0001/, 0002/, ...                one per review that changed something

Each revision holds its tables and revision.json: who, when, what changed, the checksums of everything that went in and
of its own files, and the checksum of the previous revision.json. Nothing in the chain can be changed, removed or
inserted without breaking it from there on; to make this provable, record the latest checksum in the signed report. With
a key (`key_files`) each revision also carries a signature, which nobody without the key can make.

A revision is written beside the chain and then renamed into it, so it is complete or absent.
"""

import dataclasses
import hashlib
import hmac
import json
import pathlib
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tfod_csf import __version__, run_folder
from tfod_csf.cytology import cell_rows
from tfod_csf.errors import UserError
from tfod_csf.files import atomic_write, given_files, inner_paths, key_files
from tfod_csf.files.checksums import file_sha256

REVISIONS_DIR = "revisions"
RECORD = "revision.json"
TABLES = ("cells.csv", "images.csv", "differential.csv")
MACHINE, REVIEW = "machine", "review"


class RevisionError(UserError):
    """A chain of revisions that is broken or cannot be continued."""


@dataclasses.dataclass(frozen=True)
class Revision:
    """One link of a patient's chain.

    Attributes:
      folder: where its files are.
      sha256: checksum of its revision.json.
      record: content of its revision.json.
    """

    folder: pathlib.Path
    sha256: str
    record: Mapping[str, Any]

    @property
    def number(self) -> int:
        """0 for the machine's version."""
        return self.record["number"]

    @property
    def kind(self) -> str:
        """`machine` or `review`."""
        return self.record["kind"]

    @property
    def reviewer(self) -> str:
        """Who; "" for the machine."""
        return self.record.get("reviewer", "")

    @property
    def when(self) -> str:
        """ISO time with zone."""
        return self.record["when"]

    @property
    def changes(self) -> Mapping[str, int]:
        """{kept, relabelled, moved, ...: number} of a review."""
        return self.record.get("changes", {})


def tables_sha256(folder: pathlib.Path) -> str:
    """Checksum of what a run found for a patient: its cells and images, without how long it took."""
    images = [{**row, "seconds": None} for row in cell_rows.read_images(folder / "images.csv")]
    content = file_sha256(folder / "cells.csv") + json.dumps(images, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def _signature(record: Mapping[str, Any], key: bytes) -> str:
    text = json.dumps({k: v for k, v in record.items() if k != "signature"}, sort_keys=True, ensure_ascii=False)
    return key_files.keyed_digest(key, "revision", text).hex()


def _check_signature(folder: pathlib.Path, record: Mapping[str, Any], key: bytes) -> None:
    signature = record.get("signature")
    if not signature:
        raise RevisionError(f"{folder}: the revision is not signed, but a key was given; it was made without one.")
    if signature.get("key_id") != key_files.key_id(key):
        raise RevisionError(f"{folder}: the revision was signed with another key ({signature.get('key_id')}).")
    if not hmac.compare_digest(signature.get("hmac_sha256", ""), _signature(record, key)):
        raise RevisionError(f"{folder}: the signature does not fit the record; it was changed after it was signed.")


def read_revisions(patient_folder: pathlib.Path, key: bytes | None = None) -> tuple[Revision, ...]:
    """The whole chain of a patient, checked; empty when nobody has reviewed the patient.

    Args:
      key: checks the signatures too.

    Raises:
      RevisionError: names the first revision that does not fit and why.
    """
    chain: list[Revision] = []
    folders = (patient_folder / REVISIONS_DIR).glob("[0-9]*")
    for number, folder in enumerate(sorted(folders)):
        try:
            data = given_files.read_bytes(folder / RECORD)
            record = json.loads(data)
            files, previous = dict(record["files"]), record["previous_sha256"]
            if not all(map(inner_paths.is_plain_name, files)):
                raise ValueError("its files are not all in its folder")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RevisionError(
                f"{folder / RECORD}: the record cannot be read ({error}); the chain ends here."
            ) from None
        if record["number"] != number or folder.name != _folder_name(number):
            raise RevisionError(f"{folder}: expected revision {number} here; one was removed or renamed.")
        if previous != (chain[-1].sha256 if chain else ""):
            raise RevisionError(f"{folder}: does not follow from revision {number - 1}, which was changed afterwards.")
        for name, expected in files.items():
            if not (folder / name).is_file() or file_sha256(folder / name) != expected:
                raise RevisionError(f"{folder / name}: missing or changed after the revision was written.")
        if key is not None:
            _check_signature(folder, record, key)
        chain.append(Revision(folder, hashlib.sha256(data).hexdigest(), record))
    return tuple(chain)


def machine_revision(chain: tuple[Revision, ...]) -> Revision:
    """The newest machine's version in a chain: what the reviews after it started from."""
    return next(revision for revision in reversed(chain) if revision.kind == MACHINE)


def reviews_since_machine(chain: tuple[Revision, ...]) -> tuple[Revision, ...]:
    """The reviews of the newest machine's version; empty when there are none."""
    return chain[machine_revision(chain).number + 1 :] if chain else ()


def reviewer_key(name: str) -> str:
    """What makes two names the same person: not capitals, spaces, or the form of a character.

    >>> reviewer_key("Dr  LI ") == reviewer_key("dr li")
    True
    """
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def reviewers_of(reviews: Iterable[Revision]) -> tuple[str, ...]:
    """The people who made reviews, in the order of their first one and in its spelling."""
    names: dict[str, str] = {}
    for review in reviews:
        names.setdefault(reviewer_key(review.reviewer), review.reviewer)
    return tuple(names.values())


def check_is_current(patient_folder: pathlib.Path, chain: tuple[Revision, ...]) -> None:
    """Compares a patient's tables with the newest revision; without a history there is nothing to compare.

    Raises:
      RevisionError: cells.csv or images.csv is another one: it was edited, or an import was interrupted.
    """
    if not chain:
        return
    for name in ("cells.csv", "images.csv"):
        path = patient_folder / name
        if not path.is_file() or file_sha256(path) != chain[-1].record["files"].get(name):
            raise RevisionError(
                f"{path}: not that of the newest revision ({chain[-1].number}); it was edited, or an import was "
                "interrupted. Run review_import again, which puts the table back."
            )


def check_holds(patient_folder: pathlib.Path, chain: tuple[Revision, ...], sha256: str) -> None:
    """Compares a chain with the checksum of a revision that an earlier import recorded elsewhere ("" for none).

    Raises:
      RevisionError: the revision is gone, which the chain alone cannot show when it was the newest.
    """
    if sha256 and sha256 not in {revision.sha256 for revision in chain}:
        raise RevisionError(
            f"{patient_folder}: the revision with checksum {sha256[:12]}..., which run.json names, is gone or was "
            "changed; put the folder back from a backup, or start with an --output_dir of its own."
        )


def _folder_name(number: int) -> str:
    return f"{number:04d}"


def append_revision(
    patient_folder: pathlib.Path,
    kind: str,
    fields: Mapping[str, Any],
    write_files: Callable[[pathlib.Path], None],
    follows: Revision | None,
    key: bytes | None = None,
) -> Revision:
    """Adds a revision to a patient's chain.

    Args:
      kind: `machine` or `review`.
      follows: the newest revision when the new one was worked out; None for the first. If another import has added one
        meanwhile, its review is not in `fields` and the tables, so nothing is written.
      fields: what the record says beside number, kind, version and checksums; `when` must be among them.
      write_files: writes the revision's files, at least `TABLES`, into the folder it is given.
      key: signs the record.

    Raises:
      RevisionError: the chain is broken, or somebody else added the same revision meanwhile.
    """
    chain = read_revisions(patient_folder)
    if (chain[-1].sha256 if chain else "") != (follows.sha256 if follows else ""):
        raise RevisionError(f"{patient_folder}: another import was made at the same time; import again.")
    target = patient_folder / REVISIONS_DIR / _folder_name(len(chain))
    try:
        with atomic_write.replacing_folder(target, may_exist=False) as part:
            write_files(part)
            record = {
                "number": len(chain),
                "kind": kind,
                **fields,
                "version": __version__,
                "files": {path.name: file_sha256(path) for path in sorted(part.iterdir())},
                "previous_sha256": chain[-1].sha256 if chain else "",
            }
            if key is not None:
                record["signature"] = {"key_id": key_files.key_id(key), "hmac_sha256": _signature(record, key)}
            atomic_write.write_json(part / RECORD, record)
    except FileExistsError:
        raise RevisionError(f"{target}: another import added this revision at the same moment; import again.") from None
    return Revision(target, file_sha256(target / RECORD), record)


def make_current(patient_folder: pathlib.Path, revision: Revision) -> None:
    """Copies a revision's tables to where every command reads a patient's tables; pages of earlier ones go first."""
    run_folder.remove_pages(patient_folder)
    for name in TABLES:
        copy_file(revision.folder / name, patient_folder / name)


def copy_file(source: pathlib.Path, target: pathlib.Path) -> None:
    """Copies a file's bytes; the target is complete or unchanged."""
    with atomic_write.replacing(target, "wb") as file:
        file.write(source.read_bytes())

"""Signatures on patients' reports: who signed which numbers, and when.

    patients/<id>/signatures/0001.json, 0002.json, ...

Each record holds the content that was signed (`signed_result`), the checksum of the record before it and its own. With
a key (`key_files`) it also carries an HMAC-SHA256, which nobody without the key can make. Records are never changed: a
report that is signed again gets another one, and only the newest can count.
"""

import dataclasses
import hashlib
import hmac
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from tfod_csf import __version__, provenance
from tfod_csf.errors import UserError
from tfod_csf.files import atomic_write, given_files, key_files

SIGNATURES_DIR = "signatures"
_OWN = ("sha256", "hmac_sha256")  # computed from the rest of a record


class SignatureError(UserError):
    """Signatures that are damaged, or a report that cannot be signed."""


@dataclasses.dataclass(frozen=True)
class Signature:
    """One record.

    Attributes:
      number: from 1.
      signed_by, signed_at: who, and when (ISO 8601 with zone).
      comment: the person's own finding, "" without one.
      content: what was signed (`signed_result.content_of`).
      sha256: checksum of the record.
    """

    number: int
    signed_by: str
    signed_at: str
    comment: str
    content: Mapping[str, Any]
    sha256: str


def _text(record: Mapping[str, Any]) -> str:
    return json.dumps({k: v for k, v in record.items() if k not in _OWN}, sort_keys=True, ensure_ascii=False)


def _hmac(record: Mapping[str, Any], key: bytes) -> str:
    return key_files.keyed_digest(key, "report", _text(record)).hex()


def read_signatures(patient_folder: pathlib.Path, key: bytes | None = None) -> tuple[Signature, ...]:
    """All signatures of a patient, checked; empty when nobody has signed.

    Args:
      key: accepts only records that were made with it.

    Raises:
      SignatureError: names the first record that was changed, removed, or made without the key.
    """
    found: list[Signature] = []
    for number, path in enumerate(sorted((patient_folder / SIGNATURES_DIR).glob("[0-9]*.json")), start=1):
        try:
            record = given_files.read_json(path)
            previous, sha256 = record["previous_sha256"], record["sha256"]
            fields = {field.name: record[field.name] for field in dataclasses.fields(Signature)}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SignatureError(f"{path}: the signature cannot be read ({error}); sign the report again.") from None
        before = found[-1].sha256 if found else ""
        if record["number"] != number or path.name != _name(number) or previous != before:
            raise SignatureError(f"{path}: expected signature {number} here; one before it was removed or changed.")
        if sha256 != hashlib.sha256(_text(record).encode()).hexdigest():
            raise SignatureError(f"{path}: changed after it was signed; put the file back from a backup.")
        if key is not None and not hmac.compare_digest(str(record.get("hmac_sha256", "")), _hmac(record, key)):
            raise SignatureError(f"{path}: not signed with the given key ({key_files.key_id(key)}).")
        found.append(Signature(**fields))
    return tuple(found)


def append_signature(
    patient_folder: pathlib.Path, signed_by: str, comment: str, content: Mapping[str, Any], key: bytes | None = None
) -> Signature:
    """Writes a signature over a content.

    Raises:
      SignatureError: earlier signatures are damaged.
    """
    earlier = read_signatures(patient_folder, key)
    record: dict[str, Any] = {
        "number": len(earlier) + 1,
        "signed_by": signed_by,
        "signed_at": provenance.now(),
        "comment": comment,
        "content": dict(content),
        "version": __version__,
        "previous_sha256": earlier[-1].sha256 if earlier else "",
    }
    if key is not None:
        record["key_id"] = key_files.key_id(key)
    record["sha256"] = hashlib.sha256(_text(record).encode()).hexdigest()
    if key is not None:
        record["hmac_sha256"] = _hmac(record, key)
    atomic_write.write_json(patient_folder / SIGNATURES_DIR / _name(record["number"]), record)
    return read_signatures(patient_folder, key)[-1]


def _name(number: int) -> str:
    return f"{number:04d}.json"

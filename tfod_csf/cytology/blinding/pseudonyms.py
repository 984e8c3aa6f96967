"""Pseudonyms of patients and images: short names made with a secret key, and the table from them back to names.

A pseudonym is the beginning of an HMAC-SHA256 of the name, in lower-case letters and digits: without the key nobody can
make or check one, not even by trying all names; with it, the same name gets the same pseudonym again. Pseudonyms look
random, so their order does not reveal the order of the names. Where two would be equal, the later one is longer.
"""

import base64
import dataclasses
import os
import pathlib
from collections.abc import Iterable, Mapping

from tfod_csf.errors import UserError
from tfod_csf.files import csv_schemas, key_files

LENGTH = 12  # letters of 5 bits: a collision among 100,000 patients has a chance of 4 in a billion
PATIENT, IMAGE = "p", "i"  # first letter; a name never begins with a digit or a sign
_STEP = 4


class PseudonymError(UserError):
    """A table of pseudonyms that does not fit its key, or cannot be read."""


@dataclasses.dataclass(frozen=True)
class BlindedImage:
    """One row of the table.

    Attributes:
      patient_id, image: as the user knows them; `image` as in cells.csv.
      pseudonym, blinded_image: folder and file name of the copy.
      sha256, blinded_sha256: of the two files.
      written: how the copy was made.
    """

    patient_id: str
    pseudonym: str
    image: str
    blinded_image: str
    sha256: str
    blinded_sha256: str
    written: str


def pseudonym(key: bytes, kind: str, name: str, length: int = LENGTH) -> str:
    """The pseudonym of a name.

    >>> pseudonym(bytes(32), PATIENT, "Wang")
    'pdq5fxllpmn2f'
    """
    letters = base64.b32encode(key_files.keyed_digest(key, f"pseudonym {kind}", name)).decode("ascii").lower()
    return kind + letters.rstrip("=")[:length]


def assign(
    key: bytes, kind: str, names: Iterable[str], known: Mapping[str, str], length: int = LENGTH
) -> dict[str, str]:
    """{name: pseudonym} of all names.

    Args:
      known: {name: pseudonym} given earlier; they stay, and new ones differ from them.
      length: letters of a pseudonym where nothing collides.
    """
    given = dict(known)
    taken = set(known.values())
    for name in sorted(set(names) - set(known)):
        letters = length
        while pseudonym(key, kind, name, letters) in taken:
            letters += _STEP
        given[name] = pseudonym(key, kind, name, letters)
        taken.add(given[name])
    return given


def _check(rows: Iterable[BlindedImage], key: bytes, path: pathlib.Path) -> None:
    for row in rows:
        stem = pathlib.PurePath(row.blinded_image).stem
        expected = pseudonym(key, PATIENT, row.patient_id, len(row.pseudonym) - 1)
        if expected != row.pseudonym:
            raise PseudonymError(
                f"{path}: pseudonym {row.pseudonym!r} was not made with this key from its patient_id; "
                "give the key and the table of the same blinding, unedited."
            )
        if pseudonym(key, IMAGE, f"{row.patient_id}\0{row.image}", len(stem) - 1) != stem:
            raise PseudonymError(f"{path}: {row.blinded_image!r} was not made with this key from its image.")


def read_mapping(path: str | os.PathLike, key: bytes) -> list[BlindedImage]:
    """The table, each row checked with the key.

    Raises:
      PseudonymError: a row was not made with this key.
      UserError: no such file, or a column is missing.
    """
    path = pathlib.Path(path)
    rows = [BlindedImage(**row) for row in csv_schemas.load("blind_mapping").read(path)]
    _check(rows, key, path)
    return rows


def write_mapping(path: str | os.PathLike, rows: Iterable[BlindedImage]) -> None:
    """Writes the table in the order of pseudonyms, readable by its owner only."""
    ordered = sorted(rows, key=lambda row: (row.pseudonym, row.blinded_image))
    with key_files.owner_only():
        csv_schemas.load("blind_mapping").write(path, map(dataclasses.asdict, ordered))

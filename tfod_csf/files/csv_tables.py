"""CSV files of this package: UTF-8, "," and "\\n", and no cell that a spreadsheet would run as a formula."""

import csv
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tfod_csf.errors import UserError
from tfod_csf.files import atomic_write

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def guard_text(text: str) -> str:
    """Puts an apostrophe before text that a spreadsheet would take for a formula (`=1+2` becomes `'=1+2`).

    Text that begins with apostrophes followed by such a character gets one more, so that `unguard_text` is exact.
    """
    return "'" + text if text.lstrip("'").startswith(_FORMULA_STARTS) else text


def unguard_text(text: str) -> str:
    """Undoes `guard_text`: `unguard_text(guard_text(x)) == x` for every x."""
    return text[1:] if text.startswith("'") and text.lstrip("'").startswith(_FORMULA_STARTS) else text


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    return guard_text(value) if isinstance(value, str) else value


def write_rows(path: str | os.PathLike, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes mappings as CSV in the order of `columns`; None is an empty cell, an unknown key is a ValueError."""
    with atomic_write.replacing(path, newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(columns), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({key: _cell(value) for key, value in row.items()})


def read_header(path: str | os.PathLike) -> list[str]:
    """Names of the columns of a CSV that `read_rows` can read; also of one without rows."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        return [unguard_text(name) for name in next(csv.reader(file), [])]


def read_rows(path: str | os.PathLike, required_columns: Sequence[str] = ()) -> list[dict[str, str]]:
    """Reads a CSV written by us or by a spreadsheet (byte order mark accepted); every value is text, guards undone.

    Raises:
      UserError: the file is not UTF-8, has no header, or lacks a required column.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            header = [unguard_text(name or "") for name in (reader.fieldnames or [])]
            missing = [name for name in required_columns if name not in header]
            if missing:
                raise UserError(
                    f"{path}: column {missing[0]!r} is missing (found: {', '.join(header) or 'no header'}); "
                    f"expected {', '.join(required_columns)}."
                )
            reader.fieldnames = header
            return [{key: unguard_text(value or "") for key, value in row.items() if key is not None} for row in reader]
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 (byte {error.start}); save the table as 'CSV UTF-8'.") from error
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file.") from error

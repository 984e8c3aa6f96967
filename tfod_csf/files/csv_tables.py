"""CSV files of this package: UTF-8, "," and "\\n", and no cell that a spreadsheet would run as a formula.

This module alone says how a table is opened, written and read. Tables whose columns are described in schemas/ are
written and read through `csv_schemas`, which adds kinds, rounding and emptiness.
"""

import codecs
import csv
import dataclasses
import io
import itertools
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import IO, Any

from tfod_csf.errors import UserError
from tfod_csf.files import atomic_write, given_files

# The full-width ones are what an input method for Chinese or Japanese types, and spreadsheets take them for the others.
_FORMULA_STARTS = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "\t", "\r", "\n")
_MAX_LINE = 1_000_000  # characters; a row of the widest table here has a few thousand
_MAX_SHOWN = 200  # characters of a file that a message repeats
_ENCODING = "utf-8-sig"  # a byte order mark, which spreadsheets write, is not part of the first column's name


class TableError(UserError):
    """A table cannot be used; the message names the file and, where there is one, line, column and value."""


@dataclasses.dataclass(frozen=True)
class Dialect:
    """How a file holds its table; the default is how this package writes them.

    Attributes:
      encoding: with the byte order mark, if there is one.
      delimiter: character between two cells.
      skipped_lines: lines before the header.
    """

    encoding: str = _ENCODING
    delimiter: str = ","
    skipped_lines: int = 0


OWN_DIALECT = Dialect()


class WrittenNumber(str):
    """A number as it is to be written: unlike other text, "-2.50" gets no guard."""

    __slots__ = ()


def guard_text(text: str) -> str:
    """Puts an apostrophe before text that a spreadsheet would take for a formula (`=1+2` becomes `'=1+2`).

    Text that begins with apostrophes followed by such a character gets one more, so that `unguard_text` is exact.
    """
    return "'" + text if text.lstrip("'").startswith(_FORMULA_STARTS) else text


def unguard_text(text: str) -> str:
    """Undoes `guard_text`: `unguard_text(guard_text(x)) == x` for every x."""
    return text[1:] if text.startswith("'") and text.lstrip("'").startswith(_FORMULA_STARTS) else text


def number(text: str) -> float:
    """The finite number that a cell holds; blanks around it are allowed, as in a table that a person typed.

    Raises:
      ValueError: not a number, or NaN, or infinite. Python's "1_5" for 15 is refused: it may be a mistyped 1.5.
    """
    value = float(text)
    if not math.isfinite(value) or "_" in text:
        raise ValueError(f"not a finite number: {text!r}")
    return value


def _row_writer(file: IO[str]) -> Callable[[list[Any]], None]:
    """A function that writes one row; the cells have their guards already."""
    writer = csv.writer(file, lineterminator="\n")
    # Before Python 3.13 the csv module leaves a carriage return unquoted, which then reads as the end of a row.
    quoting_writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)

    def write(cells: list[Any]) -> None:
        has_return = any(isinstance(cell, str) and "\r" in cell for cell in cells)
        (quoting_writer if has_return else writer).writerow(cells)

    return write


def _cell(value: Any) -> Any:
    return guard_text(value) if isinstance(value, str) and not isinstance(value, WrittenNumber) else value


def write_rows(path: str | os.PathLike, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes mappings as CSV in the order of `columns`; None is an empty cell, an unknown key is a ValueError."""
    with atomic_write.replacing(path, newline="") as file:
        write = _row_writer(file)
        write([guard_text(name) for name in columns])
        known = set(columns)
        for row in rows:
            if not row.keys() <= known:
                raise ValueError(f"{path}: the table has no column {min(row.keys() - known)!r}")
            values = (row.get(name) for name in columns)
            write([_cell(value) for value in values])


def read_lines(
    path: str | os.PathLike, dialect: Dialect = OWN_DIALECT
) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """Opens a table; one that a person hands in is opened by `given_tables`.

    Returns:
      (names of the columns, none for an empty file; (line of the file, cells) of every row that is not blank, with one
      cell per column, guards still on: see `unguard_text`; cells that a row lacks at its end are empty).

    Raises:
      TableError: now or while reading: the file cannot be read, is not in its encoding or not CSV, or a row has more
        cells than the header.
    """
    lines = _stream(path, dialect)
    _, header = next(lines, (1, []))
    return [unguard_text(name) for name in header], lines


def shown(text: str) -> str:
    """The beginning of a text of a file, for a message.

    >>> shown("a" * 1000) == "a" * 200 + "... (1,000 characters)"
    True
    """
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}... ({len(text):,} characters)"


def check_columns(path: str | os.PathLike, header: Sequence[str], columns: Sequence[str]) -> None:
    """Checks that a header has each of these columns once.

    Raises:
      TableError: naming the first that is missing, or there twice.
    """
    expected = f"expected the columns {', '.join(columns)}"
    if columns and not header:
        raise TableError(f"{path}: the file is empty; {expected}.")
    for name in columns:
        if name not in header:
            other = {";": "semicolons", "\t": "tabs"}.get(next((mark for mark in ";\t" if mark in header[0]), ""))
            hint = f"; the cells seem to be separated by {other}: save them with commas" if other else ""
            found = shown(", ".join(header))
            raise TableError(f"{path}: column {name!r} is missing (found: {found}); {expected}{hint}.")
        if header.count(name) > 1:
            raise TableError(f"{path}: column {name!r} is there {header.count(name)} times; keep one.")


def read_rows(path: str | os.PathLike, required_columns: Sequence[str] = ()) -> list[dict[str, str]]:
    """Reads a table that no schema describes: every column of every row as text, guards undone.

    Raises:
      TableError: as `read_lines` and `check_columns`.
    """
    header, lines = read_lines(path)
    check_columns(path, header, required_columns)
    return [dict(zip(header, map(unguard_text, cells), strict=True)) for _, cells in lines]


def map_cells(text: str, change: Callable[[str], str]) -> str:
    """A CSV text with `change` applied to every cell, guards undone; only cells that it changes are written again."""
    output = io.StringIO()
    write = _row_writer(output)
    for row in csv.reader(io.StringIO(text, newline="")):
        plain = [unguard_text(cell) for cell in row]
        changed = [change(cell) for cell in plain]
        write([guard_text(new) if new != old else cell for cell, old, new in zip(row, plain, changed, strict=True)])
    return output.getvalue()


def _stream(path: str | os.PathLike, dialect: Dialect) -> Iterator[tuple[int, list[str]]]:
    """(line of the file, cells) of the header, then of every row that is not blank, with one cell per column."""
    line = 1
    try:
        with io.TextIOWrapper(given_files.open_file(path), encoding=dialect.encoding, newline="") as file:
            before = sum(1 for _ in itertools.islice(_lines(file), dialect.skipped_lines))
            # Strict: a quote that is never closed would otherwise take in the rest of the file as one cell.
            reader = csv.reader(_lines(file), strict=True, delimiter=dialect.delimiter)
            line, width = before + 1, None
            for cells in reader:
                if cells:
                    width = width or len(cells)
                    yield line, cells if len(cells) == width else _fitted(path, line, cells, width)
                line = before + reader.line_num + 1
    except UnicodeError as error:
        place = _undecodable_line(path) if dialect.encoding == _ENCODING else line
        encoding = "UTF-8" if dialect.encoding == _ENCODING else dialect.encoding.upper()
        raise TableError(f"{path}, line {place}: not {encoding}; save it as 'CSV UTF-8'.") from error
    except csv.Error as error:
        what = str(error)
        if what == "unexpected end of data":
            what = "a quotation mark is not closed: close it, or delete it"
        raise TableError(f"{path}, line {line}: not CSV ({what}).") from error
    except FileNotFoundError as error:
        raise TableError(f"{path}: no such file.") from error
    except OSError as error:
        raise TableError(f"{path}: cannot be read ({error.strerror}).") from error


def _lines(file: IO[str]) -> Iterator[str]:
    """Lines of a file, of which none is read that is too long or no text."""
    while line := file.readline(_MAX_LINE + 1):
        if len(line) > _MAX_LINE:
            raise csv.Error(f"more than {_MAX_LINE:,} characters without a line end")
        if "\0" in line:
            raise csv.Error("a NUL character; the file is damaged, or UTF-16, and has to be saved as 'CSV UTF-8'")
        yield line


def _fitted(path: str | os.PathLike, line: int, cells: list[str], width: int) -> list[str]:
    """Empty cells at the end of a row added, or removed."""
    if any(map(str.strip, cells[width:])):
        raise TableError(
            f"{path}, line {line}: {len(cells)} cells, but the header has {width}; write a cell with a comma in it in "
            'double quotes, and decimals with a point ("1,5" is two cells without the quotes).'
        )
    return cells[:width] + [""] * (width - len(cells))


def _undecodable_line(path: str | os.PathLike) -> int:
    """The first line that is not UTF-8; the decoder itself works in blocks and counts within one."""
    number, decoder = 1, codecs.getincrementaldecoder("utf-8")()
    with given_files.open_file(path) as file:
        while block := file.read(1 << 16):
            before = decoder.getstate()[0]
            try:
                decoder.decode(block)
            except UnicodeDecodeError as error:
                return number + (before + block)[: error.start].count(b"\n")
            number += block.count(b"\n")
    return number

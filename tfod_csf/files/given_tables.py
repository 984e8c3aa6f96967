"""Tables that people hand in, in the forms in which spreadsheets save them.

What is read: UTF-8 and, with its byte order mark, UTF-16; cells separated by commas, semicolons or tabs, as the header
or a first line `sep=;` shows; comment lines (`#`) before the header; capitals, blanks and hyphens in the names of
columns; rows without content and repeated headers, which are ignored; numbers with a decimal comma, with groups of
three digits, and with a percent sign where the column is in percent. What could mean two things is refused.
"""

import csv
import dataclasses
import difflib
import logging
import os
import re
from collections.abc import Iterator, Sequence

from tfod_csf.files import csv_tables, given_files
from tfod_csf.files.csv_tables import Dialect, TableError

_HEAD_BYTES = 1 << 16
_UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_LINE_END = re.compile(r"\r\n|\r|\n")
_SEPARATOR_LINE = re.compile(r'"?sep=([,;\t|])"?', re.IGNORECASE)
_QUOTED = re.compile(r'"[^"]*"')
_BLANKS = re.compile(r"[\s-]+")
# Groups of three digits: blanks of any width and apostrophes only separate; a comma or point may also be a decimal.
_BLANK_GROUPS = re.compile(r"([+-]?\d{1,3})((?:[\s'’]\d{3})+)([.,]\d*)?")
_GROUPS = re.compile(r"([+-]?[1-9]\d{0,2})((?:,\d{3})+|(?:\.\d{3})+)")
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+")
_ALIKE = 0.8  # similarity of two names of columns, of which one may be a mistyped other
_log = logging.getLogger("tfod_csf")


@dataclasses.dataclass(frozen=True)
class GivenTable:
    """An open table.

    Attributes:
      header: names of the columns, in the spelling asked for where they differ only in capitals, blanks or hyphens.
      lines: (line of the file, cells) as of `csv_tables.read_lines`, without empty rows and repeated headers.
      may_have_decimal_commas: cells are not separated by commas, so that a point may separate thousands.
    """

    header: list[str]
    lines: Iterator[tuple[int, list[str]]]
    may_have_decimal_commas: bool

    def plain_number(self, cell: str, is_percent: bool, low: float, high: float) -> str:
        """A number as Python reads it, of a cell in which a person or a spreadsheet wrote it; other text as it is.

        Args:
          is_percent: a percent sign after the number is no more than its unit.
          low, high: ends of the column's range; of two readings, one that lies outside is not meant.

        Raises:
          ValueError: two readings are possible; says which.
        """
        number = trimmed(cell)
        if is_percent:
            number = number.removesuffix("%").rstrip()
        if "," in number or not number.isascii() or not number.isalnum():
            readings = _readings(number, self.may_have_decimal_commas)
            possible = [reading for reading in readings if low <= float(reading) <= high]
            if len(possible) > 1:
                raise ValueError(
                    f"{' or '.join(possible)}, without a separator of thousands and with a point before decimals"
                )
            number = (possible or readings or [number])[0]
        return number


def dialect_of(path: str | os.PathLike) -> Dialect:
    """How a file holds its table, by its beginning; the package's own dialect for a file that cannot be read."""
    try:
        with given_files.open_file(path) as file:
            head = file.read(_HEAD_BYTES)
    except OSError:
        return csv_tables.OWN_DIALECT
    encoding = "utf-16" if head.startswith(_UTF_16_MARKS) else csv_tables.OWN_DIALECT.encoding
    for skipped, line in enumerate(_LINE_END.split(head.decode(encoding, "replace"))):
        if match := _SEPARATOR_LINE.fullmatch(line.strip(" ")):
            return Dialect(encoding, match[1], skipped + 1)
        if line.strip() and not line.startswith("#"):
            plain = _QUOTED.sub("", line)
            return Dialect(encoding, next((d for d in ",;\t" if d in plain), ","), skipped)
    return Dialect(encoding)


def read(path: str | os.PathLike, columns: Sequence[str] = ()) -> GivenTable:
    """Opens a table.

    Args:
      columns: known names.

    Raises:
      TableError: now or while reading: as `csv_tables.read_lines`, or a cell holds what looks like whole rows.
    """
    dialect = dialect_of(path)
    header, lines = csv_tables.read_lines(path, dialect)
    named = _named(header, columns)
    return GivenTable(named, _rows(path, header, lines, dialect.delimiter), dialect.delimiter != ",")


def trimmed(cell: str) -> str:
    """A cell without blanks of any kind at its ends."""
    return cell.strip().strip("\ufeff\u200b")


def text(cell: str) -> str:
    """The text of a cell: its guard undone, blanks at its ends removed."""
    return trimmed(csv_tables.unguard_text(cell))


def _tidy(name: str) -> str:
    return _BLANKS.sub("_", text(name).casefold())


def _named(header: Sequence[str], columns: Sequence[str]) -> list[str]:
    known = {_tidy(name): name for name in columns}
    return [known.get(_tidy(name), text(name)) for name in header]


def warn_of_mistyped_columns(path: str | os.PathLike, header: Sequence[str], columns: Sequence[str]) -> None:
    """Logs a warning for each column that is unknown and looks like one of `columns` that is missing."""
    missing = [column for column in columns if column not in header]
    for name in set(header) - set(columns):
        for column in difflib.get_close_matches(name, missing, 1, _ALIKE):
            _log.warning("%s: the column %r is not read; if it is meant to be %r, rename it", path, name, column)


def _rows(
    path: str | os.PathLike, header: Sequence[str], lines: Iterator[tuple[int, list[str]]], delimiter: str
) -> Iterator[tuple[int, list[str]]]:
    for line, cells in lines:
        if not any(map(str.strip, cells)) or cells == header:
            continue
        if any("\n" in cell or "\r" in cell for cell in cells):
            _check_no_rows_in_cells(path, line, len(header), cells, delimiter)
        yield line, cells


def _check_no_rows_in_cells(
    path: str | os.PathLike, line: int, width: int, cells: Sequence[str], delimiter: str
) -> None:
    """Refuses a cell of several lines of which one has as many cells as the table: a quotation mark was forgotten."""
    for cell in cells:
        inner = cell.splitlines()[1:]
        if width > 1 and any(len(row) >= width for row in csv.reader(inner, delimiter=delimiter)):
            raise TableError(
                f"{path}, line {line}: a cell continues over lines that look like rows of the table; close the "
                "quotation mark that it begins with, or delete it."
            )


def _readings(number: str, point_may_group: bool) -> list[str]:
    """What a number with separators may mean, as Python reads it; [] where it has none, or none that is known.

    >>> [_readings(number, False) for number in ("120,5", "1.234,5", "1 234", "1,234", "1.234", "n/a")]
    [['120.5'], ['1234.5'], ['1234'], ['1234', '1.234'], [], []]
    >>> _readings("1.234", True), _readings("1,234,567", True), _readings("0,125", True)
    (['1234', '1.234'], ['1234567'], ['0.125'])
    """
    if match := _BLANK_GROUPS.fullmatch(number):
        return [match[1] + re.sub(r"[\s'’]", "", match[2]) + (match[3] or "").replace(",", ".")]
    if "," in number and "." in number:
        group, point = (",", ".") if number.rindex(",") < number.rindex(".") else (".", ",")
        whole, _, rest = number.rpartition(point)
        is_known = _GROUPS.fullmatch(whole) and rest.isdecimal()
        return [f"{whole.replace(group, '')}.{rest}"] if is_known else []
    if match := _GROUPS.fullmatch(number) if "," in number or point_may_group else None:
        whole = re.sub(r"[,.]", "", number)
        return [whole] if len(match[2]) > len(",000") else [whole, number.replace(",", ".")]
    return [number.replace(",", ".")] if _DECIMAL_COMMA.fullmatch(number) else []

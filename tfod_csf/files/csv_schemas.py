"""Every CSV this package writes or takes from a user: each column's kind, unit, rounding and meaning.

`schemas/<name>.csv` is the only place where a column is described. Tables are written with its columns and rounding
(`Schema.write`), read back with its kinds (`Schema.read`), checked in tests (`Schema.check`), and documented from it:

    python -m tfod_csf.files.csv_schemas docs/OUTPUTS.md

`schemas/input_<name>.csv` describes a table that a user hands in; the others describe <name>.csv, which we write.

A schema table has the columns
  column    name in the header; `score_<class>` is one column per class, in the order of the label map; `[n]` is a
            column n that the table may lack, which then reads as empty; `[[n]]` is such a column that is written only
            where a table has a use for it
  kind      text | path (text that is a relative path with "/", see `inner_paths`) | name (text that names a folder or
            file) | flag (yes, no) | count (a whole number; two decimals where counts were averaged) | number
  decimals  of a number that is written; empty for the other kinds, and for numbers that a user writes
  low       smallest value that is read or written; empty for any
  high      largest one
  unit      as printed in the documentation
  empty     "no" when the cell always holds a value, else what an empty cell means
  meaning   one sentence
(low and high may be missing), and its first line, `#` and a sentence, says what the file is and which command writes or
reads it.
"""

import csv
import dataclasses
import functools
import io
import itertools
import math
import os
import pathlib
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tfod_csf.files import atomic_write, csv_tables, given_tables, inner_paths
from tfod_csf.files.csv_tables import TableError
from tfod_csf.files.given_tables import GivenTable

_SCHEMAS_DIR = pathlib.Path(__file__).parent / "schemas"
_INPUT = "input_"
_TEXTS = ("text", "path", "name")
_KINDS = (*_TEXTS, "flag", "count", "number")
_FLAGS = {"yes": True, "no": False}
_PER_CLASS = "<class>"
# So many rows at a time still fit the processor's cache; ten times as many are three times slower.
_BATCH_ROWS = 128
_MARK = "<!-- everything below is rendered from tfod_csf/files/schemas/ -->"


@dataclasses.dataclass(frozen=True)
class Column:
    """One column; see the module's docstring for the meaning of the fields.

    Attributes:
      decimals: None where any number of them may be written.
      may_be_missing: whether a table may lack the column.
      is_rare: whether it is written only where a table has a use for it; it may be missing then.
    """

    name: str
    kind: str
    decimals: int | None
    unit: str
    empty: str
    meaning: str
    low: float = -math.inf
    high: float = math.inf
    may_be_missing: bool = False
    is_rare: bool = False

    def cell_of(self, value: Any) -> str | None:
        """The cell: text, or a `csv_tables.WrittenNumber` rounded as the schema says; None and NaN are empty."""
        if value is None or value != value:
            return None
        if self.kind == "flag":
            return "yes" if value else "no"
        if self.is_text:
            return str(value)
        decimals = self.decimals if self.kind == "number" else 0 if float(value).is_integer() else 2
        number = str(value) if decimals is None else f"{value:.{decimals}f}"
        return csv_tables.WrittenNumber(number if number.strip("-0.") else number.lstrip("-"))

    def value_of(self, cell: str) -> str | float | bool | None:
        """The value of a cell as it is in the file, guard included; the inverse of `cell_of` but for the rounding.

        Returns:
          text as str, flags as bool, counts as int (float where they were averaged), numbers as float; an empty cell is
          "" (text) or None.

        Raises:
          ValueError: saying what was expected.
        """
        if self.is_text:
            text = csv_tables.unguard_text(cell)
            if (self.empty == "no" and not text) or (text and self._leads_out(text)):
                raise ValueError(self._expected)
            return text
        if not cell.strip():
            if self.empty == "no":
                raise ValueError(self._expected)
            return None
        if self.kind == "flag":
            if cell not in _FLAGS:
                raise ValueError(self._expected)
            return _FLAGS[cell]
        try:
            value = csv_tables.number(cell)
        except ValueError:
            raise ValueError(self._expected) from None
        if not self.low <= value <= self.high:
            raise ValueError(self._expected)
        return int(value) if self.kind == "count" and value.is_integer() else value

    @property
    def is_text(self) -> bool:
        """Whether its values are texts of any kind."""
        return self.kind in _TEXTS

    @property
    def is_percent(self) -> bool:
        """Whether its numbers are percentages and nothing else."""
        return self.unit in ("%", "% of white cells")

    def _leads_out(self, text: str) -> bool:
        """Whether a text that names a file leads out of the folder that the table is about."""
        if self.kind == "path":
            return inner_paths.leads_out(text)
        return self.kind == "name" and not inner_paths.is_plain_name(text)

    @property
    def _expected(self) -> str:
        if self.kind == "path":
            return "a path inside the folder (relative, with /, without ..)"
        if self.kind == "name":
            return "a plain name (no folder, no .. in it)"
        if self.kind == "text":
            return "a text"
        if self.kind == "flag":
            return "yes or no"
        return f"a number{self.range_text}" + (f" ({self.unit})" if self.unit else "")

    @property
    def range_text(self) -> str:
        """The range as it is read after "number": " from 0 to 100", " >= 0", " <= 1", or nothing."""
        if math.isfinite(self.low) and math.isfinite(self.high):
            return f" from {self.low:g} to {self.high:g}"
        if math.isfinite(self.low):
            return f" >= {self.low:g}"
        return f" <= {self.high:g}" if math.isfinite(self.high) else ""

    def values_of(self, cells: Sequence[str]) -> list[Any]:
        """`value_of` of many cells, for text, flags and plain numbers without a call per cell."""
        if self.is_text or self.kind == "flag":
            values = {cell: self.value_of(cell) for cell in set(cells)}
            return [values[cell] for cell in cells]
        convert: type[int] | type[float] = int if self.kind == "count" else float
        try:
            numbers: list[float | None] = [convert(cell) if cell else None for cell in cells]
            known = [value for value in numbers if value is not None]
            is_plain = all(map(math.isfinite, known)) and "_" not in "".join(cells)
        except (ValueError, OverflowError):  # for example a count that was averaged, or blanks
            is_plain, known = False, []
        is_plain = is_plain and (len(known) == len(cells) or self.empty != "no")
        is_plain = is_plain and (not known or self.low <= min(known) <= max(known) <= self.high)
        return numbers if is_plain else [self.value_of(cell) for cell in cells]

    def is_valid(self, cell: str) -> bool:
        """Whether a cell is of this column's kind and rounding."""
        try:
            value = self.value_of(cell)
        except ValueError:
            return False
        if self.kind not in ("count", "number") or value is None:
            return True
        decimals = len(cell.partition(".")[2])
        return decimals in (0, 2) if self.kind == "count" else self.decimals in (None, decimals)


class Row(dict[str, Any]):
    """{column: value} of one row, as `Schema.read` yields it; `line` is the line of the file on which it begins."""

    __slots__ = ("line",)
    line: int


@dataclasses.dataclass(frozen=True)
class Schema:
    """All columns of one CSV file."""

    name: str
    description: str
    columns: tuple[Column, ...]

    @property
    def is_input(self) -> bool:
        """Whether a user hands the table in."""
        return self.name.startswith(_INPUT)

    def columns_for(self, classes: Sequence[str] = (), with_rare: bool = True) -> dict[str, Column]:
        """Columns in the order of the header; a `<class>` column is repeated for every class."""
        named = {}
        for column in self.columns:
            if column.is_rare and not with_rare:
                continue
            names = (
                [column.name.replace(_PER_CLASS, c) for c in classes] if _PER_CLASS in column.name else [column.name]
            )
            named.update(dict.fromkeys(names, column))
        return named

    def write(
        self,
        path: str | os.PathLike,
        rows: Iterable[Mapping[str, Any]],
        classes: Sequence[str] = (),
        with_rare: bool = False,
    ) -> None:
        """Writes rows (a stream is fine) with this schema's columns and rounding; a missing key is an empty cell.

        Args:
          with_rare: whether the columns that are rarely of use (`Column.is_rare`) are written.

        Raises:
          ValueError: a row has a key the schema does not know.
        """
        columns = self.columns_for(classes, with_rare)

        def rounded() -> Iterable[dict[str, Any]]:
            for row in rows:
                unknown = [key for key in row if key not in columns]
                if unknown:
                    raise ValueError(f"{self.name}.csv has no column {unknown[0]!r}")
                yield {name: column.cell_of(row.get(name)) for name, column in columns.items()}

        csv_tables.write_rows(path, tuple(columns), rounded())

    def write_into(
        self,
        folder: str | os.PathLike,
        rows: Iterable[Mapping[str, Any]],
        classes: Sequence[str] = (),
        with_rare: bool = False,
    ) -> None:
        """Writes <folder>/<name>.csv; see `write`."""
        self.write(pathlib.Path(folder) / f"{self.name}.csv", rows, classes, with_rare)

    def read(self, path: str | os.PathLike, columns: Sequence[str] | None = None) -> Iterator[Row]:
        """Streams the rows of a table with the kinds of this schema (`Column.value_of`); memory does not grow with it.

        Args:
          columns: those to read, by their names in the schema (`score_<class>` for one per class); None reads all.
            Other columns of the file are ignored.

        Raises:
          TableError: the file cannot be read, lacks a column or has it twice, or a cell is not what the schema says;
            the message names file, line, column, value and what was expected.
        """
        names, batches = self._open(path, columns)
        for lines, values in batches:
            for line, cells in zip(lines, zip(*values, strict=True), strict=True):
                row = Row(zip(names, cells, strict=True))
                row.line = line
                yield row

    def read_columns(self, path: str | os.PathLike, columns: Sequence[str] | None = None) -> dict[str, list[Any]]:
        """{column of the file: its values} of a whole table; as `read`, without the rows."""
        names, batches = self._open(path, columns)
        found: dict[str, list[Any]] = {name: [] for name in names}
        for _, values in batches:
            for into, cells in zip(found.values(), values, strict=True):
                into += cells
        return found

    def classes_in(self, path: str | os.PathLike) -> tuple[str, ...]:
        """The classes that a file has a `<class>` column for, in the order of its header.

        Raises:
          TableError: the file cannot be read.
        """
        header, _ = csv_tables.read_lines(path)
        return tuple(dict.fromkeys(name for column in self.columns for name in self._per_class(column.name, header)))

    def _per_class(self, pattern: str, header: Sequence[str]) -> dict[str, str]:
        """{class: column of the file} of the columns that `pattern` with its <class> stands for."""
        before, mark, after = pattern.partition(_PER_CLASS)
        named = {column.name for column in self.columns}
        return {
            name[len(before) : len(name) - len(after)]: name
            for name in header
            if mark and name not in named and name.startswith(before) and name.endswith(after)
        }

    def _open(
        self, path: str | os.PathLike, columns: Sequence[str] | None
    ) -> tuple[list[str], Iterator[tuple[Sequence[int], list[list[Any]]]]]:
        """(columns of the file that are read; batches of (lines, values by column))."""
        described = {column.name: column for column in self.columns}
        if self.is_input:
            table = given_tables.read(path, list(described))
            header, lines = table.header, _plain_cells(path, table, described)
            given_tables.warn_of_mistyped_columns(path, header, list(described))
        else:
            header, lines = csv_tables.read_lines(path)
        wanted: dict[str, Column] = {}
        for name in described if columns is None else columns:
            if _PER_CLASS in name:
                wanted.update(dict.fromkeys(self._per_class(name, header).values(), described[name]))
            elif name in header or not described[name].may_be_missing:
                wanted[name] = described[name]
        csv_tables.check_columns(path, header, list(wanted))
        return list(wanted), _batches(path, header, lines, wanted)

    def check(self, path: str | os.PathLike, classes: Sequence[str] = ()) -> int:
        """Checks header and every cell of a written file, rounding included; returns the number of rows.

        Raises:
          TableError: names file, line, column and value.
        """
        columns = self.columns_for(classes, with_rare=False)
        header, lines = csv_tables.read_lines(path)
        if header == list(self.columns_for(classes)):
            columns = self.columns_for(classes)
        if header != list(columns):
            raise TableError(f"{path}: the header is {header}; expected {list(columns)}.")
        num_rows = 0
        for line, row in lines:
            for (name, column), cell in zip(columns.items(), row, strict=True):
                if not column.is_valid(cell):
                    decimals = f" with {column.decimals} decimals" if column.decimals is not None else ""
                    raise TableError(f"{path}, line {line}: {name} is {cell!r}; expected {column.kind}{decimals}.")
            num_rows += 1
        return num_rows


def _plain_cells(
    path: str | os.PathLike, table: GivenTable, described: Mapping[str, Column]
) -> Iterator[tuple[int, list[str]]]:
    """The rows of a table that a user hands in, their numbers as this package writes them, texts without blanks."""
    columns = [described.get(name) for name in table.header]
    for line, cells in table.lines:
        plain = []
        for column, cell in zip(columns, cells, strict=True):
            if column is None or column.is_text:
                plain.append(given_tables.trimmed(cell))
                continue
            try:
                plain.append(table.plain_number(cell, column.is_percent, column.low, column.high))
            except ValueError as error:
                raise TableError(f"{path}, line {line}: {column.name} is {cell!r}; expected {error}.") from None
        yield line, plain


def _batches(
    path: str | os.PathLike, header: Sequence[str], lines: Iterator[tuple[int, list[str]]], wanted: Mapping[str, Column]
) -> Iterator[tuple[Sequence[int], list[list[Any]]]]:
    """(lines of the file, values by column) of a few rows at a time: columns are converted faster than single cells."""
    places = [header.index(name) for name in wanted]
    while rows := list(itertools.islice(lines, _BATCH_ROWS)):
        numbers, cells = zip(*rows, strict=True)
        by_place = list(zip(*cells, strict=True))
        values = []
        for (name, column), place in zip(wanted.items(), places, strict=True):
            try:
                values.append(column.values_of(by_place[place]))
            except ValueError:
                raise _cell_error(path, numbers, name, column, by_place[place]) from None
        yield numbers, values


def _cell_error(
    path: str | os.PathLike, lines: Sequence[int], name: str, column: Column, cells: Sequence[str]
) -> TableError:
    """The error for the first of some cells that is not what its column says."""
    for line, cell in zip(lines, cells, strict=True):
        try:
            column.value_of(cell)
        except ValueError as error:
            what = csv_tables.shown(repr(cell)) if cell else "empty"
            return TableError(f"{path}, line {line}: {name} is {what}; expected {error}.")
    raise AssertionError(f"{path}: {name} was refused, and none of its cells is wrong")


@functools.cache
def load(name: str) -> Schema:
    """Schema of `<name>.csv`; "input_<name>" for a table that a user hands in."""
    path = _SCHEMAS_DIR / f"{name}.csv"
    description, table = path.read_text(encoding="utf-8").split("\n", 1)
    description = description.removeprefix("#").strip()
    columns = tuple(_column(row) for row in csv.DictReader(io.StringIO(table)))
    wrong = [column.name for column in columns if column.kind not in _KINDS or not column.meaning]
    if wrong or not columns or not description:
        raise ValueError(f"{path.name}: bad description or column {wrong[:1]}")
    return Schema(name, description, columns)


def is_table(name: str, path: str | os.PathLike) -> bool:
    """Whether a file is a table of that schema, so that a new one may replace it."""
    try:
        load(name).check(path)
    except (OSError, TableError):
        return False
    return True


def _column(row: Mapping[str, str]) -> Column:
    name = row["column"]
    return Column(
        name=name.strip("[]"),
        kind=row["kind"],
        decimals=int(row["decimals"]) if row["decimals"] else None,
        unit=row["unit"],
        empty=row["empty"],
        meaning=row["meaning"],
        low=float(row.get("low") or -math.inf),
        high=float(row.get("high") or math.inf),
        may_be_missing=name.startswith("["),
        is_rare=name.startswith("[["),
    )


def names() -> list[str]:
    """Names of all schemas, sorted."""
    return sorted(path.stem for path in _SCHEMAS_DIR.glob("*.csv"))


def _rounding(column: Column, is_input: bool) -> str:
    if column.is_text:
        return column.kind
    if column.kind == "flag":
        return "yes / no"
    if column.kind == "count":
        what = "whole number" if is_input else "whole; 2 decimals where averaged"
    elif column.decimals is None:
        what = "number"
    else:
        what = f"{column.decimals} decimals" if column.decimals != 1 else "1 decimal"
    return what + ("" if is_input else ";" if column.range_text else "") + column.range_text


def render_markdown() -> str:
    """The part of docs/OUTPUTS.md that lists tables and columns, first those we write, then those a user hands in."""
    schemas = [load(name) for name in names()]
    lines = []
    for schema in sorted(schemas, key=lambda schema: schema.is_input):
        title = f"Input: {schema.name.removeprefix(_INPUT)}" if schema.is_input else f"{schema.name}.csv"
        kind = "values" if schema.is_input else "rounding"
        lines += [f"## {title}", "", schema.description, ""]
        lines += [f"| column | unit | {kind} | empty | meaning |", "|---|---|---|---|---|"]
        for column in schema.columns:
            cells = [f"`{column.name}`", column.unit, _rounding(column, schema.is_input), column.empty, column.meaning]
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        lines.append("")
    return "\n".join(lines)


def render_document(text: str) -> str:
    """docs/OUTPUTS.md with the part after the marking comment rendered again; the text above it is kept."""
    head, mark, _ = text.partition(_MARK)
    if not mark:
        raise TableError(f"the document has no line {_MARK!r}, which says where the rendered part begins.")
    return f"{head}{_MARK}\n\n{render_markdown()}"


if __name__ == "__main__":
    document = pathlib.Path(sys.argv[1])
    atomic_write.write_text(document, render_document(document.read_text(encoding="utf-8")))

"""What every CSV of this package holds: column, kind, unit, rounding and meaning; one small table per file in schemas/.

`schemas/<file>.csv` is the only place where a column is described. Writers take the columns and the rounding from it
(`Schema.write`), tests hold written files against it (`Schema.check`), and docs/OUTPUTS.md is rendered from it:

    python -m tfod_csf.files.csv_schemas docs/OUTPUTS.md

A schema table has the columns
  column    name in the header; `score_<class>` stands for one column per class, in the order of the label map
  kind      text | flag (yes, no) | count (a whole number; two decimals where counts were averaged) | number
  decimals  of a number; empty for the other kinds
  unit      as printed in the documentation
  empty     "no" when the cell always holds a value, else what an empty cell means
  meaning   one sentence
and its first line, `#` and a sentence, says what the file is and which command writes it.
"""

import csv
import dataclasses
import decimal
import functools
import os
import pathlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tfod_csf.errors import UserError
from tfod_csf.files import atomic_write, csv_tables

_SCHEMAS_DIR = pathlib.Path(__file__).parent / "schemas"
_KINDS = ("text", "flag", "count", "number")
_PER_CLASS = "<class>"
_MARK = "<!-- everything below is rendered from tfod_csf/schemas/ -->"


class CsvSchemaError(UserError):
    """A table does not have the columns or values its schema promises."""


@dataclasses.dataclass(frozen=True)
class Column:
    """One column; see the module's docstring for the meaning of the fields."""

    name: str
    kind: str
    decimals: int
    unit: str
    empty: str
    meaning: str

    def cell_of(self, value: Any) -> str | decimal.Decimal | None:
        """The cell: rounded as the schema says; None and NaN are empty.

        Numbers leave as Decimal, which keeps "2.50" as it is and which the formula guard does not take for text.
        """
        if value is None or value != value:
            return None
        if self.kind == "flag":
            return "yes" if value else "no"
        if self.kind == "count":
            return decimal.Decimal(f"{value:.{0 if float(value).is_integer() else 2}f}")
        if self.kind == "number":
            return abs(number) if not (number := decimal.Decimal(f"{value:.{self.decimals}f}")) else number
        return str(value)

    def is_valid(self, text: str) -> bool:
        """Whether a cell's text is of this column's kind and rounding."""
        if text == "":
            return self.empty != "no"
        if self.kind == "text":
            return True
        if self.kind == "flag":
            return text in ("yes", "no")
        try:
            float(text)
        except ValueError:
            return False
        decimals = len(text.partition(".")[2])
        return decimals in (0, 2) if self.kind == "count" else decimals == self.decimals


@dataclasses.dataclass(frozen=True)
class Schema:
    """All columns of one CSV file."""

    name: str
    description: str
    columns: tuple[Column, ...]

    def columns_for(self, classes: Sequence[str] = ()) -> dict[str, Column]:
        """Columns in the order of the header; a `<class>` column is repeated for every class."""
        named = {}
        for column in self.columns:
            names = (
                [column.name.replace(_PER_CLASS, c) for c in classes] if _PER_CLASS in column.name else [column.name]
            )
            named.update(dict.fromkeys(names, column))
        return named

    def write(self, path: str | os.PathLike, rows: Iterable[Mapping[str, Any]], classes: Sequence[str] = ()) -> None:
        """Writes rows (a stream is fine) with this schema's columns and rounding; a missing key is an empty cell.

        Raises:
          ValueError: a row has a key the schema does not know.
        """
        columns = self.columns_for(classes)

        def rounded() -> Iterable[dict[str, Any]]:
            for row in rows:
                unknown = [key for key in row if key not in columns]
                if unknown:
                    raise ValueError(f"{self.name}.csv has no column {unknown[0]!r}")
                yield {name: column.cell_of(row.get(name)) for name, column in columns.items()}

        csv_tables.write_rows(path, tuple(columns), rounded())

    def check(self, path: str | os.PathLike, classes: Sequence[str] = ()) -> int:
        """Checks header and every cell of a written file; returns the number of rows.

        Raises:
          CsvSchemaError: names file, line, column and value.
        """
        columns = self.columns_for(classes)
        rows = csv_tables.read_rows(path, tuple(columns))
        with open(path, encoding="utf-8", newline="") as file:
            header = [csv_tables.unguard_text(name) for name in next(csv.reader(file))]
        if header != list(columns):
            raise CsvSchemaError(f"{path}: the header is {header}; expected {list(columns)}.")
        for line, row in enumerate(rows, start=2):
            for name, column in columns.items():
                if not column.is_valid(row[name]):
                    raise CsvSchemaError(
                        f"{path}, line {line}: {name} is {row[name]!r}; expected {column.kind}"
                        f"{f' with {column.decimals} decimals' if column.kind == 'number' else ''}."
                    )
        return len(rows)


@functools.cache
def load(name: str) -> Schema:
    """Schema of `<name>.csv`."""
    with open(_SCHEMAS_DIR / f"{name}.csv", encoding="utf-8", newline="") as file:
        description = file.readline().lstrip("#").strip()
        columns = tuple(
            Column(
                name=row["column"],
                kind=row["kind"],
                decimals=int(row["decimals"] or 0),
                unit=row["unit"],
                empty=row["empty"],
                meaning=row["meaning"],
            )
            for row in csv.DictReader(file)
        )
    wrong = [column.name for column in columns if column.kind not in _KINDS or not column.meaning]
    if wrong or not columns or not description:
        raise ValueError(f"schemas/{name}.csv: bad description or column {wrong[:1]}")
    return Schema(name, description, columns)


def names() -> list[str]:
    """Names of all described files, sorted."""
    return sorted(path.stem for path in _SCHEMAS_DIR.glob("*.csv"))


def _rounding(column: Column) -> str:
    return {
        "text": "text",
        "flag": "yes / no",
        "count": "whole; 2 decimals where averaged",
        "number": f"{column.decimals} decimals" if column.decimals != 1 else "1 decimal",
    }[column.kind]


def render_markdown() -> str:
    """The part of docs/OUTPUTS.md that lists files and columns."""
    lines = []
    for name in names():
        schema = load(name)
        lines += [f"## {name}.csv", "", schema.description, "", "| column | unit | rounding | empty | meaning |"]
        lines += ["|---|---|---|---|---|"]
        for column in schema.columns:
            cells = [f"`{column.name}`", column.unit, _rounding(column), column.empty, column.meaning]
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        lines.append("")
    return "\n".join(lines)


def render_document(text: str) -> str:
    """docs/OUTPUTS.md with its lower part, after the marking comment, rendered anew; the text above it is kept."""
    head, mark, _ = text.partition(_MARK)
    if not mark:
        raise CsvSchemaError(f"the document has no line {_MARK!r}; it says where the rendered part begins.")
    return f"{head}{_MARK}\n\n{render_markdown()}"


if __name__ == "__main__":
    document = pathlib.Path(sys.argv[1])
    atomic_write.write_text(document, render_document(document.read_text(encoding="utf-8")))

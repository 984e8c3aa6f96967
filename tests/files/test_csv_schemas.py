import math
import pathlib

import pytest

from tfod_csf.files import csv_schemas
from tfod_csf.files.csv_schemas import Column, Schema

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]

SCHEMA = Schema(
    "example",
    "An example.",
    (
        Column("id", "text", 0, "", "no", "Id."),
        Column("cells", "count", 0, "cells", "no", "Count."),
        Column("score_<class>", "number", 2, "", "not known", "Score."),
        Column("done", "flag", 0, "", "no", "Flag."),
    ),
)


def test_rounding_of_every_kind():
    cells, score = SCHEMA.columns[1], SCHEMA.columns[2]
    assert [str(cells.cell_of(value)) for value in (3, 3.0, 76.5, 76.666)] == ["3", "3", "76.50", "76.67"]
    assert [str(score.cell_of(value)) for value in (2.5, -3.256, -0.001)] == ["2.50", "-3.26", "0.00"]
    assert score.cell_of(None) is None
    assert score.cell_of(math.nan) is None


def test_written_table_passes_its_own_check_and_negative_numbers_stay_numbers(tmp_path):
    path = tmp_path / "example.csv"
    rows = [{"id": "=1+2", "cells": 4, "score_a": -1, "done": True}, {"id": "王", "cells": 0.5, "done": False}]
    SCHEMA.write(path, iter(rows), classes=["a", "b"])
    assert path.read_text(encoding="utf-8") == ("id,cells,score_a,score_b,done\n'=1+2,4,-1.00,,yes\n王,0.50,,,no\n")
    assert SCHEMA.check(path, classes=["a", "b"]) == 2


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("1,x,0.10,yes", "cells is 'x'"),
        ("1,1,0.1,yes", "score_a is '0.1'"),
        ("1,1,0.10,true", "done is 'true'"),
        (",1,0.10,yes", "id is ''"),
    ],
)
def test_check_names_line_column_and_value(tmp_path, line, part):
    path = tmp_path / "example.csv"
    path.write_text(f"id,cells,score_a,done\n{line}\n", encoding="utf-8")
    with pytest.raises(csv_schemas.CsvSchemaError, match=f"line 2: {part}"):
        SCHEMA.check(path, classes=["a"])


def test_unknown_key_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no column 'colour'"):
        SCHEMA.write(tmp_path / "example.csv", [{"colour": "red"}])


@pytest.mark.parametrize("name", csv_schemas.names())
def test_every_schema_file_loads(name):
    columns = csv_schemas.load(name).columns
    assert len({column.name for column in columns}) == len(columns)
    assert all(column.empty for column in columns), "say what an empty cell means, or no"


def test_documentation_is_rendered_from_the_schemas():
    text = (REPOSITORY / "docs" / "OUTPUTS.md").read_text(encoding="utf-8")
    assert text == csv_schemas.render_document(text), "run: python -m tfod_csf.files.csv_schemas docs/OUTPUTS.md"

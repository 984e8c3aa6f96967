import itertools
import math
import pathlib
import tracemalloc

import pytest

from tfod_csf.files import csv_schemas
from tfod_csf.files.csv_schemas import Column, Schema
from tfod_csf.files.csv_tables import TableError

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
# A table that a user hands in: any number of decimals, a range, a column that may be missing.
INPUT = Schema(
    "input_example",
    "An example.",
    (
        Column("id", "text", None, "", "not given", "Id."),
        Column("percent", "number", None, "%", "no", "Share.", low=0, high=100),
        Column("minutes", "number", None, "minutes", "not measured", "Time.", low=0),
        Column("n", "count", None, "", "assumed", "Cells.", low=1, may_be_missing=True),
    ),
)


def written(tmp_path, text):
    path = tmp_path / "example.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_rounding_of_every_kind():
    cells, score = SCHEMA.columns[1], SCHEMA.columns[2]
    assert [cells.cell_of(value) for value in (3, 3.0, 76.5, 76.666)] == ["3", "3", "76.50", "76.67"]
    assert [score.cell_of(value) for value in (2.5, -3.256, -0.001)] == ["2.50", "-3.26", "0.00"]
    tiny = Column("learning_rate", "number", 9, "", "no", "Rate.")
    assert [tiny.cell_of(value) for value in (1e-8, 0, -1e-12)] == ["0.000000010", "0.000000000", "0.000000000"]
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
    with pytest.raises(TableError, match=f"line 2: {part}"):
        SCHEMA.check(path, classes=["a"])


def test_unknown_key_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no column 'color'"):
        SCHEMA.write(tmp_path / "example.csv", [{"color": "red"}])


def test_a_written_table_is_read_back_with_its_kinds(tmp_path):
    path = tmp_path / "example.csv"
    rows = [
        {"id": "=王", "cells": 4, "score_b": -1.256, "done": True},
        {"id": "'=\r1", "cells": 76.666, "score_a": 0.5, "score_b": None, "done": False},
    ]
    SCHEMA.write(path, rows, classes=["b", "a"])
    first, second = SCHEMA.read(path)
    assert first == {"id": "=王", "cells": 4, "score_b": -1.26, "score_a": None, "done": True}
    assert second == {"id": "'=\r1", "cells": 76.67, "score_b": None, "score_a": 0.5, "done": False}
    assert [type(value) for value in first.values()] == [str, int, float, type(None), bool]
    assert (first.line, second.line) == (2, 3)
    assert SCHEMA.classes_in(path) == ("b", "a")
    assert SCHEMA.read_columns(path) == {
        "id": ["=王", "'=\r1"],
        "cells": [4, 76.67],
        "score_b": [-1.26, None],
        "score_a": [None, 0.5],
        "done": [True, False],
    }


def test_a_table_is_written_into_a_folder_under_its_schemas_name(tmp_path):
    SCHEMA.write_into(tmp_path / "new", [{"id": "a", "cells": 1, "score_x": 0.5, "done": True}], ["x"])
    assert (tmp_path / "new" / "example.csv").read_text(encoding="utf-8") == "id,cells,score_x,done\na,1,0.50,yes\n"


def test_no_row_one_row_and_rows_of_several_batches(tmp_path):
    path = written(tmp_path, "id,cells,score_x,done\n")
    assert list(SCHEMA.read(path)) == []
    assert SCHEMA.read_columns(path) == {"id": [], "cells": [], "score_x": [], "done": []}
    (row,) = SCHEMA.read(written(tmp_path, "id,cells,done\na,1,no"))
    assert row == {"id": "a", "cells": 1, "done": False}
    lines = [f"{n},{n},yes\n" for n in range(1000)]
    rows = list(SCHEMA.read(written(tmp_path, "id,cells,done\n" + "".join(lines))))
    assert [(row["id"], row["cells"], row.line) for row in rows] == [(str(n), n, n + 2) for n in range(1000)]


def test_the_columns_asked_for_are_read_and_others_need_not_be_right(tmp_path):
    path = written(tmp_path, "remark,done,score_b,id,score_a\n=x,perhaps,0.5,a,1\n")
    assert list(SCHEMA.read(path, ["score_<class>", "id"])) == [{"score_b": 0.5, "score_a": 1, "id": "a"}]
    assert SCHEMA.read_columns(path, ["id"]) == {"id": ["a"]}
    with pytest.raises(KeyError):
        list(SCHEMA.read(path, ["remark"]))


def test_a_stream_of_rows_needs_no_more_memory_for_a_longer_table(tmp_path):
    def peak(rows):
        path = tmp_path / "example.csv"
        SCHEMA.write(path, ({"id": f"image {n}", "cells": n, "done": True} for n in range(rows)))
        tracemalloc.start()
        assert sum(row["done"] for row in SCHEMA.read(path)) == rows
        largest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return largest

    peak(500)  # loads what is loaded once
    assert peak(8000) < 1.2 * peak(800)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a,,1,yes", r"example\.csv, line 3: cells is empty; expected a number \(cells\)\."),
        ("a,x,1,yes", r"line 3: cells is 'x'; expected a number \(cells\)\."),
        ("a,1,nan,yes", r"line 3: score_a is 'nan'; expected a number\."),
        ("a,1,-inf,yes", r"line 3: score_a is '-inf'; expected a number\."),
        ("a,1,1_5,yes", "line 3: score_a is '1_5'"),
        ('a,1,"1,5",yes', "line 3: score_a is '1,5'"),
        (f"a,{'9' * 400},1,yes", "line 3: cells is '999"),
        (f"a,{'9' * 5000},1,yes", "line 3: cells is '999"),
        ("a,1_0,1,yes", "line 3: cells is '1_0'"),
        ("a,1,1,Yes", r"line 3: done is 'Yes'; expected yes or no\."),
        (",1,1,yes", r"line 3: id is empty; expected a text\."),
        ("a,1,1", r"line 3: done is empty; expected yes or no\."),
        ("a,1,1,yes,more", r"line 3: 5 cells, but the header has 4; write a cell with a comma in it in double quotes"),
    ],
)
def test_a_wrong_cell_is_named_with_file_line_column_value_and_what_was_expected(tmp_path, line, message):
    path = written(tmp_path, f"id,cells,score_a,done\na,1,,yes\n{line}\nb,1,,no\n")
    with pytest.raises(TableError, match=message):
        list(SCHEMA.read(path))
    with pytest.raises(TableError, match=message):
        SCHEMA.read_columns(path)


def test_the_line_of_a_wrong_cell_counts_line_breaks_in_cells_and_blank_lines(tmp_path):
    path = written(tmp_path, 'id,cells,done\n"a\nb\nc",1,yes\n\nd,x,yes\n')
    with pytest.raises(TableError, match="line 6: cells is 'x'"):
        list(SCHEMA.read(path))


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("", "the file is empty; expected the columns id, cells, done"),
        ("id,done\n", r"column 'cells' is missing \(found: id, done\)"),
        ("id,cells,done,cells\n", "column 'cells' is there 2 times"),
        ("id,cells,score_a,done,score_a\n", "column 'score_a' is there 2 times"),
    ],
)
def test_a_wrong_header_is_refused(tmp_path, header, message):
    with pytest.raises(TableError, match=message):
        list(SCHEMA.read(written(tmp_path, header)))


def test_a_users_table(tmp_path):
    path = tmp_path / "example.csv"
    path.write_text("percent,remark,minutes,id\r\n 99.5 , ,1e2,\r\n0,x, ,'=a\r\n", encoding="utf-8-sig")
    rows = list(INPUT.read(path))
    assert rows == [{"id": "", "percent": 99.5, "minutes": 100}, {"id": "=a", "percent": 0, "minutes": None}]
    assert list(INPUT.read(written(tmp_path, "id,percent,minutes,n\n,1,,\n"))) == [
        {"id": "", "percent": 1, "minutes": None, "n": None}
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a,-0.1,1,1", r"percent is '-0\.1'; expected a number from 0 to 100 \(%\)\."),
        ("a,100.1,1,1", "percent is '100.1'; expected a number from 0 to 100"),
        ("a, ,1,1", "percent is empty; expected a number from 0 to 100"),
        ("a,1,-1,1", r"minutes is '-1'; expected a number >= 0 \(minutes\)\."),
        ("a,1,1,0", r"n is '0'; expected a number >= 1\."),
    ],
)
def test_a_value_outside_its_range(tmp_path, line, message):
    with pytest.raises(TableError, match=message):
        list(INPUT.read(written(tmp_path, f"id,percent,minutes,n\n{line}\n")))


def test_check_refuses_what_read_refuses(tmp_path):
    path = written(tmp_path, "id,percent,minutes,n\na,1.25,,7\n")
    assert INPUT.check(path) == 1
    for line in ("a,101,,7", "a,nan,,7", "a,1,,0", "a,1,,nan"):
        with pytest.raises(TableError, match="line 2: "):
            INPUT.check(written(tmp_path, f"id,percent,minutes,n\n{line}\n"))


TEXTS = ("=王", "+1", "-1", "@x", "'", "''=x", "a,b", 'a "b"', "two\nlines", "a\rb", "NA")


def example_values(column):
    """Values of a column that are written without loss, the last one an empty cell where it may be empty."""
    if column.is_text:
        values = list(TEXTS)
    elif column.kind == "flag":
        values = [True, False]
    else:
        low = max(column.low, 0)
        values = [low, min(column.high, low + 12)]
        values += [low + 0.25] if column.kind == "number" and (column.decimals is None or column.decimals >= 2) else []
        values += [low + 76.67] if column.kind == "count" and column.high > 100 else []
        values += [-3] if column.low < -3 else []
    return values + ([] if column.empty == "no" else ["" if column.is_text else None])


def test_columns_that_are_rarely_of_use_are_written_where_asked_for_and_may_be_missing(tmp_path):
    schema, path = csv_schemas.load("images"), tmp_path / "images.csv"
    row = {"patient_id": "p", "image": "a.tif", "status": "ok", "model": "m"}
    schema.write(path, [row])
    assert "tile_width" not in path.read_text(encoding="utf-8")
    assert schema.check(path) == 1
    assert next(schema.read(path, ["image", "tile_width"])) == {"image": "a.tif"}
    schema.write(path, [{**row, "tile_width": 100}], with_rare=True)
    assert schema.check(path) == 1
    assert next(schema.read(path, ["image", "tile_width"])) == {"image": "a.tif", "tile_width": 100}


@pytest.mark.parametrize("name", csv_schemas.names())
def test_every_schema_reads_what_it_writes(name, tmp_path):
    schema, classes, path = csv_schemas.load(name), ("lymphocyte", "=王"), tmp_path / "table.csv"
    columns = schema.columns_for(classes)
    cycles = {column: itertools.cycle(example_values(described)) for column, described in columns.items()}
    rows = [{column: next(values) for column, values in cycles.items()} for _ in range(len(TEXTS) + 1)]
    schema.write(path, rows, classes, with_rare=True)
    # Empty rows of a table that a user hands in are ignored.
    assert list(schema.read(path)) == [row for row in rows if not schema.is_input or any(row.values())]
    assert schema.check(path, classes) == len(rows)
    has_classes = any("<class>" in column.name for column in schema.columns)
    assert schema.classes_in(path) == (classes if has_classes else ())


@pytest.mark.parametrize("name", csv_schemas.names())
def test_every_schema_file_loads(name):
    columns = csv_schemas.load(name).columns
    assert len({column.name for column in columns}) == len(columns)
    assert all(column.empty for column in columns), "say what an empty cell means, or no"
    assert all(column.low <= column.high for column in columns)


def test_documentation_is_rendered_from_the_schemas():
    text = (REPOSITORY / "docs" / "OUTPUTS.md").read_text(encoding="utf-8")
    assert text == csv_schemas.render_document(text), "run: python -m tfod_csf.files.csv_schemas docs/OUTPUTS.md"


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("image", "../../PWNED", "a path inside the folder"),
        ("image", "/etc/passwd", "a path inside the folder"),
        ("image", "c:/a.jpg", "a path inside the folder"),
        ("model", "../m", "a plain name"),
        ("model", "m/n", "a plain name"),
    ],
)
def test_a_path_in_a_table_that_leads_out_of_its_folder_is_refused(tmp_path, column, value, expected):
    cells = {"patient_id": "p", "image": "day1/a.jpg", "status": "ok", "model": "m", column: value}
    path = written(tmp_path, ",".join(cells) + "\n" + ",".join(cells.values()) + "\n")
    with pytest.raises(TableError, match=f"line 2: {column} is '{value}'; expected {expected}"):
        list(csv_schemas.load("images").read(path, list(cells)))


def test_every_column_that_names_an_image_is_a_path():
    for name in csv_schemas.names():
        for column in csv_schemas.load(name).columns:
            if column.name in ("image", "filename") and not name.startswith("input_"):
                assert column.kind == "path", name

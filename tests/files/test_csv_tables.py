import os
import re

import pytest

from tfod_csf.files import csv_tables
from tfod_csf.files.csv_tables import TableError, WrittenNumber

# Text beside what is in the file: a spreadsheet runs what begins with =, +, -, @ (wide too) or
# a control character as a formula.
GUARDED = {
    "=王": "'=王",
    "+1": "'+1",
    "-1": "'-1",
    "@x": "'@x",
    "\tx": "'\tx",
    "\rx": "'\rx",
    "\nx": "'\nx",
    "＝1+1": "'＝1+1",
    "＋1": "'＋1",
    "－1": "'－1",
    "＠x": "'＠x",
    "''＝1": "'''＝1",
    "'=1": "''=1",
    "''@": "'''@",
    "'": "'",
    "'x": "'x",
    "x=1": "x=1",
    "": "",
    '"quoted"': '"quoted"',
    "a,b": "a,b",
    "two\nlines": "two\nlines",
    "two\r\nlines": "two\r\nlines",
    "a\rb": "a\rb",
    " blank ": " blank ",
    "NA": "NA",
    "1_5": "1_5",
    "﻿mark": "﻿mark",
}


def write(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


def message_of(path, *columns):
    with pytest.raises(TableError) as error:
        csv_tables.read_rows(path, columns)
    return str(error.value)


@pytest.mark.parametrize(("text", "guarded"), GUARDED.items())
def test_a_guard_is_put_on_and_taken_off(text, guarded):
    assert csv_tables.guard_text(text) == guarded
    assert csv_tables.unguard_text(guarded) == text


def test_every_text_comes_back_from_a_file(tmp_path):
    path = tmp_path / "a.csv"
    rows = [{"a": text, "=b": "end"} for text in GUARDED]
    csv_tables.write_rows(path, ("a", "=b"), rows)
    assert csv_tables.read_rows(path, ("a", "=b")) == rows
    assert path.read_bytes().startswith("a,'=b\n'=王,end\n".encode())


def test_written_cells(tmp_path):
    path = tmp_path / "a.csv"
    csv_tables.write_rows(path, ("a", "b", "c"), [{"c": -1.5, "a": "-1.5"}, {"b": None, "c": WrittenNumber("-1.50")}])
    assert path.read_text(encoding="utf-8") == "a,b,c\n'-1.5,,-1.5\n,,-1.50\n"


def test_an_unknown_column_is_refused_and_the_old_file_stays(tmp_path):
    path = write(tmp_path / "a.csv", "old")
    with pytest.raises(ValueError, match=r"a\.csv: the table has no column 'color'"):
        csv_tables.write_rows(path, ("a",), [{"a": 1}, {"color": 2}])
    assert path.read_text(encoding="utf-8") == "old"


def test_empty_file_header_only_and_one_row(tmp_path):
    assert csv_tables.read_rows(write(tmp_path / "empty.csv", "")) == []
    assert message_of(tmp_path / "empty.csv", "a", "b").endswith("the file is empty; expected the columns a, b.")
    assert csv_tables.read_rows(write(tmp_path / "header.csv", "a,b\n"), ("a", "b")) == []
    assert csv_tables.read_rows(write(tmp_path / "one.csv", "a,b\n1,2"), ("b",)) == [{"a": "1", "b": "2"}]


def test_a_byte_order_mark_and_windows_line_ends_are_accepted(tmp_path):
    path = write(tmp_path / "a.csv", "patient_id,n\r\n王,3\r\n", "utf-8-sig")
    assert csv_tables.read_rows(path, ("patient_id", "n")) == [{"patient_id": "王", "n": "3"}]


def test_short_rows_blank_lines_and_empty_cells_at_the_end(tmp_path):
    path = write(tmp_path / "a.csv", "a,b\n1\n\n2,3,, \n")
    assert csv_tables.read_rows(path) == [{"a": "1", "b": ""}, {"a": "2", "b": "3"}]


def test_lines_are_those_of_the_file(tmp_path):
    header, rows = csv_tables.read_lines(write(tmp_path / "a.csv", 'a,b\n1,"x\ny\r\nz"\n\n2,\n'))
    assert header == ["a", "b"]
    assert list(rows) == [(2, ["1", "x\ny\r\nz"]), (6, ["2", ""])]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a,c\n1,2\n", r"a\.csv: column 'b' is missing \(found: a, c\); expected the columns a, b\."),
        (b"a;b\n1;2\n", r"column 'a' is missing \(found: a;b\).* separated by semicolons: save them with commas\."),
        (b"a\tb\n1\t2\n", r"column 'a' is missing .* separated by tabs"),
        (b"a,b,b\n1,2,3\n", r"column 'b' is there 2 times; keep one\."),
        (b"a,b\n1,2\n1,2,5\n", r"a\.csv, line 3: 3 cells, but the header has 2; write a cell with a comma"),
        (b'a,b\n1,2\n"1,2\n3,4\n', r"a\.csv, line 3: not CSV"),
        (b'a,b\n1,"2"3\n', r"a\.csv, line 2: not CSV"),
        (b"a,b\n" + b"1,2\n" * 9000 + b"\xb5,2\n", r"a\.csv, line 9002: not UTF-8; save it as 'CSV UTF-8'\."),
        ("a,b\n1,2\n".encode("utf-16"), r"a\.csv, line 1: not UTF-8"),
    ],
)
def test_tables_that_cannot_be_used_are_one_sentence(tmp_path, content, message):
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    assert re.search(message, message_of(path, "a", "b"))


def test_no_file_and_a_folder(tmp_path):
    assert message_of(tmp_path / "a.csv").endswith("a.csv: no such file.")
    assert "cannot be read" in message_of(tmp_path)


@pytest.mark.parametrize(("text", "value"), [("1", 1), (" 2.50 ", 2.5), ("-1e3", -1000), ("0", 0)])
def test_numbers(text, value):
    assert csv_tables.number(text) == value


@pytest.mark.parametrize("text", ["", " ", "x", "1,5", "nan", "inf", "-Infinity", "1e999", "1_5", "5%"])
def test_what_is_not_a_finite_number(text):
    with pytest.raises(ValueError, match=r"not a finite number|could not convert"):
        csv_tables.number(text)


def test_changed_cells_get_a_guard_and_the_others_keep_theirs():
    text = 'id,note\nx1,\'=x1\nx2,"a,b"\n'
    assert csv_tables.map_cells(text, lambda cell: cell.replace("x1", "=王")) == "id,note\n'=王,'==王\nx2,\"a,b\"\n"
    assert csv_tables.map_cells("", str) == ""
    assert csv_tables.map_cells('a,"b\rc"\n', str.upper) == '"A","B\rC"\n'


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a,b\n1,\0\n", "line 2: not CSV (a NUL character"),
        ("a,b\n1,2\n".encode("utf-16"), "line 1: not UTF-8"),
        ("a,b\n1,2\n".encode("utf-16-le"), "line 1: not CSV (a NUL character"),
        (b"a,b\n" + b"1,2\n" * 50_000 + b"\xff,2\n", "line 50002: not UTF-8"),
        (b"," * 1_000_001, "line 1: not CSV (more than 1,000,000 characters"),
        (b"a,b\n1," + b"x" * 10_000_000, "line 2: not CSV (more than 1,000,000 characters"),
        (b"a,b\n1," + b"x" * 900_000, "line 2: not CSV (field larger than field limit"),
        (b'a,b\n1,"2\n3,4\n', "line 2: not CSV (a quotation mark is not closed"),
        (b"c" * 5000 + b",b\n1,2\n", "column 'a' is missing (found: ccccc"),
    ],
    ids=["NUL", "UTF-16", "UTF-16 without mark", "late byte", "million columns", "10 MB", "long", "quote", "header"],
)
def test_damaged_or_hostile_tables_are_one_short_sentence(tmp_path, content, said):
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(TableError) as error:
        csv_tables.read_rows(path, ["a"])
    assert said in str(error.value)
    assert len(str(error.value)) < len(str(path)) + 500


def test_line_ends_may_be_mixed(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbfa,b\r\n1,2\n3,4\r5,6")
    assert [row["a"] for row in csv_tables.read_rows(path)] == ["1", "3", "5"]


def test_a_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / "a.csv")
    with pytest.raises(TableError, match="is a named pipe"):
        csv_tables.read_rows(tmp_path / "a.csv")

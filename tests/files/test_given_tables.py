import logging
import math

import pytest

from tfod_csf.files import csv_schemas, given_tables
from tfod_csf.files.csv_tables import TableError


def written(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "table.csv"
    path.write_bytes(text.encode(encoding))
    return path


def counts(path):
    """{patient: cells per uL} of a table of patients."""
    return {row["patient_id"]: row["cells_per_ul"] for row in csv_schemas.load("input_patient_table").read(path)}


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("patient_id,cells_per_ul\na,3\nMüller,120.5\n", "utf-8"),
        ("patient_id;cells_per_ul\r\na;3\r\nMüller;120,5\r\n", "utf-8-sig"),
        ("patient_id\tcells_per_ul\ra\t3\rMüller\t120,5\r", "utf-16"),
        ('sep=;\npatient_id;cells_per_ul\n"a";3\n"Müller";"120,5"\n;\n\n;\n', "utf-8"),
        ('"sep=\t"\r\nPatient_ID\tCells per uL\na\t3\nMüller\t120.5\n', "utf-8"),
        (
            "# of the laboratory, 2024\npatient_id,cells_per_ul\na,3\npatient_id,cells_per_ul\nMüller ,120.5\n,\n",
            "utf-8",
        ),
        ('"Patient-ID", CELLS_PER_UL\n\u00a0a\u00a0,\u20093\nMüller,"120,5"\n', "utf-8"),
    ],
    ids=["plain", "semicolons", "UTF-16 and tabs", "sep", "sep tab", "comment and header twice", "blanks and capitals"],
)
def test_one_table_in_the_ways_that_spreadsheets_save_it(tmp_path, text, encoding):
    assert counts(written(tmp_path, text, encoding)) == {"a": 3, "Müller": 120.5}


def test_a_table_without_known_columns(tmp_path):
    table = given_tables.read(written(tmp_path, "image_1;image_2\n'=a ; b\n;\n"))
    assert (table.header, list(table.lines)) == (["image_1", "image_2"], [(2, ["'=a ", " b"])])
    assert [given_tables.text(cell) for cell in ("'=a ", "\u00a0b\ufeff", " ")] == ["=a", "b", ""]
    empty = given_tables.read(written(tmp_path, ""))
    assert (empty.header, list(empty.lines)) == ([], [])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 234", 1234),
        ("1\u202f234,5", 1234.5),
        ("12\u00a0345", 12345),
        ("1'234.5", 1234.5),
        ("1.234,5", 1234.5),
        ("1,234.5", 1234.5),
        ("1.234.567", 1234567),
        ("0,125", 0.125),
        ("12,34", 12.34),
        ("-0,5", -0.5),
        ("1e3", 1000),
    ],
)
def test_numbers_with_one_reading(text, value):
    for may_have_commas in (True, False) if text != "1.234.567" else (True,):
        table = given_tables.GivenTable([], iter(()), may_have_commas)
        assert float(table.plain_number(text, False, -math.inf, math.inf)) == value


def test_a_point_in_a_table_with_commas_is_a_decimal_as_ever():
    assert given_tables.GivenTable([], iter(()), False).plain_number("1.234", False, 0, math.inf) == "1.234"


def test_of_two_readings_the_one_within_the_range_is_meant(tmp_path):
    table = given_tables.GivenTable([], iter(()), True)
    assert table.plain_number("12,345", False, 0, 100) == "12.345"
    assert table.plain_number("4,500", False, 20, math.inf) == "4500"
    for text in ('patient_id,cells_per_ul\na,"1,234"\n', "patient_id;cells_per_ul\na;1.234\n"):
        with pytest.raises(
            TableError, match=r"line 2: cells_per_ul is '1.234'; expected 1234 or 1\.234, without a sep"
        ):
            counts(written(tmp_path, text))


@pytest.mark.parametrize("cell", ["<1", "n/a", "3 cells", "5 %", "1,2,3", "1,23,456", "3-5", "~3", "1_5", "--", "?"])
def test_what_is_not_a_number_is_refused_with_its_line(tmp_path, cell):
    with pytest.raises(TableError, match=r"line 3: cells_per_ul is .*; expected a number >= 0 \(cells per uL\)"):
        counts(written(tmp_path, f'patient_id,cells_per_ul\na,1\nb,"{cell}"\n'))


def test_a_percent_sign_belongs_to_a_column_in_percent(tmp_path):
    path = written(tmp_path, "patient_id;lymphocyte;monocyte;neutrophil\na;70 %;20,5%;9,5\n")
    (row,) = csv_schemas.load("input_hospital_percent").read(path)
    assert (row["lymphocyte"], row["monocyte"], row["neutrophil"]) == (70, 20.5, 9.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("patient_id,cells_per_ul,Cells per uL\na,3,3000\n", r"column 'cells_per_ul' is there 2 times; keep one\."),
        ('patient_id,cells_per_ul,note\na,3,"bloody\nb,120,\n', "line 2: not CSV .a quotation mark is not closed"),
        ('patient_id,cells_per_ul,note\na,3,"bloody\nb,120,\nc,4,clear"\n', "line 2: a cell continues over lines that"),
        ('patient_id;cells_per_ul;note\na;3;"bloody\nb;120;\nc;4;"clear\n', "line 2: not CSV"),
        ("patient_id|cells_per_ul\na|3\n", "column 'patient_id' is missing"),
        (" ,\n,\n", "column 'patient_id' is missing"),
    ],
)
def test_what_is_refused(tmp_path, text, message):
    with pytest.raises(TableError, match=message):
        counts(written(tmp_path, text))


def test_a_note_of_two_lines_is_a_note(tmp_path):
    assert counts(written(tmp_path, 'patient_id,cells_per_ul,note\na,3,"bloody,\nagain"\nb,4,\n')) == {"a": 3, "b": 4}


def test_another_encoding_is_named(tmp_path):
    with pytest.raises(TableError, match="line 3: not UTF-8; save it as 'CSV UTF-8'"):
        counts(written(tmp_path, "patient_id,cells_per_ul\na,1\nMüller,2\n", "cp1252"))


def test_a_column_that_may_be_mistyped_is_said(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        counts(written(tmp_path, "patient_id,cells_per_ul,colected_at,age\na,1,2024-01-05,3\n"))
    (record,) = caplog.records
    assert "the column 'colected_at' is not read; if it is meant to be 'collected_at', rename it" in record.getMessage()

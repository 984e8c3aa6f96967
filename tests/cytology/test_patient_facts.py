"""The table of patients: its columns, what it refuses, and the white cells that came with the blood."""

import pytest

from tfod_csf.cytology import patient_facts
from tfod_csf.cytology.patient_facts import PatientFacts
from tfod_csf.files.csv_tables import TableError


@pytest.fixture
def table(tmp_path):
    def write(text):
        path = tmp_path / "patients.csv"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_a_table_of_two_columns_stays_valid(table):
    found = patient_facts.read_patient_table(table("\ufeffpatient_id,cells_per_ul,age\n'=b,12.5,3\nc,,4\n"))
    assert found == {"=b": PatientFacts(12.5), "c": PatientFacts()}


def test_all_columns(table):
    text = (
        "patient_id,sample_id,collected_at,operator,cells_per_ul,csf_erythrocytes_per_ul,blood_white_cells_per_ul,"
        "blood_erythrocytes_per_ul\n王伟,S 1,2022-01-24,Wu  Li,180,100000,4500,4600000\n"
    )
    expected = PatientFacts(180, "S 1", "2022-01-24", "Wu Li", 100_000, 4_500, 4_600_000)
    assert patient_facts.read_patient_table(table(text)) == {"王伟": expected}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2022-01-24", "2022-01-24"),
        ("2022-01-24T13:05Z", "2022-01-24T13:05:00Z"),
        ("2022-01-24T13:05:06.25-05:30", "2022-01-24T13:05:06.25-05:30"),
        ("2022-01-24T13:05+0800", "2022-01-24T13:05:00+08:00"),
        ("2022-01-24T130506+08", "2022-01-24T13:05:06+08:00"),
        ("2022-W04-1", None),
        ("2022-01-24T13:05", None),
        ("2022-01-24T25:05Z", None),
        ("2022-01-24T13:05+08:00:30", None),  # nobody's zone has seconds
        ("2022-01-24T13:05+15:00", None),  # the farthest is +14:00
        ("2022-01-24T13:05+08:60", None),
        ("２０２２-01-24", None),
        ("24.01.2022", None),
    ],
)
def test_times_are_written_as_other_programs_read_them(text, expected):
    assert patient_facts.full_time(text) == expected


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("patient_id,cells_per_ul\na,many\n", "line 2: cells_per_ul is 'many'"),
        ("patient_id,cells_per_ul\na,-1\n", r"line 2: cells_per_ul is '-1'; expected a number >= 0 \(cells per uL\)"),
        ("patient_id,cells\na,1\n", "column 'cells_per_ul' is missing"),
        ("patient_id,cells_per_ul\na,\na,2\n", "line 3: patient 'a' is there twice"),
        ("patient_id,cells_per_ul\na,1\na,2\n", "line 3: patient 'a' is there twice"),
        ("patient_id,cells_per_ul,collected_at\na,1,24.01.2022\n", "line 2: collected_at is '24.01.2022'; expected"),
        ("patient_id,cells_per_ul,collected_at\na,1,2022-02-30\n", "line 2: collected_at is '2022-02-30'"),
        ("patient_id,cells_per_ul,collected_at\na,1,2022-01-24T13:05\n", "a time with its zone"),
        # A blood count in millions would make the correction a million times too large.
        ("patient_id,cells_per_ul,blood_erythrocytes_per_ul\na,1,4.5\n", "is '4.5'; expected a number >= 100000"),
    ],
)
def test_what_is_refused(table, rows, message):
    with pytest.raises(TableError, match=message):
        patient_facts.read_patient_table(table(rows))


def test_white_cells_that_came_with_the_blood():
    # 100,000 x 4,500 / 4,600,000 = 97.83 of 180.
    facts = PatientFacts(180, "", "", "", 100_000, 4_500, 4_600_000)
    assert facts.white_cells_from_blood_per_ul == pytest.approx(97.826, abs=1e-3)
    assert facts.corrected_cells_per_ul == pytest.approx(82.174, abs=1e-3)
    # More was brought than was counted: nothing is left.
    assert PatientFacts(50, "", "", "", 100_000, 4_500, 4_600_000).corrected_cells_per_ul == 0
    assert PatientFacts(None, "", "", "", 100_000, 4_500, 4_600_000).corrected_cells_per_ul is None
    assert PatientFacts(50, "", "", "", 100_000, 4_500, None).corrected_cells_per_ul is None


def test_rows_about_nobody_are_said():
    facts = {name: PatientFacts() for name in ("a", "b", "c", "d", "e")}
    assert patient_facts.of_run("t.csv", facts, ["a", "b", "c", "d", "e"]) == (facts, "")
    found, said = patient_facts.of_run("t.csv", facts, ["a", "x"])
    assert found == {"a": PatientFacts()}
    assert said == (
        "t.csv: 4 of 5 patients not in the run and not used ('b', 'c', 'd', ...).\n"
        "t.csv: no row for 1 of 2 patients of the run ('x')."
    )
    with pytest.raises(TableError, match=r"no patient in it \('a', 'b', 'c', ...\) is in the run, which has 'x'"):
        patient_facts.of_run("t.csv", facts, ["x"])
    assert patient_facts.of_run("t.csv", {}, ["x"]) == ({}, "t.csv: no row for 1 of 1 patient of the run ('x').")


def test_ids_that_a_spreadsheet_or_a_mac_wrote_differently():
    one, two = PatientFacts(1), PatientFacts(2)
    composed, separate = "M\u00fcller", "Mu\u0308ller"
    assert patient_facts.of_run("t.csv", {composed: one, " 2 ": two}, [separate, "2"]) == (
        {separate: one, "2": two},
        "",
    )
    with pytest.raises(TableError, match=r"'7\.0' may be '007', '8' may be '008': write them the same way"):
        patient_facts.of_run("t.csv", {"7.0": one, "8": two}, ["007", "008"])
    with pytest.raises(TableError, match="is there twice"):
        patient_facts.of_run("t.csv", {composed: one, f"{composed} ": two}, [separate])

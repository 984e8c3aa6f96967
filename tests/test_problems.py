import logging

import pytest

from tfod_csf.files import csv_schemas
from tfod_csf.problems import Problem, ProblemLog, StrictProblemError, TooManySkippedError


def some_problems(**arguments) -> ProblemLog:
    problems = ProblemLog(**arguments)
    problems.skipped("a.jpg", "the box [1, 2, 3.5, 4] has no area", "Draw it again.", "object 2 (cell)")
    problems.skipped("b.jpg", "the box [7, 8, 9, 10] has no area", "Draw it again.", "object 1 (cell)")
    problems.skipped("b.jpg", "truncated", "Copy it again.")
    problems.mended("c.xml", "class 'RBC2' read as 'rbc'", item="class RBC2", count=3)
    problems.noted("d.xml", "odd")
    return problems


def test_counts_summary_and_whole_files():
    problems = some_problems(quiet=True)
    assert problems.summary() == "5 problems: 3 skipped, 1 mended, 1 noted"
    assert problems.skipped_files() == {"b.jpg"}
    assert ProblemLog().summary() == "no problems"


def test_table_joins_reasons_that_differ_in_numbers_only():
    assert some_problems(quiet=True).table().splitlines() == [
        "skipped       2  the box [#, #, #, #] has no area",
        "skipped       1  truncated",
        "mended        3  class 'RBC2' read as 'rbc'",
        "noted         1  odd",
    ]
    assert ProblemLog().table() == "nothing was skipped or mended"
    many = ProblemLog(quiet=True)
    many.extend(Problem("f", "", "skipped", f"reason {letter}", "") for letter in "abcde")
    assert many.table(max_rows=2).splitlines()[-1] == "... and 3 more reasons, see problems.csv"


def test_quiet_writes_no_log_lines(caplog):
    with caplog.at_level(logging.WARNING, logger="tfod_csf"):
        some_problems(quiet=True)
        assert caplog.text == ""
        some_problems()
    assert "c.xml, class RBC2: mended: 3 times: class 'RBC2' read as 'rbc'." in caplog.text


def test_strict_stops_at_the_first_skipped_or_mended_but_not_at_a_note():
    problems = ProblemLog(strict=True, quiet=True)
    problems.noted("a", "odd")
    with pytest.raises(StrictProblemError, match=r"b: mended: turned\. .*--strict"):
        problems.extend([Problem("b", "", "mended", "turned", ""), Problem("c", "", "skipped", "x", "")])
    assert len(problems.problems) == 2


def test_written_table_follows_its_schema(tmp_path):
    some_problems(quiet=True).write_csv(tmp_path / "problems.csv")
    assert csv_schemas.load("problems").check(tmp_path / "problems.csv") == 5
    ProblemLog().write_csv(tmp_path / "none.csv")
    assert csv_schemas.load("problems").check(tmp_path / "none.csv") == 0


def test_a_written_table_is_read_back(tmp_path):
    written, read = some_problems(quiet=True), ProblemLog(quiet=True)
    written.write_csv(tmp_path / "problems.csv")
    read.read_csv(tmp_path / "absent.csv")
    assert read.problems == []
    read.read_csv(tmp_path / "problems.csv")
    assert read.problems == written.problems


def test_too_many_skipped():
    problems = ProblemLog()
    problems.check_skipped_files(1, 10, 0.1, "--max_skipped_fraction")
    problems.check_skipped_files(0, 0, 0.1, "--max_skipped_fraction")
    with pytest.raises(TooManySkippedError, match=r"2 of 10 files .* --max_skipped_fraction"):
        problems.check_skipped_files(2, 10, 0.1, "--max_skipped_fraction")

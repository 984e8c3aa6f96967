import math

import numpy as np
import pytest

from tfod_csf.commands import command_line
from tfod_csf.cytology.counting import cohort
from tfod_csf.cytology.run_tables import TableError
from tfod_csf.cytology.studies.repeatability import repeatability_tables
from tfod_csf.cytology.studies.repeatability.repeatability_tables import Result, component_rows, fields_variance
from tfod_csf.files import csv_schemas, csv_tables
from tfod_csf.problems import ProblemLog

NO_FIELDS = np.full(3, math.nan)


def result(sample, percents, cells=100, **labels):
    return Result(sample, labels, np.array(percents, float) * cells / 100, NO_FIELDS)


def by_place(rows):
    return {(row["sample"], row["class"], row["component"]): row for row in rows}


def test_spread_between_fields_by_hand():
    # Images of 10 cells: 8, 4 and 6 lymphocytes; p = 0.6: residuals 2, -2, 0: 3 / 2 * 8 / 900 = 1 / 75 of a share.
    counts = np.array([[8, 2, 0], [4, 6, 0], [6, 4, 0]])
    assert fields_variance(counts) == pytest.approx([1e4 / 75, 1e4 / 75, 0])
    assert np.isnan(fields_variance(counts[:1])).all()
    assert np.isnan(fields_variance(np.zeros((4, 3)))).all()


def test_spread_between_fields_is_the_binomial_one_for_independent_cells():
    rng = np.random.default_rng(0)
    found = np.mean([fields_variance(rng.multinomial(20, [0.5, 0.3, 0.2], 15)) for _ in range(800)], axis=0)
    assert found == pytest.approx(1e4 * np.array([0.25, 0.21, 0.16]) / 300, rel=0.05)


def test_components_by_hand():
    # Two days of two slides: lymphocytes 50, 54 and 60, 64: slides within days 8, days 57 and 52: (100 - 8) / 2.
    days = {"mon": (50, 54), "tue": (60, 64)}
    results = [
        result("s", (p, 100 - p, 0), day=day, slide=str(slide))
        for day, percents in days.items()
        for slide, p in enumerate(percents)
    ]
    rows = by_place(component_rows([*results, result("once", (90, 10, 0), day="mon")]))
    assert {sample for sample, _, _ in rows} == {"s"}
    assert rows["s", "lymphocyte", "slide"]["sd_points"] == pytest.approx(math.sqrt(8))
    assert rows["s", "lymphocyte", "day"]["sd_points"] == pytest.approx(math.sqrt(46))
    total = rows["s", "lymphocyte", "within_laboratory"]
    assert total["sd_points"] == pytest.approx(math.sqrt(54))
    # 57 % of 100 cells each: sqrt(57 * 43 / 100) = 4.95 points by counting alone, more than the slides differ.
    slide = rows["s", "lymphocyte", "slide"]
    assert slide["sd_counting_points"] == total["sd_counting_points"] == pytest.approx(math.sqrt(57 * 43 / 100))
    # Chi-square 2 * 8 / 24.51 = 0.6528 on 2 degrees of freedom: p = exp(-0.3264).
    assert slide["note"] == "counting alone explains it (p = 0.72)"
    assert "sd_counting_points" not in rows["s", "lymphocyte", "day"]
    assert rows["s", "neutrophil", "slide"]["note"] == ""


def test_samples_together_are_each_about_their_own_mean():
    results = [result("s", (50, 50, 0)), result("s", (54, 46, 0)), result("t", (90, 10, 0)), result("t", (96, 4, 0))]
    rows = by_place(component_rows(results))
    assert rows["all", "lymphocyte", "repeat"]["sd_points"] == pytest.approx(math.sqrt((8 + 18) / 2))
    assert rows["t", "lymphocyte", "repeat"]["sd_points"] == pytest.approx(math.sqrt(18))
    assert rows["all", "lymphocyte", "repeat"]["results"] == 4


def test_nothing_measured_twice(tmp_path):
    with pytest.raises(TableError, match="none of 1 samples was measured twice"):
        repeatability_tables.write_repeatability(tmp_path, [result("s", (50, 50, 0))])
    assert not list(tmp_path.iterdir())


def test_command_on_counts_of_a_table(tmp_path, capsys):
    lines = ["sample,day,slide,lymphocyte,monocyte,neutrophil"]
    lines += [
        f"{sample},{day},{slide},{60 + day * 8 + slide},{30 - slide},{10}"
        for sample in ("A", "B")
        for day in (0, 1)
        for slide in (1, 2, 3)
    ]
    (tmp_path / "t.csv").write_text("\n".join([*lines, "A,1,4,3,2,1"]) + "\n", encoding="utf-8")
    flags = [f"--table={tmp_path / 't.csv'}", f"--output_dir={tmp_path / 'out'}"]
    assert command_line.main(["repeatability", *flags]) == 0, capsys.readouterr().err
    printed = capsys.readouterr().out
    assert "12 results of all samples; 1 problem: 1 skipped" in printed
    assert csv_schemas.load("repeatability").check(tmp_path / "out" / "repeatability.csv") == 27
    rows = by_place(csv_tables.read_rows(tmp_path / "out" / "repeatability.csv"))
    assert ("A", "lymphocyte", "day") in rows
    assert rows["A", "lymphocyte", "slide"]["sd_fields_points"] == ""
    assert (tmp_path / "out" / "repeatability.png").stat().st_size > 10_000
    assert "6 white cells are fewer than 30" in (tmp_path / "out" / "problems.csv").read_text(encoding="utf-8")
    assert command_line.main(["repeatability", *flags, "--levels=slide"]) == 0
    rows = by_place(csv_tables.read_rows(tmp_path / "out" / "repeatability.csv"))
    assert ("A", "lymphocyte", "day") not in rows


def write_runs(tmp_path, write_patient):
    for run, more in (("one", 0), ("two", 2)):
        for patient, lymphocytes in (("a", 20), ("b", 30)):
            images = [{"lymphocyte": lymphocytes + more, "monocyte": 10}] * 3
            write_patient(tmp_path / run / "patients" / patient, patient, images)
        cohort.write_differentials(tmp_path / run, tmp_path / run)
    return [f"--run={tmp_path / run}" for run in ("one", "two")] + [f"--output_dir={tmp_path / 'out'}"]


def test_command_on_two_runs_without_a_table(tmp_path, write_patient, capsys):
    assert command_line.main(["repeatability", *write_runs(tmp_path, write_patient)]) == 0, capsys.readouterr().err
    rows = by_place(csv_tables.read_rows(tmp_path / "out" / "repeatability.csv"))
    # Patient a: 66.667 and 68.750 % lymphocytes: standard deviation of the difference / sqrt(2).
    expected = (68.75 - 200 / 3) / math.sqrt(2)
    assert float(rows["a", "lymphocyte", "run"]["sd_points"]) == pytest.approx(expected, abs=1e-3)
    # Images that are all the same: other fields would give the same.
    assert rows["a", "lymphocyte", "run"]["sd_fields_points"] == "0.000"


def test_patients_beyond_the_limit_of_unknown_cells_are_noted(tmp_path, write_patient, capsys):
    flags = write_runs(tmp_path, write_patient)
    table = tmp_path / "two" / "differentials.csv"
    rows = csv_tables.read_rows(table)
    rows[1] |= {"unknown_white_percent": "12.34", "unknown_beyond_limit": "yes"}
    csv_tables.write_rows(table, list(rows[0]), rows)
    (tmp_path / "one" / "differentials.csv").unlink()
    assert command_line.main(["repeatability", *flags]) == 0
    assert "2 problems: 2 noted" in capsys.readouterr().out
    missing, beyond = csv_tables.read_rows(tmp_path / "out" / "problems.csv")
    assert missing["reason"].startswith("no such file")
    assert (beyond["item"], beyond["reason"]) == (
        "b",
        "12.3 % of the white cells are unknown: percentages not to be relied on",
    )


def test_command_on_runs_with_a_table(tmp_path, write_patient, capsys):
    flags = write_runs(tmp_path, write_patient)
    table = tmp_path / "t.csv"
    table.write_text("sample,patient_id,run,day\nX,a,one,1\nX,b,one,2\nX,a,two,1\n", encoding="utf-8")
    assert command_line.main(["repeatability", *flags, f"--table={table}", "--levels=day"]) == 0, (
        capsys.readouterr().err
    )
    assert "1 noted" in capsys.readouterr().out
    rows = by_place(csv_tables.read_rows(tmp_path / "out" / "repeatability.csv"))
    assert [name for _, kind, name in rows if kind == "monocyte"] == ["day", "repeat", "within_laboratory"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sample,patient_id\nX,nobody\n", "line 2: patient 'nobody' is in none of the runs"),
        ("sample,patient_id\nX,a\n", "patient 'a' is in several of the runs"),
        ("sample,patient_id,run\nX,a,three\n", "is in none of the runs three"),
        ("sample,patient_id,run\nX,a,one\nX,a,one\n", "line 3: 'a' of run .*one is there twice"),
        ("sample,patient_id\n", "no result in it"),
    ],
)
def test_wrong_tables_are_one_sentence(tmp_path, write_patient, text, message):
    write_runs(tmp_path, write_patient)
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    with pytest.raises(TableError, match=message):
        repeatability_tables.read_runs([tmp_path / "one", tmp_path / "two"], tmp_path / "t.csv", ProblemLog())


def test_wrong_flags_are_one_sentence(tmp_path, capsys):
    out = f"--output_dir={tmp_path / 'out'}"
    for flags, message in (
        ([], "give repeats with --table"),
        (["--table=/nowhere.csv"], "no such file"),
        (["--run=/nowhere"], "no such folder"),
        ([f"--run={tmp_path}", f"--run={tmp_path}/"], "given twice"),
    ):
        assert command_line.main(["repeatability", out, *flags]) == 1
        assert message in capsys.readouterr().err
    (tmp_path / "t.csv").write_text("sample,lymphocyte,monocyte,neutrophil\nX,3,4,\n", encoding="utf-8")
    assert command_line.main(["repeatability", out, f"--table={tmp_path / 't.csv'}"]) == 1
    assert "line 2: cells are missing" in capsys.readouterr().err

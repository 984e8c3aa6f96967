"""The measurement itself, on a few patients: the runs are finished ones, and every command reads them."""

import pytest

from tfod_csf import run_folder
from tfod_csf.benchmarks.robustness import cohort_scale
from tfod_csf.files import csv_schemas, csv_tables, given_files
from tfod_csf.synthetic import cohort_folder, cohorts


def test_patients_of_a_cohort_under_other_ids(tmp_path):
    settings = cohorts.CohortSettings(patients=2, images_per_patient=3)
    cohort_folder.write_cohort(tmp_path / "two", cohorts.simulate(settings))
    cohort_scale.write_run(tmp_path / "five", tmp_path / "two", 5)
    run = run_folder.finished_run(tmp_path / "five")
    assert list(run["tables"]) == list(run["patients"]) == [f"patient_00000{n}" for n in (1, 2, 3, 4, 5)]
    of_fifth = tmp_path / "five" / "patients" / "patient_000005"
    rows = list(csv_schemas.load("cells").read(of_fifth / "cells.csv"))
    assert {row["patient_id"] for row in rows} == {"patient_000005"}
    original = list(csv_schemas.load("cells").read(tmp_path / "two" / "patients" / "sim_0001" / "cells.csv"))
    assert [row["score"] for row in rows] == [row["score"] for row in original]
    hospital = csv_tables.read_rows(tmp_path / "five" / "hospital.csv")
    assert [sum(int(row[name]) for name in ("lymphocyte", "monocyte", "neutrophil")) for row in hospital] == [200] * 5


@pytest.mark.slow
def test_a_line_for_each_command_and_nothing_is_measured_twice(tmp_path, capfd):
    flags = ["--patients=12", f"--folder={tmp_path}", "--num_processes=1", "--commands=differential,agreement"]
    cohort_scale.main(flags)
    lines = [line.split(" | ") for line in capfd.readouterr().out.splitlines() if line.startswith("| 12")]
    assert [line[1] for line in lines] == ["differential", "agreement"]
    assert all(float(number.strip(" |")) > 0 for line in lines for number in line[3:])
    found = given_files.read_json(tmp_path / "out_12" / "differential.json")
    assert 50 < found["memory_mb"] < 1000
    table = (tmp_path / "out_12" / "differential" / "differentials.csv").read_bytes()
    assert table.count(b"\n") == 13
    cohort_scale.main(flags)
    again = [line.split(" | ") for line in capfd.readouterr().out.splitlines() if line.startswith("| 12")]
    assert again == lines

from tfod_csf import run_folder
from tfod_csf.commands import command_line
from tfod_csf.files import csv_schemas, csv_tables


def run(tmp_path):
    return command_line.main(
        ["compare_with_truth", f"--inference_dir={tmp_path}", f"--truth={tmp_path / 'slides' / 'truth.csv'}"]
    )


def test_command(tmp_path, capsys):
    percent = {"lymphocyte_percent": 56.25, "monocyte_percent": 25, "neutrophil_percent": 18.75}
    folder = tmp_path / "patients" / "p"
    folder.mkdir(parents=True)
    for name in run_folder.TABLES:
        (folder / name).write_text(f"columns of {name}\n")
    run_folder.finish(tmp_path, {})
    found = {"patient_id": "p", "white_cells": 96, "tables_sha256": run_folder.digest_of(folder), **percent}
    csv_tables.write_rows(tmp_path / "differentials.csv", list(found), [found])
    assert run(tmp_path) == 1
    assert "truth.csv: no such file" in capsys.readouterr().err
    truth = {"patient_id": "p", "case": "high WBC", "images": 2, "lymphocyte": 50, "monocyte": 30, "neutrophil": 20}
    csv_schemas.load("truth").write(tmp_path / "slides" / "truth.csv", [{**truth, "erythrocyte": 5, "unknown": 1}])
    assert run(tmp_path) == 0, capsys.readouterr().err
    assert f"Wrote {tmp_path / 'truth_comparison.csv'}." in capsys.readouterr().out
    rows = csv_tables.read_rows(tmp_path / "truth_comparison.csv")
    assert [(row["class"], float(row["difference_points"])) for row in rows] == [
        ("lymphocyte", 6.25),
        ("monocyte", -5),
        ("neutrophil", -1.25),
    ]

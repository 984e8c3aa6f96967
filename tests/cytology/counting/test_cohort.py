import json

from tfod_csf.commands import command_line
from tfod_csf.cytology.counting import cohort
from tfod_csf.files import csv_schemas, csv_tables


def rows_by_patient(folder):
    return {row["patient_id"]: row for row in csv_tables.read_rows(folder / "differentials.csv")}


def test_differentials_of_a_run_in_place(small_run):
    summary = cohort.write_differentials(small_run, small_run)
    assert str(summary).startswith("3 patients: 1 with percentages")
    assert csv_schemas.load("differentials").check(small_run / "differentials.csv") == 3
    for name in ("a", "b", "c"):
        csv_schemas.load("differential").check(small_run / "patients" / name / "differential.csv")
    rows = rows_by_patient(small_run)
    assert (rows["a"]["lymphocyte"], rows["a"]["lymphocyte_percent"]) == ("45", "75.00")  # 45 of 60
    assert (rows["=b"]["images_failed"], rows["=b"]["lymphocyte_percent"]) == ("1", "")
    assert (rows["c"]["unknown"], rows["c"]["unknown_percent"]) == ("40", "100.00")


def test_a_patient_all_of_whose_images_failed_is_in_the_table(tmp_path, write_patient, write_run):
    write_run(tmp_path)
    write_patient(tmp_path / "patients" / "p", "p", [], failed=3)
    assert "0 with percentages" in str(cohort.write_differentials(tmp_path, tmp_path))
    assert csv_schemas.load("differentials").check(tmp_path / "differentials.csv") == 1
    row = rows_by_patient(tmp_path)["p"]
    assert (row["images_used"], row["images_failed"], row["models"]) == ("0", "3", "")


def test_command_counts_anew_into_another_folder(small_run, tmp_path, capsys):
    (tmp_path / "patients.csv").write_text("patient_id,cells_per_ul\nc,80\nnobody,3\n", encoding="utf-8")
    flags = [f"--inference_dir={small_run}", f"--output_dir={tmp_path / 'out'}", "--count_unknown=as_predicted"]
    status = command_line.main(["differential", *flags, f"--patient_table={tmp_path / 'patients.csv'}"])
    assert status == 0, capsys.readouterr().err
    said = capsys.readouterr().out
    assert "3 patients: 2 with percentages" in said
    assert "1 of 2 patients not in the run and not used ('nobody')" in said
    row = rows_by_patient(tmp_path / "out")["c"]
    assert (row["monocyte_percent"], row["unknown"], row["case"]) == ("100.00", "0", "high_white_cells")
    assert row["pleocytosis"] == "yes"
    rules = json.loads((tmp_path / "out" / "differential_rules.json").read_text(encoding="utf-8"))
    assert rules["thresholds"]["count_unknown"] == "as_predicted"
    assert not (small_run / "differentials.csv").exists()


def test_command_says_what_is_wrong_in_one_sentence(tmp_path, capsys):
    status = command_line.main(["differential", f"--inference_dir={tmp_path / 'none'}", f"--output_dir={tmp_path}"])
    assert status == 1
    assert "no such folder" in capsys.readouterr().err


def test_a_patient_table_about_other_patients_is_refused(small_run, tmp_path, capsys):
    (tmp_path / "patients.csv").write_text("patient_id,cells_per_ul\nC,80\n", encoding="utf-8")
    flags = [f"--inference_dir={small_run}", f"--output_dir={tmp_path / 'out'}"]
    assert command_line.main(["differential", *flags, f"--patient_table={tmp_path / 'patients.csv'}"]) == 1
    assert "no patient in it ('C') is in the run" in capsys.readouterr().err
    assert not (tmp_path / "out" / "differentials.csv").exists()


def test_missing_flag_is_named(capsys):
    assert command_line.main(["differential", "--output_dir=x"]) == 1
    assert "--inference_dir is required; see" in capsys.readouterr().err

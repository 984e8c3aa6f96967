import json

import pytest

from tests.support.examined_study import record_tables
from tfod_csf.cell_classes import WHITE_CELLS
from tfod_csf.commands import command_line
from tfod_csf.cytology.counting import cohort
from tfod_csf.cytology.counting.corrected_differential import read_corrections
from tfod_csf.cytology.counting.differential import DifferentialRules
from tfod_csf.files import csv_schemas, csv_tables
from tfod_csf.files.csv_tables import TableError
from tfod_csf.run_folder import RunError
from tfod_csf.synthetic import cohort_folder, cohorts


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


def test_the_summary_says_of_whom_enough_is_not_known(tmp_path, write_patient, write_run):
    write_run(tmp_path)
    write_patient(tmp_path / "patients" / "p", "p", [{"lymphocyte": 100, "monocyte": 50, "neutrophil": 50}])
    summary = cohort.write_differentials(tmp_path, tmp_path)
    assert "0 of them with enough cells for the tolerance (not known of 1), " in str(summary)
    row = rows_by_patient(tmp_path)["p"]
    assert (row["enough_cells"], row["design_effect"], row["effective_cells"]) == ("not known", "", "200.00")
    assert row["note"] == "clustering not known"


def test_the_summary_says_whose_percentages_are_not_to_be_relied_on(tmp_path, write_patient, write_run):
    write_run(tmp_path)
    image = {"lymphocyte": 10, "unknown": 5}  # 40 of 120 white cells
    write_patient(tmp_path / "patients" / "p", "p", [image] * 8)
    summary = str(cohort.write_differentials(tmp_path, tmp_path))
    assert "1 with percentages (too many unknown white cells to rely on those of 1), " in summary


def test_patients_beyond_the_limit_of_the_table_not_of_the_reader(tmp_path, write_patient, write_run):
    write_run(tmp_path)
    # 8 of 88 and 40 of 120 white cells.
    for name, unknown in (("few", 1), ("many", 5)):
        write_patient(tmp_path / "patients" / name, name, [{"lymphocyte": 10, "unknown": unknown}] * 8)
    table = tmp_path / "differentials.csv"
    cohort.write_differentials(tmp_path, tmp_path)
    assert cohort.unreliable_patients(table) == {"many": 33.33}
    for limit, beyond in ((5, ["few", "many"]), (40, [])):
        cohort.write_differentials(tmp_path, tmp_path, rules=DifferentialRules(max_unknown_percent=limit))
        assert list(cohort.unreliable_patients(table)) == beyond
    # A table that does not say who is beyond its limit: the default limit of 10 %.
    rows = [{key: row[key] for key in ("patient_id", "unknown_white_percent")} for row in csv_tables.read_rows(table)]
    csv_tables.write_rows(table, list(rows[0]), rows)
    assert cohort.unreliable_patients(table) == {"many": 33.33}


def test_unknown_cells_of_a_bloody_tap(tmp_path, write_patient, write_run):
    # 8 images of 5 lymphocytes, 1 monocyte, 6 unknown cells that are most likely neutrophils, 100 erythrocytes.
    write_run(tmp_path)
    folder = tmp_path / "patients" / "p"
    write_patient(folder, "p", [{"lymphocyte": 5, "monocyte": 1, "erythrocyte": 100, "neutrophil": 6}] * 8)
    path = folder / "cells.csv"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("counted,neutrophil", "unknown,unknown"), encoding="utf-8")
    record_tables(tmp_path)
    cohort.write_differentials(tmp_path, tmp_path)
    row = rows_by_patient(tmp_path)["p"]
    # 48 unknown of 896 cells, but of 96 white ones.
    assert (row["unknown"], row["unknown_percent"], row["unknown_white_percent"]) == ("48", "5.36", "50.00")
    assert (row["neutrophil_percent"], row["neutrophil_as_predicted_percent"]) == ("0.00", "50.00")
    assert (row["neutrophil_worst_low_percent"], row["neutrophil_worst_high_percent"]) == ("0.00", "50.00")
    assert (row["enough_cells"], row["lymphocyte_mark_certain"]) != ("yes", "yes")
    assert csv_schemas.load("differentials").check(tmp_path / "differentials.csv") == 1


def test_a_patient_all_of_whose_images_failed_is_in_the_table(tmp_path, write_patient, write_run):
    write_run(tmp_path)
    write_patient(tmp_path / "patients" / "p", "p", [], failed=3)
    assert "0 with percentages" in str(cohort.write_differentials(tmp_path, tmp_path))
    assert csv_schemas.load("differentials").check(tmp_path / "differentials.csv") == 1
    row = rows_by_patient(tmp_path)["p"]
    assert (row["images_used"], row["images_failed"], row["models"]) == ("0", "3", "")


def test_corrected_percentages_are_columns_of_both_tables(tmp_path):
    validation = cohorts.simulate(cohorts.CohortSettings(patients=6, images_per_patient=8, seed=1))
    patients = cohorts.simulate(cohorts.CohortSettings(patients=2, images_per_patient=8))
    cohort_folder.write_cohort(tmp_path, patients, validation=validation)
    summary = cohort.write_differentials(tmp_path, tmp_path, corrections=read_corrections(tmp_path))
    assert str(summary).endswith("; corrected percentages of 2; no domain guard")
    assert csv_schemas.load("differentials").check(tmp_path / "differentials.csv") == 2
    row = rows_by_patient(tmp_path)["sim_0001"]
    shares = [float(row[f"{name}_corrected_percent"]) for name in WHITE_CELLS]
    assert sum(shares) == pytest.approx(100, abs=0.02)
    low, high = row["neutrophil_corrected_ci_low_percent"], row["neutrophil_corrected_ci_high_percent"]
    assert float(low) < shares[2] < float(high)
    assert row["not_corrected"] == ""
    path = tmp_path / "patients" / "sim_0001" / "differential.csv"
    csv_schemas.load("differential").check(path)
    long = {row["class"]: row for row in csv_tables.read_rows(path)}
    assert float(long["neutrophil"]["corrected_percent"]) == shares[2]
    assert long["erythrocyte"]["corrected_percent"] == ""
    cohort.write_differentials(tmp_path, tmp_path)
    row = rows_by_patient(tmp_path)["sim_0001"]
    assert (row["neutrophil_corrected_percent"], row["not_corrected"]) == ("", "no confusion matrix")


def test_a_model_that_failed_on_images_is_skipped_and_named(tmp_path, write_patient, write_run):
    write_run(tmp_path)
    cells = [{"lymphocyte": 5, "monocyte": 2, "neutrophil": 3}] * 10
    write_patient(tmp_path / "patients" / "p", "p", cells, models=("a", "b"))
    for name in ("images.csv", "cells.csv"):
        path = tmp_path / "patients" / "p" / name
        header, *rows = path.read_text(encoding="utf-8").splitlines()
        images, models = (header.split(",").index(column) for column in ("image", "model"))
        names = sorted({row.split(",")[images] for row in rows})
        kept = []
        for row in rows:
            values = row.split(",")
            failed = values[models] == "b" and values[images] in names[:7]
            if failed and name == "images.csv":
                values[header.split(",").index("status")] = "failed"
            if not failed or name == "images.csv":
                kept.append(",".join(values))
        path.write_text("\n".join([header, *kept]) + "\n", encoding="utf-8")
    record_tables(tmp_path)
    cohort.write_differentials(tmp_path, tmp_path)
    row = rows_by_patient(tmp_path)["p"]
    # Averaged, 100 and 30 white cells would be 65.
    assert (row["models"], row["white_cells"], row["images_used"], row["images_failed"]) == ("a", "100", "10", "0")
    assert row["note"].startswith("model b failed on 7 of 10 images; its cells are not counted")


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


def test_rules_of_an_earlier_table_do_not_stay_beside_a_new_one(small_run):
    flags = [f"--inference_dir={small_run}", f"--output_dir={small_run}", "--unknown_below=0.9"]
    assert command_line.main(["differential", *flags]) == 0
    assert (small_run / cohort.RULES_JSON).is_file()
    cohort.write_differentials(small_run, small_run)  # as batch_infer does, whose run.json says how it counted
    assert not (small_run / cohort.RULES_JSON).exists()


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


def test_a_table_of_all_patients_that_is_older_than_the_cells_is_refused(small_run, tmp_path, write_patient, capsys):
    table = small_run / "differentials.csv"
    cohort.write_differentials(small_run, small_run)
    cohort.check_made_of(table, small_run)
    assert cohort.source_of(table) == small_run
    other = tmp_path / "other"
    assert command_line.main(["differential", f"--inference_dir={small_run}", f"--output_dir={other}"]) == 0
    assert cohort.source_of(other / "differentials.csv") == small_run
    # The patient is examined again, or reviewed: the run is in order, but its differentials are not of it.
    write_patient(small_run / "patients" / "a", "a", [{"lymphocyte": 5}])
    for path in (table, other / "differentials.csv"):
        with pytest.raises(TableError, match=r"the row of 'a' was not counted from .* run differential again"):
            cohort.check_made_of(path, cohort.source_of(path))
    hospital = tmp_path / "h.csv"
    hospital.write_text("patient_id,lymphocyte,monocyte,neutrophil\na,50,30,20\n", encoding="utf-8")
    out = f"--output_dir={tmp_path / 'out'}"
    for machine in (small_run, other):
        assert command_line.main(["agreement", f"--machine={machine}", f"--hospital={hospital}", out]) == 1
        assert "run differential again" in capsys.readouterr().err
    assert command_line.main(["saturation", f"--inference_dir={small_run}", "--replicates=100", out]) == 1
    assert "run differential again" in capsys.readouterr().err
    assert command_line.main(["repeatability", f"--run={small_run}", out]) == 1
    assert "run differential again" in capsys.readouterr().err


def test_a_table_without_a_patient_of_the_run_is_refused(small_run, write_patient):
    cohort.write_differentials(small_run, small_run)
    write_patient(small_run / "patients" / "d", "d", [{"lymphocyte": 5}])
    with pytest.raises(TableError, match="has no row of patient 'd'"):
        cohort.check_made_of(small_run / "differentials.csv", small_run)


def test_a_table_of_nobodys_run_cannot_be_compared(tmp_path):
    assert cohort.source_of(tmp_path / "differentials.csv") is None
    (tmp_path / "differential_rules.json").write_text('{"inference_dir": "/no/such/run"}', encoding="utf-8")
    assert cohort.source_of(tmp_path / "differentials.csv") is None


def test_an_edited_table_is_refused_by_every_reader(small_run, tmp_path, capsys):
    cells = small_run / "patients" / "a" / "cells.csv"
    cells.write_text(cells.read_text(encoding="utf-8").replace("neutrophil", "lymphocyte"), encoding="utf-8")
    run, out = f"--inference_dir={small_run}", f"--output_dir={tmp_path / 'out'}"
    for command in (
        ["differential", run],
        ["saturation", run],
        ["turnaround", run],
        ["repeatability", f"--run={small_run}"],
        ["observers", f"--round={small_run}"],
    ):
        assert command_line.main([*command, out]) == 1
        assert "cells.csv: was changed after the run had written it; put the file back" in capsys.readouterr().err


def files_in(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_stopped_and_resumed_or_on_two_processes_the_files_are_the_same(small_run, tmp_path, monkeypatch):
    cohort.write_differentials(small_run, tmp_path / "undisturbed")
    written, write = [], cohort.write_differential_csv

    def write_until_c(path, result):
        if path.parent.name == "c" and len(written) < 3:
            raise KeyboardInterrupt
        written.append(path.parent.name)
        write(path, result)

    monkeypatch.setattr(cohort, "write_differential_csv", write_until_c)
    monkeypatch.setattr(cohort._Counting, "at_once", 1)
    out = tmp_path / "stopped"
    with pytest.raises(KeyboardInterrupt):
        cohort.write_differentials(small_run, out)
    assert not (out / "differentials.csv").exists()
    written.append("stopped")
    summary = cohort.write_differentials(small_run, out)
    assert written == ["a", "b", "stopped", "c"]
    assert str(summary).startswith("3 patients: 1 with percentages")
    assert files_in(out) == files_in(tmp_path / "undisturbed")
    monkeypatch.setattr(cohort._Counting, "least_for_a_process", 1)
    cohort.write_differentials(small_run, tmp_path / "two", num_processes=2)
    assert files_in(tmp_path / "two") == files_in(tmp_path / "undisturbed")


def test_other_rules_or_cells_per_ul_are_counted_again(small_run, tmp_path, monkeypatch):
    def stop(path, rows):
        list(rows)
        raise KeyboardInterrupt

    for changed in ({"rules": DifferentialRules(min_white_cells=100)}, {"cells_per_ul": {"a": 3.0}}):
        with monkeypatch.context() as patched:
            patched.setattr(cohort, "write_differentials_csv", stop)
            with pytest.raises(KeyboardInterrupt):
                cohort.write_differentials(small_run, tmp_path / "out")
        cohort.write_differentials(small_run, tmp_path / "out", **changed)
        cohort.write_differentials(small_run, tmp_path / "new", **changed)
        assert files_in(tmp_path / "out") == files_in(tmp_path / "new")


def test_rules_that_differ_from_those_of_the_table_are_named(tmp_path):
    thresholds = {"min_score": 0.5, "unknown_below": 0.9}
    rules = DifferentialRules(max_unknown_percent=1)
    assert cohort.differing_rules(tmp_path, thresholds, rules) == {}  # as after batch_infer
    cohort.write_rules(tmp_path / cohort.RULES_JSON, thresholds, rules, population="adult", inference_dir="x")
    assert cohort.differing_rules(tmp_path, thresholds, rules, population="adult") == {}
    here = {"min_score": 0.5, "unknown_below": 0.8}
    assert cohort.differing_rules(tmp_path, here, DifferentialRules(), population="newborn") == {
        "unknown_below": (0.9, 0.8),
        "max_unknown_percent": (1, DifferentialRules().max_unknown_percent),
        "population": ("adult", "newborn"),
    }
    (tmp_path / cohort.RULES_JSON).write_text("[]", encoding="utf-8")
    with pytest.raises(RunError, match="not what differential wrote"):
        cohort.differing_rules(tmp_path, here, rules)

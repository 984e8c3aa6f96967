import numpy as np
import pytest

from tfod_csf import run_folder
from tfod_csf.commands import command_line
from tfod_csf.cytology.counting.saturation import SaturationRules
from tfod_csf.cytology.studies import saturation_tables
from tfod_csf.files import csv_schemas, csv_tables


@pytest.fixture
def run_of_four(tmp_path, write_patient, write_run):
    """Patients with many cells, with few, without any, and with all cells on two images."""
    output, rng = tmp_path / "run", np.random.default_rng(5)
    write_run(output)

    def images(number, cells):
        drawn = rng.multinomial(cells, [0.6, 0.3, 0.1], size=number)
        return [dict(zip(("lymphocyte", "monocyte", "neutrophil"), map(int, row), strict=True)) for row in drawn]

    for name, pictures in {"a": images(12, 25), "b=": images(10, 2), "c": [{}], "脑": images(2, 100)}.items():
        write_patient(output / "patients" / name, name, pictures, models=("m1", "m2"))
    rows = [
        {"patient_id": name, "tables_sha256": run_folder.digest_of(output / "patients" / name)}
        for name in run_folder.tables_of(output)
    ]
    rows[0]["case"] = "high_white_cells"  # of patient a
    csv_tables.write_rows(output / "differentials.csv", ("patient_id", "case", "tables_sha256"), rows)
    return output


def test_command_writes_tables_and_plots(run_of_four, tmp_path, capsys):
    out = tmp_path / "out"
    status = command_line.main(["saturation", f"--inference_dir={run_of_four}", f"--output_dir={out}", "--max_plots=2"])
    captured = capsys.readouterr()
    assert status == 0, captured.err
    assert "1 of 4 patients saturated" in captured.out
    for name, rows in {"saturation": 4, "saturation_cases": 6, "saturation_planner": 7}.items():
        assert csv_schemas.load(name).check(out / f"{name}.csv") == rows
    rows = {row["patient_id"]: row for row in csv_tables.read_rows(out / "saturation.csv")}
    assert (rows["a"]["saturated"], rows["a"]["case"], rows["a"]["model"]) == ("yes", "high_white_cells", "m1")
    assert [rows[name]["saturated"] for name in ("b=", "c", "脑")] == ["no", "no", ""]
    assert csv_schemas.load("saturation_curve").check(out / "patients" / "a" / "saturation_curve.csv") > 300
    for picture in ("saturation.png", "saturation_cases.png", "patients/a/saturation.png"):
        assert (out / picture).stat().st_size > 10_000
    assert not (out / "patients" / "脑").exists()


def test_command_counts_with_other_thresholds(run_of_four, tmp_path, capsys):
    # All cells score 0.9: with unknown_below 0.95 none is left to count, unless unknown cells count as predicted.
    flags = [f"--inference_dir={run_of_four}", f"--output_dir={tmp_path / 'out'}", "--unknown_below=0.95"]
    assert command_line.main(["saturation", *flags]) == 0, capsys.readouterr().err
    rows = csv_tables.read_rows(tmp_path / "out" / "saturation.csv")
    assert {row["white_cells"] for row in rows} == {"0"}
    assert not (tmp_path / "out" / "saturation.png").exists()
    assert command_line.main(["saturation", *flags, "--count_unknown=as_predicted", "--max_plots=0"]) == 0
    rows = csv_tables.read_rows(tmp_path / "out" / "saturation.csv")
    assert rows[0]["white_cells"] == "300"


def test_unknown_model_is_one_sentence(run_of_four, tmp_path, capsys):
    flags = [f"--inference_dir={run_of_four}", f"--output_dir={tmp_path / 'out'}", "--model=other"]
    assert command_line.main(["saturation", *flags]) == 1
    assert "no cells of model 'other'; it has m1, m2" in capsys.readouterr().err


def files_in(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_stopped_and_resumed_or_on_two_processes_the_files_are_the_same(run_of_four, tmp_path, monkeypatch):
    def write(name, **more):
        rules = SaturationRules(replicates=100)
        return saturation_tables.write_saturation(run_of_four, tmp_path / name, rules, max_plots=1, **more)

    answers = write("undisturbed")
    examined, examine = [], saturation_tables._Curves.examine

    def examine_until_c(work, folder):
        examined.append(folder.name)
        if examined == ["a", "b=", "c"]:
            raise KeyboardInterrupt
        return examine(work, folder)

    monkeypatch.setattr(saturation_tables._Curves, "at_once", 1)
    with monkeypatch.context() as patched:
        patched.setattr(saturation_tables._Curves, "examine", examine_until_c)
        with pytest.raises(KeyboardInterrupt):
            write("stopped")
        assert write("stopped") == answers
    # The example of the case, the one with the most cells, is examined again for its plot.
    assert examined == ["a", "b=", "c", "c", "脑", "a"]
    assert files_in(tmp_path / "stopped") == files_in(tmp_path / "undisturbed")
    monkeypatch.setattr(saturation_tables._Curves, "least_for_a_process", 1)
    assert write("two", num_processes=2) == answers
    assert files_in(tmp_path / "two") == files_in(tmp_path / "undisturbed")

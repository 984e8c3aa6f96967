"""Every row of the manifest of dirty inputs through batch_infer and evaluate, with the hand-made model."""

import json

import pytest

from tests.support import bad_inputs
from tests.support import hand_made_model as by_hand
from tfod_csf.commands import batch_infer, command_line, evaluate
from tfod_csf.files import csv_tables
from tfod_csf.inference import detector
from tfod_csf.model_folder import ModelFolder

# What is wrong with the image itself; everything else is about the XML, which batch_infer does not read.
ABOUT_THE_IMAGE = ("c01", "c02", "c03", "c04", "c05", "c06", "c07", "c09", "c10", "c11", "c12", "c13", "c76")


@pytest.fixture(scope="module")
def loaded(hand_made_model):
    return detector.Detector.open(ModelFolder.open(hand_made_model))


@pytest.fixture
def run(loaded, hand_made_model, monkeypatch):
    """Runs a command with the model loaded once for all tests."""
    monkeypatch.setattr(detector.Detector, "open", lambda folder: loaded)

    def run_command(command, *arguments):
        command.FLAGS.unparse_flags()
        for name in command.FLAGS:
            command.FLAGS[name].unparse()
        given = [f"--model={hand_made_model}", *map(str, arguments)]
        return command_line.run(command.main, command.FLAGS, command.__doc__, command.__name__, given)

    return run_command


def images_of(case, out):
    """(image rows, cell rows) of the case's patient; none when it has no folder."""
    folders = [path for path in (out / "patients").iterdir() if path.name != "control_patient"]
    assert len(folders) <= 1
    return [csv_tables.read_rows(f / name) for f in folders for name in ("images.csv", "cells.csv")] or [[], []]


@bad_inputs.each()
def test_batch_infer(case, tmp_path, run):
    images_dir, out = bad_inputs.folder_with_control(case, tmp_path), tmp_path / "out"
    assert run(batch_infer, f"--images_dir={images_dir}", f"--output_dir={out}", "--max_skipped_fraction=1") == 0

    images, cells = images_of(case, out)
    used = [row for row in images if row["status"] == "ok"]
    assert len(used) == case.detected_images
    assert all(row["reason"] for row in images if row["status"] == "failed")
    # The hand-made model finds at least the two cells that are always there.
    assert len(cells) >= 2 * len(used)
    assert len(list(out.rglob("*.jpg"))) == len(used) + 1

    # Noted is that many cases have the control's image, byte by byte, under another patient.
    rows = [row for row in csv_tables.read_rows(out / "problems.csv") if row["action"] != "noted"]
    assert not [row for row in rows if "control_patient" in row["file"]]
    if case.case[:3] in ABOUT_THE_IMAGE:
        assert any(case.case[:3] in row["file"] and row["reason"] and row["remedy"] for row in rows)
    else:
        assert rows == []
    patients = [row["patient_id"] for row in csv_tables.read_rows(out / "differentials.csv")]
    if images:
        name = case.case.split("/")[-1] if "two_patients" in case.case else case.patient
        assert sorted(patients) == sorted(["control_patient", name])
        assert {row["patient_id"] for row in images} == {name}
    record = json.loads((out / "run.json").read_text(encoding="utf-8"))
    assert record["images"]["failed"] == len(images) - len(used)
    assert b"XXE-MARKER" not in b"".join(path.read_bytes() for path in out.rglob("*") if path.is_file())


@bad_inputs.each()
def test_evaluate(case, tmp_path, run, monkeypatch):
    # Rendering the two plots 58 times would take longer than everything else.
    monkeypatch.setattr("tfod_csf.evaluation.plots.plot_precision_recall", lambda *_: None)
    monkeypatch.setattr("tfod_csf.evaluation.plots.plot_confusion_matrix", lambda *_: None)
    images_dir, out = bad_inputs.folder_with_control(case, tmp_path), tmp_path / "out"
    assert run(evaluate, f"--images_dir={images_dir}", f"--output_dir={out}", "--max_skipped_fraction=1") == 0

    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["images"] == 1 + case.trained_images
    assert sum(row["groundtruth"] for row in metrics["per_class"]) == bad_inputs.CONTROL_BOXES + case.boxes
    rows = csv_tables.read_rows(out / "problems.csv")
    if case.expected_action == "accept":
        assert rows == []
    else:
        assert any(case.reason in row["reason"] for row in rows), rows
    assert b"XXE-MARKER" not in b"".join(path.read_bytes() for path in out.rglob("*") if path.is_file())


def test_the_whole_folder_in_one_run(tmp_path, run, bad_inputs_dir, capsys):
    flags = (f"--images_dir={bad_inputs_dir}", f"--output_dir={tmp_path}")
    assert run(batch_infer, *flags, "--max_skipped_fraction=0.02") == 1
    assert "more than the 2 % that --max_skipped_fraction allows" in capsys.readouterr().err
    assert run(batch_infer, *flags) == 0
    patients = csv_tables.read_rows(tmp_path / "differentials.csv")
    assert "c79_patient,王 =1+2" in {row["patient_id"] for row in patients}
    assert sum(row["images_failed"] == "1" for row in patients) == 4


def test_hand_made_model_finds_the_control(tmp_path, run, bad_inputs_dir):
    folder = bad_inputs_dir / bad_inputs.CONTROL
    assert run(evaluate, f"--images_dir={folder}", f"--output_dir={tmp_path}") == 0
    per_class = json.loads((tmp_path / "metrics.json").read_text())["per_class"]
    found = {row["class"]: row["average_precision"] for row in per_class}
    assert {name: found[name] for name in (by_hand.CLASSES[0], by_hand.CLASSES[3])} == {
        "lymphocyte": 1.0,
        "erythrocyte": 1.0,
    }

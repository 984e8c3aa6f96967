"""The command around the pipeline, whose patients a worker of this process examines."""

import importlib.util
import json
import os

import pytest

from tests.support.constant_detector import ConstantDetector
from tests.support.hand_made_model import save_gray
from tfod_csf.commands import archive_infer, batch_infer, command_line
from tfod_csf.files import csv_tables
from tfod_csf.inference.archive import archive_run, pipeline_process
from tfod_csf.inference.archive.attempts import Attempts
from tfod_csf.inference.archive.finished_rows import FinishedRows
from tfod_csf.inference.archive.patient_worker import PatientWorker
from tfod_csf.inference.runs import batch_run


@pytest.fixture
def runs(monkeypatch, images_dir, tmp_path, hand_made_model):
    """runs(command, *flags): exit status; `runs.options` are what Beam was given last."""
    monkeypatch.setattr(batch_run, "open_detectors", lambda folders, settings: [ConstantDetector()])
    monkeypatch.setattr(archive_run, "check_beam", lambda: None)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")

    def pipeline(job, patients, options, environment):
        run.options, run.environment = options, environment
        worker, rows = PatientWorker(job, [ConstantDetector()]), FinishedRows(job.rows_dir)
        for work in patients:
            worker.examine(work)
        rows.update()
        return rows

    def run(command, *flags):
        name = command.__name__.rpartition(".")[2]
        always = [f"--images_dir={images_dir}", f"--model={hand_made_model}", f"--output_dir={tmp_path / name}"]
        return command_line.run(command.main, command.FLAGS, "", name, [*always, *flags])

    monkeypatch.setattr(pipeline_process, "run", pipeline)
    return run


def test_everything_but_the_loop_over_patients_is_that_of_batch_infer(runs, tmp_path, capsys):
    assert runs(batch_infer) == 0
    expected = capsys.readouterr().out
    assert runs(archive_infer, "--num_processes=3") == 0
    told = capsys.readouterr().out.replace("archive_infer", "batch_infer")
    assert told.splitlines()[0].rpartition(",")[0] == expected.splitlines()[0].rpartition(",")[0]
    assert runs.options[1:] == ["--direct_running_mode=multi_processing", "--direct_num_workers=3"]
    # The workers see the GPUs, this process does not.
    assert runs.environment["CUDA_VISIBLE_DEVICES"] == "0,1"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "-1"
    for name in ("differentials.csv", "problems.csv"):
        assert (tmp_path / "archive_infer" / name).read_bytes() == (tmp_path / "batch_infer" / name).read_bytes()
    assert runs(archive_infer) == 0
    assert "Not redone, because nothing changed: 2 patients." in capsys.readouterr().out
    run = json.loads((tmp_path / "archive_infer" / "run.json").read_text(encoding="utf-8"))
    assert [patient["done_in_earlier_run"] for patient in run["patients"].values()] == [True, True]


def test_dead_letters_are_listed_and_tried_again_when_asked(runs, tmp_path, capsys):
    attempts = tmp_path / "archive_infer" / "archive" / "attempts" / "p1.json"
    for _ in range(2):
        Attempts.open(attempts).begin("earlier", "a.png")
    assert runs(archive_infer, "--beam_option=job_name=x", "--max_skipped_fraction=0.5") == 0
    assert runs.options[-1] == "--job_name=x"
    assert "Not opened, because they ended the process before: 1 image" in capsys.readouterr().err
    letters = tmp_path / "archive_infer" / "archive" / "dead_letters.csv"
    assert [(row["patient_id"], row["image"]) for row in csv_tables.read_rows(letters)] == [("p1", "a.png")]
    assert runs(archive_infer, "--retry_dead_letters") == 0
    assert "Not opened" not in capsys.readouterr().err
    assert csv_tables.read_rows(letters) == []


def test_other_runners_need_paths_that_are_the_same_everywhere(runs, images_dir, monkeypatch, capsys):
    assert runs(archive_infer, "--runner=FlinkRunner") == 0
    assert runs.options == ["--runner=FlinkRunner"]
    monkeypatch.chdir(images_dir.parent)
    assert runs(archive_infer, "--runner=FlinkRunner", f"--images_dir={images_dir.name}") == 1
    assert "give an absolute path that is the same on every machine" in capsys.readouterr().err


def test_without_beam_it_is_said_how_to_install_it(tmp_path, images_dir, capsys, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    save_gray(tmp_path / "images" / "p" / "a.png", 1)
    flags = [f"--images_dir={images_dir}", "--model=m", f"--output_dir={tmp_path / 'out'}"]
    assert command_line.main(["archive_infer", *flags]) == 1
    assert 'pip install "tfod_csf[archive]"' in capsys.readouterr().err

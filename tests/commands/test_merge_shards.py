"""--shard and merge_shards from flags to files, with a real model."""

import pytest

from tests.support import divided_runs
from tests.support.guarded_model import make_study
from tfod_csf.commands import archive_infer, batch_infer, command_line, merge_shards
from tfod_csf.files import csv_schemas, csv_tables
from tfod_csf.inference.archive import archive_run, pipeline_process
from tfod_csf.inference.archive.finished_rows import FinishedRows
from tfod_csf.inference.archive.patient_worker import PatientWorker


def run(command, *arguments) -> int:
    command.FLAGS.unparse_flags()
    for name in command.FLAGS:
        command.FLAGS[name].unparse()
    name = command.__name__.rpartition(".")[2]
    return command_line.run(command.main, command.FLAGS, command.__doc__, name, [str(a) for a in arguments])


@pytest.fixture
def small(tmp_path):
    folder = divided_runs.make_small_study(tmp_path / "images")
    (folder / "b" / "broken.jpg").write_bytes(b"no image")
    return folder


def test_from_shards_to_the_tables_of_one_run(small, tmp_path, hand_made_model, capsys, monkeypatch):
    divided_runs.still_clock(monkeypatch)
    flags = (
        f"--images_dir={small}",
        f"--model={hand_made_model}",
        "--max_unknown_percent=50",
        "--max_skipped_fraction=1",
    )
    assert run(batch_infer, *flags, f"--output_dir={tmp_path / 'alone'}") == 0
    alone = capsys.readouterr().out.splitlines()
    out = tmp_path / "out"
    for number in (1, 2):
        assert run(batch_infer, *flags, f"--output_dir={out}", f"--shard={number}/2") == 0
    said = capsys.readouterr().out
    assert "Shard 1/2: 3 patients, 3 images (0 failed): 9 cells by hand_made" in said
    assert "Shard 2/2: 2 patients, 3 images (1 failed): 6 cells by hand_made" in said
    assert f"1 problem: 1 skipped ({out / 'shards' / '2-of-2'}); when all 2 shards are done, merge_shards makes" in said
    assert run(merge_shards, f"--output_dir={out}", "--max_skipped_fraction=1") == 0
    merged = capsys.readouterr().out.splitlines()
    assert merged[:-1] == alone[:-1]
    assert merged[-1].replace(str(out), "OUT") == alone[-1].replace(str(tmp_path / "alone"), "OUT")
    assert divided_runs.files(out) == divided_runs.files(tmp_path / "alone")
    # More than half of the white cells are unknown: a neutrophil of 0.75 beside each lymphocyte.
    assert len(csv_tables.read_rows(out / "differentials.csv")) == 5


def by_three_workers(job, patients, options, environment):
    """In place of Beam: workers that open the models of the job, and share its patients as they come."""
    workers, rows = [PatientWorker.open(job) for _ in range(3)], FinishedRows(job.rows_dir)
    for number, work in enumerate(patients):
        workers[number % 3].examine(work)
    rows.update()
    return rows


def test_what_a_domain_guard_says_does_not_depend_on_how_a_run_is_divided(guarded_model, tmp_path, monkeypatch):
    """In one run, in shards in any order, and by the workers of archive_infer; pictures in tiles among the images."""
    divided_runs.still_clock(monkeypatch)
    monkeypatch.setattr(archive_run, "check_beam", lambda: None)
    monkeypatch.setattr(pipeline_process, "run", by_three_workers)
    flags = (f"--images_dir={make_study(tmp_path / 'images')}", f"--model={guarded_model}", "--tile_size=160x120")
    alone, shards, archive = (tmp_path / name for name in ("alone", "shards", "archive"))
    assert run(batch_infer, *flags, f"--output_dir={alone}") == 0
    for number in (3, 1, 2):
        assert run(batch_infer, *flags, f"--output_dir={shards}", f"--shard={number}/3") == 0
    assert run(merge_shards, f"--output_dir={shards}") == 0
    assert run(archive_infer, *flags, f"--output_dir={archive}") == 0
    expected = divided_runs.files(alone)
    assert divided_runs.files(shards) == expected
    tables = {name: content for name, content in expected.items() if name.endswith(".csv")}
    assert {name: (archive / name).read_bytes() for name in tables} == tables
    # There is something to be equal: images in the domain and not, of all kinds of patients, and remarks on them.
    paths = sorted(alone.glob("patients/*/images.csv"))
    rows = [row for path in paths for row in csv_schemas.load("images").read(path)]
    assert all((row["domain_distance"] > 1) == (not row["in_domain"]) == bool(row["unlike_training"]) for row in rows)
    patients = {row["patient_id"]: row for row in csv_schemas.load("differentials").read(alone / "differentials.csv")}
    unlike = {name: row["images_unlike_training"] for name, row in patients.items()}
    assert unlike == {"own": 0, "own2": 0, "other": 2, "other2": 1, "both": 1, "cut": 1}
    assert {name for name, row in patients.items() if row["in_domain"]} == {"own", "own2", "both"}
    assert {name for name, row in patients.items() if "unlike the training images" in row["note"]} == {
        "other", "other2", "both", "cut"
    }  # fmt: skip


def test_skipped_files_fail_the_shard_that_has_them_and_the_merge(small, tmp_path, hand_made_model, capsys):
    flags = (f"--images_dir={small}", f"--model={hand_made_model}", f"--output_dir={tmp_path / 'out'}", "--draw=false")
    assert run(batch_infer, *flags, "--shard=1/2") == 0
    assert run(batch_infer, *flags, "--shard=2/2") == 1
    assert "1 of 3 files were skipped" in capsys.readouterr().err
    assert run(merge_shards, f"--output_dir={tmp_path / 'out'}") == 1
    assert "1 of 6 files were skipped" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--shard=0/2",), "--shard=0/2: expected i/n, for example 2/5 for the second of five"),
        (("--shard=1/2", "--rounds=2"), "--shard with --rounds: rounds compare runs of all patients"),
    ],
)
def test_flags_that_do_not_fit_are_refused_before_anything_is_read(small, tmp_path, capsys, flags, said):
    assert run(batch_infer, f"--images_dir={small}", "--model=none", f"--output_dir={tmp_path / 'out'}", *flags) == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_without_shards_is_refused(tmp_path, capsys):
    assert run(merge_shards, f"--output_dir={tmp_path / 'none'}") == 1
    assert "none: no such folder; give the --output_dir of the shards." in capsys.readouterr().err
    assert run(merge_shards, f"--output_dir={tmp_path}") == 1
    assert "holds no shard; run batch_infer with --shard=1/n" in capsys.readouterr().err

"""A run on disk: unfinished, finished, and every way in which a folder can contradict its run.json."""

import hashlib
import json
import shutil

import pytest

from tfod_csf import run_folder
from tfod_csf.run_folder import RunError


@pytest.fixture
def folder(tmp_path):
    """A finished run of the patients a and b, whose tables hold a word each."""
    out = tmp_path / "out"
    run_folder.begin(out, {"thresholds": {"min_score": 0.5}})
    for patient in ("b", "a"):
        (out / "patients" / patient).mkdir(parents=True)
        for name in run_folder.TABLES:
            (out / "patients" / patient / name).write_text(f"{patient} {name}", encoding="utf-8")
    run_folder.finish(out, {"thresholds": {"min_score": 0.5}})
    return out


def test_a_finished_run_names_its_tables(folder):
    run = run_folder.finished_run(folder)
    assert run == run_folder.read_run(folder) == json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert run["thresholds"] == {"min_score": 0.5}
    assert run["tables"]["a"]["cells.csv"] == hashlib.sha256(b"a cells.csv").hexdigest()
    assert run_folder.folders_of(folder, run) == [folder / "patients" / "a", folder / "patients" / "b"]
    (folder / "patients" / "notes").mkdir()  # holds no tables, so it is no patient
    (folder / "patients" / "a" / "report.html").write_text("of another command")
    run_folder.finished_run(folder)


def test_a_run_is_unfinished_from_begin_on(folder):
    run_folder.begin(folder, {"started": "2022-01-24T09:30:00+08:00"})
    for read in (run_folder.read_run, run_folder.finished_run):
        with pytest.raises(
            RunError, match=r"began at 2022-01-24T09:30:00\+08:00 is not finished; run the same command"
        ):
            read(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "run.json: no such file; give the output folder of a finished batch_infer"),
        ("{", "run.json: not JSON"),
        ("[]", "expected an object"),
        ("{}", "began at a time not noted is not finished"),
        ('{"finished": "2022", "tables": {"a": 1}}', "its `tables` are damaged"),
        ('{"finished": "2022", "tables": null}', "its `tables` are damaged"),
        ('{"finished": "2022", "tables": {"../../a": {}, "a": {}, "b": {}}}', "tables of this patient of the run are"),
    ],
)
def test_another_run_json_is_refused(folder, text, message):
    (folder / "run.json").unlink()
    if text is not None:
        (folder / "run.json").write_text(text, encoding="utf-8")
    with pytest.raises(RunError, match=message):
        run_folder.finished_run(folder)


def edit(patients):
    path = patients / "a" / "cells.csv"
    path.write_bytes(path.read_bytes().swapcase())  # of the same size


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (edit, r"a/cells.csv: was changed after the run had written it"),
        (lambda patients: (patients / "b" / "images.csv").unlink(), r"b/images.csv: cannot be read \(No such file"),
        (lambda patients: shutil.rmtree(patients / "b"), r"b: the tables of this patient .* are gone \(1 such of 2\)"),
        (lambda patients: shutil.copytree(patients / "b", patients / "c"), r"c: a patient that run.json does not name"),
        (lambda patients: (patients / "a").rename(patients / "z"), r"z: a patient that run.json does not name"),
    ],
)
def test_tables_that_are_not_the_runs_are_refused(folder, change, message):
    change(folder / "patients")
    run_folder.read_run(folder)
    with pytest.raises(RunError, match=message):
        run_folder.finished_run(folder)


@pytest.mark.parametrize(
    "model",
    [
        {"name": "../../elsewhere"},
        {"name": "/elsewhere"},
        {"name": "m", "classification": {"file": "../m.json", "sha256": ""}},
        {"name": "m", "classification": {"file": "/etc/passwd", "sha256": ""}},
    ],
)
def test_a_run_whose_names_lead_out_of_its_folder_is_refused(tmp_path, model):
    (tmp_path / "run.json").write_text(json.dumps({"finished": "2022", "models": [model]}), encoding="utf-8")
    with pytest.raises(RunError, match=r"run\.json: the (model's name|file) '.*' is (a path|outside)"):
        run_folder.read_run(tmp_path)


def test_the_digest_of_a_patient_does_not_depend_on_how_long_it_took(folder):
    patient = folder / "patients" / "a"
    digests = []
    for images in (
        "image,seconds,model\n1,0.5,m\n",
        "image,seconds,model\n1,0.7,m\n",
        "image,seconds,model\n2,0.5,m\n",
    ):
        (patient / "images.csv").write_text(images, encoding="utf-8")
        digests.append(run_folder.digest_of(patient))
    assert digests[0] == digests[1] != digests[2]
    (patient / "cells.csv").write_text("others", encoding="utf-8")
    assert run_folder.digest_of(patient) not in digests


def make_earlier(folder, patients=("a", "b"), stamped=None):
    """run.json as version 0.1.0 wrote it, and a stamp of patient a."""
    run = {
        "finished": "2022",
        "thresholds": {"min_score": 0.5, "unknown_below": 0.8},
        "models": [{"name": "m", "fingerprint": "f"}],
        "patients": {f"id of {name}": {"folder": name} for name in patients},
    }
    (folder / "run.json").write_text(json.dumps(run), encoding="utf-8")
    settings = {"thresholds": run["thresholds"], "models": {"m": {"fingerprint": "f"}}, **(stamped or {})}
    (folder / "patients" / "a" / "stamp.json").write_text(json.dumps({"settings": settings}), encoding="utf-8")


def test_a_run_of_an_earlier_version_is_read_with_a_warning(folder, caplog):
    expected = run_folder.finished_run(folder)["tables"]
    make_earlier(folder)
    assert run_folder.finished_run(folder)["tables"] == expected
    assert "holds no checksums" in caplog.text
    (folder / "patients" / "a" / "stamp.json").unlink()
    assert run_folder.finished_run(folder)["tables"] == expected


@pytest.mark.parametrize(
    ("earlier", "message"),
    [
        ({"patients": ("a",)}, "b: is not named by run.json"),
        ({"patients": ("a", "b", "c")}, "c: is named by run.json and has no tables"),
        ({"stamped": {"thresholds": {"unknown_below": 0.6}}}, "a/stamp.json: names other thresholds or models"),
        ({"stamped": {"models": {"m": {"fingerprint": "g"}}}}, "a/stamp.json: names other thresholds or models"),
    ],
)
def test_a_mixture_left_by_an_earlier_version_is_refused(folder, earlier, message):
    make_earlier(folder, **earlier)
    with pytest.raises(RunError, match=message):
        run_folder.finished_run(folder)


def test_a_large_run_json_is_read_once_until_it_changes(folder, monkeypatch):
    monkeypatch.setattr(run_folder, "_KEPT_FROM_BYTES", 10)
    reads = []
    read_json = run_folder.given_files.read_json
    monkeypatch.setattr(run_folder.given_files, "read_json", lambda *given: reads.append(given) or read_json(*given))
    first = run_folder.finished_run(folder)
    first["added"] = "by a caller"
    assert "added" not in run_folder.finished_run(folder)
    assert len(reads) == 1
    run_folder.finish(folder, {"thresholds": {"min_score": 0.7}})
    assert run_folder.finished_run(folder)["thresholds"] == {"min_score": 0.7}
    assert len(reads) == 2


def test_a_digest_is_the_same_where_the_checksums_are_known(folder):
    (folder / "patients" / "a" / "images.csv").write_text("image,seconds\n1,0.5\n", encoding="utf-8")
    patient = folder / "patients" / "a"
    assert run_folder.digest_of(patient, run_folder.table_checksums(patient)) == run_folder.digest_of(patient)


def test_tables_of_more_patients_than_are_read_at_once_are_checked(tmp_path, monkeypatch):
    monkeypatch.setattr(run_folder, "_PATIENTS_AT_ONCE", 2)
    for patient in "abcde":
        (tmp_path / "patients" / patient).mkdir(parents=True)
        for name in run_folder.TABLES:
            (tmp_path / "patients" / patient / name).write_text(patient, encoding="utf-8")
    run_folder.finish(tmp_path, {})
    assert list(run_folder.finished_run(tmp_path)["tables"]) == list("abcde")
    for patient in "ec":  # the first of the run is named
        (tmp_path / "patients" / patient / "cells.csv").write_text("edited", encoding="utf-8")
    with pytest.raises(RunError, match=r"c/cells\.csv: was changed"):
        run_folder.finished_run(tmp_path)

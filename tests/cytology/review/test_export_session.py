import json

import pytest

from tests.support import examined_study
from tfod_csf.cytology.review.export_session import ExportSettings, check_made_with, export_run
from tfod_csf.cytology.review.sidecar import ReviewError
from tfod_csf.errors import UserError
from tfod_csf.files import csv_tables
from tfod_csf.problems import ProblemLog

SURE = ("lymphocyte", 0.95, (1.4, 2.0, 11.6, 12.0))
UNSURE = ("monocyte", 0.6, (20.0, 5.0, 30.0, 15.0))


@pytest.fixture
def study(tmp_path):
    """Patient a with two images and three cells, patient b with one image without cells."""
    return examined_study.write_study(tmp_path, {"a": {"1.jpg": [SURE, UNSURE], "2.jpg": [SURE]}, "b": {"1.jpg": []}})


def test_all_patients_and_what_is_said(study, tmp_path):
    session = export_run(study.inference_dir, tmp_path / "out", ExportSettings(), ProblemLog(quiet=True))
    assert str(session) == "2 of 2 patients, 3 images, 3 cells, 1 of them unknown"
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["HOW_TO_REVIEW.txt", "a", "b", "problems.csv"]
    ids = {json.loads((tmp_path / "out" / name / "cells.json").read_text())["export_id"] for name in "ab"}
    assert len(ids) == 1


def test_one_patient_whose_images_are_elsewhere_now(study, tmp_path):
    moved = study.images_dir.rename(tmp_path / "moved")
    settings = ExportSettings(images_dir=str(moved), patients=["b"])
    session = export_run(study.inference_dir, tmp_path / "out", settings, ProblemLog(quiet=True))
    assert str(session) == "1 of 1 patient, 1 image, 0 cells, 0 of them unknown"


def test_a_patient_without_images_is_counted_and_noted(study, tmp_path):
    (study.images_dir / "b" / "1.jpg").unlink()
    problems = ProblemLog(quiet=True)
    session = export_run(study.inference_dir, tmp_path / "out", ExportSettings(), problems)
    assert session.shown["b"] is None
    assert str(session).startswith("1 of 2 patients, 2 images,")
    assert [row["action"] for row in csv_tables.read_rows(tmp_path / "out" / "problems.csv")] == ["skipped", "noted"]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (ExportSettings(patients=["c"]), r"--patient=c: no such patient in .* \(2 patients\)"),
        (ExportSettings(model="other"), "--model=other: no such model in the run; it has m"),
        (ExportSettings(images_dir="/absent"), "/absent: no such folder"),
    ],
)
def test_what_the_run_does_not_have_is_refused_before_anything_is_written(study, tmp_path, settings, sentence):
    with pytest.raises(UserError, match=sentence):
        export_run(study.inference_dir, tmp_path / "out", settings, ProblemLog(quiet=True))
    assert not (tmp_path / "out").exists()


def test_a_run_that_does_not_say_where_its_images_are_needs_images_dir(study, tmp_path):
    path = study.inference_dir / "run.json"
    record = json.loads(path.read_text())
    record["settings"].pop("images_dir")
    path.write_text(json.dumps(record))
    with pytest.raises(ReviewError, match="--images_dir is needed"):
        export_run(study.inference_dir, tmp_path / "out", ExportSettings(), ProblemLog(quiet=True))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (ExportSettings(sample_images=40), r"--sample_images=40: .*made with --sample_images=10; leave the flag out"),
        (ExportSettings(model="other"), "--model=other: .*made with --model=m; leave the flag out"),
        (ExportSettings(extra_names=["basophil"]), "--extra_class=basophil: .*made with the classes "),
        (ExportSettings(patients=["a"]), "--patient=a: .*made with the patients a, b; leave the flag out"),
    ],
)
def test_an_export_is_not_taken_for_one_with_other_flags(tmp_path, settings, sentence):
    images = {f"{number:02}.jpg": [SURE] for number in range(12)}
    study = examined_study.write_study(tmp_path, {"a": images, "b": {"1.jpg": [SURE]}})
    problems = ProblemLog(quiet=True)
    made = ExportSettings(sample_images=10, patients=["a", "b"], model="m", extra_names=["mast cell"])
    export_run(study.inference_dir, tmp_path / "out", made, problems)
    folders = [tmp_path / "out" / name for name in "ab"]
    check_made_with(folders, made, problems)  # b has one image, fewer than the sample
    check_made_with(folders, ExportSettings(), problems)
    with pytest.raises(ReviewError, match=sentence):
        check_made_with(folders, settings, problems)


def test_a_patient_who_could_not_be_shown_does_not_refuse_the_same_flags(study, tmp_path):
    (study.images_dir / "b" / "1.jpg").unlink()
    problems, made = ProblemLog(quiet=True), ExportSettings(patients=["a", "b"])
    export_run(study.inference_dir, tmp_path / "out", made, problems)
    check_made_with([tmp_path / "out" / "a"], made, problems)

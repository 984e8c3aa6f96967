"""A whole run: the order of its steps, what run.json says, and what is left behind when it fails."""

import dataclasses
import json
import re

import pytest

from tfod_csf import classification, run_folder
from tfod_csf.detections import Detections
from tfod_csf.errors import UserError
from tfod_csf.files import csv_tables
from tfod_csf.inference import batch_run
from tfod_csf.inference.cell_selection import ScoreThresholds
from tfod_csf.label_map import label_map_from_names
from tfod_csf.problems import ProblemLog
from tfod_csf.synthetic import cohort_folder, cohorts


class Brightness:
    """Finds one lymphocyte of score 0.9 in dark images, nothing in light ones; on request each call moves the box."""

    name, fingerprint, temperature, max_detections_per_class = "brightness", "f00d", 1.0, None
    label_map = label_map_from_names(["lymphocyte", "monocyte"])

    def __init__(self, moves=False):
        self.calls = 0
        self._moves = moves

    def detect(self, pixels, image="", jpeg=None):
        self.calls += 1
        number = int(pixels.mean() < 128)
        left = self.calls if self._moves else 8
        return Detections(
            image=image,
            width=pixels.shape[1],
            height=pixels.shape[0],
            boxes=[[10, left, 36, 60]] * number,
            classes=[1] * number,
            scores=[0.9] * number,
            multiclass_scores=[[0.05, 0.9, 0.05]] * number if number else None,
        )


def run(images_dir, out, detector, problems=None, write_differentials=lambda folder, record: "counted", num_rounds=1):
    return batch_run.run(
        batch_run.RunSettings(str(images_dir), model=["exported/brightness"], draw=False),
        lambda: [detector],
        ScoreThresholds(),
        out,
        problems or ProblemLog(quiet=True),
        write_differentials,
        num_rounds,
    )


def test_run_json_is_written_last_and_holds_the_settings(images_dir, tmp_path):
    out = tmp_path / "out"

    def write_differentials(folder, record):
        assert sorted(path.name for path in folder.iterdir()) == ["patients", "problems.csv", "run.json"]
        with pytest.raises(run_folder.RunError, match="is not finished"):
            run_folder.finished_run(folder)
        return "counted"

    done = run(images_dir, out, Brightness(), write_differentials=write_differentials)
    assert done.differentials == "counted"
    assert (done.num_files, done.result.num_images) == (3, 3)
    assert "2 patients, 3 images (0 failed): 1 cell by brightness" in str(done)
    record = json.loads((out / "run.json").read_text(encoding="utf-8"))
    assert record == done.record | {"settings": record["settings"]}
    assert record["settings"] == {
        "images_dir": str(images_dir),
        "manifest": None,
        "patient_pattern": None,
        "model": ["exported/brightness"],
        "ensemble": "case",
        "deterministic": True,
        "draw": False,
    }
    assert "rounds" not in record
    assert run_folder.finished_run(out) == record
    assert sorted(record["tables"]) == ["p1", "王=1"]
    assert csv_tables.read_rows(out / "problems.csv") == []


def test_models_are_not_opened_for_images_that_are_not_there(tmp_path):
    opened = []
    with pytest.raises(UserError, match="no such folder"):
        batch_run.run(
            batch_run.RunSettings(str(tmp_path / "none")),
            lambda: opened.append("a model"),
            ScoreThresholds(),
            tmp_path / "out",
            ProblemLog(quiet=True),
            lambda folder, record: None,
        )
    assert not opened
    assert not (tmp_path / "out").exists()


def test_a_run_that_fails_leaves_its_problems_and_no_run_json(images_dir, tmp_path):
    (images_dir / "p1" / "slide.svs").write_bytes(b"not read")

    def open_models():
        raise UserError("no model")

    with pytest.raises(UserError, match="no model"):
        batch_run.run(
            batch_run.RunSettings(str(images_dir)),
            open_models,
            ScoreThresholds(),
            tmp_path / "out",
            ProblemLog(quiet=True),
            lambda folder: None,
        )
    (row,) = csv_tables.read_rows(tmp_path / "out" / "problems.csv")
    assert row["file"].endswith("slide.svs")
    assert not (tmp_path / "out" / "run.json").exists()


@pytest.mark.parametrize(
    ("moves", "line", "differing"),
    [(False, "3 rounds: all are equal.", []), (True, "3 rounds: 1 patient differs.", ["p1"])],
)
def test_rounds(images_dir, tmp_path, moves, line, differing):
    """Only p1 has a cell, in its dark image, so only p1 can differ."""
    detector = Brightness(moves)
    done = run(images_dir, tmp_path / "out", detector, num_rounds=3)
    assert detector.calls == 9
    assert str(done).splitlines()[0] == line
    assert done.record["rounds"] == {"number": 3, "differing_patients": differing}


def test_files_that_cannot_be_read_count_among_those_found(images_dir, tmp_path):
    (images_dir / "p1" / "broken.jpg").write_bytes(b"no image")
    problems = ProblemLog(quiet=True)
    done = run(images_dir, tmp_path / "out", Brightness(), problems)
    assert (done.num_files, len(problems.skipped_files())) == (4, 1)


def matrix_of(**changes):
    settings = cohorts.CohortSettings(patients=4, images_per_patient=6)
    found = cohort_folder.classification_of(cohorts.simulate(settings))
    same = {"model": "brightness", "fingerprint": "f00d", "classes": tuple(Brightness().label_map.names)}
    return dataclasses.replace(found, **{**same, **changes})


def run_with(images_dir, out, matrix):
    def counted(folder, record):
        copy = classification.read_from_run(folder, record["models"][0]["classification"])
        return copy.num_cells

    return batch_run.run(
        batch_run.RunSettings(str(images_dir), draw=False),
        lambda: [Brightness()],
        ScoreThresholds(),
        out,
        ProblemLog(quiet=True),
        counted,
        matrices={"brightness": matrix, "another": matrix},
    )


def test_the_models_confusion_matrix_is_copied_and_there_when_differentials_are_made(images_dir, tmp_path):
    done = run_with(images_dir, tmp_path / "out", matrix_of())
    assert done.differentials == matrix_of().num_cells
    record = json.loads((tmp_path / "out" / "run.json").read_text(encoding="utf-8"))
    assert record["models"][0]["classification"]["file"] == "classification/brightness.json"
    assert classification.read_from_run(tmp_path / "out", record["models"][0]["classification"]).model == "brightness"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"fingerprint": "beef"}, "brightness/classification.json: it was made with other weights of the model; run"),
        ({"temperature": 1.5}, "it was made at temperature 1.5, not 1;"),
        ({"classes": ("monocyte",)}, "it was made for the classes monocyte, not"),
    ],
)
def test_a_matrix_that_contradicts_the_model_stops_the_run(images_dir, tmp_path, changes, expected):
    with pytest.raises(UserError, match=re.escape(expected)):
        run_with(images_dir, tmp_path / "out", matrix_of(**changes))
    assert not (tmp_path / "out" / "run.json").exists()

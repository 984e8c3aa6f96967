import copy
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from tests.support.hand_made_model import save_gray
from tfod_csf.files import csv_schemas, csv_tables
from tfod_csf.inference import detector
from tfod_csf.inference.cell_selection import ScoreThresholds
from tfod_csf.inference.image_detector import DetectionFailedError
from tfod_csf.inference.runs import batch
from tfod_csf.inference.runs.patient_examination import Examination, examine_patient
from tfod_csf.label_map import label_map_from_names
from tfod_csf.problems import ProblemLog, StrictProblemError
from tfod_csf.study import patients

DEFAULTS = ScoreThresholds()
CLASSES = ("lymphocyte", "monocyte", "neutrophil", "erythrocyte")


@pytest.fixture(scope="module")
def model(hand_made_model):
    return detector.Detector(hand_made_model / "saved_model", label_map_from_names(CLASSES))


def run(images_dir, out, *models, problems=None, thresholds=DEFAULTS, **arguments):
    problems = problems or ProblemLog(quiet=True)
    images = patients.find_images(images_dir, problems)
    return batch.run(images, models, thresholds, out, problems, **arguments)


def test_files_of_a_patient(images_dir, tmp_path, model):
    result = run(images_dir, tmp_path / "out", model)
    folder = tmp_path / "out" / "patients" / "p1"
    assert csv_schemas.load("cells").check(folder / "cells.csv", CLASSES) == 5
    assert csv_schemas.load("images").check(folder / "images.csv", [*CLASSES, "unknown"]) == 2
    cells = csv_tables.read_rows(folder / "cells.csv")
    assert [(c["image"], c["cell_id"], c["predicted_class"], c["status"], c["counted_as"]) for c in cells] == [
        ("a.png", "1", "lymphocyte", "counted", "lymphocyte"),
        ("a.png", "2", "erythrocyte", "counted", "erythrocyte"),
        ("a.png", "3", "neutrophil", "unknown", "unknown"),
        ("day2/b.png", "1", "lymphocyte", "counted", "lymphocyte"),
        ("day2/b.png", "2", "erythrocyte", "counted", "erythrocyte"),
    ]
    first = cells[0]
    assert (first["xmin"], first["ymin"], first["xmax"], first["ymax"]) == ("8.00", "10.00", "34.00", "36.00")
    assert (first["score"], first["score_lymphocyte"], first["score_monocyte"]) == ("0.9500", "0.9500", "0.0125")
    images = csv_tables.read_rows(folder / "images.csv")
    assert [(i["status"], i["cells"], i["count_lymphocyte"], i["count_unknown"]) for i in images] == [
        ("ok", "3", "1", "1"),
        ("ok", "2", "1", "0"),
    ]
    assert (folder / "pictures" / "day2" / "b.png.jpg").is_file()
    assert result.summaries["p1"].duplicates_merged == {model.name: 2}
    assert csv_tables.read_rows(result.folders["王=1"] / "cells.csv")[0]["patient_id"] == "王=1"


def test_only_changed_patients_are_redone(images_dir, tmp_path, model):
    out = tmp_path / "out"
    assert run(images_dir, out, model).reused == set()
    before = (out / "patients" / "p1" / "cells.csv").read_bytes()
    again = run(images_dir, out, model)
    assert again.reused == {"p1", "王=1"}
    assert again.summaries["p1"].cells == {model.name: 5}
    save_gray(images_dir / "p1" / "c.png", 100)
    assert run(images_dir, out, model).reused == {"王=1"}
    (images_dir / "p1" / "c.png").unlink()
    assert run(images_dir, out, model).reused == {"王=1"}
    assert (out / "patients" / "p1" / "cells.csv").read_bytes() == before
    assert run(images_dir, out, model, thresholds=ScoreThresholds(unknown_below=0.7)).reused == set()
    # A corrected label map gives the same network's cells other names.
    corrected = copy.copy(model)
    corrected.label_map = label_map_from_names(("monocyte", "lymphocyte", *CLASSES[2:]))
    assert run(images_dir, tmp_path / "other", model).reused == set()
    assert run(images_dir, tmp_path / "other", corrected).reused == set()
    first = csv_tables.read_rows(tmp_path / "other" / "patients" / "p1" / "cells.csv")[0]
    assert first["predicted_class"] == "monocyte"
    # The stamp of an interrupted patient names its files and nothing else.
    stamp = out / "patients" / "p1" / "stamp.json"
    stamp.write_text(json.dumps({"files": json.loads(stamp.read_text())["files"]}))
    assert run(images_dir, out, model, thresholds=ScoreThresholds(unknown_below=0.7)).reused == {"王=1"}


def test_unreadable_image_marks_its_patient_and_stops_nothing(images_dir, tmp_path, model):
    (images_dir / "p1" / "broken.jpg").write_bytes(b"no image")
    problems = ProblemLog(quiet=True)
    result = run(images_dir, tmp_path / "out", model, problems=problems)
    assert (result.num_images, result.num_failed, result.summaries["p1"].failed) == (4, 1, 1)
    rows = csv_tables.read_rows(tmp_path / "out" / "patients" / "p1" / "images.csv")
    failed = next(row for row in rows if row["image"] == "broken.jpg")
    assert failed["status"] == "failed"
    assert "no image" in failed["reason"]
    # The second run does not redo the patient, and does not forget the problem.
    again = ProblemLog(quiet=True)
    assert run(images_dir, tmp_path / "out", model, problems=again).reused == {"p1", "王=1"}
    assert again.problems == problems.problems
    with pytest.raises(StrictProblemError):
        run(images_dir, tmp_path / "strict", model, problems=ProblemLog(strict=True, quiet=True))


def test_an_image_that_is_not_to_be_opened_fails_its_patient_until_it_may_be(images_dir, tmp_path, model):
    examination = Examination([model], DEFAULTS, draw=False)
    images = [image for image in patients.find_images(images_dir, ProblemLog()) if image.patient_id == "p1"]
    problems = ProblemLog(quiet=True)

    def examine(**arguments):
        return examine_patient(examination, "p1", images, tmp_path / "p1", problems, **arguments)

    outcome = examine(refused={"a.png": "it ends the process"})
    assert (outcome.summary.failed, outcome.summary.examined, outcome.reused) == (1, {model.name: 1}, False)
    assert [(problem.file, problem.reason) for problem in problems.problems] == [
        (str(images_dir / "p1" / "a.png"), "it ends the process")
    ]
    failed, used = csv_tables.read_rows(tmp_path / "p1" / "images.csv")
    assert (failed["status"], failed["reason"], used["status"]) == ("failed", "it ends the process", "ok")
    assert failed["sha256"] == outcome.checksums["a.png"]
    assert examine(refused={"a.png": "it ends the process"}).reused
    assert not examine().reused
    assert csv_tables.read_rows(tmp_path / "p1" / "images.csv")[0]["status"] == "ok"


def test_an_engine_that_examines_all_patients_first(images_dir, tmp_path, model):
    at_work = []

    def engine(examination, of_patients):
        for patient_id, (images, folder) in of_patients.items():
            examine_patient(examination, patient_id, images, folder, ProblemLog(quiet=True))
        at_work.extend(of_patients)
        return batch.in_this_process(examination, of_patients)

    result = run(images_dir, tmp_path / "out", model, engine=engine)
    assert at_work == list(result.summaries) == ["p1", "王=1"]
    assert result.reused == {"p1", "王=1"}


def test_same_picture_twice_is_counted_once(images_dir, tmp_path, model):
    shutil.copy(images_dir / "p1" / "a.png", images_dir / "p1" / "copy.png")
    shutil.copy(images_dir / "p1" / "a.png", images_dir / "王=1" / "b.png")
    problems = ProblemLog(quiet=True)
    result = run(images_dir, tmp_path / "out", model, problems=problems)
    assert result.summaries["p1"].cells == {model.name: 5}
    assert [problem.action for problem in problems.problems] == ["skipped", "noted"]


def test_a_model_that_fails_on_an_image_is_tried_again(images_dir, tmp_path, model, monkeypatch):
    detect = model.detect

    def failing(pixels, image, jpeg=None):
        if image == "a.png":
            raise DetectionFailedError("out of memory")
        return detect(pixels, image, jpeg=jpeg)

    monkeypatch.setattr(model, "detect", failing)
    result = run(images_dir, tmp_path / "out", model)
    assert (result.num_failed, result.summaries["p1"].cells) == (2, {model.name: 2})
    rows = csv_tables.read_rows(tmp_path / "out" / "patients" / "p1" / "images.csv")
    assert [(row["status"], row["model"]) for row in rows] == [("failed", model.name), ("ok", model.name)]
    monkeypatch.undo()
    again = run(images_dir, tmp_path / "out", model)
    assert (again.reused, again.num_failed) == (set(), 0)


def test_several_models(images_dir, tmp_path, model, hand_made_model):
    second = detector.Detector(hand_made_model / "saved_model", label_map_from_names(CLASSES), name="second")
    run(images_dir, tmp_path / "out", model, second)
    folder = tmp_path / "out" / "patients" / "p1"
    assert len(csv_tables.read_rows(folder / "cells.csv")) == 10
    assert (folder / "pictures" / "second" / "a.png.jpg").is_file()
    with pytest.raises(batch.BatchError, match="called"):
        batch.check_detectors([model, model])
    second.label_map = label_map_from_names(["a", "b", "c", "d"])
    with pytest.raises(batch.BatchError, match="same classes"):
        batch.check_detectors([model, second])


def test_patients_of_an_earlier_run(images_dir, tmp_path, model):
    run(images_dir, tmp_path / "out", model)
    shutil.rmtree(images_dir / "p1")
    assert run(images_dir, tmp_path / "out", model).kept == ["p1"]
    with pytest.raises(batch.BatchError, match="earlier run"):
        run(images_dir, tmp_path / "out", model, thresholds=ScoreThresholds(min_score=0.3))


def test_crowded_image_is_flagged(images_dir, tmp_path, hand_made_model):
    limited = detector.Detector(
        hand_made_model / "saved_model", label_map_from_names(CLASSES), max_detections_per_class=1
    )
    problems = ProblemLog(quiet=True)
    result = run(images_dir, tmp_path / "out", limited, problems=problems)
    assert result.summaries["p1"].limit_reached == ["a.png", "day2/b.png"]
    assert "some may be missing" in problems.problems[0].reason


def test_no_pictures(images_dir, tmp_path, model):
    run(images_dir, tmp_path / "out", model, draw=False)
    assert not list((tmp_path / "out").rglob("*.jpg"))
    stamp = json.loads((tmp_path / "out" / "patients" / "p1" / "stamp.json").read_text())
    assert stamp["summary"]["images"] == 2


def test_exif_turned_image_is_drawn_as_seen(tmp_path, model):
    pixels = np.zeros([72, 96, 3], np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "images" / "p").mkdir(parents=True)
    Image.fromarray(pixels).save(tmp_path / "images" / "p" / "a.jpg", exif=exif)
    run(tmp_path / "images", tmp_path / "out", model)
    with Image.open(tmp_path / "out" / "patients" / "p" / "pictures" / "a.jpg") as picture:
        assert picture.size == (72, 96)

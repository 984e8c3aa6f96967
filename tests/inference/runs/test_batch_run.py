"""A whole run: the order of its steps, what run.json says, and what is left behind when it fails."""

import dataclasses
import hashlib
import json
import pathlib
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from tests.support.hand_made_model import save_gray
from tfod_csf import classification, run_folder
from tfod_csf.detections import Detections
from tfod_csf.errors import UserError
from tfod_csf.files import csv_tables, folder_lock, given_files
from tfod_csf.inference.cell_selection import ScoreThresholds
from tfod_csf.inference.runs import batch_run, inference_record, patient_examination
from tfod_csf.label_map import label_map_from_names
from tfod_csf.problems import ProblemLog
from tfod_csf.study import image_io, patients
from tfod_csf.synthetic import cohort_folder, cohorts


class Brightness:
    """Finds one lymphocyte of score 0.9 in dark images, nothing in light ones; on request each call moves the box."""

    name, fingerprint, temperature, max_detections_per_class = "brightness", "f00d", 1.0, None
    label_map = label_map_from_names(["lymphocyte", "monocyte"])

    def __init__(self, moves=False):
        self.calls = 0
        self._moves = moves

    def decode_jpeg(self, jpeg):
        return None

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


DEFAULTS = ScoreThresholds()


def run(
    images_dir,
    out,
    detector,
    problems=None,
    write_differentials=lambda folder, record: "counted",
    num_rounds=1,
    thresholds=DEFAULTS,
    **settings,
):
    return batch_run.run(
        batch_run.RunSettings(str(images_dir), model=["exported/brightness"], draw=False, **settings),
        lambda: [detector],
        thresholds,
        out,
        problems or ProblemLog(quiet=True),
        write_differentials,
        num_rounds,
    )


def test_run_json_is_written_last_and_holds_the_settings(images_dir, tmp_path):
    out = tmp_path / "out"

    def write_differentials(folder, record):
        assert folder_lock.entries(folder) == ["patients", "problems.csv", "run.json"]
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
        "tile_size": None,
        "tile_overlap": None,
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


def test_rounds_are_those_of_one_way_of_computing(images_dir, tmp_path, monkeypatch):
    """3 images a round; a run without further rounds keeps what was done in either way."""

    def calls(**arguments):
        detector = Brightness()
        run(images_dir, tmp_path / "out", detector, **arguments)
        return detector.calls

    assert calls() == 3
    assert calls(num_rounds=2) == 3  # the first is that of the run before
    assert calls(num_rounds=2) == 0
    assert calls(num_rounds=2, deterministic=False) == 6
    assert calls() == 0
    monkeypatch.setattr(inference_record, "versions", lambda: {"tensorflow": "99.0"})
    assert calls(deterministic=False) == 0
    assert calls(num_rounds=3, deterministic=False) == 9


def test_files_that_cannot_be_read_count_among_those_found(images_dir, tmp_path):
    (images_dir / "p1" / "broken.jpg").write_bytes(b"no image")
    problems = ProblemLog(quiet=True)
    done = run(images_dir, tmp_path / "out", Brightness(), problems)
    assert (done.num_files, len(problems.skipped_files())) == (4, 1)


def test_rows_of_a_manifest_that_name_no_image_count_among_those_skipped(images_dir, tmp_path):
    (tmp_path / "m.csv").write_text("image,patient_id\np1/a.png,A\np1/7.png,B\np1/8.png,B\np1/9.png,\n,C\n")
    problems = ProblemLog(quiet=True)
    done = run(images_dir, tmp_path / "out", Brightness(), problems, manifest=str(tmp_path / "m.csv"))
    assert (done.num_files, len(problems.skipped_files())) == (5, 4)


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


# A run is a state on disk.


def test_an_interrupted_run_with_other_thresholds_is_refused_until_it_is_completed(images_dir, tmp_path):
    out = tmp_path / "out"
    run(images_dir, out, Brightness())
    before = {path: path.read_bytes() for path in (out / "patients").rglob("*") if path.is_file()}

    class Stops(Brightness):
        def detect(self, pixels, image="", jpeg=None):
            if self.calls == 2:  # in the second patient
                raise KeyboardInterrupt
            return super().detect(pixels, image, jpeg)

    thresholds = ScoreThresholds(unknown_below=0.95)
    with pytest.raises(KeyboardInterrupt):
        run(images_dir, out, Stops(), thresholds=thresholds)
    with pytest.raises(run_folder.RunError, match="is not finished"):
        run_folder.read_run(out)
    # The second patient has its old tables until the new ones are whole; nothing half-written is left.
    now = {path: path.read_bytes() for path in (out / "patients").rglob("*") if path.is_file()}
    assert {path for path in before if now[path] != before[path]} == {
        out / "patients" / "p1" / name for name in ("cells.csv", "stamp.json", "images.csv")
    }
    assert set(now) == set(before)
    done = run(images_dir, out, Brightness(), thresholds=thresholds)
    assert done.result.reused == {"p1"}
    assert run_folder.finished_run(out)["thresholds"]["unknown_below"] == 0.95
    stamps = [json.loads(path.read_text(encoding="utf-8")) for path in out.glob("patients/*/stamp.json")]
    assert {stamp["settings"]["thresholds"]["unknown_below"] for stamp in stamps} == {0.95}
    undisturbed = tmp_path / "undisturbed"
    run(images_dir, undisturbed, Brightness(), thresholds=thresholds)
    for path in undisturbed.glob("patients/*/cells.csv"):
        assert (out / path.relative_to(undisturbed)).read_bytes() == path.read_bytes()


def test_a_refused_run_leaves_the_earlier_one_as_it_was(images_dir, tmp_path):
    out = tmp_path / "out"
    run(images_dir, out, Brightness())
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    (images_dir / "p1" / "slide.svs").write_bytes(b"not read")
    with pytest.raises(UserError, match="no such folder"):
        run(images_dir / "none", out, Brightness())
    (out / "patients" / "p2").mkdir()
    (out / "patients" / "p2" / "images.csv").write_text("foreign")
    with pytest.raises(UserError, match=r"p2: holds files, but no stamp\.json"):
        run(images_dir, out, Brightness())
    shutil.rmtree(out / "patients" / "p2")
    assert before == {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    run_folder.finished_run(out)


def test_an_edited_table_stops_the_next_run_before_it_starts(images_dir, tmp_path):
    out = tmp_path / "out"
    run(images_dir, out, Brightness())
    path = out / "patients" / "p1" / "cells.csv"
    path.write_text(path.read_text(encoding="utf-8").replace("lymphocyte", "monocyte"), encoding="utf-8")
    with pytest.raises(UserError, match=r"cells\.csv: was changed after batch_infer had written it"):
        run(images_dir, out, Brightness())
    path.unlink()
    assert run(images_dir, out, Brightness()).result.reused == {"王=1"}
    run_folder.finished_run(out)


@pytest.mark.parametrize("removed", ["patients/p1", "."])
def test_results_that_vanish_during_the_run_are_an_error(images_dir, tmp_path, removed):
    out = tmp_path / "out"

    class Removes(Brightness):
        def detect(self, pixels, image="", jpeg=None):
            if self.calls == 2:  # in the second patient, before the first is finished
                shutil.rmtree(out / removed)
            return super().detect(pixels, image, jpeg)

    with pytest.raises((UserError, OSError), match=r"gone|removed|No such file"):
        run(images_dir, out, Removes())
    with pytest.raises(run_folder.RunError):
        run_folder.finished_run(out)


def test_two_runs_at_once(images_dir, tmp_path):
    out, refused = tmp_path / "out", []

    class RunsAgain(Brightness):
        def detect(self, pixels, image="", jpeg=None):
            with pytest.raises(UserError, match="is writing into this folder") as error:
                run(images_dir, out, Brightness())
            refused.append(error)
            return super().detect(pixels, image, jpeg)

    run(images_dir, out, RunsAgain())
    assert len(refused) == 3
    run_folder.finished_run(out)


def test_every_round_is_a_finished_run(images_dir, tmp_path):
    run(images_dir, tmp_path / "out", Brightness(), num_rounds=2)
    assert run_folder.finished_run(tmp_path / "out" / "rounds" / "2")["round"] == 2


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"boxes": [[10, 8, float("nan"), 60]]}, "a box with a side that is not a number"),
        ({"boxes": [[10, 8, float("inf"), 60]]}, "a box with a side that is not a number"),
        ({"scores": [float("nan")]}, "the score nan"),
        ({"scores": [float("inf")]}, "the score inf"),
        ({"scores": [17.5]}, "the score 17.5; expected a number from 0 to 1"),
        ({"multiclass_scores": [[0.05, float("nan"), 0.05]]}, "the score nan"),
    ],
)
def test_numbers_that_are_none_fail_the_image_with_a_reason(images_dir, tmp_path, changes, reason):
    class Wrong(Brightness):
        def detect(self, pixels, image="", jpeg=None):
            found = super().detect(pixels, image, jpeg)
            return dataclasses.replace(found, **changes) if len(found) else found

    problems = ProblemLog(quiet=True)
    done = run(images_dir, tmp_path / "out", Wrong(), problems)
    assert (done.result.num_images, done.result.num_failed) == (3, 1)
    assert reason in problems.problems[0].reason
    rows = csv_tables.read_rows(tmp_path / "out" / "patients" / "p1" / "images.csv")
    assert [(row["image"], row["status"]) for row in rows] == [("a.png", "failed"), ("day2/b.png", "ok")]
    assert reason in rows[0]["reason"]


def test_an_image_replaced_after_it_was_read_is_named_by_the_bytes_that_were_used(images_dir, tmp_path):
    path = images_dir / "p1" / "a.png"
    used = path.read_bytes()

    class ThenReplaced(Brightness):
        def detect(self, pixels, image="", jpeg=None):
            if image == "a.png":
                save_gray(path, 7)
            return super().detect(pixels, image, jpeg)

    run(images_dir, tmp_path / "out", ThenReplaced())
    rows = csv_tables.read_rows(tmp_path / "out" / "patients" / "p1" / "images.csv")
    assert rows[0]["sha256"] == hashlib.sha256(used).hexdigest()
    assert run(images_dir, tmp_path / "out", Brightness()).result.reused == {"王=1"}


def test_a_file_is_read_and_decoded_once_and_that_decode_is_what_is_seen_and_drawn(images_dir, tmp_path, monkeypatch):
    """JPEGs as the detector decodes them, here a plain gray of 40; patients that are done are not decoded."""
    shutil.rmtree(images_dir)
    (images_dir / "p").mkdir(parents=True)
    dark = Image.fromarray(np.zeros([48, 64, 3], np.uint8))
    for number, name in enumerate(["a.jpg", "b.jpg"]):
        dark.save(images_dir / "p" / name, comment=str(number))
    opened, decoded, seen = [], [], []
    open_file = given_files.open_file

    def counting(path, *arguments):
        opened.append(pathlib.Path(path).name)
        return open_file(path, *arguments)

    class Gray40(Brightness):
        def decode_jpeg(self, jpeg):
            decoded.append(jpeg)
            return np.full([48, 64, 3], 40, np.uint8)

        def detect(self, pixels, image="", jpeg=None):
            seen.append((int(pixels.min()), int(pixels.max()), jpeg))
            return super().detect(pixels + 200, image, jpeg)  # light: no cell

    monkeypatch.setattr(given_files, "open_file", counting)
    examination = patient_examination.Examination([Gray40()], ScoreThresholds())
    images = patients.find_images(images_dir, ProblemLog(quiet=True))
    arguments = (examination, "p", images, tmp_path / "out", ProblemLog(quiet=True))
    assert not patient_examination.examine_patient(*arguments).reused
    files = [path.read_bytes() for path in sorted((images_dir / "p").iterdir())]
    assert [name for name in opened if name.endswith(".jpg")] == ["a.jpg", "b.jpg"]
    assert decoded == files
    assert seen == [(40, 40, file) for file in files]
    with Image.open(tmp_path / "out" / "pictures" / "a.jpg") as picture:
        assert np.abs(np.asarray(picture).astype(int) - 40).max() <= 1
    assert patient_examination.examine_patient(*arguments).reused
    assert len(decoded) == 2
    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded by Pillow"))
        assert image_io.read_image(images[0].path, ProblemLog(), decode_jpeg=Gray40().decode_jpeg)[0] is not None


def test_a_patient_whose_id_is_too_long_is_skipped_and_the_others_are_examined(images_dir, tmp_path):
    save_gray(images_dir / ("x" * 210) / "a.png", 0)
    problems = ProblemLog(quiet=True)
    done = run(images_dir, tmp_path / "out", Brightness(), problems)
    assert (sorted(done.result.summaries), done.num_files) == (["p1", "王=1"], 4)
    assert "is too long for a folder name (210 bytes, 200 allowed)" in problems.problems[0].reason
    shutil.rmtree(images_dir / "p1")
    shutil.rmtree(images_dir / "王=1")
    with pytest.raises(UserError, match="no image is left"):
        run(images_dir, tmp_path / "none", Brightness())


def test_drawn_pictures_are_not_images_wherever_they_were_copied(images_dir, tmp_path):
    batch_run.run(
        batch_run.RunSettings(str(images_dir)),
        lambda: [Brightness()],
        ScoreThresholds(),
        tmp_path / "out",
        ProblemLog(quiet=True),
        lambda folder, record: None,
    )
    shutil.copy(tmp_path / "out" / "patients" / "p1" / "pictures" / "a.png.jpg", images_dir / "p1" / "copied.jpg")
    problems = ProblemLog(quiet=True)
    done = run(images_dir, tmp_path / "second", Brightness(), problems)
    assert (done.result.num_images, done.result.num_failed) == (4, 1)
    assert "a picture in which batch_infer has drawn cells" in problems.problems[0].reason

import csv
import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest

from tests.support import constant_detector
from tests.support.constant_detector import ConstantDetector, CountingDetector
from tests.support.gray_images import save_gray
from tfod_csf import run_folder
from tfod_csf.inference.cell_selection import ScoreThresholds
from tfod_csf.inference.runs import batch_run
from tfod_csf.inference.runs.batch import BatchError
from tfod_csf.inference.runs.batch_run import RunSettings
from tfod_csf.inference.watch import watched_run
from tfod_csf.inference.watch.watched_run import Pace
from tfod_csf.problems import ProblemLog
from tfod_csf.study.patient_ids import PatientsError

AT_ONCE = Pace(poll=0, settle=0, quiet=0)
DEFAULTS = ScoreThresholds()


def watch(root, what_happens, model=None, thresholds=DEFAULTS, **how):
    """Watches while things happen: one before each look. Returns (what the run did, what was shown)."""
    shown, happenings = [], iter(what_happens)

    def wants_to_end(seconds):
        happening = next(happenings, None)
        if happening is None:
            return True
        happening()
        return False

    done = watched_run.run(
        RunSettings(images_dir=str(root / "images")),
        lambda: [model or ConstantDetector()],
        thresholds,
        root / "out",
        ProblemLog(quiet=True),
        lambda states, error: shown.append((states, error)),
        wants_to_end,
        pace=how.pop("pace", AT_ONCE),
        write_differentials=lambda folder, record: None,
        **how,
    )
    return done, shown


def run_normally(root, out, model=None):
    return batch_run.run(
        RunSettings(images_dir=str(root / "images")),
        lambda: [model or ConstantDetector()],
        ScoreThresholds(),
        out,
        ProblemLog(quiet=True),
        lambda folder, record: None,
    )


def results(out):
    """{file: content} of the patients, without measured seconds and what holds them."""
    found = {}
    for path in sorted((out / "patients").rglob("*")):
        name = path.relative_to(out).as_posix()
        if path.name == "images.csv":
            with open(path, encoding="utf-8-sig", newline="") as file:
                found[name] = [{**row, "seconds": ""} for row in csv.DictReader(file)]
        elif path.name == "stamp.json":
            found[name] = json.loads(path.read_text())["images"]
        elif path.is_file():
            found[name] = path.read_bytes()
    return found


def photographs(root):
    """Images of two patients, one half-written and one replaced on the way, and nothing in between."""
    images = root / "images"

    def half_written():
        save_gray(images / "p1" / "b.png", 2)
        content = (images / "p1" / "b.png").read_bytes()
        (images / "p1" / "b.png").write_bytes(content[:60])

    return [
        lambda: save_gray(images / "p1" / "a.png", 1),
        half_written,
        lambda: save_gray(images / "p1" / "b.png", 3),
        lambda: save_gray(images / "p2" / "a.png", 4),
        lambda: save_gray(images / "p1" / "a.png", 5),
        lambda: (images / "notes.txt").write_text("x"),
        lambda: save_gray(images / "p2" / "b.png", 6),
        *[lambda: None] * 6,
    ]


@pytest.mark.parametrize("quiet", [0, 1e9])
def test_what_is_left_behind_is_what_a_normal_run_leaves(tmp_path, quiet):
    (tmp_path / "images").mkdir()
    done, shown = watch(tmp_path, photographs(tmp_path), pace=Pace(0, 0, quiet))
    run_normally(tmp_path, tmp_path / "other")
    assert results(tmp_path / "out") == results(tmp_path / "other")
    assert len(results(tmp_path / "out")) == 2 * 3 + 4  # tables and stamps, pictures
    assert done.result.num_images == 4
    assert json.loads((tmp_path / "out" / "run.json").read_text())["finished"]
    assert not [name for name in os.listdir(tmp_path / "out") if name.startswith(".")]
    last = {state.patient_id: state for state in shown[-1][0]}
    assert {name: (state.images, state.examined) for name, state in last.items()} == {"p1": (2, 2), "p2": (2, 2)}


def test_a_normal_run_afterwards_changes_no_byte(tmp_path):
    (tmp_path / "images").mkdir()
    watch(tmp_path, photographs(tmp_path))
    tables = {path: path.read_bytes() for path in (tmp_path / "out" / "patients").rglob("*") if path.is_file()}
    model = CountingDetector()
    again = run_normally(tmp_path, tmp_path / "out", model)
    assert again.result.reused == {"p1", "p2"}
    assert model.asked == 0
    assert tables == {path: path.read_bytes() for path in (tmp_path / "out" / "patients").rglob("*") if path.is_file()}


def test_no_image_goes_through_the_model_twice(tmp_path):
    (tmp_path / "images").mkdir()
    model = CountingDetector()
    watch(tmp_path, photographs(tmp_path), model)
    assert model.asked == 5  # 1, 3, 4, 5, 6


@pytest.fixture
def half_written(tmp_path, monkeypatch):
    """An image of which one half is written; (path, the whole of it, what happens whenever somebody sleeps)."""
    image, clock, on_sleep = tmp_path / "images" / "p1" / "a.png", [0.0], []
    save_gray(image, 1)
    content = image.read_bytes()
    image.write_bytes(content[:60])

    def sleep(seconds):
        clock[0] += seconds
        for happens in on_sleep:
            happens()

    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    monkeypatch.setattr("time.sleep", sleep)
    return image, content, on_sleep


def test_a_file_that_is_being_written_at_the_end_is_waited_for(tmp_path, half_written):
    image, content, on_sleep = half_written
    on_sleep.append(lambda: image.write_bytes(content) if image.stat().st_size < len(content) else None)
    done, shown = watch(tmp_path, [lambda: None], pace=Pace(0, 2.0, 1e9))
    assert (done.result.num_images, done.result.num_failed) == (1, 0)
    assert (shown[0][1], shown[-1][1]) == ("", "files are still being written")
    assert (tmp_path / "out" / "problems.csv").read_text("utf-8-sig").count("\n") == 1


def test_a_file_that_is_written_for_ever_is_named(tmp_path, half_written):
    image, content, on_sleep = half_written
    on_sleep.append(lambda: image.write_bytes(content + bytes(image.stat().st_size % 2)))
    watch(tmp_path, [lambda: None], pace=Pace(0, 2.0, 1e9))
    assert "a.png" in (tmp_path / "out" / "problems.csv").read_text("utf-8-sig")
    assert "still being written when the counting ended" in (tmp_path / "out" / "problems.csv").read_text("utf-8-sig")


def test_a_patient_who_was_renamed_after_he_was_finished_is_named(tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    happens = [
        lambda: save_gray(images / "new" / "a.png", 1),
        lambda: None,
        lambda: (images / "new").rename(images / "p1"),
    ]
    done, _ = watch(tmp_path, [*happens, lambda: None])
    assert done.result.kept == ["new"]
    (problem,) = csv.DictReader((tmp_path / "out" / "problems.csv").read_text("utf-8-sig").splitlines())
    assert (problem["file"], problem["action"]) == (str(tmp_path / "out" / "patients" / "new"), "noted")
    assert "images are gone" in problem["reason"]


def test_seconds_are_those_of_the_model_and_not_of_remembering(tmp_path, monkeypatch):
    (tmp_path / "images").mkdir()
    clock = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])

    class SlowDetector(ConstantDetector):
        def detect(self, pixels, image="", jpeg=None):
            clock[0] += 2.5
            return super().detect(pixels, image, jpeg)

    done, _ = watch(
        tmp_path, [lambda: save_gray(tmp_path / "images" / "p1" / "a.png", 1), lambda: None], SlowDetector()
    )
    assert done.record["seconds_per_image"] == 2.5
    assert done.record["patients"]["p1"]["seconds"] == 2.5


KILLED = """
import pathlib, sys
from tests.inference.watch.test_watched_run import ConstantDetector, photographs, save_gray, watch
root = pathlib.Path(sys.argv[1])
deadly = lambda: save_gray(root / "images" / "p3" / "deadly.png", {gray})
watch(root, [*photographs(root), deadly, lambda: None])
"""


def test_killed_and_started_again(tmp_path):
    (tmp_path / "images").mkdir()
    once = tmp_path / "once"
    once.touch()
    environment = {**os.environ, constant_detector.ONCE: str(once)}
    code = KILLED.format(gray=constant_detector.DEADLY_ONCE)
    here = pathlib.Path(__file__).parents[3]
    killed = subprocess.run([sys.executable, "-c", code, tmp_path], env=environment, cwd=here, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert json.loads((tmp_path / "out" / "run.json").read_text())["finished"] is None
    model = CountingDetector()
    _, shown = watch(tmp_path, [lambda: None] * 4, model)
    assert model.asked == 1  # the image at which it was killed; all others were finished, as nothing came for a while
    assert [state.patient_id for state in shown[-1][0]] == ["p3", "p2", "p1"]  # as they were photographed
    run_normally(tmp_path, tmp_path / "other")
    assert results(tmp_path / "out") == results(tmp_path / "other")
    assert not list(pathlib.Path(tmp_path / "out").glob(".*"))


def test_a_folder_that_cannot_be_read_for_a_while_is_shown_and_waited_for(tmp_path):
    images = tmp_path / "images"
    images.mkdir()

    def away():
        images.rename(tmp_path / "away")

    def back():
        (tmp_path / "away").rename(images)

    _, shown = watch(tmp_path, [lambda: save_gray(images / "p1" / "a.png", 1), away, back, lambda: None])
    assert ["no such folder" in error for _, error in shown] == [False, True, False, False]


def test_mistakes_come_before_the_model(tmp_path):
    def open_models():
        raise AssertionError("opened")

    with pytest.raises(PatientsError, match="no such folder"):
        watched_run.run(
            RunSettings(images_dir=str(tmp_path / "images")), open_models, ScoreThresholds(), tmp_path / "out",
            ProblemLog(quiet=True), lambda *_: None, lambda _: True, write_differentials=lambda *_: None,
        )  # fmt: skip


def test_results_of_other_settings_are_refused_before_an_image_is_taken(tmp_path):
    images = tmp_path / "images"
    save_gray(images / "p1" / "a.png", 1)
    run_normally(tmp_path, tmp_path / "out")
    (images / "p1" / "a.png").unlink()
    with pytest.raises(BatchError, match="with other models, thresholds or tiles"):
        watch(tmp_path, [], thresholds=ScoreThresholds(min_score=0.6))
    stamp = tmp_path / "out" / "patients" / "p1" / run_folder.STAMP
    stamp.write_text(json.dumps({"files": json.loads(stamp.read_text())["files"]}))
    with pytest.raises(BatchError, match="examination was interrupted, not in this input; put the images back"):
        watch(tmp_path, [])

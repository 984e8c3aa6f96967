"""Which images are labeled, how many steps fit, what is kept and what is missing; trainings are not run."""

import csv
import json
import pathlib
import subprocess
import sys
import types
from collections import Counter

import pytest

from tests.support.constant_detector import CountingDetector
from tests.support.gray_images import save_gray
from tests.support.saved_models import ONE_EMPTY_GRAPH
from tfod_csf.benchmarks.csf_small import few_labels, recipe, source_images
from tfod_csf.benchmarks.csf_small.few_labels import FewLabels, Settings, Training
from tfod_csf.benchmarks.csf_small.held_out import CLASSES
from tfod_csf.benchmarks.csf_small.source_images import SourceImage
from tfod_csf.config.pipeline_config import load_pipeline_config
from tfod_csf.errors import UserError
from tfod_csf.files import manifest
from tfod_csf.label_map import label_map_from_names, save_label_map
from tfod_csf.model_folder import ModelFolder
from tfod_csf.shipped_models import by_name
from tfod_csf.study.labelimg import LabeledObject


class Detector(CountingDetector):
    """Of csf_small's classes."""

    label_map = label_map_from_names(CLASSES)


def source(name: str, *classes: str, folder: str = "bccd_dense", fold: int = 0, path=None) -> SourceImage:
    objects = [LabeledObject(cell, 20 + 30 * i, 1, 40 + 30 * i, 21) for i, cell in enumerate(classes)]
    return SourceImage(path or pathlib.Path(f"{name}.png"), folder, "pseudo_patient_01", objects, fold)


# The order of labeling


def test_images_are_labeled_class_by_class_and_those_with_complete_boxes_first():
    dense = [source(f"n{i}", "neutrophil") for i in range(6)] + [source("l", "lymphocyte"), source("e", "erythrocyte")]
    sparse = [source("m", "monocyte", folder="bccd_differential"), source("x", folder="bccd_differential")]
    order = few_labels.labeling_order([*sparse, *dense], seed=0)
    names = [image.path.stem for image in order]
    # Of no class is a cell labeled: lymphocytes come first. No image with complete boxes has a monocyte.
    assert names[0] == "l"
    assert {name[0] for name in names[1:7]} == {"n"}
    assert names[7:] == ["e", "m", "x"]


def test_classes_take_turns_as_long_as_there_are_cells():
    pool = [source(f"{cell}{i}", cell) for cell in ("lymphocyte", "monocyte", "neutrophil") for i in range(3)]
    order = few_labels.labeling_order(pool, seed=5)
    for turn in range(3):
        cells = Counter(image.objects[0].name for image in order[3 * turn : 3 * turn + 3])
        assert cells == {"lymphocyte": 1, "monocyte": 1, "neutrophil": 1}
    assert order == few_labels.labeling_order(pool, seed=5)
    assert order != few_labels.labeling_order(pool, seed=6)


# Budgets


def test_steps_fill_what_the_start_of_a_training_leaves():
    assert few_labels.steps_within(1, {"start_seconds": 20.0, "step_seconds": 0.5}) == 80
    with pytest.raises(UserError, match=r"takes 61 CPU seconds before its first step .* fits into 1 minutes"):
        few_labels.steps_within(1, {"start_seconds": 61.0, "step_seconds": 0.5})


# A folder of trainings

CPU_SECONDS = {"10": 24.0, "40": 36.0}  # of the calibration: 20 seconds and 0.4 for a step


@pytest.fixture
def images(tmp_path):
    """Five to label and one to test with, on which the detector's lymphocyte is right."""
    made = []
    for number in range(6):
        path = tmp_path / "data" / f"BloodImage_{number:05d}.png"
        save_gray(path, 15 + number)
        made.append(source("", "lymphocyte", "erythrocyte", fold=1 if number == 5 else 0, path=path))
    return made


def export(folder: pathlib.Path, graph: bytes = ONE_EMPTY_GRAPH) -> None:
    (folder / "saved_model").mkdir(parents=True)
    (folder / "saved_model" / "saved_model.pb").write_bytes(graph)
    save_label_map(label_map_from_names(CLASSES), folder / "label_map.pbtxt")


@pytest.fixture
def commands(monkeypatch):
    """Commands that make records and configs are run, the others only noted; the CPU clock is a drawn one."""
    done = types.SimpleNamespace(ran=[], status={}, clock=0.0)
    real = subprocess.run

    def run(command, check):
        name, flags = command[3], dict(one[2:].split("=", 1) for one in command[4:] if "=" in one)
        done.ran.append((name, flags))
        if name in done.status:
            return types.SimpleNamespace(returncode=done.status[name])
        if name in ("create_csf_tf_record", "generate_pipeline_config"):
            return real(command, check=check)
        if name == "model_main_tf2":
            steps = str(load_pipeline_config(flags["pipeline_config_path"]).train_config.num_steps)
            done.clock += CPU_SECONDS.get(steps, 59.0)
        if name == "exporter_main_v2":
            export(pathlib.Path(flags["output_directory"]))
        return types.SimpleNamespace(returncode=0)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(recipe, "cpu_seconds", lambda: done.clock)
    return done


@pytest.fixture
def detector():
    return Detector()


@pytest.fixture
def few(images, tmp_path, detector):
    def open_few(start="csf_small", **settings):
        return FewLabels(images, tmp_path / "out", start, Settings(**settings), lambda model: detector)

    return open_few


def record_of(tmp_path, training):
    return json.loads((tmp_path / "out" / "runs" / training.name / "run.json").read_text())


def config_of(tmp_path, training):
    return load_pipeline_config(tmp_path / "out" / "runs" / training.name / "pipeline.config")


def test_a_training_from_a_model(few, images, tmp_path, commands):
    training = Training(3, "model", 1)
    few().run(training)
    record = record_of(tmp_path, training)
    assert (record["steps"], record["cpu_seconds"]) == (100, 59.0)  # (60 - 20) / 0.4
    assert record["settings"]["model"] == few()._start_sha256
    assert record["settings"]["labeled_cells"]["lymphocyte"] == record["settings"]["with_complete_boxes"] == 3
    assert record["settings"]["test_images"] == source_images.data_fingerprint(images[5:])
    assert record["figures"]["lymphocyte"] == {"ap": 1.0, "cells": 1}
    assert record["figures"]["erythrocyte"] == {"ap": 0.0, "cells": 1}
    assert record["figures"]["monocyte"]["ap"] is None
    config = config_of(tmp_path, training)
    assert config.train_config.fine_tune_checkpoint == "csf_small"  # by whatever path it was found
    assert config.train_config.batch_size == 4
    assert not config.model.faster_rcnn.feature_extractor.batch_norm_trainable
    with open(tmp_path / "out/records/images_003/records/split.csv", encoding="utf-8", newline="") as file:
        sides = {pathlib.Path(row["image"]).name: row["side"] for row in csv.DictReader(file)}
    assert {name for name, side in sides.items() if side == "test"} == {"BloodImage_00005.png"}
    assert Counter(sides.values()) == {"train": 3, "test": 1}


def test_from_scratch_is_the_same_network_without_a_checkpoint(few, tmp_path, commands):
    of_both = [Training(2, start, 1) for start in ("model", "scratch")]
    for training in of_both:
        few().run(training)
    trained, scratch = (config_of(tmp_path, training) for training in of_both)
    assert not scratch.train_config.fine_tune_checkpoint
    assert scratch.model.faster_rcnn.feature_extractor.batch_norm_trainable
    assert record_of(tmp_path, of_both[1])["settings"]["model"] == ""
    scratch.model.faster_rcnn.feature_extractor.batch_norm_trainable = False
    assert scratch.model == trained.model
    assert scratch.train_config.optimizer == trained.train_config.optimizer


def test_a_step_that_took_no_time_is_not_kept(few, tmp_path, commands, monkeypatch):
    monkeypatch.setattr(recipe, "cpu_seconds", lambda: 0.0)
    for _ in range(2):
        with pytest.raises(UserError, match="a training of 40 steps took 0 CPU seconds, one of 10 steps 0, so that"):
            few().run(Training(2, "model", 1))
    assert not list((tmp_path / "out").rglob("calibration.json"))


def test_what_is_finished_is_kept_and_what_was_interrupted_begins_again(few, tmp_path, commands):
    training = Training(2, "model", 1)
    commands.status["exporter_main_v2"] = 1
    with pytest.raises(UserError, match=r"exporter_main_v2 ended with status 1; .* Run again to resume"):
        few().run(training)
    left = tmp_path / "out" / "runs" / training.name / "model" / "ckpt-1.index"
    left.parent.mkdir()
    left.touch()
    commands.status.clear()
    commands.ran.clear()
    few().run(training)
    names = [name for name, _ in commands.ran]
    assert names == [
        "generate_pipeline_config",
        "model_main_tf2",
        "exporter_main_v2",
    ]  # calibration and records are kept
    assert not left.exists()
    commands.ran.clear()
    few().run(training)
    assert commands.ran == []


def test_a_folder_of_other_settings_or_another_model_is_refused(few, tmp_path, commands):
    few().run(Training(2, "model", 1))
    with pytest.raises(UserError, match=r"settings\.json: is of other settings \(seed\); give a new folder"):
        few(seed=2)
    other = tmp_path / "other"
    shipped = by_name.find_existing("csf_small")
    export(other, ONE_EMPTY_GRAPH + b"\x0a\x00")
    (other / "pipeline.config").write_bytes((shipped / "pipeline.config").read_bytes())
    manifest.write(other)
    with pytest.raises(UserError, match=r"run\.json: is of other settings \(model\); give a new folder"):
        few(str(other)).run(Training(2, "model", 1))
    few(str(other)).run(Training(2, "scratch", 1))  # in which the model's weights are not


def test_more_images_than_there_are(few, commands):
    with pytest.raises(UserError, match="--sizes: 6 images are to be labeled, but there are 5"):
        few().run(Training(6, "model", 1))


def test_table_figure_and_what_is_missing(few, tmp_path, commands, detector):
    opened = few()
    opened.test_start()
    opened.run(Training(2, "model", 1))
    missing = opened.write()
    assert missing == [str(one) for one in few_labels.all_trainings()]
    assert missing[0] == "50 images, from the model, 5 minutes"
    assert len(missing) == 18
    with open(tmp_path / "out" / "few_labels.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["images"], row["minutes"], row["steps"]) for row in rows] == [("0", "0", "0"), ("2", "1", "100")]
    assert (tmp_path / "out" / "few_labels.png").stat().st_size > 1000
    assert detector.asked == 2  # the test image, with the model as it is and the one that was trained
    text = "".join(path.read_text() for path in (tmp_path / "out").glob("few_labels.[cm]*"))
    assert str(tmp_path) not in text


def test_the_start_is_opened_as_any_model(tmp_path, images):
    with pytest.raises(UserError, match="nowhere"):
        FewLabels(images, tmp_path, "nowhere", Settings())
    assert ModelFolder.open("csf_small").label_map.names == list(CLASSES)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--starts=model,nothing"], "--starts: 'nothing' is no start; give model or scratch"),
        (["--sizes=50,x"], "--sizes: '50,x' does not consist of numbers"),
        (["--budgets=5,0"], "--budgets: '5,0' holds a number that is not above 0"),
        ([], "bccd_dense: holds no images"),
    ],
)
def test_wrong_flags_are_said_in_a_line(tmp_path, capsys, flags, words):
    with pytest.raises(SystemExit) as ended:
        few_labels.main([str(tmp_path / "out"), f"--data_dir={tmp_path}", "--start=csf_small", *flags])
    assert ended.value.code == 1
    assert words in capsys.readouterr().err


def test_help_says_what_to_give_and_loads_no_tensorflow():
    command = [sys.executable, "-X", "importtime", "-m", "tfod_csf.benchmarks.csf_small.few_labels", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "--start START" in done.stdout
    assert "few_labels.csv" in done.stdout
    assert "tensorflow" not in done.stderr

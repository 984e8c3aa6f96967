import json
import re
import shutil

import pytest

from tests.support import labeled_folders
from tfod_csf.commands import command_line, command_steps
from tfod_csf.files import csv_schemas, csv_tables

# On every image the model finds one lymphocyte, where the first object is.
PATIENTS = {
    "A": [["lymphocyte"], ["monocyte"]],
    "B": [["lymphocyte"], ["monocyte"]],
    "C": [["lymphocyte"], []],
    "D": [["lymphocyte"], ["lymphocyte"]],
}


@pytest.fixture(scope="module")
def images_dir(tmp_path_factory):
    return labeled_folders.write_study(tmp_path_factory.mktemp("study"), PATIENTS)


def run(images_dir, out, *flags):
    return command_line.main(
        ["cross_validate", f"--images_dir={images_dir}", f"--output_dir={out}", "--nodata_page", *flags]
    )


@pytest.fixture
def steps(monkeypatch):
    """All commands in this process but for training and export, which a model made by hand stands in for."""
    from tests.support import hand_made_model

    seen = []
    box = (
        10 / labeled_folders.HEIGHT,
        1 / labeled_folders.WIDTH,
        16 / labeled_folders.HEIGHT,
        6 / labeled_folders.WIDTH,
    )

    def run_command(name, arguments):
        command_line.check_arguments(name, arguments)
        flags = dict(argument.lstrip("-").split("=", 1) for argument in arguments)
        seen.append((name, flags))
        if name == "model_main_tf2":
            return int(fail_at == len(seen))
        if name == "exporter_main_v2":
            folder = hand_made_model.pathlib.Path(flags["output_directory"])
            hand_made_model.save(folder, (hand_made_model.Candidate(box, 1, 0.95),))
            return 0
        return command_line.main([name, *arguments])

    fail_at = 6  # the training of the second fold
    monkeypatch.setattr(command_steps, "run_command", run_command)
    return seen


def test_folds_are_trained_exported_and_evaluated_and_a_run_that_failed_goes_on(images_dir, tmp_path, steps, capsys):
    flags = (
        "--num_folds=2",
        "--generate_flags=--feature_extractor=resnet18 --num_steps=3",
        "--train_flags=--log_every_n=1",
    )
    assert run(images_dir, tmp_path, *flags) == 1
    assert "fold_2: model_main_tf2 ended with exit status 1" in capsys.readouterr().err
    assert not (tmp_path / "cross_validation.csv").exists()
    assert run(images_dir, tmp_path, *flags) == 0
    of_fold = ["generate_pipeline_config", "model_main_tf2", "exporter_main_v2", "evaluate"]
    assert [name for name, _ in steps] == [*of_fold, *of_fold[:2], *of_fold[1:]]
    training = steps[1][1]
    assert (training["seed"], training["log_every_n"]) == ("0", "1")
    config = (tmp_path / "fold_1" / "pipeline.config").read_text()
    assert str(tmp_path / "fold_1" / "tfrecords" / "train.record-?????-of-00001") in config
    assert "num_steps: 3" in config
    # Not the checkpoint that does best on the images that test.
    assert steps[2][1]["trained_checkpoint_dir"] == str(tmp_path / "fold_1" / "model")

    rows = {
        (row["measure"], row["class"], row["scope"]): row
        for row in csv_schemas.load("cross_validation").read(tmp_path / "cross_validation.csv")
        if row["scope"] == "all_patients"
    }
    recall = rows["recall", "lymphocyte", "all_patients"]
    assert (recall["value"], recall["units"], recall["cells"]) == (1, 4, 5)
    assert rows["recall", "monocyte", "all_patients"]["value"] == 0
    # Of eight cells five are lymphocytes, two are monocytes, and one is where nothing is.
    precision = rows["precision", "lymphocyte", "all_patients"]
    assert (precision["value"], precision["cells"]) == (5 / 8, 8)
    assert csv_schemas.load("cross_validation").check(tmp_path / "cross_validation.csv") > 0
    printed = capsys.readouterr().out
    assert "recall lymphocyte" in printed
    assert "fold 1 tests on 2 patients: 4 images" not in printed  # records were made by the first run

    assert run(images_dir, tmp_path, *flags) == 0
    assert len(steps) == 9
    shutil.rmtree(tmp_path / "fold_2" / "evaluation")  # as an error of the last step advises
    assert run(images_dir, tmp_path, *flags) == 0
    assert [name for name, _ in steps[9:]] == ["evaluate"]
    assert run(images_dir, tmp_path, *flags, "--seed=3") == 1
    assert "begun with --seed=0, not 3" in capsys.readouterr().err


def test_nobody_trains_and_tests_in_a_fold(images_dir, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command_steps, "run_command", lambda name, arguments: 1)
    assert run(images_dir, tmp_path, "--num_folds=3") == 1
    assert "fold 3 tests on " in capsys.readouterr().out
    for number in (1, 2, 3):
        split = csv_tables.read_rows(tmp_path / f"fold_{number}" / "tfrecords" / "split.csv")
        sides = {side: {row["patient"] for row in split if row["side"] == side} for side in ("train", "test")}
        assert not sides["train"] & sides["test"]
        assert sides["train"] | sides["test"] == set(PATIENTS)
    assert json.loads((tmp_path / "cross_validation.json").read_text())["finished"] == ["records"]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--split_by=laboratory"], "--split_by=laboratory needs --laboratory_pattern"),
        (["--generate_flags=--feature_extracter=resnet18"], "did you mean --feature_extractor?"),
        (
            ["--generate_flags=--records_dir=x"],
            "--generate_flags: --records_dir cannot be given for a fold; leave it out",
        ),
        (["--train_flags=--config_override=x"], "--config_override cannot be given for a fold; put it into"),
        (["--train_flags=--noeval_once"], "--noeval_once cannot be given for a fold"),
        (["--train_flags='--log_every_n=1"], "No closing quotation"),
        (["--num_folds=1"], "--num_folds"),
        (["--num_folds=9"], "4 patients .* cannot be divided into 9 folds"),
    ],
)
def test_mistakes_are_reported_before_the_first_training(images_dir, tmp_path, monkeypatch, capsys, flags, words):
    monkeypatch.setattr(command_steps, "run_command", lambda name, arguments: pytest.fail("ran a step"))
    assert run(images_dir, tmp_path, *flags) == 1
    assert re.search(words.replace("?", r"\?"), capsys.readouterr().err)


def test_the_output_may_not_lie_among_the_images(images_dir, capsys):
    assert run(images_dir, images_dir / "out") == 1
    assert "lies in --images_dir" in capsys.readouterr().err


def test_flags_given_twice_count_together(images_dir, tmp_path, monkeypatch):
    ran = {}

    def fail(name, arguments):
        ran[name] = arguments
        return 1

    monkeypatch.setattr(command_steps, "run_command", fail)
    twice = ("--generate_flags=--feature_extractor=resnet18", "--generate_flags=--num_steps=3")
    assert run(images_dir, tmp_path, "--num_folds=2", *twice) == 1
    assert {"--feature_extractor=resnet18", "--num_steps=3"} <= set(ran["generate_pipeline_config"])


def test_a_run_that_was_stopped_before_its_records_were_finished_resumes(images_dir, tmp_path, monkeypatch):
    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(command_steps, "run_command", lambda name, arguments: 1)
    with monkeypatch.context() as stopped:
        stopped.setattr("tfod_csf.data.dataset_page.data_page.write_data_page", stop)
        assert run(images_dir, tmp_path, "--num_folds=2", "--data_page") == 130
    assert (tmp_path / "folds.csv").exists()
    assert not (tmp_path / "cross_validation.json").exists()
    assert run(images_dir, tmp_path, "--num_folds=2") == 1  # in the first step after the records, which fails here
    assert (tmp_path / "cross_validation.json").exists()


def test_files_of_somebody_else_are_not_replaced(images_dir, tmp_path, capsys):
    (tmp_path / "folds.csv").write_text("mine")
    assert run(images_dir, tmp_path) == 1
    assert "holds folds.csv, but no cross_validation.json" in capsys.readouterr().err
    assert (tmp_path / "folds.csv").read_text() == "mine"

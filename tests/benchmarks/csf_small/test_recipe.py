import json
import pathlib
import subprocess
import types

import pytest
from google.protobuf import text_format

from tfod_csf.benchmarks.csf_small import recipe
from tfod_csf.benchmarks.csf_small.source_images import SourceImage
from tfod_csf.benchmarks.csf_small.training_fields import FieldSettings
from tfod_csf.config.protos import pipeline_pb2
from tfod_csf.errors import UserError
from tfod_csf.label_map import load_label_map


def image(folder: str, fold: int) -> SourceImage:
    return SourceImage(pathlib.Path("a.jpg"), folder, "block_00", (), fold)


IMAGES = [image("pbc_mgg", 0), image("pbc_dense", 1), image("bccd_dense", 0), image("bccd_differential", 2)]
SETTINGS = {"data": "0123", "fields": {"number": 4}}


def test_a_fold_and_a_laboratory_are_held_back():
    assert recipe.kept(IMAGES, None, None) == IMAGES
    assert recipe.kept(IMAGES, 0, None) == [IMAGES[1], IMAGES[3]]
    assert recipe.kept(IMAGES, None, "bccd") == IMAGES[:2]
    assert recipe.kept(IMAGES, 0, "bccd") == [IMAGES[1]]
    with pytest.raises(UserError, match="no image is left without fold 0 and laboratory bccd"):
        recipe.kept(IMAGES[:1], 0, "bccd")


@pytest.fixture
def commands(monkeypatch):
    """Commands that were run instead of being run; `status` is what they end with."""
    ran = types.SimpleNamespace(names=[], commands=[], status=0)

    def run(command, check):
        ran.names.append(command[3])
        ran.commands.append(command)
        return types.SimpleNamespace(returncode=ran.status)

    monkeypatch.setattr(subprocess, "run", run)
    return ran


def flag(command: list[str], name: str) -> str:
    (value,) = [one.split("=", 1)[1] for one in command if one.startswith(f"--{name}=")]
    return value


def test_a_step_that_failed_is_run_again_and_one_that_finished_is_not(tmp_path, commands):
    commands.status = 1
    with pytest.raises(UserError, match="the step training ended with status 1; run again to resume"):
        recipe.Recipe(tmp_path, SETTINGS).step("training", ["model_main_tf2"])
    commands.status = 0
    for _ in range(2):
        recipe.Recipe(tmp_path, SETTINGS).step("training", ["model_main_tf2"])
    assert commands.names == ["model_main_tf2"] * 2
    record = json.loads((tmp_path / "training.json").read_text())
    assert record["settings"] == SETTINGS
    assert record["finished"] == ["training"]
    assert record["cpu_seconds"]["training"] >= 0


def test_the_time_of_an_interrupted_step_counts(tmp_path, monkeypatch):
    clock = iter([0.0, 100.0, 100.0, 105.0, 105.0, 112.0])
    monkeypatch.setattr(recipe, "cpu_seconds", lambda: next(clock))

    def interrupted(*arguments, **keywords):
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        recipe.Recipe(tmp_path, SETTINGS).step("training", ["model_main_tf2"])
    monkeypatch.setattr(subprocess, "run", lambda command, check: types.SimpleNamespace(returncode=0))
    recipe.Recipe(tmp_path, SETTINGS).step("training", ["model_main_tf2"])
    with pytest.raises(KeyboardInterrupt):
        recipe.Recipe(tmp_path, SETTINGS).own_step("compose", "fields", interrupted)
    record = json.loads((tmp_path / "training.json").read_text())
    assert record["cpu_seconds"] == {"training": 105.0, "compose": 7.0}
    assert record["finished"] == ["training"]


def test_what_an_interrupted_step_left_is_removed(tmp_path, commands):
    (tmp_path / "exported").mkdir()
    recipe.Recipe(tmp_path, SETTINGS).step("export", ["exporter_main_v2"], remove="exported")
    assert not (tmp_path / "exported").exists()


def test_a_folder_of_other_settings_is_refused(tmp_path, commands):
    recipe.Recipe(tmp_path, SETTINGS).step("records", ["create_csf_tf_record"])
    with pytest.raises(UserError, match=r"training\.json: is of .*0123.*, not .*4567.*; give a new --work_dir"):
        recipe.Recipe(tmp_path, {**SETTINGS, "data": "4567"})


def test_all_steps_in_their_order(tmp_path, commands, monkeypatch):
    monkeypatch.setattr(recipe.training_fields, "write_fields", lambda images, fields, folder: folder.mkdir())
    monkeypatch.setattr(recipe.source_images, "write_study", lambda images, folder: folder.mkdir(exist_ok=True))
    network = {"feature_extractor": "resnet18", "num_steps": 3}
    for _ in range(2):
        recipe.run(tmp_path, IMAGES, FieldSettings(2), network)
    steps = ["create_csf_tf_record", "generate_pipeline_config", "model_main_tf2", "exporter_main_v2"]
    assert commands.names == [*steps, "create_csf_tf_record", "describe_domain"]
    record = json.loads((tmp_path / "training.json").read_text())
    assert record["finished"] == ["compose", "records", "config", "training", "export", *("study records", "domain")]
    assert record["settings"]["fields"]["scales"] == [0.6, 1.7]
    assert "refinement" not in record["settings"]
    assert load_label_map(tmp_path / "label_map.pbtxt").names == list(recipe.CLASSES)


def test_a_refined_model_is_what_is_exported(tmp_path, commands, monkeypatch):
    composed = []
    monkeypatch.setattr(
        recipe.training_fields,
        "write_fields",
        lambda images, fields, folder: (folder.mkdir(parents=True), composed.append((len(images), fields.number))),
    )
    monkeypatch.setattr(recipe.source_images, "write_study", lambda images, folder: folder.mkdir(exist_ok=True))
    refinements = [
        recipe.Refinement(FieldSettings(3, seed=5), 90, 0.0006, recipe.INSTANCE_NORM),
        recipe.Refinement(FieldSettings(4), 45, 0.0003, laboratory="bccd"),
    ]
    for _ in range(2):
        recipe.run(tmp_path, IMAGES, FieldSettings(2), {"num_steps": 3}, refinements=refinements, laboratory="pbc")
    of_bccd = sum(image.laboratory == "bccd" for image in IMAGES)
    assert 0 < of_bccd < len(IMAGES)
    assert composed == [(len(IMAGES) - of_bccd, 2), (len(IMAGES), 3), (of_bccd, 4)]
    assert commands.names[3:8] == ["create_csf_tf_record", "model_main_tf2"] * 2 + ["exporter_main_v2"]
    assert len(commands.names) == 10  # the second time there is nothing to do
    first, second = tmp_path / "refinement_1", tmp_path / "refinement_2"
    changed = _changes(commands.commands[4])
    assert changed.model.faster_rcnn.feature_extractor.type == "faster_rcnn_resnet18_instance_norm_keras"
    assert changed.train_config.fine_tune_checkpoint == str(tmp_path / "model")
    rate = changed.train_config.optimizer.adam_optimizer.learning_rate.exponential_decay_learning_rate
    assert (changed.train_config.num_steps, rate.decay_steps) == (90, 2)  # 90 // 45
    assert rate.initial_learning_rate == pytest.approx(0.0006)
    shards = str(first / "records" / "train.record-?????-of-?????")
    assert list(changed.train_input_reader.tf_record_input_reader.input_path) == [shards]
    assert changed.train_config.max_number_of_boxes == changed.train_input_reader.max_number_of_boxes == 200
    # The second continues the first, with its config, and that is what is exported.
    assert flag(commands.commands[6], "pipeline_config_path") == str(first / "model" / "pipeline.config")
    assert _changes(commands.commands[6]).train_config.fine_tune_checkpoint == str(first / "model")
    assert flag(commands.commands[7], "trained_checkpoint_dir") == str(second / "model")
    assert flag(commands.commands[7], "pipeline_config_path") == str(second / "model" / "pipeline.config")
    settings = json.loads((tmp_path / "training.json").read_text())["settings"]["refinements"]
    assert [(one["fields"]["number"], one["steps"], one["laboratory"]) for one in settings] == [
        (3, 90, ""),
        (4, 45, "bccd"),
    ]


def test_the_refinements_that_ship_and_those_without_steps_or_images():
    def given(*arguments):
        flags = ["--data_dir=data", "--work_dir=work", *arguments]
        return recipe._refinements(recipe._parser().parse_args(flags))

    first, second, third = given()
    assert (first.steps, first.fields.stain, first.changes) == (4500, 0.0, recipe.INSTANCE_NORM)
    assert (second.steps, second.fields.stain, second.fields.changed) == (3000, 0.25, 1.0)
    assert (third.steps, third.fields.number, third.fields.changed) == (1200, 12000, 0.75)
    assert [one.laboratory for one in (first, second, third)] == ["pbc", "pbc", ""]
    assert given("--refining_steps", "7", "0", "0") == [first._replace(steps=7)]
    assert given("--without_laboratory=bccd") == [first, second]
    assert [one.laboratory for one in given("--without_laboratory=pbc")] == ["", ""]


def _changes(command):
    return text_format.Parse(flag(command, "config_override"), pipeline_pb2.TrainEvalPipelineConfig())

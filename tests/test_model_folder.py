"""What an exported model's folder must hold, and what is taken when TFOD itself wrote it."""

import dataclasses
import json

import pytest

from tfod_csf import label_map
from tfod_csf.classification import ClassificationError
from tfod_csf.model_folder import DEFAULT_THRESHOLDS, ModelFolder, ModelFolderError, fingerprint
from tfod_csf.synthetic import cohort_folder, cohorts


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "my_model"
    (path / "saved_model").mkdir(parents=True)
    (path / "saved_model" / "saved_model.pb").touch()
    label_map.save_label_map(label_map.label_map_from_names(["lymphocyte", "monocyte"]), path / "label_map.pbtxt")
    return path


def test_paths_name_and_label_map(folder):
    model = ModelFolder.open(folder)
    assert model.name == "my_model"
    assert model.label_map.names == ["lymphocyte", "monocyte"]
    assert model.saved_model_dir == folder / "saved_model"
    assert model.checkpoint_dir == folder / "checkpoint"
    assert model.pipeline_config_path == folder / "pipeline.config"
    assert ModelFolder.open(folder / "saved_model").path == folder


def test_without_model_json_the_default_thresholds_count(folder):
    assert ModelFolder.open(folder).thresholds == {"min_score": 0.5, "unknown_below": 0.8}


def test_thresholds_travel_with_the_model(folder):
    (folder / "model.json").write_text(json.dumps({"thresholds": {"min_score": 0.25}, "other": 1}))
    model = ModelFolder.open(folder)
    assert model.thresholds == {"min_score": 0.25, "unknown_below": 0.8}
    assert model.info["other"] == 1
    assert DEFAULT_THRESHOLDS["min_score"] == 0.5


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not what the exporter writes"),
        ("[1]", "is not what the exporter writes"),
        ('{"thresholds": {"min_score": "high"}}', "is not what the exporter writes"),
        ('{"thresholds": {"min_score": 50}}', "thresholds.min_score is 50.0; expected a score from 0 to 1"),
        ('{"classes": ["monocyte", "lymphocyte"]}', "names the classes monocyte, lymphocyte, but label_map.pbtxt"),
    ],
)
def test_model_json_that_cannot_be_used(folder, text, words):
    (folder / "model.json").write_text(text)
    with pytest.raises(ModelFolderError, match=r"model\.json") as error:
        ModelFolder.open(folder)
    assert words in str(error.value)


def test_folders_that_are_no_model(folder, tmp_path):
    with pytest.raises(ModelFolderError, match=r"holds no saved_model/saved_model\.pb"):
        ModelFolder.open(tmp_path)
    (folder / "label_map.pbtxt").unlink()
    with pytest.raises(ModelFolderError, match=r"holds no label_map\.pbtxt; put the label map"):
        ModelFolder.open(folder)


def matrix_of(classes):
    found = cohort_folder.classification_of(cohorts.simulate(cohorts.CohortSettings(patients=4, images_per_patient=6)))
    return dataclasses.replace(found, classes=tuple(classes))


def test_a_confusion_matrix_carries_the_folders_name(folder):
    assert ModelFolder.open(folder).classification is None
    matrix_of(["lymphocyte", "monocyte"]).write(folder / "classification.json")
    assert ModelFolder.open(folder).classification.model == "my_model"


def test_a_confusion_matrix_of_other_classes_or_that_cannot_be_read(folder):
    matrix_of(["lymphocyte"]).write(folder / "classification.json")
    with pytest.raises(
        ModelFolderError, match=r"made for the classes lymphocyte, but label_map\.pbtxt beside it names"
    ):
        ModelFolder.open(folder)
    (folder / "classification.json").write_text("{}")
    with pytest.raises(ClassificationError, match=r"classification\.json: lacks 'format'"):
        ModelFolder.open(folder)


def test_fingerprint_follows_the_weights(hand_made_model, tmp_path):
    first = fingerprint(hand_made_model / "saved_model")
    assert first == fingerprint(hand_made_model / "saved_model")
    variables = tmp_path / "variables"
    variables.mkdir()
    (variables / "v").write_bytes(b"1")
    one = fingerprint(tmp_path)
    (variables / "v").write_bytes(b"2")
    assert fingerprint(tmp_path) != one

"""What an exported model's folder must hold, and what is taken when TFOD itself wrote it."""

import dataclasses
import json
import shutil

import pytest

from tests.support import openvino_graphs
from tests.support.saved_models import ONE_EMPTY_GRAPH, graph_of
from tfod_csf import label_map, model_folder
from tfod_csf.classification import ClassificationError
from tfod_csf.files import manifest
from tfod_csf.files.saved_model_operations import SavedModelError
from tfod_csf.model_folder import DEFAULT_THRESHOLDS, ModelFolder, ModelFolderError, fingerprint
from tfod_csf.shipped_models import by_name
from tfod_csf.synthetic import cohort_folder, cohorts


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "my_model"
    (path / "saved_model").mkdir(parents=True)
    (path / "saved_model" / "saved_model.pb").write_bytes(ONE_EMPTY_GRAPH)
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


def test_a_table_names_a_model_that_ships_and_the_path_of_another(folder, monkeypatch):
    assert ModelFolder.open(folder).name_or_path == str(folder)
    monkeypatch.setattr(by_name, "SHIPPED_MODELS", folder.parent)
    assert ModelFolder.open(folder).name_or_path == folder.name


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
    assert ModelFolder.open(folder).classification is None  # put together by hand: ignored with a warning
    (folder / "model.json").write_text("{}")
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


@pytest.fixture
def listed_folder(folder):
    (folder / "saved_model" / "variables").mkdir()
    (folder / "saved_model" / "variables" / "variables.index").write_bytes(b"weights")
    (folder / "model.json").write_text(json.dumps({"manifest": "SHA256SUMS"}))
    manifest.write(folder)
    return folder


def test_files_as_they_were_exported_are_vouched_for(listed_folder, folder):
    (listed_folder / "NOTES.txt").write_text("a person's own, which nothing reads")
    assert ModelFolder.open(listed_folder).vouched_for_by == "SHA256SUMS"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("saved_model/variables/variables.index", b"weighty", "saved_model/variables/variables.index was changed"),
        ("saved_model/assets/table.txt", b"x", "saved_model/assets/table.txt was added"),
        ("classification.json", b"{}", "classification.json was added"),
        ("model.json", b'{"thresholds": {"min_score": 0.1}}', "model.json was changed"),
        ("SHA256SUMS", None, "SHA256SUMS is missing"),
        ("saved_model/variables/variables.index", None, "saved_model/variables/variables.index is missing"),
    ],
)
def test_a_folder_that_does_not_match_needs_trust(listed_folder, name, content, words, caplog):
    path = listed_folder / name
    path.parent.mkdir(exist_ok=True)
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(ModelFolderError, match=rf"my_model: {words}; .* Commands that have --trust open it"):
        ModelFolder.open(listed_folder)
    with pytest.raises(ModelFolderError, match=words):
        model_folder.check_unchanged(listed_folder)
    model_folder.check_unchanged(listed_folder, trust=True)
    if name != "classification.json":  # which is no confusion matrix
        assert ModelFolder.open(listed_folder, trust=True).vouched_for_by == f"--trust: {words}"
    assert "opened because of --trust" in caplog.text


def test_without_model_json_a_manifest_vouches_for_nothing(listed_folder, caplog):
    (listed_folder / "model.json").unlink()
    assert ModelFolder.open(listed_folder).vouched_for_by == "nothing"
    assert "has no model.json; nothing says" in caplog.text
    model_folder.check_unchanged(listed_folder)


def test_a_folder_of_another_making_is_opened_with_a_warning(folder, caplog):
    model_folder.check_unchanged(folder)
    assert caplog.text == ""
    assert ModelFolder.open(folder).vouched_for_by == "nothing"
    assert "has no model.json and SHA256SUMS; nothing says that this is the model as it was exported" in caplog.text


def test_a_model_that_does_more_than_compute_needs_trust(folder):
    path = folder / "saved_model" / "saved_model.pb"
    path.write_bytes(graph_of({"serve": [("WriteFile", ""), ("PyFunc", "")]}).SerializeToString())
    manifest.write(folder)
    with pytest.raises(ModelFolderError, match=r"can reach files, the network or Python \(PyFunc, WriteFile\)"):
        ModelFolder.open(folder)
    assert "PyFunc, WriteFile" in ModelFolder.open(folder, trust=True).vouched_for_by
    path.write_bytes(b"")
    with pytest.raises(SavedModelError, match="holds no graph"):
        ModelFolder.open(folder, trust=True)


def test_what_is_stored_in_the_folder_later_is_vouched_for_too(listed_folder):
    model_folder.store_classification(listed_folder, matrix_of(["lymphocyte", "monocyte"]))
    opened = ModelFolder.open(listed_folder)
    assert (opened.vouched_for_by, opened.classification.model) == ("SHA256SUMS", "my_model")


def test_thresholds_are_stored_with_how_they_were_chosen(listed_folder):
    before = json.loads((listed_folder / "model.json").read_text())
    thresholds = {"min_score": 0.35, "unknown_below": 0.6}
    said = model_folder.store_thresholds(listed_folder, thresholds, {"criterion": "f1"})
    opened = ModelFolder.open(listed_folder)
    assert (opened.thresholds, opened.vouched_for_by) == (thresholds, "SHA256SUMS")
    defaults = {"min_score": 0.5, "unknown_below": 0.8}
    was = {**defaults, **before.get("thresholds", {})}
    assert opened.info["thresholds_chosen"] == {"criterion": "f1", "before": was}
    assert {name: opened.info[name] for name in before if name != "thresholds"} == {
        name: value for name, value in before.items() if name != "thresholds"
    }
    assert f"min_score 0.35 (before: {was['min_score']:g}), unknown_below 0.6" in said


def test_thresholds_need_a_model_json_that_can_be_read(listed_folder):
    (listed_folder / "model.json").write_text("{")
    with pytest.raises(ModelFolderError, match="not JSON"):
        model_folder.store_thresholds(listed_folder, {"min_score": 0.5, "unknown_below": 0.8}, {})
    (listed_folder / "model.json").unlink()
    with pytest.raises(ModelFolderError, match="no such file"):
        model_folder.store_thresholds(listed_folder, {"min_score": 0.5, "unknown_below": 0.8}, {})


@pytest.fixture
def ir_folder(folder):
    shutil.rmtree(folder / "saved_model")
    openvino_graphs.write(folder / "openvino", [("Convolution", "opset1")])
    info = {"manifest": "SHA256SUMS", "openvino": {"fingerprint": fingerprint(folder / "openvino")}}
    (folder / "model.json").write_text(json.dumps(info))
    manifest.write(folder)
    return folder


def test_a_folder_of_export_openvino(ir_folder):
    model = ModelFolder.open(ir_folder)
    assert (model.network_dir, model.vouched_for_by) == (ir_folder / "openvino", "SHA256SUMS")
    assert ModelFolder.open(ir_folder / "openvino").path == ir_folder
    (ir_folder / "saved_model").mkdir()
    (ir_folder / "saved_model" / "saved_model.pb").write_bytes(ONE_EMPTY_GRAPH)
    with pytest.raises(ModelFolderError, match="holds saved_model and openvino, two models"):
        ModelFolder.open(ir_folder)


def test_another_ir_or_one_that_does_more_than_detect_needs_trust(ir_folder):
    openvino_graphs.write(ir_folder / "openvino", [("Assign", "opset6")])
    manifest.write(ir_folder)  # whoever changes a file can write its checksum too
    with pytest.raises(
        ModelFolderError,
        match=r"model\.json was written for another IR than openvino/; its IR holds operations .* \(opset6.Assign\)",
    ):
        ModelFolder.open(ir_folder)
    assert "Assign" in ModelFolder.open(ir_folder, trust=True).vouched_for_by
    (ir_folder / "model.json").unlink()
    with pytest.raises(ModelFolderError, match=r"model\.json does not say which IR it belongs to"):
        ModelFolder.open(ir_folder)

"""The packed form of an exported model: what is in it, that it finds the same, and that trainings start from it."""

import csv
import dataclasses
import json
import shutil

import numpy as np
import pytest

from tests.support import named_process, tiny_training
from tfod_csf.config.pipeline_config import load_pipeline_config
from tfod_csf.errors import UserError
from tfod_csf.export import packing
from tfod_csf.label_map import label_map_from_names, save_label_map
from tfod_csf.model_folder import ModelFolder
from tfod_csf.shipped_models import by_name

IMAGE = np.random.default_rng(3).integers(0, 255, [48, 60, 3]).astype(np.uint8)
CLASS_BIAS = "model/_mask_rcnn_box_predictor/_class_prediction_head/_class_predictor_layers/1/bias"


@pytest.fixture
def packed(shipped_models):
    return shipped_models / "csf_tiny"


@pytest.fixture
def csf_tiny(shipped_models, monkeypatch):
    """In this process, csf_tiny ships."""
    monkeypatch.setattr(by_name, "SHIPPED_MODELS", shipped_models)
    return "csf_tiny"


def _variables(prefix) -> dict[str, np.ndarray]:
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(prefix))
    return {
        key.removesuffix("/.ATTRIBUTES/VARIABLE_VALUE"): reader.get_tensor(key)
        for key in reader.get_variable_to_shape_map()
        if key.endswith("/.ATTRIBUTES/VARIABLE_VALUE")
    }


def test_weights_are_stored_once_in_half_precision_under_the_keys_of_a_checkpoint(packed, tiny_exported_model):
    exported = _variables(tiny_exported_model / "checkpoint" / "ckpt-0")
    weights = _variables(packed / "saved_model" / "variables" / "variables")
    assert weights.keys() == exported.keys() - {"save_counter"}
    halves = {key for key, value in weights.items() if value.dtype == np.float16}
    assert halves == {key for key in weights if key.endswith(("/kernel", "/bias"))}
    for key, value in weights.items():
        np.testing.assert_array_equal(value, exported[key].astype(value.dtype), err_msg=key)
    assert not (packed / "checkpoint").exists()
    sizes = [
        sum(path.stat().st_size for path in (folder / "saved_model" / "variables").iterdir())
        for folder in (packed, tiny_exported_model)
    ]
    assert sizes[0] < 0.52 * sizes[1]


def test_folder_says_what_it_is_and_names_no_folder_of_the_training(packed, tiny_exported_model, records_dir):
    model = ModelFolder.open(packed)
    assert (model.name, model.version, model.vouched_for_by) == ("csf_tiny", "1.0", "SHA256SUMS")
    info, exported = model.info, ModelFolder.open(tiny_exported_model).info
    assert info["weights_dtype"] == "float16"
    assert (info["classes"], info["signatures"]) == (exported["classes"], exported["signatures"])
    assert info["packed_from"]["vouched_for_by"] == "SHA256SUMS"
    assert info["largest_difference_from_checkpoint"] <= 1e-4
    config = load_pipeline_config(packed / "pipeline.config")
    assert config.train_input_reader.label_map_path == "label_map.pbtxt"
    assert config.train_input_reader.tf_record_input_reader.input_path == ["train.record-?????-of-00002"]
    texts = [path.read_text() for path in packed.rglob("*") if path.suffix in (".json", ".config", ".pbtxt")]
    assert not any(str(records_dir.parent) in text for text in texts)


def test_it_finds_what_the_export_finds(packed, tiny_exported_model):
    from tfod_csf.inference.detector import Detector

    found, expected = (Detector.open(ModelFolder.open(path)).detect(IMAGE) for path in (packed, tiny_exported_model))
    assert len(found) == len(expected) > 0
    np.testing.assert_allclose(found.raw_scores, expected.raw_scores, atol=5e-3)
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=0.5)


def test_in_a_fresh_process_it_is_found_by_its_name(shipped_models, tmp_path):
    from PIL import Image

    listed = named_process.run(shipped_models, "models", cwd=tmp_path)
    assert listed.returncode == 0, listed.stderr
    assert listed.stdout.startswith("csf_tiny 1.0, ")
    checked = named_process.run(shipped_models, "model_check", "csf_tiny", cwd=tmp_path)
    assert checked.returncode == 0, checked.stderr
    (tmp_path / "patients" / "p1").mkdir(parents=True)
    Image.fromarray(IMAGE).save(tmp_path / "patients" / "p1" / "a.png")
    arguments = ("--images_dir=patients", "--output_dir=results", "--min_score=0.1")
    ended = named_process.run(shipped_models, "batch_infer", "--model=csf_tiny", *arguments, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    with open(tmp_path / "results" / "patients" / "p1" / "cells.csv", newline="") as file:
        assert next(csv.DictReader(file))["predicted_class"] in ("red", "blue")
    run = json.loads((tmp_path / "results" / "run.json").read_text())
    sha256 = ModelFolder.open(shipped_models / "csf_tiny").sha256
    assert run["models_vouched_for_by"] == {
        "csf_tiny": f"SHA256SUMS of the shipped csf_tiny 1.0, sha256 {sha256}",
    }
    assert [model["name"] for model in run["models"]] == ["csf_tiny"]


@pytest.fixture(scope="module")
def other_records(tmp_path_factory):
    """Records of the classes blue, green and red, in this order; csf_tiny knows red and blue."""
    from tfod_csf import legacy_keras  # noqa: F401  isort: skip

    import tensorflow as tf

    folder = tmp_path_factory.mktemp("other_records")
    boxes = [(0.1, 0.1, 0.45, 0.4), (0.5, 0.5, 0.85, 0.8)]
    examples = [tiny_training.make_example(tf, f"{i}.jpg", boxes, [1 + i % 3, 3], i) for i in range(2)]
    for name in ("train.record", "test.record"):
        tiny_training.write_records(folder / name, examples)
    save_label_map(label_map_from_names(["blue", "green", "red"]), folder / "label_map.pbtxt")
    rows = [f"{i}.jpg,60,48,red,{10 * i},10,{10 * i + 20},30" for i in range(2)]
    (folder / "annotations.csv").write_text(
        "\n".join(["filename,width,height,class,xmin,ymin,xmax,ymax", *rows]) + "\n"
    )
    return folder


def test_a_training_with_other_classes_starts_from_it(csf_tiny, packed, other_records, tmp_path, capsys):
    from tfod_csf.commands import command_line

    config = tmp_path / "pipeline.config"
    arguments = [f"--records_dir={other_records}", f"--output_path={config}", f"--fine_tune_from={csf_tiny}"]
    limits = ["--max_detections=8", "--first_stage_max_proposals=8", "--batch_size=2", "--num_steps=2"]
    assert command_line.main(["generate_pipeline_config", *arguments, *limits]) == 0
    text = capsys.readouterr().out
    assert "classes: blue, red known to csf_tiny 1.0; green learned from nothing" in text
    assert "is not there yet" not in text
    override = "train_config { optimizer { rms_prop_optimizer { learning_rate { exponential_decay_learning_rate {"
    override += " initial_learning_rate: 0.0 } } } } }"
    given = [f"--pipeline_config_path={config}", f"--model_dir={tmp_path / 'model'}", f"--config_override={override}"]
    status, log = tiny_training.run_command(*given, "--log_every_n=1", "--record_summaries=false")
    assert status == 0
    report = next(line for line in log if line.startswith("csf_tiny (fine_tune_checkpoint_type full): "))
    assert "classes: blue, red copied; green new" in report
    assert " not restored" not in report
    stored = _variables(packed / "saved_model" / "variables" / "variables")
    # With a learning rate of 0 the weights after two steps are those of the start.
    trained = _variables(tmp_path / "model" / "ckpt-2")
    assert int(trained["step"]) == 2
    kernels = [key for key in stored if key.endswith("/kernel") and "_class_prediction_head" not in key]
    assert len(kernels) > 20
    heads = [key for key in kernels if "_box_prediction_head" in key]
    for key in set(kernels) - set(heads):
        np.testing.assert_array_equal(trained[key], stored[key].astype(np.float32), err_msg=key)
    # background, red, blue -> background, blue, green, red; a new bias is 0
    background, red, blue = stored[CLASS_BIAS].astype(np.float32)
    np.testing.assert_array_equal(trained[CLASS_BIAS], [background, blue, 0, red])
    (box_head,) = heads  # not shared by the classes: four columns of each
    boxes = stored[box_head].astype(np.float32)
    np.testing.assert_array_equal(trained[box_head][:, :4], boxes[:, 4:])
    np.testing.assert_array_equal(trained[box_head][:, 8:], boxes[:, :4])


def test_a_changed_file_is_refused_before_a_training(packed, other_records, tmp_path, monkeypatch):
    shipped = tmp_path / "shipped"
    shutil.copytree(packed, shipped / "csf_tiny")
    (shipped / "csf_tiny" / "label_map.pbtxt").write_text("item { id: 1 name: 'blue' }\n")
    monkeypatch.setattr(by_name, "SHIPPED_MODELS", shipped)
    from tfod_csf.training import preflight_checks

    with pytest.raises(UserError, match=r"label_map\.pbtxt was changed"):
        preflight_checks.check_fine_tune_checkpoint("csf_tiny", str(tmp_path / "model"))
    with pytest.raises(UserError, match=r"a model that ships with this package \(these do: csf_tiny\)"):
        preflight_checks.check_fine_tune_checkpoint("csf_tinny", str(tmp_path / "model"))


def test_what_half_precision_finds_must_be_what_the_export_finds(tiny_exported_model):
    from tfod_csf.export import export_checks, packing
    from tfod_csf.inference.detector import Detector

    source = ModelFolder.open(tiny_exported_model)
    found = Detector.open(source).detect(IMAGE)
    shifted = dataclasses.replace(found, scores=found.scores * 0.9)
    assert packing._compare_with_source(source, (IMAGE,), [found]).largest_score == 0
    with pytest.raises(export_checks.ExportError, match=r"in float16 the model finds something else .* nothing was"):
        packing._compare_with_source(source, (IMAGE,), [shifted])


def test_weights_that_half_precision_cannot_hold(tiny_exported_model, tmp_path):
    import tensorflow as tf

    from tfod_csf.export import exporter

    assert exporter._in_dtype(np.array([65504.0, 1e-9]), tf.float16, "kernel").tolist() == [65504.0, 0.0]
    with pytest.raises(exporter.ExportError, match="kernel holds weights that float16 cannot hold"):
        exporter._in_dtype(np.array([65520.0]), tf.float16, "kernel")


def test_the_size_of_training_images_is_kept_or_not(packed, tiny_exported_model, tmp_path):
    from tfod_csf.commands import command_line

    exported = ModelFolder.open(tiny_exported_model).info["training_images"]
    assert set(exported) == {"width", "height", "images", "of", "largest_box"}
    assert ModelFolder.open(packed).info["training_images"] == exported
    card, output = packed / "MODEL_CARD.md", tmp_path / "csf_any_scale"
    given = [f"--model={tiny_exported_model}", "--model_version=1.0", f"--model_card={card}", f"--output_dir={output}"]
    assert command_line.main(["pack_model", *given, "--notraining_images"]) == 0
    assert "training_images" not in ModelFolder.open(output).info


def test_thresholds_chosen_at_a_temperature_that_is_not_copied_are_those_from_before():
    own, before = {"min_score": 0.4, "unknown_below": 0.6}, {"min_score": 0.5, "unknown_below": 0.8}
    chosen = {"temperature": 1.8, "before": before}
    assert packing._thresholds({"thresholds": own}) == own
    assert packing._thresholds({"thresholds": own, "thresholds_chosen": {**chosen, "temperature": 1.0}}) == own
    assert packing._thresholds({"thresholds": own, "thresholds_chosen": chosen}) == before


def test_mistakes_are_one_sentence_and_write_nothing(packed, tiny_exported_model, tmp_path, capsys):
    from tfod_csf.commands import command_line

    card, output = tmp_path / "card.md", tmp_path / "out" / "csf_tiny"

    def run(**changed):
        given = {"model": tiny_exported_model, "model_version": "1.0", "model_card": card, "output_dir": output}
        status = command_line.main(
            ["pack_model", *(f"--{name}={value}" for name, value in {**given, **changed}.items())]
        )
        assert not output.exists()
        return status, capsys.readouterr().err

    assert "card.md: there is no such file; a model does not ship without its card" in run()[1]
    card.touch()
    assert "--model_version=1 0: expected letters, digits and dots" in run(model_version="1 0")[1]
    assert "csf_tiny: has no checkpoint; give a folder of exporter_main_v2" in run(model=packed)[1]
    assert "holds card.md, which no export wrote" in run(output_dir=tmp_path)[1]
    before = sorted(tiny_exported_model.rglob("*"))
    assert (
        "is an export, with a checkpoint/ that a packed model does not have" in run(output_dir=tiny_exported_model)[1]
    )
    assert sorted(tiny_exported_model.rglob("*")) == before


def test_paths_of_a_config_are_reduced_to_names():
    from tfod_csf.config.protos import pipeline_pb2
    from tfod_csf.export import packing

    config = pipeline_pb2.TrainEvalPipelineConfig()
    config.train_config.fine_tune_checkpoint = "/data/zoo/ckpt-0"
    config.train_input_reader.label_map_path = "/data/label_map.pbtxt"
    config.eval_input_reader.add().tf_record_input_reader.input_path.append("/data/test.record")
    kept = packing.without_paths(config)
    assert kept.train_config.fine_tune_checkpoint == "ckpt-0"
    assert kept.train_input_reader.label_map_path == "label_map.pbtxt"
    assert kept.eval_input_reader[0].tf_record_input_reader.input_path == ["test.record"]
    assert config.train_config.fine_tune_checkpoint == "/data/zoo/ckpt-0"


def test_openvino_takes_it(packed, tmp_path):
    pytest.importorskip("openvino")
    from tfod_csf.export import openvino_export

    differences = openvino_export.export(ModelFolder.open(packed), tmp_path / "ir", openvino_export.FP32)
    assert differences.num_cells > 0
    assert differences.largest_score <= 1e-3

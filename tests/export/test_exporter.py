"""The exporter on the tiny network: what is written, when nothing is, and who can load it."""

import contextlib
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

from tfod_csf import label_map as label_maps
from tfod_csf.config.pipeline_config import load_pipeline_config
from tfod_csf.model_folder import ModelFolder

IMAGE = np.random.default_rng(3).integers(0, 255, [48, 60, 3]).astype(np.uint8)


@pytest.fixture
def exporter():
    from tfod_csf.export import exporter

    return exporter


@pytest.fixture
def config(tiny_checkpoint):
    return load_pipeline_config(tiny_checkpoint / "pipeline.config")


@pytest.fixture
def classes(records_dir):
    return label_maps.load_label_map(records_dir / "label_map.pbtxt")


def test_model_folder_holds_thresholds_classes_and_fingerprint_of_the_records(tiny_exported_model, classes):
    model = ModelFolder.open(tiny_exported_model)
    assert model.label_map == classes
    assert model.thresholds == {"min_score": 0.5, "unknown_below": 0.8}
    info = model.info
    assert info["classes"] == ["red", "blue"]
    assert info["input_type"] == "image_tensor"
    assert info["signatures"] == ["serving_default", "serving_batch"]
    assert info["max_batch"] == 2
    assert info["input_size"] == {"resizer": "fixed_shape_resizer", "height": 64, "width": 64}
    assert info["limits"]["max_total_detections"] == 8
    assert len(info["training_data"]["files"]) == 2
    assert len(info["training_data"]["fingerprint"]) == 64
    assert {"width", "height", "images", "largest_box"} <= set(info["training_images"])
    assert model.vouched_for_by == "SHA256SUMS"
    assert info["largest_difference_from_checkpoint"] <= 1e-4
    assert {"tfod_csf", "tensorflow", "python"} <= set(info["versions"])


def test_nothing_else_is_left_beside_it(tiny_exported_model):
    assert [path.name for path in tiny_exported_model.parent.iterdir() if path.name.startswith(".")] == []


def test_ten_lines_with_tensorflow_alone_load_and_run_it(tiny_exported_model, tmp_path):
    script = tmp_path / "detect.py"
    script.write_text(
        "import sys\n"
        "import tensorflow as tf\n"
        f"detect = tf.saved_model.load({str(tiny_exported_model / 'saved_model')!r})\n"
        "detections = detect(tf.zeros([1, 48, 60, 3], tf.uint8))\n"
        "count = int(detections.pop('num_detections')[0])\n"
        "boxes = detections['detection_boxes'][0, :count].numpy()\n"
        "assert boxes.shape == (count, 4) and (boxes >= 0).all() and (boxes <= 1).all()\n"
        "assert set(detections['detection_classes'].numpy().ravel()) <= {1.0, 2.0}\n"
        "assert not {'official', 'tf_keras', 'tfod_csf'} & set(sys.modules)\n"
    )
    environment = {
        name: value for name, value in os.environ.items() if name not in ("TF_USE_LEGACY_KERAS", "PYTHONPATH")
    }
    ended = subprocess.run([sys.executable, str(script)], check=False, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr[-800:]


def test_the_checkpoint_in_the_folder_gives_the_same_detections(tiny_exported_model, exporter, config):
    import tensorflow as tf

    from tfod_csf.export.detection_module import DetectionModule

    model = exporter.restored_model(config, str(tiny_exported_model / "checkpoint" / "ckpt-0"))
    expected = DetectionModule(model, config.model.faster_rcnn, "image_tensor").__call__(IMAGE[np.newaxis])
    found = tf.saved_model.load(str(tiny_exported_model / "saved_model"))(IMAGE[np.newaxis])
    assert int(found["num_detections"][0]) > 0
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=1e-5, err_msg=name)


def test_batches_give_what_single_images_give(tiny_exported_model):
    import tensorflow as tf

    loaded = tf.saved_model.load(str(tiny_exported_model / "saved_model"))
    images = np.stack([IMAGE, IMAGE[::-1], IMAGE[:, ::-1]])
    batch = loaded.signatures["serving_batch"](input_tensor=tf.constant(images))
    for index, image in enumerate(images):
        single = loaded(tf.constant(image[np.newaxis]))
        for name, value in single.items():
            np.testing.assert_allclose(batch[name][index], value[0], atol=1e-4, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("input_type", ["float_image_tensor", "encoded_image_string_tensor", "tf_example"])
def test_other_input_types(exporter, config, classes, tiny_checkpoint, tiny_exported_model, tmp_path, input_type):
    import tensorflow as tf

    from tfod_csf.export import parity

    exporter.export(input_type, config, tiny_checkpoint, tmp_path / "out", classes)
    found = tf.saved_model.load(str(tmp_path / "out" / "saved_model"))(tf.constant(parity.encode(IMAGE, input_type)))
    expected = tf.saved_model.load(str(tiny_exported_model / "saved_model"))(IMAGE[np.newaxis])
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=1e-4, err_msg=name)


@pytest.mark.slow
def test_bfloat16_is_close(exporter, config, classes, tiny_checkpoint, tiny_exported_model, tmp_path):
    import tensorflow as tf

    options = exporter.ExportOptions(compute_dtype="bfloat16", min_score=0.25)
    exporter.export("image_tensor", config, tiny_checkpoint, tmp_path / "out", classes, options)
    model = ModelFolder.open(tmp_path / "out")
    assert (model.info["compute_dtype"], model.thresholds["min_score"]) == ("bfloat16", 0.25)
    exact = tf.saved_model.load(str(tiny_exported_model / "saved_model"))(IMAGE[np.newaxis])
    rounded = tf.saved_model.load(str(model.saved_model_dir))(IMAGE[np.newaxis])
    assert abs(float(exact["detection_scores"][0, 0] - rounded["detection_scores"][0, 0])) < 0.1


def _snapshot(folder: pathlib.Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*"))


def test_a_difference_is_an_error_and_leaves_nothing(exporter, config, classes, tiny_checkpoint, tmp_path, monkeypatch):
    from tfod_csf.export import parity

    @contextlib.contextmanager
    def halved(saved_model_dir, calls):
        with run(saved_model_dir, calls) as result:
            yield lambda: {key: value * 0.5 for key, value in result().items()}

    run = parity._in_fresh_process
    monkeypatch.setattr(parity, "_in_fresh_process", halved)
    with pytest.raises(parity.ParityError, match=r"differs from the checkpoint by .* so nothing was exported"):
        exporter.export("image_tensor", config, tiny_checkpoint, tmp_path / "out", classes)
    assert _snapshot(tmp_path) == []


def test_newest_checkpoint_of_a_folder_or_the_one_named(exporter, tiny_checkpoint, tmp_path):
    assert exporter.latest_checkpoint(tiny_checkpoint).endswith("ckpt-1")
    assert exporter.latest_checkpoint(tiny_checkpoint / "ckpt-1") == str(tiny_checkpoint / "ckpt-1")
    (tmp_path / "ckpt-3.index").touch()
    with pytest.raises(exporter.ExportError, match=r"but no file checkpoint that names it; .*, or give a prefix"):
        exporter.latest_checkpoint(tmp_path)


def test_wrong_or_damaged_checkpoints_are_refused_with_the_reason(exporter, config, classes, tiny_checkpoint, tmp_path):
    config.model.faster_rcnn.num_classes = 3
    three = label_maps.label_map_from_names(["a", "b", "c"])
    with pytest.raises(exporter.ExportError, match=r"variables do not fit the config's model .*expected"):
        exporter.export("image_tensor", config, tiny_checkpoint, tmp_path / "out", three)
    config.model.faster_rcnn.num_classes = 2
    broken = tmp_path / "broken"
    shutil.copytree(tiny_checkpoint, broken)
    data = broken / "ckpt-1.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:1000])
    with pytest.raises(exporter.ExportError, match="damaged or truncated"):
        exporter.export("image_tensor", config, broken, tmp_path / "out", classes)
    assert not (tmp_path / "out").exists()


def test_info_of_records_that_are_not_there_and_of_one_name_in_two_folders(exporter, config, tmp_path):
    config.train_input_reader.tf_record_input_reader.input_path[:] = ["/absent/train.record-?????-of-00002"]
    assert exporter.training_data(config) == {"files": {}, "fingerprint": None}
    for site in ("a", "b"):
        path = tmp_path / site / "train.record"
        path.parent.mkdir()
        path.write_text(site)
    config.train_input_reader.tf_record_input_reader.input_path[:] = [f"{tmp_path}/[ab]/train.record"]
    assert exporter.training_data(config)["files"] == {
        "train.record": hashlib.sha256(b"a").hexdigest(),
        "train.record (2)": hashlib.sha256(b"b").hexdigest(),
    }


def test_model_json_is_plain_json(tiny_exported_model):
    assert json.loads((tiny_exported_model / "model.json").read_text(encoding="utf-8"))["format"] == 1


@pytest.mark.slow
def test_saved_model_cli_shows_and_runs_it(tiny_exported_model, tmp_path):
    cli = pathlib.Path(sys.executable).with_name("saved_model_cli")
    folder = str(tiny_exported_model / "saved_model")
    shown = subprocess.run(
        [cli, "show", "--dir", folder, "--tag_set", "serve", "--signature_def", "serving_default"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert "inputs['input_tensor'] tensor_info:\n      dtype: DT_UINT8\n      shape: (1, -1, -1, 3)" in shown
    assert "outputs['detection_boxes'] tensor_info:\n      dtype: DT_FLOAT\n      shape: (1, 8, 4)" in shown
    np.save(tmp_path / "image.npy", IMAGE[np.newaxis])
    arguments = ["--inputs", f"input_tensor={tmp_path / 'image.npy'}", "--outdir", str(tmp_path / "out")]
    arguments += ["--dir", folder, "--tag_set", "serve", "--signature_def", "serving_default"]
    subprocess.run([cli, "run", *arguments], check=True, capture_output=True)
    assert np.load(tmp_path / "out" / "detection_scores.npy").shape == (1, 8)

"""`evaluate` on a record gives the numbers of training's own evaluation of the same weights."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from tests.support import tiny_training
from tests.support.tfrecord_frames import frame
from tfod_csf.commands import command_line
from tfod_csf.files import manifest
from tfod_csf.inference.detector import Detector
from tfod_csf.label_map import LabelMap, LabelMapItem, save_label_map
from tfod_csf.model_folder import ModelFolder

DISPLAYED = LabelMap([LabelMapItem(1, "red", "Rot"), LabelMapItem(2, "blue")])


@pytest.fixture
def model(tiny_exported_model, tmp_path):
    """The tiny model with a label map that has a display name."""
    folder = tmp_path / "tiny"
    shutil.copytree(tiny_exported_model, folder)
    save_label_map(DISPLAYED, folder / "label_map.pbtxt")
    manifest.write(folder)
    return ModelFolder.open(folder)


def record_of(model, image_name, seed, texts_of):
    """A record whose boxes are some that the model finds, moved a little, their classes taking turns."""
    example = tf.train.Example.FromString(tiny_training.make_example(tf, image_name, [], [], seed))
    features = example.features.feature
    jpeg = features["image/encoded"].bytes_list.value[0]
    found = Detector.open(model).detect(tf.io.decode_jpeg(jpeg).numpy(), image_name, jpeg=jpeg)
    kept = np.arange(seed % 2, len(found), 2)
    boxes = np.clip(found.boxes[kept] + [[0.0, 1.0, 2.0, -1.0]] * len(kept), 0, [48, 60, 48, 60]) / [48, 60, 48, 60]
    for side, values in zip(("ymin", "xmin", "ymax", "xmax"), boxes.T):
        features[f"image/object/bbox/{side}"].float_list.value.extend(values)
    labels = [1 + number % 2 for number in range(len(kept))]
    features["image/object/class/label"].int64_list.value.extend(labels)
    features["image/object/is_crowd"].int64_list.value.extend(int(number % 3 == 0) for number in range(len(kept)))
    features["image/object/class/text"].bytes_list.value.extend(texts_of[label] for label in labels)
    return example.SerializeToString()


def training_metrics(tiny_checkpoint, record, label_map_path, folder):
    shutil.copytree(tiny_checkpoint, folder)
    config = (folder / "pipeline.config").read_text()
    reader = f'eval_input_reader {{ label_map_path: "{label_map_path}" tf_record_input_reader {{ input_path: "{record}"'
    before, _, _ = config.partition("eval_input_reader {")
    (folder / "pipeline.config").write_text(f"{before}{reader} }} }}")
    flags = [f"--pipeline_config_path={folder / 'pipeline.config'}", f"--model_dir={folder}", "--eval_once"]
    assert command_line.main(["model_main_tf2", *flags]) == 0
    tags = tiny_training.read_tags(folder / "eval")
    names = [name for name in tags if name.startswith(("PascalBoxes", "DetectionBoxes"))]
    return {name: tiny_training.read_tensors(folder / "eval", name)[0] for name in names}


@pytest.mark.slow
def test_every_metric_is_that_of_training(model, tiny_checkpoint, tmp_path):
    # Class texts as other tools write them: a display name, and none for the other class, whose label counts.
    texts_of = {1: b"Rot", 2: b""}
    record = tmp_path / "eval.record"
    record.write_bytes(b"".join(frame(record_of(model, f"{seed}.jpg", seed, texts_of)) for seed in range(4)))
    expected = training_metrics(tiny_checkpoint, record, model.path / "label_map.pbtxt", tmp_path / "run")
    out = tmp_path / "out"
    flags = [f"--model={model.path}", f"--input_path={record}", f"--output_dir={out}", "--min_score=0"]
    assert command_line.main(["evaluate", *flags]) == 0
    found = json.loads((out / "metrics.json").read_text())["metrics"]
    assert len(expected) > 10
    per_class = [expected[f"PascalBoxes_PerformanceByCategory/AP@0.5IOU/{name}"] for name in ("Rot", "blue")]
    assert np.isfinite(per_class).all()
    assert max(per_class) > 0
    for name, value in expected.items():
        np.testing.assert_array_equal(np.float32(found[name]), np.float32(value), err_msg=name)

"""Two models made by hand on records whose cells they find, with numbers that can be worked out."""

import numpy as np
import pytest
import tensorflow as tf

from tests.support import hand_made_model as by_hand
from tests.support.tfrecord_frames import frame
from tfod_csf.benchmarks import benchmark_run, formats
from tfod_csf.files import csv_schemas
from tfod_csf.label_map import label_map_from_names
from tfod_csf.model_folder import ModelFolder

LYMPHOCYTE, MONOCYTE = (0.1, 0.1, 0.4, 0.4), (0.5, 0.5, 0.9, 0.9)


def save(folder, second_class, second_score):
    """A model that finds two cells in every image."""
    cells = [by_hand.Candidate(LYMPHOCYTE, 1, 0.9), by_hand.Candidate(MONOCYTE, second_class, second_score)]
    return by_hand.save(folder, cells)


@pytest.fixture
def input_path(tmp_path):
    """Sixty images of one patient, with the two cells."""
    feature = {
        "image/encoded": tf.train.BytesList(value=[tf.io.encode_png(np.zeros([100, 200, 3], np.uint8)).numpy()]),
        "image/source_id": tf.train.BytesList(value=[b"p1/a.png"]),
        "image/filename": tf.train.BytesList(value=[b"p1/a.png"]),
        "image/object/class/text": tf.train.BytesList(value=[b"lymphocyte", b"monocyte"]),
    }
    features = {name: tf.train.Feature(bytes_list=value) for name, value in feature.items()}
    features["image/object/class/label"] = tf.train.Feature(int64_list=tf.train.Int64List(value=[1, 2]))
    for side, values in zip(("ymin", "xmin", "ymax", "xmax"), zip(LYMPHOCYTE, MONOCYTE)):
        features[f"image/object/bbox/{side}"] = tf.train.Feature(float_list=tf.train.FloatList(value=values))
    example = tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()
    (tmp_path / "test.record").write_bytes(frame(example) * 60)
    return str(tmp_path / "test.record")


def test_what_the_second_model_changes(tmp_path, input_path):
    folders = [
        ModelFolder.open(save(tmp_path / "first", 2, 0.85)),
        ModelFolder.open(save(tmp_path / "second", 3, 0.86)),
    ]
    first, second = formats.measure(folders, input_path, 50)
    assert (first["images"], first["compute_dtype"], first["map"]) == (50, "SavedModel", 1.0)
    assert "map_change" not in first
    # The monocyte is called neutrophil: its class has no detection.
    assert (second["map"], second["map_change"]) == (0.5, -0.5)
    # 50 lymphocytes and 50 monocytes become 50 lymphocytes and 50 neutrophils: monocytes go from 50 % to 0.
    assert (second["percent_change"], second["patient_percent_change"]) == (50.0, 50.0)
    assert second["patients_compared"] == 1
    assert (second["cells_compared"], second["cells_missing"], second["box_difference_px"]) == (200, 0, 0)
    # 0.85 for monocyte, of which the second gives (1 - 0.86) / 4.
    assert second["score_difference"] == pytest.approx(0.86 - 0.15 / 4, abs=1e-5)
    assert min(second["speed_ratio"], second["cpu_speed_ratio"], first["matmul_gflop_per_second"]) > 0


def test_models_and_records_that_cannot_be_compared(tmp_path, input_path):
    model = ModelFolder.open(save(tmp_path / "first", 2, 0.85))
    with pytest.raises(formats.FormatsError, match="two or more"):
        formats.measure([model], input_path, 8)
    other = by_hand.save(tmp_path / "other", label_map=label_map_from_names(["a", "b", "c", "d"]))
    with pytest.raises(formats.FormatsError, match="of the same classes"):
        formats.measure([model, ModelFolder.open(other)], input_path, 8)
    with pytest.raises(formats.FormatsError, match="no annotated image can be used"):
        formats.measure([model, model], str(tmp_path / "absent.record"), 8)


def test_the_sentence_and_the_row_of_the_table(tmp_path):
    row = {
        "part": "formats",
        "model": "m",
        "compute_dtype": "OpenVINO int8",
        "images_per_second": 4.0,
        "seconds_per_image": 0.25,
        "cpu_seconds_per_image": 0.5,
        "peak_memory_mb": 100.0,
        "map": 0.75,
        "map_change": -0.004,
        "speed_ratio": 2.6,
        "cpu_speed_ratio": 2.5,
        "percent_change": 0.4,
        "patient_percent_change": None,
        "patients_compared": 0,
        "score_difference": 0.05,
        "box_difference_px": 1.5,
        "cells_missing": 1,
        "cells_compared": 90,
    }
    text = benchmark_run.describe(row)
    assert "mAP 0.7500 (-0.0040), 2.60 times as fast (2.50 by CPU time)" in text
    assert "all images together change by up to 0.4 points; scores" in text
    assert "too few white cells" in benchmark_run.describe(row | {"percent_change": None})
    assert "1 of 90 cells are missing" in text
    assert set(row) <= {column.name for column in csv_schemas.load("benchmark").columns}

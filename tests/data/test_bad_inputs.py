"""Every row of the manifest of dirty inputs through create_csf_tf_record."""

import io
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.support import bad_inputs
from tfod_csf.commands import command_line, create_csf_tf_record
from tfod_csf.files import csv_tables


def run(*arguments) -> int:
    command = create_csf_tf_record
    command.FLAGS.unparse_flags()
    for name in command.FLAGS:
        command.FLAGS[name].unparse()
    return command_line.run(
        command.main, command.FLAGS, command.__doc__, "create_csf_tf_record", [str(a) for a in arguments]
    )


def examples(path: pathlib.Path) -> dict[str, dict]:
    """Feature lists of each Example of a one-file record, by file name."""
    found = {}
    for serialized in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        features = tf.train.Example.FromString(serialized).features.feature
        lists = {key: getattr(f, f.WhichOneof("kind") or "int64_list").value for key, f in features.items()}
        found[lists["image/filename"][0].decode()] = lists
    return found


def pixels_of(example: dict) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(example["image/encoded"][0]))).astype(float)


def num_targets(example: dict) -> int:
    """Boxes that count: those of weight 1."""
    weights = example.get("image/object/weight", [1.0] * len(example["image/object/class/label"]))
    return sum(weight == 1 for weight in weights)


@pytest.fixture
def walked(case, tmp_path):
    """(examples by file name, rows of problems.csv about the case, output folder)."""
    images_dir = bad_inputs.folder_with_control(case, tmp_path)
    output_dir = tmp_path / "out"
    flags = (
        f"--images_dir={images_dir}",
        f"--output_dir={output_dir}",
        "--test_fraction=0",
        "--max_skipped_fraction=1",
    )
    assert run(*flags) == 0
    rows = csv_tables.read_rows(output_dir / "problems.csv")
    # Most cases hold the control's own image, which is noted; that is not a problem of the case.
    rows = [row for row in rows if "the same file as" not in row["reason"]]
    control = str(images_dir / "control_patient")
    assert not [row for row in rows if row["file"].startswith(control)]
    return examples(output_dir / "train.record-00000-of-00001"), rows, output_dir


@bad_inputs.each()
def test_each_case_ends_as_documented(case, walked):
    found, rows, output_dir = walked
    control = found.pop("control_patient/IMG_0001.jpg")
    assert num_targets(control) == bad_inputs.CONTROL_BOXES

    assert len(found) == case.trained_images
    assert sum(map(num_targets, found.values())) == case.boxes
    for example in found.values():
        assert example["image/format"] == [b"jpeg"]
        assert example["image/encoded"][0].startswith(b"\xff\xd8\xff")
        image = pixels_of(example)
        assert image.shape == (example["image/height"][0], example["image/width"][0], 3)
        for side in ("xmin", "xmax", "ymin", "ymax"):
            values = np.array(example[f"image/object/bbox/{side}"])
            assert np.all((values >= 0) & (values <= 1))

    if case.expected_action == "accept":
        assert rows == []
    else:
        assert any(case.reason in row["reason"] for row in rows), rows
        assert all(row["remedy"] for row in rows)
    everything = b"".join(path.read_bytes() for path in output_dir.iterdir())
    assert b"XXE-MARKER" not in everything
    assert b"lollollol" not in everything


@bad_inputs.each("c09", "c10")
def test_boxes_of_exif_turned_images_end_on_the_cell(case, walked):
    found, _, _ = walked
    example = next(value for key, value in found.items() if "control" not in key)
    image = pixels_of(example)
    height, width, _ = image.shape
    edges = [example[f"image/object/bbox/{side}"][0] for side in ("ymin", "xmin", "ymax", "xmax")]
    ymin, xmin, ymax, xmax = (np.array(edges) * [height, width, height, width]).astype(int)
    inside = image[ymin:ymax, xmin:xmax].mean()
    outside = (image.sum() - image[ymin:ymax, xmin:xmax].sum()) / (image.size - 3 * (ymax - ymin) * (xmax - xmin))
    assert inside < outside - 40  # the cell is dark on a light field


@bad_inputs.each("c02", "c03", "c05", "c07", "c08", "c15")
def test_colors_survive_every_file_format(case, walked):
    found, _, _ = walked
    control = pixels_of(found.pop("control_patient/IMG_0001.jpg"))
    (example,) = found.values()
    # The same drawing: medians of all three channels agree to a few gray levels, in cell and in background.
    for window in (np.s_[12:34, 12:30], np.s_[40:60, 55:80], np.s_[0:8, :]):
        cell = np.median(pixels_of(example)[window], axis=(0, 1))
        np.testing.assert_allclose(cell, np.median(control[window], axis=(0, 1)), atol=8)


def test_the_whole_folder_in_one_run(tmp_path, bad_inputs_dir, capsys):
    arguments = (
        f"--images_dir={bad_inputs_dir}",
        f"--output_dir={tmp_path}",
        "--test_fraction=0.2",
        "--split_by=patient",
    )
    assert run(*arguments) == 1
    assert "more than the 10 % that --max_skipped_fraction allows" in capsys.readouterr().err
    assert run(*arguments, "--max_skipped_fraction=0.3") == 0
    printed = capsys.readouterr().out
    assert "class 'dog' is not in the label map" in printed
    rows = csv_tables.read_rows(tmp_path / "split.csv")
    assert len(rows) == sum(case.trained_images for case in bad_inputs.CASES)
    assert {row["patient"] for row in rows} >= {"c79_patient,王 =1+2", "c78_nested_folder"}
    assert {row["side"] for row in rows} == {"train", "test"}


def test_strict_ends_at_the_first_problem_with_its_sentence(tmp_path, bad_inputs_dir, capsys):
    folder = bad_inputs_dir / "c41_size_zero"
    assert run(f"--images_dir={folder}", f"--output_dir={tmp_path}", "--strict", "--test_fraction=0") == 1
    error = capsys.readouterr().err
    assert "no usable <size>" in error
    assert "Traceback" not in error

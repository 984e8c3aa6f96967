"""The commands with the flags of TFOD's and of the well-known tutorial's scripts."""

import pathlib
import shutil

import pytest
import tensorflow as tf

from tests.support import labeled_folders
from tfod_csf.commands import command_line, create_pascal_tf_record, generate_tfrecord, partition_dataset
from tfod_csf.files import csv_tables

LABELS = "item { id: 1 name: 'lymphocyte' }\nitem { id: 2 name: 'monocyte' }\n"


def run(command, *arguments) -> int:
    command.FLAGS.unparse_flags()
    for name in command.FLAGS:
        command.FLAGS[name].unparse()
    name = command.__name__.rpartition(".")[2]
    return command_line.run(command.main, command.FLAGS, command.__doc__, name, [*map(str, arguments)])


def names_in(path: pathlib.Path) -> dict[str, list[bytes]]:
    found = {}
    for serialized in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        features = tf.train.Example.FromString(serialized).features.feature
        name = features["image/filename"].bytes_list.value[0].decode()
        found[name] = list(features["image/object/class/text"].bytes_list.value)
    return found


@pytest.fixture
def labels(tmp_path):
    path = tmp_path / "label_map.pbtxt"
    path.write_text(LABELS)
    return path


def test_generate_tfrecord_with_the_tutorials_flags(tmp_path, labels, capsys):
    images = tmp_path / "images"
    for name, cells in (("b", ["lymphocyte", "monocyte"]), ("a", ["monocyte"]), ("c", [])):
        labeled_folders.write_labeled(images / f"{name}.jpg", cells, seed=ord(name))
    arguments = ("-x", images, "-l", labels, "-o", tmp_path / "train.record", "-c", tmp_path / "train.csv")
    assert run(generate_tfrecord, *arguments) == 0
    found = names_in(tmp_path / "train.record")
    assert found == {"a.jpg": [b"monocyte"], "b.jpg": [b"lymphocyte", b"monocyte"], "c.jpg": []}
    assert list(found) == ["a.jpg", "b.jpg", "c.jpg"]
    rows = csv_tables.read_rows(tmp_path / "train.csv")
    assert [row["filename"] for row in rows] == ["a.jpg", "b.jpg", "b.jpg"]
    assert list(rows[0]) == ["filename", "width", "height", "class", "xmin", "ymin", "xmax", "ymax"]
    assert "3 images, 1 lymphocyte, 2 monocyte (no problems)" in capsys.readouterr().out


def test_generate_tfrecord_with_images_elsewhere_and_long_flags(tmp_path, labels):
    labeled_folders.write_labeled(tmp_path / "images" / "a.jpg", ["monocyte"], seed=1)
    (tmp_path / "xml").mkdir()
    shutil.move(tmp_path / "images" / "a.xml", tmp_path / "xml" / "a.xml")
    flags = {"xml_dir": "xml", "image_dir": "images", "labels_path": labels.name, "output_path": "t.record"}
    assert run(generate_tfrecord, *(f"--{name}={tmp_path / value}" for name, value in flags.items())) == 0
    assert names_in(tmp_path / "t.record") == {"a.jpg": [b"monocyte"]}


def test_generate_tfrecord_without_its_flags_is_one_sentence(capsys):
    assert run(generate_tfrecord) == 1
    assert "xml_dir" in capsys.readouterr().err


@pytest.fixture
def voc(tmp_path):
    root = tmp_path / "data" / "VOC2007"
    for name, cells in (("000001", ["lymphocyte"]), ("000002", ["monocyte"]), ("000003", [])):
        labeled_folders.write_labeled(root / "JPEGImages" / f"{name}.jpg", cells, int(name), [1] * len(cells))
        (root / "Annotations").mkdir(exist_ok=True)
        shutil.move(root / "JPEGImages" / f"{name}.xml", root / "Annotations" / f"{name}.xml")
    lists = root / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "aeroplane_train.txt").write_text("000001 -1\n000003  1\n\n")
    (lists / "val.txt").write_text("000002\n../../../secret\n")
    return tmp_path / "data"


def test_create_pascal_tf_record(voc, tmp_path, labels, capsys):
    flags = (f"--data_dir={voc}", f"--label_map_path={labels}", f"--output_path={tmp_path / 'v.record'}")
    assert run(create_pascal_tf_record, *flags) == 0
    assert names_in(tmp_path / "v.record") == {"000001.jpg": [b"lymphocyte"], "000003.jpg": []}
    assert run(create_pascal_tf_record, *flags, "--ignore_difficult_instances") == 0
    assert names_in(tmp_path / "v.record") == {"000001.jpg": [], "000003.jpg": []}
    assert run(create_pascal_tf_record, *flags, "--set=val", "--max_skipped_fraction=0.5") == 0
    assert names_in(tmp_path / "v.record") == {"000002.jpg": [b"monocyte"]}
    assert "secret.jpg" in (tmp_path / "v.record.problems.csv").read_text()
    capsys.readouterr()
    assert run(create_pascal_tf_record, *flags, "--set=test") == 1
    assert "test.txt: no such file" in capsys.readouterr().err
    assert run(create_pascal_tf_record) == 1
    assert "--data_dir is empty" in capsys.readouterr().err


def test_partition_dataset_copies_and_refuses_another_division(tmp_path, capsys):
    images = labeled_folders.write_study(
        tmp_path / "images", {".": [["lymphocyte", "monocyte"][i % 5 == 0 :] for i in range(20)]}
    )
    assert run(partition_dataset, "-x", "-i", images, "-r", 0.25) == 0
    sides = {side: sorted(path.stem for path in (images / side).glob("*.jpg")) for side in ("train", "test")}
    assert (len(sides["train"]), len(sides["test"])) == (15, 5)
    assert sorted(sides["train"] + sides["test"]) == sorted(str(i) for i in range(20))
    for side in sides:
        assert sorted(path.stem for path in (images / side).glob("*.xml")) == sides[side]
    assert len({"0", "5", "10", "15"} & set(sides["test"])) == 1  # a quarter of those without lymphocytes
    assert len(list(images.glob("*.jpg"))) == 20
    assert run(partition_dataset, "-x", "-i", images, "-r", 0.25, "--seed=1") == 1
    assert "is not empty" in capsys.readouterr().err


def test_partition_dataset_that_was_killed_is_completed_by_the_same_command(tmp_path, capsys):
    images = labeled_folders.write_study(tmp_path / "images", {".": [["lymphocyte"]] * 8})
    assert run(partition_dataset, "-x", "-i", images, "-r", 0.25) == 0

    def contents() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in sorted(images.rglob("*")) if path.is_file()}

    whole = contents()
    copies = [path for path in whole if "/train/" in path or "/test/" in path]
    for path in copies[3:]:  # an image is there without its XML
        pathlib.Path(path).unlink()
    assert run(partition_dataset, "-x", "-i", images, "-r", 0.25) == 0
    assert contents() == whole
    foreign = images / "train" / "foreign.jpg"
    foreign.write_bytes(b"foreign")
    assert run(partition_dataset, "-x", "-i", images, "-r", 0.25) == 1
    assert "foreign.jpg is not of this division" in capsys.readouterr().err
    assert foreign.read_bytes() == b"foreign"


def test_partition_dataset_without_xml(tmp_path):
    for index in range(4):
        labeled_folders.write_image(tmp_path / "images" / f"{index}.png", index)
    assert run(partition_dataset, "-i", tmp_path / "images", "-o", tmp_path / "out", "-r", "0.5", "--seed=3") == 0
    assert [len(list((tmp_path / "out" / side).iterdir())) for side in ("train", "test")] == [2, 2]

"""Every way to name a checkpoint, and every way in which it can be unusable."""

import os
import pathlib
import tarfile

import numpy as np
import pytest
import tensorflow as tf

from tests.support import tf1_checkpoints
from tfod_csf.training.checkpoints import checkpoint_files
from tfod_csf.training.checkpoints.checkpoint_files import CheckpointError, find_prefix, open_checkpoint

KEY = "weights/.ATTRIBUTES/VARIABLE_VALUE"
WEIGHTS = np.arange(5000, dtype=np.float32)


def write(prefix: pathlib.Path, weights=WEIGHTS) -> pathlib.Path:
    tf.train.Checkpoint(weights=tf.Variable(weights)).write(str(prefix))
    return prefix


@pytest.fixture(scope="module")
def zoo(tmp_path_factory) -> pathlib.Path:
    """A folder like a model zoo's: NAME/checkpoint/ckpt-0.*, NAME/saved_model/variables/variables.*."""
    folder = tmp_path_factory.mktemp("zoo") / "detector"
    write(folder / "checkpoint" / "ckpt-0")
    write(folder / "saved_model" / "variables" / "variables", [1.0])
    return folder


def pack(folder: pathlib.Path, archive: pathlib.Path) -> pathlib.Path:
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        tar.add(folder, folder.name)
    return archive


def test_a_checkpoint_of_the_first_format_is_one_file(tmp_path):
    file = tf1_checkpoints.save_v1(tmp_path / "resnet" / "resnet_v1_50.ckpt", {"conv1/weights": WEIGHTS})
    for path in (file, file.parent, pack(file.parent, tmp_path / "resnet.tar.gz")):
        with open_checkpoint(path) as stored:
            assert list(stored.shapes) == ["conv1/weights"]
            np.testing.assert_array_equal(stored.read("conv1/weights"), WEIGHTS)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(CheckpointError, match=r"resnet_v1_50\.ckpt cannot be read"):
        read_all(file)


def read_all(path) -> None:
    with open_checkpoint(path) as stored:
        for key in stored.shapes:
            stored.read(key)


@pytest.mark.parametrize("name", ["", "checkpoint", "checkpoint/ckpt-0", "checkpoint/ckpt-0.index"])
def test_folder_and_prefix_name_the_same_checkpoint(zoo, name):
    with open_checkpoint(zoo / name) as stored:
        assert stored.prefix == str(zoo / "checkpoint" / "ckpt-0")
        assert stored.shapes[KEY] == [5000]
        np.testing.assert_array_equal(stored.read(KEY), WEIGHTS)


def test_an_archive_is_unpacked_only_while_it_is_open(zoo, tmp_path):
    with open_checkpoint(pack(zoo, tmp_path / "zoo.tar.gz")) as stored:
        np.testing.assert_array_equal(stored.read(KEY), WEIGHTS)
        scratch = pathlib.Path(stored.prefix).parent
        unpacked = {path.name for path in scratch.parent.parent.rglob("*") if path.is_file()}
        assert unpacked == {"ckpt-0.index", "ckpt-0.data-00000-of-00001"}
    assert not scratch.exists()


def test_of_a_run_the_newest_is_found_in_its_folder_and_from_the_folder_above(tmp_path):
    checkpoint = tf.train.Checkpoint(weights=tf.Variable(WEIGHTS))
    manager = tf.train.CheckpointManager(checkpoint, str(tmp_path / "model"), max_to_keep=7)
    for _ in range(3):
        manager.save()
    for folder in (tmp_path / "model", tmp_path):
        assert find_prefix(folder) == str(tmp_path / "model" / "ckpt-3")


def test_folder_that_holds_none_or_several(tmp_path):
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        find_prefix(tmp_path)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "ckpt-1.index").touch()
    with pytest.raises(CheckpointError, match=r"holds 2 checkpoints: .*name one of them"):
        find_prefix(tmp_path)


def test_what_is_not_there(tmp_path):
    with pytest.raises(CheckpointError, match=r"there is no such checkpoint \(looked for .*ckpt-0\.index\)"):
        find_prefix(tmp_path / "no" / "ckpt-0")
    with pytest.raises(CheckpointError, match=r"no\.tar\.gz: there is no such file"):
        read_all(tmp_path / "no.tar.gz")


def test_an_index_without_its_data(zoo, tmp_path):
    prefix = write(tmp_path / "ckpt[1]")  # brackets mean something to glob
    assert find_prefix(prefix) == str(prefix)
    os.remove(f"{prefix}.data-00000-of-00001")
    write(tmp_path / "ckpt1")
    with pytest.raises(CheckpointError, match=r"ckpt\[1\]\.index is there, but its \.data-00000-of-00001 file is not"):
        find_prefix(prefix)


def test_damaged_files(zoo, tmp_path):
    prefix = zoo / "checkpoint" / "ckpt-0"
    index, data = (prefix.with_name(f"ckpt-0.{end}").read_bytes() for end in ("index", "data-00000-of-00001"))
    cases = {
        "short_data": (index, data[: len(data) // 2]),
        "flipped": (index, data[:1000] + bytes([data[1000] ^ 255]) + data[1001:]),
        "short_index": (index[: len(index) // 2], data),
        "empty_index": (b"", data),
    }
    for name, (index_bytes, data_bytes) in cases.items():
        (tmp_path / f"{name}.index").write_bytes(index_bytes)
        (tmp_path / f"{name}.data-00000-of-00001").write_bytes(data_bytes)
        with pytest.raises(CheckpointError, match=rf"{name} cannot be read .*truncated or not a TensorFlow checkpoint"):
            read_all(tmp_path / name)


def test_an_archive_that_was_not_downloaded_completely(zoo, tmp_path):
    archive = pack(zoo, tmp_path / "zoo.tar.gz")
    archive.write_bytes(archive.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match=r"zoo\.tar\.gz: cannot be unpacked"):
        read_all(archive)


def test_an_archive_that_would_fill_the_disk(zoo, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint_files, "_MAX_ARCHIVE_BYTES", 19_999)  # the 5,000 float32 are 20,000 bytes
    with pytest.raises(CheckpointError, match="unpacks to more than"):
        read_all(pack(zoo, tmp_path / "zoo.tar.gz"))


def test_an_archive_cannot_write_elsewhere(tmp_path):
    archive = tmp_path / "evil.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for name in ("../../evil.index", "/tmp/evil.index", "links/evil.index"):
            member = tarfile.TarInfo(name)
            if name.startswith("links"):
                member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(member)
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        read_all(archive)
    assert not list(tmp_path.parent.rglob("evil.index"))

import os

import pytest

from tfod_csf.data.records.record_files import record_files
from tfod_csf.files.tfrecord import TFRecordError


def test_files_are_sorted_and_named_once(tmp_path):
    for name in ("b", "a", "[c]"):
        (tmp_path / name).touch()
    found = record_files([str(tmp_path / "b"), str(tmp_path / "?"), str(tmp_path / "[c]")])
    assert [os.path.basename(path) for path in found] == ["[c]", "a", "b"]


def test_shards_of_a_name(tmp_path):
    for shard in range(2):
        (tmp_path / f"t.record-0000{shard}-of-00002").touch()
    found = record_files([str(tmp_path / "t.record@2")])
    assert [os.path.basename(path) for path in found] == ["t.record-00000-of-00002", "t.record-00001-of-00002"]
    (tmp_path / "t.record-00000-of-00002").unlink()
    with pytest.raises(TFRecordError, match="1 of 2 shards are missing"):
        record_files([str(tmp_path / "t.record@2")])


def test_no_file(tmp_path):
    (tmp_path / "a").touch()
    with pytest.raises(TFRecordError, match=r"input_path: '.*none' matches no file"):
        record_files([str(tmp_path / "a"), str(tmp_path / "none")])
    with pytest.raises(TFRecordError, match="input_path is empty"):
        record_files([])

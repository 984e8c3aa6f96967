"""Files are made here byte by byte; a frame of n bytes of data has 16 + n bytes."""

import bz2
import gzip
import hashlib
import io
import lzma
import os
import struct
import zipfile
import zlib

import pytest
import tensorflow as tf

from tests.support.tfrecord_frames import checksum, crc32c, frame
from tfod_csf.files import tfrecord

FIRST, SECOND = b"one", b"three"
WHOLE = frame(FIRST) + frame(SECOND)  # the second record begins at byte 19


def read(tmp_path, data: bytes) -> tuple[list[bytes], str, type | None]:
    """Records of a file with these bytes, then the error's message with FILE for the path, and its class."""
    path = tmp_path / "some.record"
    path.write_bytes(data)
    records = []
    try:
        records.extend(tfrecord.read_records(path))
    except tfrecord.TFRecordError as error:
        return records, str(error).replace(str(path), "FILE"), type(error)
    return records, "", None


def test_checksum():
    # The check value of CRC-32C in every catalog, and the first frame of every TensorBoard event file: 24 bytes.
    assert crc32c(b"123456789") == 0xE3069283
    length = struct.pack("<Q", 24)
    assert tfrecord.masked_crc32c(length) == int.from_bytes(bytes.fromhex("a37f4b22"), "little")
    assert frame(bytes(24))[:12] == length + bytes.fromhex("a37f4b22")


def test_records(tmp_path):
    assert read(tmp_path, WHOLE) == ([FIRST, SECOND], "", None)
    assert read(tmp_path, frame(b"")) == ([b""], "", None)


def test_empty_file(tmp_path):
    assert read(tmp_path, b"") == ([], "", None)


def test_as_tensorflow_writes(tmp_path):
    with tf.io.TFRecordWriter(str(tmp_path / "t.record")) as writer:
        for record in (FIRST, SECOND):
            writer.write(record)
    assert (tmp_path / "t.record").read_bytes() == WHOLE


def test_written_whole_with_a_digest_of_the_records(tmp_path):
    path = tmp_path / "new folder" / "t.record"
    assert tfrecord.write_records([FIRST, SECOND], path) == hashlib.sha256(FIRST + SECOND).hexdigest()
    assert path.read_bytes() == WHOLE

    def failing():
        yield FIRST
        raise RuntimeError

    with pytest.raises(RuntimeError):
        tfrecord.write_records(failing(), path)
    assert path.read_bytes() == WHOLE
    assert [file.name for file in path.parent.iterdir()] == ["t.record"]
    tfrecord.write_records([], path)
    assert path.read_bytes() == b""


@pytest.mark.parametrize("kept", range(1, len(WHOLE)))
def test_truncated_file(tmp_path, kept):
    records, message, kind = read(tmp_path, WHOLE[:kept])
    if kept == 19:
        assert (records, message) == ([FIRST], "")
        return
    where = "record 1 (at byte 0)" if kept < 19 else "record 2 (at byte 19)"
    assert message == f"FILE: ends within {where}; copy or write the file again."
    assert kind is tfrecord.TruncatedTFRecordError
    assert records == ([] if kept < 19 else [FIRST])


@pytest.mark.parametrize("place", range(len(WHOLE)))
def test_one_flipped_bit(tmp_path, place):
    damaged = bytearray(WHOLE)
    damaged[place] ^= 0x10
    records, message, kind = read(tmp_path, bytes(damaged))
    assert kind is tfrecord.TFRecordError
    assert records == ([] if place < 19 else [FIRST])
    if place < 12:
        expected = "not a TFRecord file, or its first record is damaged"
    elif place < 19:
        expected = "the data of record 1 (at byte 0) are damaged"
    elif place < 19 + 12:
        expected = "the length of record 2 (at byte 19) is damaged"
    else:
        expected = "the data of record 2 (at byte 19) are damaged"
    assert message == f"FILE: {expected}; copy or write the file again."


def test_a_length_beyond_the_file_is_not_read(tmp_path):
    header = struct.pack("<Q", 1 << 62)
    records, message, _ = read(tmp_path, header + checksum(header) + b"short")
    assert (records, message) == ([], "FILE: ends within record 1 (at byte 0); copy or write the file again.")


def zipped(data):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.record", data)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("compress", "begins", "name"),
    [
        (gzip.compress, "1f 8b", "gzip"),
        (zlib.compress, "78 9c", "zlib"),
        (bz2.compress, "42 5a 68", "bzip2"),
        (lzma.compress, "fd 37 7a 58 5a 00", "xz"),
        (zipped, "50 4b 03 04", "zip"),
    ],
)
def test_compressed_files_are_refused_by_name(tmp_path, compress, begins, name):
    _, message, kind = read(tmp_path, compress(WHOLE))
    assert kind is tfrecord.TFRecordError
    assert message.startswith(
        f"FILE: begins with {begins}: it is compressed with {name}, which TFOD's configs cannot read"
    )
    assert "write it without compression" in message


def test_a_pointer_of_git_lfs_is_named(tmp_path):
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
    _, message, _ = read(tmp_path, pointer)
    assert message.startswith("FILE: is a pointer that Git LFS left in place of the file; fetch the file")


def test_a_growing_file_is_read_as_far_as_it_goes(tmp_path):
    path = tmp_path / "some.record"
    path.write_bytes(frame(FIRST))
    records = tfrecord.read_records(path)
    assert next(records) == FIRST
    with open(path, "ab") as file:
        file.write(frame(SECOND))
    assert list(records) == [SECOND]


@pytest.fixture
def shards(tmp_path):
    """Three shards of t.record, one of u.record, and a folder whose name fits the pattern."""
    for shard in range(3):
        (tmp_path / f"t.record-0000{shard}-of-00003").touch()
    (tmp_path / "u.record-00001-of-00002").touch()
    (tmp_path / "t.record-00009-of-00003").mkdir()
    return tmp_path


def test_shard_names_are_tfods():
    assert tfrecord.shard_paths("out/t.record", 2) == ["out/t.record-00000-of-00002", "out/t.record-00001-of-00002"]


def names(pattern):
    return [os.path.basename(path) for path in tfrecord.find_files(pattern)]


def test_find_files(shards):
    three = [f"t.record-0000{shard}-of-00003" for shard in range(3)]
    assert names(shards / "t.record-?????-of-00003") == three
    assert names(shards / "t.record@3") == three
    assert names(shards / three[1]) == three[1:2]


def test_a_file_of_exactly_this_name_comes_first(shards):
    (shards / "[t].record").touch()
    (shards / "t.record@3").touch()
    assert names(shards / "[t].record") == ["[t].record"]
    assert names(shards / "t.record@3") == ["t.record@3"]


def test_none_found(shards):
    for pattern in ("none", "none*", "none@2", "t.record@4", "t.record@0", "t.record-00000-of-00003,t.record@3"):
        assert names(shards / pattern) == []


def test_missing_shards_are_named(shards):
    with pytest.raises(tfrecord.TFRecordError, match=r"u\.record@2: 1 of 2 shards are missing, the first is .*-00000-"):
        tfrecord.find_files(shards / "u.record@2")
    assert names(shards / "u.record-?????-of-00002") == ["u.record-00001-of-00002"]

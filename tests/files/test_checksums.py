import hashlib

import pytest

from tfod_csf.files import checksums

# Examples of FIPS 180-2; the last one is longer than a block.
ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
NOTHING = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
MILLION_A = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"


@pytest.mark.parametrize(("content", "expected"), [(b"abc", ABC), (b"", NOTHING), (b"a" * 1_000_000, MILLION_A)])
def test_checksum_of_a_file(tmp_path, content, expected):
    (tmp_path / "file").write_bytes(content)
    assert checksums.file_sha256(tmp_path / "file") == expected


def test_several_files_in_one_digest(tmp_path):
    (tmp_path / "file").write_bytes(b"c")
    digest = hashlib.sha256(b"ab")
    checksums.add_file(digest, tmp_path / "file")
    assert digest.hexdigest() == ABC


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        checksums.file_sha256(tmp_path / "file")


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    assert checksums.file_sha256(tmp_path / "file", max_bytes=3) == ABC
    with pytest.raises(OSError, match="has 3 bytes, more than the 2"):
        checksums.file_sha256(tmp_path / "file", max_bytes=2)

import hashlib
import hmac
import logging
import os
import stat

import pytest

from tfod_csf.files import key_files
from tfod_csf.files.key_files import KeyFileError


def test_a_new_key_is_the_owners_only_and_is_read_back(tmp_path):
    path = tmp_path / "safe" / "key"
    old = os.umask(0)
    try:
        key = key_files.create_key(path)
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(key) == 32
    assert key_files.read_key(path) == key


def test_a_key_file_is_never_overwritten(tmp_path):
    key = key_files.create_key(tmp_path / "key")
    with pytest.raises(KeyFileError, match="never overwritten"):
        key_files.create_key(tmp_path / "key")
    assert key_files.read_key(tmp_path / "key") == key


@pytest.mark.parametrize("text", ["", "secret\n", "tfod_csf-key-1 12ab\n", "tfod_csf-key-1 " + "zz" * 32, "密钥"])
def test_a_file_that_is_not_a_key_is_refused(tmp_path, text):
    (tmp_path / "key").write_text(text, encoding="utf-8")
    with pytest.raises(KeyFileError, match="key file"):
        key_files.read_key(tmp_path / "key")
    with pytest.raises(KeyFileError, match="cannot be read"):
        key_files.read_key(tmp_path / "nothing")


def test_a_key_others_can_read_is_warned_of(tmp_path, caplog):
    key_files.create_key(tmp_path / "key")
    (tmp_path / "key").chmod(0o644)
    with caplog.at_level(logging.WARNING, "tfod_csf"):
        key_files.read_key(tmp_path / "key")
    assert "chmod 600" in caplog.text


def test_digests_depend_on_key_purpose_and_text():
    key, other = bytes(32), bytes([1] * 32)
    # HMAC-SHA256 as the standard library computes it.
    assert key_files.keyed_digest(key, "p", "x") == hmac.new(key, b"p\0x", hashlib.sha256).digest()
    different = {key_files.keyed_digest(k, p, t) for k in (key, other) for p in "pq" for t in ("x", "王")}
    assert len(different) == 8
    assert key_files.key_id(key) != key_files.key_id(other)

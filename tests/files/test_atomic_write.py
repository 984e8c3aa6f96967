import json
import os
import stat

import pytest

from tfod_csf.files import atomic_write


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_replaces_the_old_one_when_the_block_ends(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old", encoding="utf-8")
    with atomic_write.replacing(path) as file:
        file.write("new 王\n")
        file.flush()
        assert path.read_text(encoding="utf-8") == "old"
    assert path.read_bytes() == "new 王\n".encode()
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_block_that_raises_leaves_the_old_file_and_nothing_beside_it(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("old", encoding="utf-8")

    def write():
        with atomic_write.replacing(path) as file:
            file.write("half of it")
            raise error

    with pytest.raises(error):
        write()
    assert path.read_text(encoding="utf-8") == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_block_that_raises_makes_no_file(tmp_path):
    with pytest.raises(ValueError, match="no"), atomic_write.replacing(tmp_path / "a" / "b.txt"):
        raise ValueError("no")
    assert names(tmp_path / "a") == []


def test_missing_folders_are_made_and_bytes_are_written_as_they_are(tmp_path):
    path = tmp_path / "a" / "b" / "c.bin"
    with atomic_write.replacing(path, "wb") as file:
        file.write(b"\xff\r\n\x00")
    assert path.read_bytes() == b"\xff\r\n\x00"


def test_a_writer_of_its_own_gets_a_path_in_the_same_folder(tmp_path):
    path = tmp_path / "a.png"
    with atomic_write.replacing_path(path) as beside:
        assert (beside.parent, beside.exists()) == (tmp_path, False)
        assert beside.name.startswith(".a.png.")
        beside.write_bytes(b"picture")
    assert path.read_bytes() == b"picture"
    assert names(tmp_path) == ["a.png"]


def test_a_writer_that_writes_nothing_is_an_error_and_keeps_the_old_file(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"old")
    with pytest.raises(FileNotFoundError), atomic_write.replacing_path(path):
        pass
    assert path.read_bytes() == b"old"


def test_a_name_as_long_as_the_system_allows_can_be_written(tmp_path):
    path = tmp_path / ("x" * 251 + ".csv")
    atomic_write.write_text(path, "a\n")
    assert path.read_text(encoding="utf-8") == "a\n"


def test_the_mode_follows_the_umask(tmp_path):
    before = os.umask(0o077)
    try:
        atomic_write.write_text(tmp_path / "a.txt", "")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o600


def test_text_has_unix_line_ends(tmp_path):
    atomic_write.write_text(tmp_path / "a.txt", "1\n2\n")
    assert (tmp_path / "a.txt").read_bytes() == b"1\n2\n"


def test_json_keeps_the_order_of_keys_and_has_no_nan(tmp_path):
    path = tmp_path / "a.json"
    atomic_write.write_json(path, {"b": 1, "a": ["王", None]})
    assert path.read_text(encoding="utf-8") == '{\n  "b": 1,\n  "a": [\n    "王",\n    null\n  ]\n}\n'
    with pytest.raises(ValueError, match="JSON compliant"):
        atomic_write.write_json(path, {"b": float("nan")})
    assert json.loads(path.read_text(encoding="utf-8"))["b"] == 1

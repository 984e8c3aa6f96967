"""SHA256SUMS: what it lists, what it notices, and that a folder matches it at every moment."""

import hashlib
import subprocess

import pytest

from tfod_csf.files import manifest
from tfod_csf.files.manifest import ManifestError


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "sub" / "b c.bin").write_bytes(b"\0b")
    manifest.write(tmp_path)
    return tmp_path


def test_it_is_what_sha256sum_checks(folder):
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    assert lines[0] == hashlib.sha256(b"a").hexdigest() + "  a.txt"
    assert len(lines) == 2
    assert subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=folder, check=False).returncode == 0
    assert manifest.differences(folder, manifest.read(folder), ["a.txt", "sub/b c.bin"]) == []


def test_changed_missing_and_added_files_are_named(folder):
    (folder / "a.txt").write_text("b")
    (folder / "sub" / "b c.bin").unlink()
    assert manifest.differences(folder, manifest.read(folder), ["a.txt", "new"]) == [
        "a.txt was changed",
        "sub/b c.bin is missing",
        "new was added",
    ]


def test_no_manifest(tmp_path):
    assert manifest.read(tmp_path) is None


@pytest.mark.parametrize(
    "content", [b"\xff", b"abc  a.txt\n", b"0" * 64 + b"  ../a.txt\n", b"0" * 64 + b"  /etc/passwd\n", b"\n"]
)
def test_a_manifest_that_cannot_be_read(folder, content):
    (folder / "SHA256SUMS").write_bytes(content)
    with pytest.raises(ManifestError, match="SHA256SUMS"):
        manifest.read(folder)


def test_a_listed_file_is_replaced_with_its_checksum(folder):
    with manifest.replacing_listed(folder, "a.txt") as beside:
        beside.write_text("new")
    assert (folder / "a.txt").read_text() == "new"
    assert manifest.differences(folder, manifest.read(folder), ["a.txt"]) == []
    with manifest.replacing_listed(folder, "c.txt") as beside:
        beside.write_text("c")
    assert manifest.differences(folder, manifest.read(folder), ["c.txt"]) == []


def test_a_folder_without_manifest_gets_none(tmp_path):
    with manifest.replacing_listed(tmp_path, "a.txt") as beside:
        beside.write_text("new")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("last_write", [1, 2])
def test_the_folder_matches_when_the_exchange_is_cut_off(folder, monkeypatch, last_write):
    """Killed before the file is replaced (its old and new checksum are listed), or after it."""
    write, writes = manifest._write, []

    def killed_after(*arguments):
        writes.append(arguments)
        if len(writes) == last_write:
            raise KeyboardInterrupt
        write(*arguments)

    monkeypatch.setattr(manifest, "_write", killed_after)
    with pytest.raises(KeyboardInterrupt), manifest.replacing_listed(folder, "a.txt") as beside:
        beside.write_text("new")
    assert (folder / "a.txt").read_text() == ("a" if last_write == 1 else "new")
    assert manifest.differences(folder, manifest.read(folder), ["a.txt"]) == []

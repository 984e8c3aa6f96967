import os
import pathlib
import socket

import pytest

from tfod_csf.files import given_files
from tfod_csf.files.given_files import UnusableFileError


def odd_paths(folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """Paths that are no regular files, by what they are."""
    paths = {name: folder / name for name in ("pipe", "socket", "folder", "zero", "dangling", "loop")}
    os.mkfifo(paths["pipe"])
    with socket.socket(socket.AF_UNIX) as listening:
        before = os.getcwd()
        os.chdir(folder)  # the path of a socket may have a hundred bytes only
        listening.bind("socket")
        os.chdir(before)
    paths["folder"].mkdir()
    paths["zero"].symlink_to("/dev/zero")
    paths["dangling"].symlink_to(folder / "nothing")
    paths["loop"].symlink_to(paths["loop"])
    return paths


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("pipe", "is a named pipe, not a file"),
        ("socket", "is a socket, not a file"),
        ("folder", "is a folder, not a file"),
        ("zero", "is a device, not a file"),
        ("dangling", "No such file or directory"),
        ("loop", "Too many levels of symbolic links"),
    ],
)
def test_what_is_no_regular_file_is_refused_and_never_waited_for(tmp_path, what, reason):
    path = odd_paths(tmp_path)[what]
    with pytest.raises(OSError) as refused:
        given_files.read_bytes(path)
    assert refused.value.strerror == reason
    assert refused.value.filename == str(path) or refused.value.filename == path


def test_links_to_files_are_followed(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert given_files.read_bytes(tmp_path / "link") == b"abc"


def test_a_file_that_is_too_large_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "large"
    path.touch()
    os.truncate(path, 6_000_000_000_000)
    with pytest.raises(UnusableFileError, match=r"6,000,000,000,000 bytes, more than the 1,000,000"):
        given_files.read_bytes(path, 1_000_000)


def test_a_file_that_grows_while_it_is_read_is_refused(tmp_path):
    path = tmp_path / "growing"
    path.write_bytes(b"1234")
    with given_files.open_file(path, 4) as file:
        with path.open("ab") as more:
            more.write(b"5")
        with pytest.raises(UnusableFileError, match="grew beyond 4 bytes"):
            given_files.read_open(file, path, 4)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"a": NaN}', "-Infinity", "9" * 5000, "\udcff"])
def test_what_is_no_json_is_a_value_error(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError):
        given_files.read_json(path)


def test_text_has_no_byte_order_mark_and_one_kind_of_line_end(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b"\xef\xbb\xbf[1,\r\n2\r]")
    assert given_files.read_text(path) == "[1,\n2\n]"
    assert given_files.read_json(path) == [1, 2]


def test_files_come_sorted_and_a_folder_that_cannot_be_listed_is_reported(tmp_path, monkeypatch):
    for name in ("b/2", "b/1", "a/c/3", "z", "secret/4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    scandir = os.scandir

    def refusing(path):  # root may list every folder, so rights cannot be tried here
        if os.path.basename(path) == "secret":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    errors = []
    found = [os.path.relpath(path, tmp_path) for path in given_files.files_below(tmp_path, errors.append)]
    assert found == ["z", "a/c/3", "b/1", "b/2"]
    assert [error.filename for error in errors] == [str(tmp_path / "secret")]
    with pytest.raises(PermissionError):
        list(given_files.files_below(tmp_path))


def test_linked_folders_are_followed_unless_they_lead_back(tmp_path):
    (tmp_path / "study" / "a").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "1").touch()
    (tmp_path / "study" / "b").symlink_to(tmp_path / "other")
    (tmp_path / "study" / "a" / "back").symlink_to(tmp_path / "study")
    errors = []
    found = list(given_files.files_below(tmp_path / "study", errors.append))
    assert found == [str(tmp_path / "study" / "b" / "1")]
    assert [error.strerror for error in errors] == ["is a link to a folder that it lies in"]
    links = list(given_files.files_below(tmp_path / "study", follow_links=False))
    assert links == [str(tmp_path / "study" / name) for name in ("b", "a/back")]


def test_folders_with_a_file_of_a_name(tmp_path):
    for name in ("b/images.csv", "a/images.csv", "c/other.csv"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    (tmp_path / "images.csv").touch()
    assert given_files.folders_with(tmp_path, "images.csv") == [tmp_path / "a", tmp_path / "b"]

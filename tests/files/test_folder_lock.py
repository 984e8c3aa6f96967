import errno
import logging
import os
import re
import signal
import subprocess
import sys

import pytest

from tfod_csf.files import atomic_write, folder_lock
from tfod_csf.files.folder_lock import FolderInUseError, FolderVanishedError, only_writer

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the tests use fork and kill")

# Holds the lock of a folder until its standard input ends.
HOLDER = """
import sys
from tfod_csf.files.folder_lock import only_writer
with only_writer(sys.argv[1], swapped=len(sys.argv) > 2):
    print("in", flush=True)
    sys.stdin.read()
"""


def holder(folder, *more):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder), *more], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "in\n"
    return process


@pytest.mark.parametrize("more", [(), ("swapped",)])
def test_a_second_process_is_refused_with_folder_pid_and_host_of_the_first(tmp_path, more):
    folder = tmp_path / "out"
    with holder(folder, *more) as first:
        with pytest.raises(FolderInUseError) as error, only_writer(folder, swapped=bool(more)):
            pass
        assert f"{folder}: process {first.pid} on {atomic_write.host_name()} is writing into this folder" in str(
            error.value
        )
        first.stdin.close()
        assert first.wait(60) == 0
    with only_writer(folder, swapped=bool(more)):
        pass
    assert list(tmp_path.iterdir()) == []  # neither the lock nor the folder that it had made


def test_a_killed_process_holds_no_lock_and_its_half_written_files_go(tmp_path, caplog):
    with holder(tmp_path) as first:
        first.send_signal(signal.SIGKILL)
        first.wait(60)
    assert os.listdir(tmp_path) == [folder_lock.FILE_NAME]
    assert folder_lock.entries(tmp_path) == []
    left = tmp_path / "patients" / f".cells.csv.{atomic_write.host_name()}-{first.pid}-0123abcd.part"
    left.parent.mkdir()
    left.write_text("half")
    with caplog.at_level(logging.WARNING), only_writer(tmp_path):
        assert not left.exists()
    assert f"{tmp_path}: removed 1 unfinished file of a run that was killed." in caplog.text
    assert os.listdir(tmp_path) == ["patients"]


def test_the_same_process_is_refused_as_well_and_the_folder_is_free_after_an_error(tmp_path):
    with only_writer(tmp_path):
        with pytest.raises(FolderInUseError, match=f"process {os.getpid()} on"), only_writer(tmp_path):
            pass
        assert folder_lock.entries(tmp_path) == []
        (tmp_path / "a").touch()
    with pytest.raises(ValueError, match="full"), only_writer(tmp_path):
        raise ValueError("disk full")
    with only_writer(tmp_path):
        assert folder_lock.entries(tmp_path) == ["a"]
    assert folder_lock.entries(tmp_path / "absent") == []


def test_a_forked_copy_does_not_keep_the_lock(tmp_path):
    block = only_writer(tmp_path)
    block.__enter__()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(write)
        os.read(read, 1)  # until the parent is done
        os._exit(0)
    os.close(read)
    try:
        block.__exit__(None, None, None)
        with only_writer(tmp_path):
            pass
    finally:
        os.close(write)
        assert os.waitpid(child, 0)[1] == 0


def test_a_forked_copy_that_leaves_the_block_does_not_remove_the_lock(tmp_path):
    block = only_writer(tmp_path)
    block.__enter__()
    child = os.fork()
    if child == 0:
        try:
            block.__exit__(None, None, None)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert (tmp_path / folder_lock.FILE_NAME).exists()
    block.__exit__(None, None, None)


@pytest.mark.parametrize("again", [False, True])
def test_a_folder_that_vanishes_is_an_error_at_the_latest_at_the_end(tmp_path, again):
    folder = tmp_path / "out"
    said = pytest.raises(FolderVanishedError, match=f"^{re.escape(str(folder))}: was removed or replaced")
    with said, only_writer(folder) as lock:
        lock.check()
        folder.rename(tmp_path / "elsewhere")
        if again:
            folder.mkdir()


def test_a_file_system_without_locks_is_said_and_used(tmp_path, monkeypatch, caplog):
    def refused(*arguments):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(folder_lock.fcntl, "flock", refused)
    with caplog.at_level(logging.WARNING), only_writer(tmp_path) as lock:
        lock.check()
    assert f"{tmp_path}: this file system has no locks (No locks available)" in caplog.text


def test_a_link_with_the_name_of_the_lock_is_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / folder_lock.FILE_NAME).symlink_to(victim)
    with pytest.raises(OSError, match="symbolic links"), only_writer(tmp_path / "out"):
        pass
    assert victim.read_text() == "precious"


def test_a_folder_that_is_a_link_to_elsewhere_is_refused_and_a_linked_file_is_replaced(tmp_path):
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    (out / "patients").mkdir(parents=True)
    elsewhere.mkdir()
    (elsewhere / "a.txt").write_text("theirs", encoding="utf-8")
    (out / "a.txt").symlink_to(elsewhere / "a.txt")
    (out / "inner").symlink_to(out / "patients")
    with only_writer(out):
        atomic_write.write_text(out / "a.txt", "ours")
    assert (elsewhere / "a.txt").read_text(encoding="utf-8") == "theirs"
    assert not (out / "a.txt").is_symlink()
    (out / "patients" / "p").symlink_to(elsewhere)
    with pytest.raises(folder_lock.LinkedFolderError, match=r"p: is a link to .*elsewhere, where this command would"):
        only_writer(out).__enter__()
    assert sorted(path.name for path in elsewhere.iterdir()) == ["a.txt"]
    (tmp_path / "linked_out").symlink_to(elsewhere)
    with only_writer(tmp_path / "linked_out"):  # the folder that was given may be a link itself
        pass


def test_in_turn_waits_for_the_other_and_gives_up_in_the_end(tmp_path):
    (tmp_path / "out").mkdir()
    with holder(tmp_path / "out") as first:
        with pytest.raises(FolderInUseError, match=f"process {first.pid} on"), folder_lock.in_turn(tmp_path / "out", 0):
            pass
        first.stdin.close()
        with folder_lock.in_turn(tmp_path / "out"):
            assert folder_lock.entries(tmp_path / "out") == []
    assert os.listdir(tmp_path / "out") == []


def test_a_folder_that_is_itself_a_link_out_is_not_ready(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "p").symlink_to(tmp_path)
    with pytest.raises(folder_lock.LinkedFolderError, match="p: is a link to"):
        folder_lock.make_ready(tmp_path / "out" / "p", inside=tmp_path / "out")
    folder_lock.make_ready(tmp_path / "out" / "absent", inside=tmp_path / "out")

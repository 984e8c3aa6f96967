import errno
import json
import os
import stat
import subprocess
import sys
import time

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


def dead_process():
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def temporary_name(name, pid, host=None, kind="part"):
    return f".{name}.{host or atomic_write.host_name()}-{pid}-0123abcd.{kind}"


@pytest.mark.parametrize("name", ["a.csv", "王" * 80 + ".jpg", "x" * 255, "b\nc.xml", os.fsdecode(b"\xff.jpg")])
def test_temporary_names_say_host_and_pid_and_are_never_too_long(tmp_path, name):
    with atomic_write.replacing(tmp_path / name) as file:
        file.write("a")
        (beside,) = os.listdir(tmp_path)
        assert f".{atomic_write.host_name()}-{os.getpid()}-" in beside
        assert len(os.fsencode(beside)) <= 255
        assert atomic_write.is_temporary(beside)
        assert atomic_write.remove_leftovers(tmp_path) == []  # it is being written
    assert os.listdir(tmp_path) == [name]
    assert not atomic_write.is_temporary(name)


def test_a_long_host_name_is_cut_and_still_tells_hosts_apart(monkeypatch):
    monkeypatch.setattr(atomic_write.socket, "gethostname", lambda: "a.b" + "c" * 60)
    first = atomic_write.host_name()
    monkeypatch.setattr(atomic_write.socket, "gethostname", lambda: "a.b" + "c" * 60 + "d")
    assert first.startswith("a-bccc")
    assert len(first) == len(atomic_write.host_name()) == 40
    assert first != atomic_write.host_name()


def test_only_what_dead_runs_left_is_removed(tmp_path):
    dead, below = dead_process(), tmp_path / "patients" / "p"
    below.mkdir(parents=True)
    gone = [below / temporary_name("a.jpg", dead), tmp_path / temporary_name("b", os.getpid())]
    gone.append(tmp_path / temporary_name("c", os.getppid(), host="elsewhere"))
    kept = [tmp_path / temporary_name("d", os.getppid()), tmp_path / temporary_name("e", dead, host="elsewhere")]
    kept += [tmp_path / name for name in (".a.part", "movie.part", ".a.0123abcd.part", ".b.host-x-0123abcd.part")]
    for path in (*gone, *kept):
        path.write_text("half")
    os.utime(gone[-1], (time.time() - 90_000,) * 2)
    folder = tmp_path / temporary_name("model", dead)
    folder.mkdir()
    (folder / "weights").write_text("half")
    (tmp_path / "link").symlink_to(below, target_is_directory=True)
    assert sorted(atomic_write.remove_leftovers(tmp_path)) == sorted([*gone, folder])
    assert not any(path.exists() for path in (*gone, folder))
    assert all(path.exists() for path in kept)


def test_leftovers_of_one_path_are_removed_and_no_others(tmp_path):
    dead = dead_process()
    own, other = tmp_path / temporary_name("model", dead), tmp_path / temporary_name("model2", dead)
    own.mkdir()
    other.mkdir()
    assert atomic_write.remove_leftovers_of(tmp_path / "model") == [own]
    assert other.exists()
    assert atomic_write.remove_leftovers_of(tmp_path / "absent" / "model") == []


@pytest.mark.parametrize("exchange", [True, False])
@pytest.mark.parametrize("through_link", [True, False])
def test_a_folder_replaces_the_old_one(tmp_path, monkeypatch, exchange, through_link):
    if not exchange:
        monkeypatch.setattr(atomic_write, "_exchange", lambda first, second: False)
    path = link = tmp_path / "model"
    path.mkdir()
    (path / "old").touch()
    if through_link:
        link = tmp_path / "link"
        link.symlink_to("model")
    with atomic_write.replacing_folder(link) as beside:
        (beside / "new").touch()
        assert names(path) == ["old"]
    assert names(path) == ["new"]
    assert names(tmp_path) == sorted({"model", link.name})


def test_a_folder_whose_block_raises_leaves_the_old_one(tmp_path):
    with atomic_write.replacing_folder(tmp_path / "a" / "model") as beside:
        (beside / "old").touch()

    def write():
        with atomic_write.replacing_folder(tmp_path / "a" / "model") as beside:
            (beside / "new").touch()
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        write()
    with pytest.raises(FileExistsError), atomic_write.replacing_folder(tmp_path / "a" / "model", may_exist=False):
        pass
    assert names(tmp_path / "a" / "model") == ["old"]
    assert names(tmp_path / "a") == ["model"]


@pytest.mark.parametrize("name", ["model", "m" * 220])
def test_a_folder_that_a_killed_process_had_moved_away_is_put_back(tmp_path, name):
    code = (
        "import os, sys\n"
        "from tfod_csf.files import atomic_write\n"
        "atomic_write._exchange = lambda first, second: False\n"
        "real = os.rename\n"
        "def second_kills(*paths):\n"
        "    real(*paths)\n"
        "    os.kill(os.getpid(), 9)\n"
        "os.rename = second_kills\n"
        "with atomic_write.replacing_folder(sys.argv[1]) as beside:\n"
        "    (beside / 'new').touch()\n"
    )
    path = tmp_path / name
    path.mkdir()
    (path / "old").touch()
    assert subprocess.run([sys.executable, "-c", code, path]).returncode == -9
    assert len(names(tmp_path)) == 2
    assert not path.exists()
    atomic_write.remove_leftovers_of(path) if len(name) > 200 else atomic_write.remove_leftovers(tmp_path)
    assert names(tmp_path) == [name]
    assert names(path) == ["old"]


def test_errors_name_the_final_path(tmp_path):
    path = tmp_path / "a.txt"
    with pytest.raises(FileNotFoundError) as missing, atomic_write.replacing_path(path):
        pass
    assert missing.value.filename == str(path)
    with pytest.raises(OSError, match="No space") as full, atomic_write.replacing(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert full.value.filename == str(path)


def test_what_is_no_file_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(atomic_write.NotAFileError, match="is not a file"), atomic_write.replacing(path):
            pass
    assert names(tmp_path) == ["pipe"]


def test_a_copy_is_complete_or_the_old_file_stays(tmp_path):
    source, target = tmp_path / "source", tmp_path / "folder" / "target"
    source.write_bytes(bytes(range(256)) * 9000)  # more than is copied at once
    atomic_write.copy_file(source, target)
    assert target.read_bytes() == source.read_bytes()
    with pytest.raises(FileNotFoundError):
        atomic_write.copy_file(tmp_path / "absent", target)
    assert target.read_bytes() == source.read_bytes()
    assert names(target.parent) == ["target"]

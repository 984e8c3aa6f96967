import os
import time

import pytest

from tfod_csf.inference.archive import attempts
from tfod_csf.inference.archive.attempts import ALL_IMAGES, Attempts


@pytest.fixture
def path(tmp_path):
    return tmp_path / "p1.json"


def test_an_attempt_that_nobody_ended_is_an_end_of_its_process(path):
    Attempts.open(path).begin("run")
    assert Attempts.open(path).ends == {ALL_IMAGES: 1}
    found = Attempts.open(path)
    found.begin("run", "a.png")
    assert Attempts.open(path).ends == {ALL_IMAGES: 1, "a.png": 1}
    assert Attempts.open(path).run_id == "run"


def test_what_is_done_is_forgotten(path):
    found = Attempts.open(path)
    found.begin("run")
    found.done()
    assert not path.exists()
    assert Attempts.open(path).ends == {}


def test_what_was_stopped_does_not_count_and_earlier_ends_do(path):
    Attempts.open(path).begin("run")
    Attempts.open(path).begin("run")
    attempts.forgive_all(path.parent)
    assert Attempts.open(path).ends == {ALL_IMAGES: 1}
    other = path.with_name("p2.json")
    Attempts.open(other).begin("run")
    attempts.forgive_all(path.parent)
    assert not other.exists()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_of_a_group_the_living_are_stopped_and_forgiven_and_the_dead_count(tmp_path):
    """A copy of this process leads a group: one of its members has died over a patient, another is at work on one."""
    leader = os.fork()
    if not leader:
        os.setpgid(0, 0)
        dead, living = os.fork(), 0
        if dead:
            os.waitpid(dead, 0)
            living = os.fork()
        if not living:
            Attempts.open(tmp_path / ("living.json" if dead else "dead.json")).begin("run")
            time.sleep(600 if dead else 0)
            os._exit(0)
        while not (tmp_path / "living.json").exists():
            time.sleep(0.01)
        attempts.stop_and_forgive_group(tmp_path)
        os._exit(os.waitstatus_to_exitcode(os.waitpid(living, 0)[1]) == -9)
    Attempts.open(tmp_path / "outside.json").begin("run")
    assert os.waitstatus_to_exitcode(os.waitpid(leader, 0)[1]) == 1
    begun = {name: found.begun for name, found in attempts.state(tmp_path).items()}
    assert begun == {"dead": "", "living": None, "outside": ""}
    assert Attempts.open(tmp_path / "living.json").run_id == "run"


def test_dead_letters_outlive_a_patient_until_they_are_forgotten(path):
    letter = {"sha256": "f" * 64, "reason": "it ended the process"}
    found = Attempts(path, dead_letters={"a.png": letter}, ends={"a.png": 2})
    found.begin("run")
    found.done()
    assert attempts.dead_letters(path.parent) == {"p1": {"a.png": letter}}
    assert Attempts.open(path).ends == {}
    Attempts.open(path.with_name("p2.json")).begin("run")
    attempts.forget_dead_letters(path.parent)
    assert attempts.state(path.parent) == {}


def test_a_file_that_cannot_be_read_is_none(path):
    path.write_text("{", encoding="utf-8")
    assert Attempts.open(path) == Attempts(path)

"""The journal: what was acknowledged is there after a kill, and a changed line is noticed."""

import errno
import json
import os

import pytest

from tfod_csf.cytology.browser_review.journal import Journal, JournalError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.jsonl"


def read(path):
    journal = Journal(path)
    journal.close()
    return journal.read()


def write(path, *entries):
    journal = Journal(path)
    for entry in entries:
        journal.append(entry)
    journal.close()


def test_entries_come_back_in_order_and_more_can_follow(path):
    write(path, {"number": 1, "name": "王伟 \udcff"})
    write(path, {"number": 2})
    assert read(path) == [{"number": 1, "name": "王伟 \udcff"}, {"number": 2}]


@pytest.mark.parametrize("kept", [1, 20, -1])
def test_half_a_last_line_was_never_acknowledged_and_is_removed(path, kept):
    write(path, {"number": 1}, {"number": 2})
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + second[:kept])
    journal = Journal(path)
    assert (journal.read(), journal.cut_bytes) == ([{"number": 1}], len(second[:kept]))
    journal.append({"number": 2})
    journal.close()
    assert path.read_bytes() == first + second


def test_an_entry_is_synced_before_append_returns(path, monkeypatch):
    synced, journal = [], Journal(path)
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(path.read_bytes()))
    journal.append({"number": 1})
    journal.close()
    assert [json.loads(data)["number"] for data in synced] == [1]


def test_a_line_that_the_disk_refused_is_taken_back_and_the_next_one_fits(path, monkeypatch):
    write(path, {"number": 1})
    before, journal, fsync = path.read_bytes(), Journal(path), os.fsync
    refusals = [OSError(errno.ENOSPC, "No space left on device")]

    def refuse_once(descriptor):
        if refusals:
            raise refusals.pop()
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse_once)
    with pytest.raises(JournalError, match=r"journal.jsonl: cannot be written \(No space left on device\)"):
        journal.append({"number": 2})
    assert path.read_bytes() == before
    journal.append({"number": 2})
    journal.close()
    assert read(path) == [{"number": 1}, {"number": 2}]


def test_a_journal_that_cannot_be_repaired_takes_nothing_more(path, monkeypatch):
    journal = Journal(path)

    def refuse(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", refuse)
    monkeypatch.setattr(os, "truncate", refuse)
    with pytest.raises(JournalError, match="Input/output error"):
        journal.append({"number": 1})
    monkeypatch.undo()
    with pytest.raises(JournalError, match="an earlier line could not be written"):
        journal.append({"number": 1})
    journal.close()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda lines: [lines[0].replace(b'"a"', b'"b"'), *lines[1:]], "line 2 does not follow"),
        (lambda lines: [lines[0], lines[2]], "line 2 does not follow"),
        (lambda lines: [lines[0], b"{\n", *lines[1:]], "line 2 is damaged"),
        (lambda lines: [b"[1]\n", *lines], "line 1 is damaged"),
        (lambda lines: [b"{}\n", *lines], "line 1 is damaged"),
    ],
)
def test_a_changed_line_is_noticed(path, change, says):
    write(path, {"number": 1, "name": "a"}, {"number": 2}, {"number": 3})
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))
    with pytest.raises(JournalError, match=says):
        Journal(path)

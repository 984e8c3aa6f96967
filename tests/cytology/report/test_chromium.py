"""Printing through a stand-in for Chromium; the real one prints in test_pages_in_browser.py."""

import pytest

from tfod_csf.cytology.report import chromium


def stand_in(folder, script):
    program = folder / "chromium"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return str(program)


def test_prints_to_the_file_asked_for(tmp_path):
    script = 'for a in "$@"; do case "$a" in --print-to-pdf=*) echo "$@" > "${a#--print-to-pdf=}";; esac; done'
    program = stand_in(tmp_path, script)
    chromium.print_pdf(program, tmp_path / "王 %41.html", tmp_path / "out" / "a.pdf")
    arguments = (tmp_path / "out" / "a.pdf").read_text()
    assert "/%E7%8E%8B%20%2541.html" in arguments
    assert "--user-data-dir=" in arguments
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.pdf"]


@pytest.mark.parametrize(("script", "part"), [("echo no display >&2; exit 3", "status 3"), ("exit 0", "no PDF")])
def test_failure_is_one_sentence_and_leaves_nothing(tmp_path, script, part):
    with pytest.raises(chromium.ChromiumError, match=part):
        chromium.print_pdf(stand_in(tmp_path, script), tmp_path / "a.html", tmp_path / "out" / "a.pdf")
    assert list((tmp_path / "out").iterdir()) == []


def test_program_that_does_not_start(tmp_path):
    with pytest.raises(chromium.ChromiumError, match="could not print"):
        chromium.print_pdf(str(tmp_path / "none"), tmp_path / "a.html", tmp_path / "a.pdf")

import io
import sys

import pytest

from tfod_csf import progress_bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("stream", "quiet", "shown"), [(Terminal, False, True), (Terminal, True, False), (io.StringIO, False, False)]
)
def test_a_bar_is_shown_on_a_terminal_only(monkeypatch, stream, quiet, shown):
    monkeypatch.setattr(sys, "stderr", stream())
    assert list(progress_bar.progress_bar([1, 2, 3], unit="image", quiet=quiet)) == [1, 2, 3]
    assert ("3/3" in sys.stderr.getvalue()) is shown
    assert bool(sys.stderr.getvalue()) is shown


def test_bar_over_wraps_items_and_names_the_unit(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert list(progress_bar.bar_over("patient")(["a", "b"])) == ["a", "b"]
    assert "patient" in sys.stderr.getvalue()


def test_a_bar_moved_by_hand(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress_bar.progress_bar(unit="image", total=10) as bar:
        bar.update(4)
    assert "4/10" in sys.stderr.getvalue()


def test_lines_go_to_standard_output(capsys):
    progress_bar.write_line("a row")
    assert capsys.readouterr().out == "a row\n"

"""docs/API.md: its example runs as it is printed, and prints what the page says."""

import pathlib
import re

import pytest

from tests.support import hand_made_model
from tests.support.hand_made_model import Candidate
from tfod_csf.commands import batch_infer, command_line

PAGE = (pathlib.Path(__file__).parent.parent / "docs" / "API.md").read_text(encoding="utf-8")
# On images of 96 x 72. Two lymphocytes, a monocyte, a neutrophil, and an erythrocyte that is unknown (0.7 < 0.8).
CELLS = (
    Candidate((10 / 72, 8 / 96, 36 / 72, 34 / 96), 1, 0.95),
    Candidate((30 / 72, 50 / 96, 64 / 72, 84 / 96), 1, 0.9),
    Candidate((40 / 72, 4 / 96, 66 / 72, 30 / 96), 2, 0.85),
    Candidate((0 / 72, 60 / 96, 20 / 72, 80 / 96), 3, 0.82),
    Candidate((2 / 72, 40 / 96, 18 / 72, 56 / 96), 4, 0.7),
    Candidate((50 / 72, 34 / 96, 70 / 72, 48 / 96), 4, 0.3),  # below the least score, so not a cell
)


def block(language: str) -> str:
    """The only fenced block of a language."""
    (text,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    return text


@pytest.fixture
def study(tmp_path, monkeypatch):
    """The current folder, with the model and the images that the example names, and what batch_infer made of them."""
    monkeypatch.chdir(tmp_path)
    hand_made_model.save(tmp_path / "exported_models" / "csf", CELLS)
    for number in range(1, 11):
        hand_made_model.save_gray(tmp_path / "patients" / "p1" / f"field_{number:02}.png", number)
    arguments = block("sh").replace("\\\n", "").split()
    assert arguments[:2] == ["tfod_csf", "batch_infer"]
    flags = batch_infer.FLAGS
    flags.unparse_flags()
    for name in flags:
        flags[name].unparse()
    assert command_line.run(batch_infer.main, flags, batch_infer.__doc__, "batch_infer", arguments[2:]) == 0


@pytest.mark.usefixtures("study")
def test_the_example_prints_what_the_page_says(capsys):
    capsys.readouterr()
    exec(compile(block("python"), "docs/API.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert lines == block("text").splitlines()
    assert lines[:5] == [
        "lymphocyte 0.95 [10, 8, 36, 34]",
        "lymphocyte 0.90 [30, 50, 64, 84]",
        "monocyte 0.85 [40, 4, 66, 30]",
        "neutrophil 0.82 [0, 60, 20, 80]",
        "erythrocyte 0.70 [2, 40, 18, 56]",
    ]
    # Ten images: 20 + 10 + 10 white cells, so 50, 25 and 25 %; ten unknown cells. Goodman's interval of n of N = 40 has
    # the ends (A + 2n -+ sqrt(A (A + 4n (N - n) / N))) / (2 (N + A)), A = 5.731 the chi-square quantile 1 - 0.05 / 3.
    assert lines[5:] == [
        "p1 40 white cells, 10 unknown",
        "lymphocyte 50.0 % (32.3 to 67.7)",
        "monocyte 25.0 % (12.5 to 43.8)",
        "neutrophil 25.0 % (12.5 to 43.8)",
    ]

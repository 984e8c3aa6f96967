import pathlib
import warnings

import numpy as np
import pytest
from PIL import Image

from tfod_csf.graphics import figures


def test_text_without_letters_is_written_as_codes():
    assert figures.printable("patient 7, ±10 %") == "patient 7, ±10 %"
    assert figures.printable("\ue000") == "\\ue000"  # of nobody's alphabet
    assert figures.printable("") == ""


def test_chinese_letters_are_printed_where_a_font_has_them():
    if not figures._cjk_family():
        assert figures.printable("患者") == "\\u60a3\\u8005"
        pytest.skip("no font with Chinese letters is installed (tfod_csf.graphics.fonts.CJK_FONT_FILES)")
    assert figures.printable("患者") == "患者"


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_equal_figures_are_equal_files_and_nothing_warns_of_missing_letters(tmp_path, suffix):
    for name in ("a", "b"):
        with warnings.catch_warnings(), figures.drawing(tmp_path / f"{name}.{suffix}", 3, 2) as (_, (axes,)):
            warnings.simplefilter("error")
            axes.plot([0, 1], [0, 1], label=figures.printable("患者 $x$"))
            axes.legend()
            figures.reference_line(axes, "half", x=0.5)
            figures.reference_line(axes, "half", y=0.5)
    first, second = ((tmp_path / f"{name}.{suffix}").read_bytes() for name in "ab")
    assert first == second
    if suffix == "png":
        with Image.open(tmp_path / "a.png") as picture:
            assert picture.size == (450, 300)  # 3 x 2 inches of 150 dots
            assert np.asarray(picture.convert("L")).min() < 100


def test_a_reference_line_is_named_along_it_or_in_the_legend(tmp_path):
    with figures.drawing(tmp_path / "a.png", 3, 2) as (_, (axes,)):
        figures.reference_line(axes, "half", y=0.5)
        figures.reference_line(axes, "quarter", y=0.25, in_legend=True)
    assert [text.get_text() for text in axes.texts if text.get_text()] == ["half"]
    assert axes.get_legend_handles_labels()[1] == ["quarter"]
    assert [line.get_ydata()[0] for line in axes.lines] == [0.5, 0.25]


def test_an_error_while_drawing_leaves_no_file(tmp_path):
    with pytest.raises(ValueError, match="stop"), figures.drawing(tmp_path / "a.png", 3, 2):
        raise ValueError("stop")
    assert list(pathlib.Path(tmp_path).iterdir()) == []

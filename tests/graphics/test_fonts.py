import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from tfod_csf.graphics import fonts


def _installed_cjk_font() -> str | None:
    """Path of the font that Chinese names are written with; None where none of the known ones is installed."""
    for name in fonts.CJK_FONT_FILES:
        try:
            return ImageFont.truetype(name, 20).path
        except OSError:
            continue
    return None


def _rendered(text: str) -> np.ndarray:
    picture = Image.new("L", (60, 40))
    ImageDraw.Draw(picture).text((5, 5), text, font=fonts.font_for(text, 24), fill=255)
    return np.asarray(picture)


def test_latin_names_are_written_in_dejavu():
    assert fonts.font_for("lymphocyte", 20).getname() == ("DejaVu Sans", "Book")
    assert fonts.font_for("", 20).size == 20


def test_without_a_font_for_them_chinese_names_are_still_written(monkeypatch):
    monkeypatch.setattr(fonts, "CJK_FONT_FILES", ("no_such_font.ttc",))
    fonts.load_font.cache_clear()
    assert fonts.font_for("浆", 20).getname()[0] == "DejaVu Sans"
    fonts.load_font.cache_clear()


def test_chinese_letters_differ_from_each_other():
    if _installed_cjk_font() is None:
        pytest.skip(f"no font with Chinese letters is installed ({', '.join(fonts.CJK_FONT_FILES)})")
    assert fonts.font_for("浆", 20).path == _installed_cjk_font()
    assert not np.array_equal(_rendered("浆"), _rendered("患"))  # two boxes would be equal
    assert _rendered("浆").any()

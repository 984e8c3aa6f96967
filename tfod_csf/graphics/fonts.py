"""Fonts for pictures and plots: DejaVu Sans, and one with Chinese letters where a name needs it.

Names of patients and classes may be Chinese, and DejaVu has no such letters; Pillow would draw a box for each of them,
and boxes make two names look alike.
"""

import functools
import importlib.util
import pathlib

from PIL import ImageFont

# Files of fonts with Chinese letters on Linux, Windows and macOS; the first that is installed is used.
CJK_FONT_FILES = (
    "NotoSansCJK-Regular.ttc",
    "NotoSansCJKsc-Regular.otf",
    "NotoSansSC-Regular.otf",
    "SourceHanSans-Regular.ttc",
    "SourceHanSansSC-Regular.otf",
    "wqy-microhei.ttc",
    "wqy-zenhei.ttc",
    "msyh.ttc",
    "simhei.ttf",
    "PingFang.ttc",
    "Hiragino Sans GB.ttc",
    "Arial Unicode.ttf",
)
_FIRST_CJK_LETTER = 0x2E80


@functools.cache
def load_font(size_px: int, needs_cjk: bool = False) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """DejaVu Sans of matplotlib, or an installed font with Chinese letters where one is needed, else Pillow's own."""
    names = list(CJK_FONT_FILES) if needs_cjk else []
    # Found without importing matplotlib, which would cost more than a picture.
    matplotlib = importlib.util.find_spec("matplotlib")
    if matplotlib and matplotlib.origin:
        names.append(str(pathlib.Path(matplotlib.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"))
    for name in names:
        try:
            return ImageFont.truetype(name, size_px)
        except OSError:
            continue
    return ImageFont.load_default(size_px)


def font_for(text: str, size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """A font that has the letters of a text, where one is installed."""
    return load_font(size_px, any(ord(letter) >= _FIRST_CJK_LETTER for letter in text))

"""One look for all plots: paper-sized, safe for color-blind readers, readable in gray, no display needed.

Figures are made without pyplot, so nothing global is kept and thousands can be made in one process.
"""

import functools
import io
import os
import pathlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tfod_csf.files import atomic_write
from tfod_csf.graphics.fonts import CJK_FONT_FILES

INK = "#222222"
GRAY = "#8A8A8A"
LIGHT_GRAY = "#D9D9D9"


def _cjk_family() -> list[str]:
    """Family name of the installed font that has the Chinese letters DejaVu lacks; empty without one."""
    installed = {pathlib.Path(font.fname).name: font.name for font in font_manager.fontManager.ttflist}
    return [installed[name] for name in CJK_FONT_FILES if name in installed][:1]


@functools.cache
def _style() -> dict:
    return {
        "font.family": ["DejaVu Sans", *_cjk_family()],
        "font.size": 9,
        "axes.titlesize": 10,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.labelsize": 9,
        "axes.edgecolor": GRAY,
        "axes.labelcolor": INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": "#ECECEC",
        "grid.linewidth": 0.8,
        "xtick.color": INK,
        "ytick.color": INK,
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
        "legend.fontsize": 8,
        "legend.frameon": False,
        "svg.fonttype": "none",
        "svg.hashsalt": "tfod_csf",
        # "$" in a name is a dollar sign, not the start of a formula.
        "text.parse_math": False,
    }


@functools.cache
def _fonts() -> tuple:
    return tuple(font_manager.get_font(font_manager.findfont(name)) for name in _style()["font.family"])


def printable(text: str) -> str:
    """Text in which every character that no font here has is written as its code, for example \\u60a3.

    Boxes in place of letters would make two patients look alike.
    """
    return "".join(
        c if any(font.get_char_index(ord(c)) for font in _fonts()) else c.encode("unicode_escape").decode()
        for c in text
    )


@contextmanager
def drawing(
    path: str | os.PathLike, width_inches: float, height_inches: float, rows: int = 1, columns: int = 1, **more: Any
) -> Iterator[tuple[Figure, Sequence[Axes]]]:
    """Yields (figure, flat list of axes) and writes the figure when the block ends; the suffix decides PNG or SVG.

    Args:
      path: .png (150 dots per inch) or .svg.
      **more: passed to `Figure.subplots`, for example `width_ratios`.
    """
    with mpl.rc_context(_style()):
        figure = Figure(figsize=(width_inches, height_inches), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(rows, columns, squeeze=False, **more)
        yield figure, list(axes.flat)
        save(figure, path)


def save(figure: Figure, path: str | os.PathLike) -> None:
    """Writes a figure completely or not at all; without a date, so that equal figures are equal files."""
    suffix = pathlib.Path(path).suffix.lstrip(".")
    metadata = {"Date": None} if suffix == "svg" else {"Software": None}
    encoded = io.BytesIO()
    figure.savefig(encoded, format=suffix, dpi=150, metadata=metadata)
    atomic_write.write_bytes(path, encoded.getbuffer())


def reference_line(
    axes: Axes,
    text: str,
    x: float | None = None,
    y: float | None = None,
    along: float = 0.02,
    in_legend: bool = False,
) -> None:
    """A dotted line across the plot with its meaning written along it.

    Args:
      x or y: where the line crosses the axis, in data units.
      along: where the text begins (vertical line) or ends short of (horizontal line), as a fraction of the axes.
      in_legend: the legend says what it means instead; for plots where text along the line would cover data.
    """
    line: dict[str, Any] = {"color": INK, "linestyle": (0, (1, 2)), "linewidth": 1.1, "zorder": 1.5}
    if in_legend:
        line["label"], text = text, ""
    text_style: dict[str, Any] = {
        "textcoords": "offset points",
        "va": "bottom",
        "ha": "right",
        "fontsize": 7,
        "color": INK,
        "bbox": {"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.75},
    }
    if x is not None:
        axes.axvline(x, **line)
        place: dict[str, Any] = {
            "xy": (x, along),
            "xycoords": axes.get_xaxis_transform(),
            "xytext": (-2, 0),
            "rotation": 90,
        }
        axes.annotate(text, **place, **text_style)
    if y is not None:
        axes.axhline(y, **line)
        place = {"xy": (1 - along, y), "xycoords": axes.get_yaxis_transform(), "xytext": (0, 2)}
        axes.annotate(text, **place, **text_style)

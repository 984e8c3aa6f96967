"""Parts of charts as inline SVG: no library, sharp on paper, readable by a screen reader.

A chart is an <svg> whose <title> and <desc> describe it in words. Colors and sizes are attributes of SVG, because the
pages forbid style attributes. Every series has a second sign beside its color: dashes, a label. Lengths are SVG units,
which are CSS pixels where a chart is shown in full width.
"""

import math
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup, escape

from tfod_csf import cell_classes

INK, MUTED, GRID, BAND = "#1b2733", "#55626f", "#e3e8ec", "#dfe6ea"


def marker(name: str) -> Markup:
    """A class's sign, 12 units wide: its shape tells the class where its color cannot be seen."""
    color = cell_classes.color_of(name)
    shapes = {
        "o": f'<circle cx="6" cy="6" r="5" fill="{color}"/>',
        "s": f'<rect x="1" y="1" width="10" height="10" fill="{color}"/>',
        "^": f'<path d="M6 .5 11.6 11H.4Z" fill="{color}"/>',
        "D": f'<path d="M6 0 12 6 6 12 0 6Z" fill="{color}"/>',
        "x": f'<path d="M1.5 1.5l9 9m0-9l-9 9" stroke="{color}" stroke-width="3"/>',
    }
    other = f'<circle cx="6" cy="6" r="4" fill="none" stroke="{color}" stroke-width="2.5"/>'
    shape = shapes.get(cell_classes.MARKERS.get(name, ""), other)
    return Markup(f'<svg class="sign" viewBox="0 0 12 12" width="12" height="12" aria-hidden="true">{shape}</svg>')


def chart(chart_id: str, width: float, height: float, title: str, description: str, parts: Sequence[str]) -> Markup:
    """A chart.

    Args:
      chart_id: its name on the page, of letters, digits and hyphens.
      width, height: of what the parts take.
      title, description: what a screen reader says of it.
      parts: what the other functions give, the last on top.
    """
    identity = escape(chart_id)
    return Markup(
        f'<svg class="chart" role="img" viewBox="0 0 {width:g} {height:g}" font-size="13" fill="{INK}" '
        f'aria-labelledby="{identity}-t {identity}-d"><title id="{identity}-t">{escape(title)}</title>'
        f'<desc id="{identity}-d">{escape(description)}</desc>{"".join(parts)}</svg>'
    )


def label(
    x: float, y: float, text: str, anchor: str = "start", color: str = INK, size: float = 13, weight: int = 400
) -> str:
    """A text; y is its base line."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{color}" font-size="{size}" '
        f'font-weight="{weight}">{escape(text)}</text>'
    )


def axis_label(x: float, y: float, text: str) -> str:
    """What an axis shows, its middle at x."""
    return label(x, y, text, "middle", MUTED, 12)


def points(x: np.ndarray, y: np.ndarray) -> str:
    """[N] points as a line of a path, behind an M; those without a finite y are skipped."""
    return "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(x, y, strict=True) if np.isfinite(b))


def whisker(low: float, high: float, middle: float) -> str:
    """The interval: a dark line with ends, on a white one so that it shows on a dark bar too."""
    path = f"M{low:.1f} {middle:.1f}H{high:.1f}M{low:.1f} {middle - 6:.1f}v12M{high:.1f} {middle - 6:.1f}v12"
    return (
        f'<path d="{path}" stroke="#fff" stroke-width="4.5" fill="none"/>'
        f'<path d="{path}" stroke="{INK}" stroke-width="1.8" fill="none"/>'
    )


def upright(x: float, top: float, bottom: float, text: str) -> str:
    """A dotted vertical line with a short text at its upper end."""
    return (
        f'<path d="M{x:.1f} {top}V{bottom}" stroke="{INK}" stroke-width="1.3" stroke-dasharray="2 3"/>'
        f'<text x="{x + 5:.1f}" y="{top + 10}" font-size="12" stroke="#fff" stroke-width="3" paint-order="stroke">'
        f"{escape(text)}</text>"
    )


def vertical_grid(ticks: Sequence[tuple[float, str]], top: float, bottom: float) -> str:
    """Lines at (x, text) with the texts below."""
    lines = "".join(f"M{x:.1f} {top}V{bottom}" for x, _ in ticks)
    return f'<path d="{lines}" stroke="{GRID}" fill="none"/>{ticks_below(ticks, bottom)}'


def horizontal_grid(ticks: Sequence[tuple[float, str]], left: float, right: float) -> str:
    """Lines at (y, text) with the texts to the left."""
    lines = "".join(f"M{left} {y:.1f}H{right}" for y, _ in ticks)
    labels = "".join(label(left - 7, y + 4, text, "end", MUTED, 12) for y, text in ticks)
    return f'<path d="{lines}" stroke="{GRID}" fill="none"/>{labels}'


def ticks_below(ticks: Sequence[tuple[float, str]], bottom: float) -> str:
    """Texts at (x, text)."""
    return "".join(label(x, bottom + 17, text, "middle", MUTED, 12) for x, text in ticks)


def nice_ticks(largest: float, wanted: int = 5) -> list[int]:
    """Round numbers from 0 up to `largest`, about `wanted` of them.

    >>> nice_ticks(249), nice_ticks(36), nice_ticks(7, 3), nice_ticks(1)
    ([0, 50, 100, 150, 200], [0, 10, 20, 30], [0, 5], [0, 1])
    """
    return [round(tick) for tick in linear_ticks(0, largest, wanted, least_step=1)]


def linear_ticks(low: float, high: float, wanted: int = 5, least_step: float = 0.0) -> list[float]:
    """Round numbers from `low` to `high`, about `wanted` of them, no nearer to each other than `least_step`.

    >>> linear_ticks(0.5, 2.1), linear_ticks(40, 100, 3)
    ([0.5, 1.0, 1.5, 2.0], [40.0, 60.0, 80.0, 100.0])
    """
    rough = max((high - low) / wanted, least_step)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    return [round(step * number, 10) for number in range(math.ceil(low / step), math.floor(high / step) + 1)]

"""A chart of lines over a number, for example a score, made of the parts in `svg`.

Shape shorthand in this module: N points of a line.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from markupsafe import Markup

from tfod_csf.pages import svg

_WIDTH, _LEFT, _TOP, _BOTTOM = 420, 44, 28, 220
_MARK_HEIGHT = 13
_LABEL_WIDTH = 92


@dataclasses.dataclass(frozen=True)
class Line:
    """One line; points whose y is not finite are skipped.

    Attributes:
      name: at its right end; "" for none.
      x, y: [N].
      color: "#RRGGBB".
      dash: of SVG, "" for a solid line; lines of one chart differ in it, not in color alone.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    color: str
    dash: str = ""


@dataclasses.dataclass(frozen=True)
class Axis:
    """What an axis shows, from `low` to `high`, with numbers at `ticks`."""

    name: str
    low: float
    high: float
    ticks: Sequence[float]


def curves(
    chart_id: str,
    title: str,
    description: str,
    lines: Sequence[Line],
    x_axis: Axis,
    y_axis: Axis,
    marks: Sequence[tuple[float, str]] = (),
) -> Markup:
    """The chart.

    Args:
      chart_id: its name on the page, of letters, digits and hyphens.
      title, description: what a screen reader says of it.
      lines: the last on top.
      x_axis, y_axis: what they show.
      marks: (x, text) of dotted vertical lines; the texts are above what is drawn, where no line can run through them.
    """
    right = _WIDTH - _LABEL_WIDTH
    top = max(_TOP, _MARK_HEIGHT * len(marks) + 9)

    def x_of(value: np.ndarray | float) -> np.ndarray:
        return _LEFT + (right - _LEFT) * (np.asarray(value, float) - x_axis.low) / (x_axis.high - x_axis.low)

    def y_of(value: np.ndarray | float) -> np.ndarray:
        share = (np.clip(np.asarray(value, float), y_axis.low, y_axis.high) - y_axis.low) / (y_axis.high - y_axis.low)
        return _BOTTOM - (_BOTTOM - top) * share

    parts = [svg.horizontal_grid([(float(y_of(t)), f"{t:g}") for t in y_axis.ticks], _LEFT, right)]
    parts.append(svg.label(0, 12, y_axis.name, color=svg.MUTED, size=12))
    parts.append(svg.ticks_below([(float(x_of(t)), f"{t:g}") for t in x_axis.ticks], _BOTTOM))
    for line in lines:
        path = svg.points(x_of(line.x), y_of(line.y))
        dash = f' stroke-dasharray="{line.dash}"' if line.dash else ""
        if path:
            parts.append(f'<path d="M{path}" fill="none" stroke="{line.color}" stroke-width="2"{dash}/>')
    parts += _names([line for line in lines if line.name], right, y_of)
    for number, (place, text) in enumerate(marks):
        above = top - 4 - _MARK_HEIGHT * (len(marks) - number)
        parts.append(svg.upright(float(x_of(place)), above, _BOTTOM, text))
    parts.append(svg.axis_label((_LEFT + right) / 2, _BOTTOM + 36, x_axis.name))
    return svg.chart(chart_id, _WIDTH, _BOTTOM + 42, title, description, parts)


def _names(lines: Sequence[Line], right: float, y_of: Callable[[float], np.ndarray]) -> list[str]:
    """Names right of the lines' ends, moved away from each other where two end close together."""
    ends = []
    for line in lines:
        finite = np.flatnonzero(np.isfinite(line.y))
        if len(finite):
            ends.append((float(y_of(line.y[finite[-1]])), line))
    ends.sort(key=lambda end: end[0])
    heights = [height for height, _ in ends]
    for i in range(1, len(heights)):
        heights[i] = max(heights[i], heights[i - 1] + 16)
    excess = max(0.0, heights[-1] - _BOTTOM) if heights else 0.0
    parts = []
    for height, (_, line) in zip(heights, ends, strict=True):
        dash = f' stroke-dasharray="{line.dash}"' if line.dash else ""
        y = height - excess
        parts.append(
            f'<path d="M{right + 6:.1f} {y:.1f}h18" stroke="{line.color}" stroke-width="2" fill="none"{dash}/>'
        )
        parts.append(svg.label(right + 28, y + 4, line.name, size=12))
    return parts

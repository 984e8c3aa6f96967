"""A histogram as inline SVG, with a linear or a logarithmic axis."""

import math
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from tfod_csf.pages import svg

_RIGHT, _TOP, _BOTTOM = 310, 28, 164


def histogram(
    chart_id: str,
    title: str,
    edges: Sequence[float],
    counts: Sequence[int],
    axis: str,
    what: str,
    color: str = svg.MUTED,
    marks: Sequence[float] = (),
    is_log: bool = False,
    band: tuple[float, float] | None = None,
    unit: str = "",
) -> Markup:
    """How many have which value.

    Args:
      chart_id, title: as `svg.chart` takes them.
      edges: [B + 1] of the bins, rising; above 0 where the axis is logarithmic.
      counts: [B].
      axis, what: what the values are, and what is counted, in a few words.
      color: of the bars.
      marks: values at which a dotted line is drawn; those outside of the edges are ignored.
      is_log: whether equal factors are equally far apart.
      band: range that is shaded, for example of healthy people.
      unit: of the values, for a screen reader; begins with a blank.
    """
    largest = max(int(max(counts, default=0)), 1)
    heights = svg.nice_ticks(largest, 3)
    left = 10 + 8 * max(3, len(f"{heights[-1]:,}"))  # room for the largest number
    scale = (_BOTTOM - _TOP) / largest

    def x(value: float) -> float:
        low, high, at = (math.log(v) if is_log else v for v in (edges[0], edges[-1], value))
        return left + (_RIGHT - left) * (at - low) / (high - low)

    parts = []
    if band is not None:
        parts.append(f'<rect x="{x(band[0]):.1f}" y="{_TOP}" width="{max(x(band[1]) - x(band[0]), 1):.1f}" '
                     f'height="{_BOTTOM - _TOP}" fill="{svg.BAND}"/>')  # fmt: skip
    parts.append(svg.horizontal_grid([(_BOTTOM - t * scale, f"{t:,}") for t in heights], left, _RIGHT))
    parts.append(svg.label(0, 12, what, color=svg.MUTED, size=12))
    for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True):
        if count:
            parts.append(f'<rect x="{x(low) + 0.5:.1f}" y="{_BOTTOM - count * scale:.1f}" '
                         f'width="{max(x(high) - x(low) - 1, 0.8):.1f}" height="{count * scale:.1f}" '
                         f'fill="{color}"/>')  # fmt: skip
    lines = "".join(f"M{x(mark):.1f} {_TOP}V{_BOTTOM}" for mark in marks if edges[0] <= mark <= edges[-1])
    if lines:
        parts.append(f'<path d="{lines}" stroke="{svg.INK}" stroke-width="1.3" stroke-dasharray="2 3"/>')
    ticks = _log_ticks(edges[0], edges[-1]) if is_log else svg.linear_ticks(edges[0], edges[-1])
    parts.append(svg.ticks_below([(x(tick), f"{tick:g}") for tick in ticks], _BOTTOM))
    parts.append(svg.axis_label((left + _RIGHT) / 2, _BOTTOM + 34, axis))
    bins = zip(edges[:-1], edges[1:], counts, strict=True)
    filled = [f"{low:.3g} to {high:.3g}{unit}: {count:,}" for low, high, count in bins if count]
    return svg.chart(chart_id, 330, _BOTTOM + 40, title, "; ".join(filled) or f"no {what}", parts)


def log_edges(values: np.ndarray, factor: float = 2**0.25) -> list[float]:
    """Edges of bins for values above 0, each `factor` times the one before, the same for any values.

    >>> [round(edge, 2) for edge in log_edges(np.array([3.0, 5.0]), 2.0)]
    [2.0, 4.0, 8.0]
    """
    first = math.floor(math.log(float(np.min(values)), factor))
    last = math.floor(math.log(float(np.max(values)), factor)) + 1
    return [factor**power for power in range(first, last + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [step * 10.0**power for power in powers for step in (1, 2, 5)]
    shown = [tick for tick in ticks if low <= tick <= high]
    return shown if len(shown) >= 3 else svg.linear_ticks(low, high)  # on less than a decade these are too few to read

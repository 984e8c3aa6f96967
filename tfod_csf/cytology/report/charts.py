"""Charts of the report as inline SVG: no library, sharp on paper, readable by a screen reader.

Each function returns an <svg> whose <title> and <desc> describe it in words. Colors and sizes are attributes of
SVG, because the pages forbid style attributes. Every series has a second sign beside its color: dashes, a label.
Lengths are SVG units, which are CSS pixels where a chart is shown in full width.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from markupsafe import Markup, escape

from tfod_csf import cell_classes
from tfod_csf.cytology.counting.differential import Share
from tfod_csf.cytology.counting.saturation import PAPER_CELLS, Saturation

_INK, _MUTED, _GRID, _BAND = "#1b2733", "#55626f", "#e3e8ec", "#dfe6ea"
_DASHES = {cell_classes.MONOCYTE: "7 3", cell_classes.NEUTROPHIL: "8 3 2 3"}
_MAX_POINTS = 100


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


def percent_bars(shares: Mapping[str, Share], chart_id: str) -> Markup:
    """The three percentages as bars, with interval and reference range."""
    left, right, row_height, top = 112, 312, 46, 8
    bottom = top + row_height * len(shares)

    def x(percent: float) -> float:
        return left + (right - left) * percent / 100

    parts = [_vertical_grid([(x(p), f"{p}") for p in range(0, 101, 25)], top, bottom)]
    words = []
    for row, (name, share) in enumerate(shares.items()):
        middle = top + row_height * (row + 0.5)
        if share.reference:
            low, high = x(share.reference.lowest_percent), x(share.reference.highest_percent)
            parts.append(f'<rect x="{low:.1f}" y="{middle - 18:.1f}" width="{max(high - low, 1):.1f}" height="36" '
                         f'fill="{_BAND}"/>')  # fmt: skip
        color = cell_classes.color_of(name)
        parts.append(f'<rect x="{left}" y="{middle - 9:.1f}" width="{max(x(share.percent) - left, 1):.1f}" '
                     f'height="18" fill="{color}"/>')  # fmt: skip
        parts.append(_whisker(x(share.ci_low), x(share.ci_high), middle))
        parts.append(f'<g transform="translate(0 {middle - 6:.1f})">{marker(name)}</g>')
        parts.append(_text(18, middle + 4.5, name, weight=600))
        parts.append(_text(right + 8, middle + 4.5, f"{share.percent:.1f} %", weight=600))
        words.append(f"{name} {share.percent:.1f} % (interval {share.ci_low:.1f} to {share.ci_high:.1f})")
    parts.append(_text((left + right) / 2, bottom + 36, "% of white cells", anchor="middle", color=_MUTED, size=12))
    title = "Share of the white cells"
    return _svg(chart_id, 372, bottom + 42, title, "; ".join(words), parts)


def saturation_curves(result: Saturation, n_sat: int | None, chart_id: str) -> Markup:
    """The paper's Figure 2 for one patient; needs a result with a random-orders band.

    Args:
      n_sat: white cells from which on there were enough; None where there are not, or it is not known.
    """
    left, right, top, bottom = 44, 540, 28, 280

    def x(cells: np.ndarray | float) -> np.ndarray:
        return left + (right - left) * np.asarray(cells) / result.white_cells

    def y(percent: np.ndarray | float) -> np.ndarray:
        return bottom - (bottom - top) * np.asarray(percent) / 100

    parts = [_horizontal_grid([(float(y(p)), f"{p}") for p in range(0, 101, 25)], left, right)]
    parts.append(_text(0, 12, "% of white cells", color=_MUTED, size=12))
    parts.append(_ticks_below([(float(x(n)), f"{n}") for n in _nice_ticks(result.white_cells)], bottom))
    band, again = result.orders, result.bootstrap
    assert band is not None, "needs a result with a random-orders band"
    rows = np.unique(np.linspace(0, len(band.cells) - 1, min(len(band.cells), _MAX_POINTS)).astype(int))
    for k, name in enumerate(cell_classes.WHITE_CELLS):
        color = cell_classes.color_of(name)
        cells = x(band.cells[rows])
        there, back = _points(cells, y(band.high[rows, k])), _points(cells[::-1], y(band.low[rows[::-1], k]))
        parts.append(f'<path d="M{there}L{back}Z" fill="{color}" opacity=".18"/>')
        if again is not None:
            for edge in (again.low, again.high):
                line = _points(x(again.cells[: result.num_images]), y(edge[: result.num_images, k]))
                parts.append(f'<path d="M{line}" fill="none" stroke="{color}" stroke-dasharray="1.5 2.5"/>')
        dash = f' stroke-dasharray="{_DASHES[name]}"' if name in _DASHES else ""
        line = _points(cells, y(band.median[rows, k]))
        parts.append(f'<path d="M{line}" fill="none" stroke="{color}" stroke-width="2"{dash}/>')
    if n_sat is not None and n_sat <= result.white_cells:
        parts.append(_upright(float(x(n_sat)), top, bottom, f"enough from {n_sat}"))
    parts += _end_labels(result.percent, right + 8, y)
    parts.append(_text((left + right) / 2, bottom + 36, "white cells counted", anchor="middle", color=_MUTED, size=12))
    final = ", ".join(f"{name} {p:.0f} %" for name, p in zip(cell_classes.WHITE_CELLS, result.percent, strict=True))
    description = f"Percentages against white cells counted, ending at {final} with {result.white_cells} cells."
    return _svg(chart_id, 680, bottom + 42, "Percentages against white cells counted", description, parts)


def _end_labels(percent: np.ndarray, left: float, y: Callable[[float], np.ndarray]) -> list[str]:
    """Class and final percentage right of the curves, moved away from each other where two end close together."""
    order = np.argsort(-percent, kind="stable")
    heights = [float(y(percent[k])) for k in order]
    for i in range(1, len(heights)):
        heights[i] = max(heights[i], heights[i - 1] + 18)
    excess = max(0.0, heights[-1] - float(y(0)))
    parts = []
    for k, height in zip(order, heights, strict=True):
        name = cell_classes.WHITE_CELLS[k]
        parts.append(f'<g transform="translate({left} {height - excess - 6:.1f})">{marker(name)}</g>')
        parts.append(_text(left + 17, height - excess + 4, f"{name} {percent[k]:.0f} %", size=13))
    return parts


def percent_histogram(name: str, percents: Sequence[float], low: float | None, high: float | None) -> Markup:
    """How many patients have which percentage of a class, in steps of ten points.

    Args:
      percents: one per patient.
      low, high: reference range, None where there is none.
    """
    counts, _ = np.histogram(percents, bins=10, range=(0, 100))
    largest = max(int(counts.max()), 1)
    ticks = _nice_ticks(largest, 3)
    left, right, top, bottom = 10 + 8 * max(3, len(f"{ticks[-1]}")), 310, 28, 164  # room for the largest number
    width = (right - left) / 10
    parts = []
    if low is not None and high is not None:
        x0, x1 = left + (right - left) * low / 100, left + (right - left) * high / 100
        parts.append(f'<rect x="{x0:.1f}" y="{top}" width="{max(x1 - x0, 1):.1f}" height="{bottom - top}" '
                     f'fill="{_BAND}"/>')  # fmt: skip
    scale = (bottom - top) / largest
    parts.append(_horizontal_grid([(bottom - t * scale, f"{t}") for t in ticks], left, right))
    parts.append(_text(0, 12, "patients", color=_MUTED, size=12))
    for step, count in enumerate(counts):
        if count:
            parts.append(f'<rect x="{left + step * width + 1:.1f}" y="{bottom - count * scale:.1f}" '
                         f'width="{width - 2:.1f}" height="{count * scale:.1f}" '
                         f'fill="{cell_classes.color_of(name)}"/>')  # fmt: skip
    parts.append(_ticks_below([(left + (right - left) * p / 100, f"{p}") for p in range(0, 101, 25)], bottom))
    parts.append(_text((left + right) / 2, bottom + 34, "% of white cells", anchor="middle", color=_MUTED, size=12))
    filled = [f"{10 * step} to {10 * step + 10} %: {count}" for step, count in enumerate(counts) if count]
    title = f"Patients by percentage of {name}s"
    return _svg(f"histogram-{name}", 330, bottom + 40, title, "; ".join(filled) or "no patient", parts)


def settled_patients(n_sat: Sequence[int | None], chart_id: str) -> Markup:
    """Share of patients with enough cells, against white cells counted; None counts as never."""
    left, right, top, bottom = 44, 620, 28, 228
    known = np.sort([n for n in n_sat if n is not None])
    largest = 1.05 * max([*PAPER_CELLS.values(), *known])

    def x(cells: float) -> float:
        return left + (right - left) * cells / largest

    parts = [_horizontal_grid([(bottom - (bottom - top) * p / 100, f"{p}") for p in range(0, 101, 25)], left, right)]
    parts.append(_ticks_below([(x(n), f"{n}") for n in _nice_ticks(largest)], bottom))
    parts.append(_text(0, 12, "% of patients", color=_MUTED, size=12))
    values, counts = np.unique(known, return_counts=True)
    heights = bottom - (bottom - top) * np.cumsum(counts) / max(len(n_sat), 1)
    steps = "".join(f"H{x(value):.1f}V{height:.1f}" for value, height in zip(values, heights, strict=True))
    parts.append(f'<path d="M{left} {bottom}{steps}H{right}" fill="none" stroke="{_INK}" stroke-width="2"/>')
    for cells in PAPER_CELLS.values():
        parts.append(_upright(x(cells), top, bottom, f"{cells}"))
    parts.append(_text((left + right) / 2, bottom + 36, "white cells counted", anchor="middle", color=_MUTED, size=12))
    title = "Patients with enough cells (%), against white cells counted"
    description = f"{len(known)} of {len(n_sat)} patients have enough cells."
    return _svg(chart_id, 640, bottom + 42, title, description, parts)


def _svg(chart_id: str, width: float, height: float, title: str, description: str, parts: Sequence[str]) -> Markup:
    identity = escape(chart_id)
    return Markup(
        f'<svg class="chart" role="img" viewBox="0 0 {width:g} {height:g}" font-size="13" fill="{_INK}" '
        f'aria-labelledby="{identity}-t {identity}-d"><title id="{identity}-t">{escape(title)}</title>'
        f'<desc id="{identity}-d">{escape(description)}</desc>{"".join(parts)}</svg>'
    )


def _text(
    x: float, y: float, text: str, anchor: str = "start", color: str = _INK, size: float = 13, weight: int = 400
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{color}" font-size="{size}" '
        f'font-weight="{weight}">{escape(text)}</text>'
    )


def _points(x: np.ndarray, y: np.ndarray) -> str:
    return "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(x, y, strict=True) if np.isfinite(b))


def _whisker(low: float, high: float, middle: float) -> str:
    """The interval: a dark line with ends, on a white one so that it shows on a dark bar too."""
    path = f"M{low:.1f} {middle:.1f}H{high:.1f}M{low:.1f} {middle - 6:.1f}v12M{high:.1f} {middle - 6:.1f}v12"
    return (
        f'<path d="{path}" stroke="#fff" stroke-width="4.5" fill="none"/>'
        f'<path d="{path}" stroke="{_INK}" stroke-width="1.8" fill="none"/>'
    )


def _upright(x: float, top: float, bottom: float, text: str) -> str:
    """A dotted vertical line with a short text at its upper end."""
    return (
        f'<path d="M{x:.1f} {top}V{bottom}" stroke="{_INK}" stroke-width="1.3" stroke-dasharray="2 3"/>'
        f'<text x="{x + 5:.1f}" y="{top + 10}" font-size="12" stroke="#fff" stroke-width="3" paint-order="stroke">'
        f"{escape(text)}</text>"
    )


def _vertical_grid(ticks: Sequence[tuple[float, str]], top: float, bottom: float) -> str:
    lines = "".join(f"M{x:.1f} {top}V{bottom}" for x, _ in ticks)
    return f'<path d="{lines}" stroke="{_GRID}" fill="none"/>{_ticks_below(ticks, bottom)}'


def _horizontal_grid(ticks: Sequence[tuple[float, str]], left: float, right: float) -> str:
    lines = "".join(f"M{left} {y:.1f}H{right}" for y, _ in ticks)
    labels = "".join(_text(left - 7, y + 4, text, "end", _MUTED, 12) for y, text in ticks)
    return f'<path d="{lines}" stroke="{_GRID}" fill="none"/>{labels}'


def _ticks_below(ticks: Sequence[tuple[float, str]], bottom: float) -> str:
    return "".join(_text(x, bottom + 17, text, "middle", _MUTED, 12) for x, text in ticks)


def _nice_ticks(largest: float, wanted: int = 5) -> list[int]:
    """Round numbers from 0 up to `largest`, about `wanted` of them.

    >>> _nice_ticks(249), _nice_ticks(36), _nice_ticks(7, 3), _nice_ticks(1)
    ([0, 50, 100, 150, 200], [0, 10, 20, 30], [0, 5], [0, 1])
    """
    rough = max(largest / wanted, 1)
    power = 10 ** int(np.floor(np.log10(rough)))
    step = next(int(factor * power) for factor in (1, 2, 5, 10) if factor * power >= rough)
    return list(range(0, int(largest) + 1, step))

"""Charts of the report as inline SVG, made of the parts in `pages.svg`."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from markupsafe import Markup

from tfod_csf import cell_classes
from tfod_csf.cytology.counting.differential import Share
from tfod_csf.cytology.counting.saturation import PAPER_CELLS, Saturation
from tfod_csf.pages import histogram, svg

_DASHES = {cell_classes.MONOCYTE: "7 3", cell_classes.NEUTROPHIL: "8 3 2 3"}
_MAX_POINTS = 100


def percent_bars(shares: Mapping[str, Share], chart_id: str) -> Markup:
    """The three percentages as bars, with interval and reference range."""
    left, right, row_height, top = 112, 312, 46, 8
    bottom = top + row_height * len(shares)

    def x(percent: float) -> float:
        return left + (right - left) * percent / 100

    parts = [svg.vertical_grid([(x(p), f"{p}") for p in range(0, 101, 25)], top, bottom)]
    words = []
    for row, (name, share) in enumerate(shares.items()):
        middle = top + row_height * (row + 0.5)
        if share.reference:
            low, high = x(share.reference.lowest_percent), x(share.reference.highest_percent)
            parts.append(f'<rect x="{low:.1f}" y="{middle - 18:.1f}" width="{max(high - low, 1):.1f}" height="36" '
                         f'fill="{svg.BAND}"/>')  # fmt: skip
        color = cell_classes.color_of(name)
        parts.append(f'<rect x="{left}" y="{middle - 9:.1f}" width="{max(x(share.percent) - left, 1):.1f}" '
                     f'height="18" fill="{color}"/>')  # fmt: skip
        parts.append(svg.whisker(x(share.ci_low), x(share.ci_high), middle))
        parts.append(f'<g transform="translate(0 {middle - 6:.1f})">{svg.marker(name)}</g>')
        parts.append(svg.label(18, middle + 4.5, name, weight=600))
        parts.append(svg.label(right + 8, middle + 4.5, f"{share.percent:.1f} %", weight=600))
        words.append(f"{name} {share.percent:.1f} % (interval {share.ci_low:.1f} to {share.ci_high:.1f})")
    parts.append(
        svg.label((left + right) / 2, bottom + 36, "% of white cells", anchor="middle", color=svg.MUTED, size=12)
    )
    title = "Share of the white cells"
    return svg.chart(chart_id, 372, bottom + 42, title, "; ".join(words), parts)


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

    parts = [svg.horizontal_grid([(float(y(p)), f"{p}") for p in range(0, 101, 25)], left, right)]
    parts.append(svg.label(0, 12, "% of white cells", color=svg.MUTED, size=12))
    parts.append(svg.ticks_below([(float(x(n)), f"{n}") for n in svg.nice_ticks(result.white_cells)], bottom))
    band, again = result.orders, result.bootstrap
    assert band is not None, "needs a result with a random-orders band"
    rows = np.unique(np.linspace(0, len(band.cells) - 1, min(len(band.cells), _MAX_POINTS)).astype(int))
    for k, name in enumerate(cell_classes.WHITE_CELLS):
        color = cell_classes.color_of(name)
        cells = x(band.cells[rows])
        there, back = svg.points(cells, y(band.high[rows, k])), svg.points(cells[::-1], y(band.low[rows[::-1], k]))
        parts.append(f'<path d="M{there}L{back}Z" fill="{color}" opacity=".18"/>')
        if again is not None:
            for edge in (again.low, again.high):
                line = svg.points(x(again.cells[: result.num_images]), y(edge[: result.num_images, k]))
                parts.append(f'<path d="M{line}" fill="none" stroke="{color}" stroke-dasharray="1.5 2.5"/>')
        dash = f' stroke-dasharray="{_DASHES[name]}"' if name in _DASHES else ""
        line = svg.points(cells, y(band.median[rows, k]))
        parts.append(f'<path d="M{line}" fill="none" stroke="{color}" stroke-width="2"{dash}/>')
    if n_sat is not None and n_sat <= result.white_cells:
        parts.append(svg.upright(float(x(n_sat)), top, bottom, f"enough from {n_sat}"))
    parts += _end_labels(result.percent, right + 8, y)
    parts.append(
        svg.label((left + right) / 2, bottom + 36, "white cells counted", anchor="middle", color=svg.MUTED, size=12)
    )
    final = ", ".join(f"{name} {p:.0f} %" for name, p in zip(cell_classes.WHITE_CELLS, result.percent, strict=True))
    description = f"Percentages against white cells counted, ending at {final} with {result.white_cells} cells."
    return svg.chart(chart_id, 680, bottom + 42, "Percentages against white cells counted", description, parts)


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
        parts.append(f'<g transform="translate({left} {height - excess - 6:.1f})">{svg.marker(name)}</g>')
        parts.append(svg.label(left + 17, height - excess + 4, f"{name} {percent[k]:.0f} %", size=13))
    return parts


def percent_histogram(name: str, percents: Sequence[float], low: float | None, high: float | None) -> Markup:
    """How many patients have which percentage of a class, in steps of ten points.

    Args:
      percents: one per patient.
      low, high: reference range, None where there is none.
    """
    counts, edges = np.histogram(percents, bins=10, range=(0, 100))
    return histogram.histogram(
        f"histogram-{name}",
        f"Patients by percentage of {name}s",
        edges.tolist(),
        counts.tolist(),
        "% of white cells",
        "patients",
        cell_classes.color_of(name),
        band=None if low is None or high is None else (low, high),
        unit=" %",
    )


def settled_patients(n_sat: Sequence[int | None], chart_id: str) -> Markup:
    """Share of patients with enough cells, against white cells counted; None counts as never."""
    left, right, top, bottom = 44, 620, 28, 228
    known = np.sort([n for n in n_sat if n is not None])
    largest = 1.05 * max([*PAPER_CELLS.values(), *known])

    def x(cells: float) -> float:
        return left + (right - left) * cells / largest

    parts = [svg.horizontal_grid([(bottom - (bottom - top) * p / 100, f"{p}") for p in range(0, 101, 25)], left, right)]
    parts.append(svg.ticks_below([(x(n), f"{n}") for n in svg.nice_ticks(largest)], bottom))
    parts.append(svg.label(0, 12, "% of patients", color=svg.MUTED, size=12))
    values, counts = np.unique(known, return_counts=True)
    heights = bottom - (bottom - top) * np.cumsum(counts) / max(len(n_sat), 1)
    steps = "".join(f"H{x(value):.1f}V{height:.1f}" for value, height in zip(values, heights, strict=True))
    parts.append(f'<path d="M{left} {bottom}{steps}H{right}" fill="none" stroke="{svg.INK}" stroke-width="2"/>')
    for cells in PAPER_CELLS.values():
        parts.append(svg.upright(x(cells), top, bottom, f"{cells}"))
    parts.append(
        svg.label((left + right) / 2, bottom + 36, "white cells counted", anchor="middle", color=svg.MUTED, size=12)
    )
    title = "Patients with enough cells (%), against white cells counted"
    description = f"{len(known)} of {len(n_sat)} patients have enough cells."
    return svg.chart(chart_id, 640, bottom + 42, title, description, parts)

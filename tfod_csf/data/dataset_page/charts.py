"""Charts of the data page, made of the parts in `pages.svg`."""

from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup

from tfod_csf import cell_classes
from tfod_csf.data.dataset_page.anchor_fit import ClassSizes
from tfod_csf.data.dataset_page.record_survey import ImageFacts
from tfod_csf.pages import histogram, svg


def balance(names: Sequence[str], train: Mapping[str, int], test: Mapping[str, int], chart_id: str) -> Markup:
    """Share of each class in the cells of a side: a full bar for train, a hollow one for test."""
    left, right, row_height, top = 118, 350, 44, 8
    bottom = top + row_height * len(names)
    totals = max(sum(train.values()), 1), max(sum(test.values()), 1)
    shares = {name: (100 * train.get(name, 0) / totals[0], 100 * test.get(name, 0) / totals[1]) for name in names}
    largest = max((max(pair) for pair in shares.values()), default=0.0) or 1.0

    def x(percent: float) -> float:
        return left + (right - left) * percent / largest

    parts = [svg.vertical_grid([(x(p), f"{p}") for p in svg.nice_ticks(largest)], top, bottom)]
    words = []
    for row, (name, (of_train, of_test)) in enumerate(shares.items()):
        middle, color = top + row_height * (row + 0.5), cell_classes.color_of(name)
        parts.append(f'<rect x="{left}" y="{middle - 15:.1f}" width="{max(x(of_train) - left, 0.5):.1f}" height="13" '
                     f'fill="{color}"/>')  # fmt: skip
        parts.append(f'<rect x="{left + 0.75}" y="{middle + 1.5:.1f}" width="{max(x(of_test) - left - 1.5, 0.5):.1f}" '
                     f'height="12" fill="#fff" stroke="{color}" stroke-width="1.5"/>')  # fmt: skip
        parts.append(f'<g transform="translate(0 {middle - 6:.1f})">{svg.marker(name)}</g>')
        parts.append(svg.label(18, middle + 4.5, name, weight=600))
        parts.append(svg.label(x(of_train) + 6, middle - 4.5, f"train {of_train:.1f} %", size=12))
        parts.append(svg.label(x(of_test) + 6, middle + 12, f"test {of_test:.1f} %", size=12))
        words.append(f"{name} {of_train:.1f} % of train, {of_test:.1f} % of test")
    parts.append(svg.axis_label((left + right) / 2, bottom + 34, "% of the cells of the side"))
    return svg.chart(chart_id, 450, bottom + 40, "Share of each class on each side", "; ".join(words), parts)


def box_sides(name: str, sizes: ClassSizes, anchor_sides: Sequence[float], is_scaled: bool, chart_id: str) -> Markup:
    """How large the boxes of a class are, with the sides of the anchors.

    Args:
      anchor_sides: sqrt(width * height) in pixels of the network's input.
      is_scaled: whether sizes are in pixels of the network's input.
    """
    edges = histogram.log_edges(np.array([*sizes.sides, *anchor_sides]))
    counts, _ = np.histogram(sizes.sides, bins=edges, weights=sizes.counts)
    axis = f"sqrt(width x height), px of the {'network input' if is_scaled else 'image'}"
    title = f"Sizes of boxes of class {name}"
    color, numbers = cell_classes.color_of(name), counts.astype(int).tolist()
    return histogram.histogram(chart_id, title, edges, numbers, axis, "boxes", color, anchor_sides, is_log=True)


def edge_widths(images: Sequence[ImageFacts], limit: float, chart_id: str) -> Markup:
    """How many images have edges of which width; from `limit` on they are blurred."""
    widths = np.array([image.edge_width for image in images if image.edge_width is not None])
    edges = histogram.log_edges(np.array([*widths, limit]), 2**0.125)
    counts, _ = np.histogram(widths, bins=edges)
    title = "Images by the width of the edges of their cells"
    axis = "width of edges, px (right of the line: blurred)"
    return histogram.histogram(chart_id, title, edges, counts.tolist(), axis, "images", marks=[limit], is_log=True)


def lightness(values: np.ndarray, chart_id: str) -> Markup:
    """How many images have a background of which lightness L*."""
    edges = np.arange(5 * np.floor(values.min() / 5), values.max() + 5, 2.5)
    counts, _ = np.histogram(values, bins=edges)
    title = "Images by the lightness of their background"
    return histogram.histogram(chart_id, title, edges.tolist(), counts.tolist(), "lightness L*, 100: white", "images")


def swatch(color: Sequence[float] | None) -> Markup:
    """A small square of a color RGB 0 .. 255, or nothing."""
    if color is None:
        return Markup("")
    red, green, blue = (round(part) for part in color)
    return Markup(
        f'<svg class="swatch" viewBox="0 0 24 14" width="24" height="14" role="img" aria-label="red {red}, green '
        f'{green}, blue {blue}"><rect width="24" height="14" fill="rgb({red},{green},{blue})" '
        f'stroke="{svg.MUTED}"/></svg>'
    )

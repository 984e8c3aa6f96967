"""Plots of an evaluation: precision-recall curves and the confusion matrix."""

import itertools
import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from tfod_csf import cell_classes
from tfod_csf.evaluation.confusion import ConfusionMatrix
from tfod_csf.evaluation.metric_text import metric_text
from tfod_csf.evaluation.pascal_evaluator import OperatingPoint, PrecisionRecall
from tfod_csf.graphics import figures

# For classes that the study does not have; some share a color.
_OTHER_LINE_STYLES = ("-", "--", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)))


def _line_styles(names: Iterable[str]) -> dict[str, Any]:
    """{class: matplotlib's line style}; classes of one color differ in it."""
    others = itertools.cycle(_OTHER_LINE_STYLES)
    styles = {name: cell_classes.LINE_STYLES.get(cell_classes.canonical_name(name)) for name in names}
    return {name: style or next(others) for name, style in styles.items()}


def plot_precision_recall(
    curves: Mapping[str, PrecisionRecall],
    points: Mapping[str, OperatingPoint],
    path: str | os.PathLike,
    title: str = "",
) -> None:
    """One curve per class with its average precision; a dot marks its operating point.

    Where a temperature changes the order of scores, the dot may lie beside the curve, which has the scores after it.
    """
    styles = _line_styles(curves)
    with figures.drawing(path, 6.4, 5.6) as (_, (axes,)):
        for name, curve in curves.items():
            style = {"color": cell_classes.color_of(name), "linestyle": styles[name], "linewidth": 1.5}
            label = f"{figures.printable(name)}: AP {metric_text(curve.average_precision, 3)}"
            if not curve.num_groundtruth or not len(curve.scores):
                axes.plot([], [], label=label, **style)
                continue
            recall, precision = np.append(0.0, curve.recall), np.append(curve.precision[0], curve.precision)
            axes.step(recall, precision, where="post", label=label, **style)
            point = points[name]
            if point.true_positives + point.false_positives:
                axes.plot(point.recall, point.precision, marker="o", color=style["color"], markersize=7)
        axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.05), title=figures.printable(title))
        axes.legend(loc="lower left", title=f"dot: score >= {next(iter(points.values())).min_score:g}")


def plot_confusion_matrix(matrix: ConfusionMatrix, path: str | os.PathLike, title: str = "") -> None:
    """Counts in a grid; the shade is the share of the row (of the true class), so rare classes are visible too."""
    counts = matrix.counts
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = 1.6 + 0.95 * len(counts)
    with figures.drawing(path, size + 1.0, size) as (_, (axes,)):
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        axes.grid(visible=False)
        for row, column in np.ndindex(*counts.shape):
            if row == column == len(counts) - 1:
                continue
            ink = "white" if shares[row, column] > 0.55 else "black"
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=ink)
        places = range(len(counts))
        axes.set_xticks(places, map(figures.printable, matrix.column_names), rotation=35, ha="right")
        axes.set_yticks(places, map(figures.printable, matrix.row_names))
        predicted = f"predicted (score >= {matrix.min_score:g}, IoU >= {matrix.iou_threshold:g})"
        axes.set(xlabel=predicted, ylabel="true", title=figures.printable(title))

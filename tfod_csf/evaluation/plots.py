"""Pictures of an evaluation: precision-recall curves and confusion matrix. The one room here that needs matplotlib."""

import os
from collections.abc import Mapping

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tfod_csf.evaluation.confusion import ConfusionMatrix
from tfod_csf.evaluation.metric_text import metric_text
from tfod_csf.evaluation.pascal_evaluator import PrecisionRecall
from tfod_csf.files import atomic_write

_DPI = 150


def _save(figure: Figure, path: str | os.PathLike) -> None:
    FigureCanvasAgg(figure)
    with atomic_write.replacing(path, "wb") as file:
        figure.savefig(file, format="png", dpi=_DPI)


def plot_precision_recall(
    curves: Mapping[str, PrecisionRecall], min_score: float, path: str | os.PathLike, title: str = ""
) -> None:
    """One curve per class with its average precision; a dot marks the operating point at min_score."""
    figure = Figure(figsize=(6.4, 5.6), layout="constrained")
    axes = figure.add_subplot()
    for name, curve in curves.items():
        label = f"{name}: AP {metric_text(curve.average_precision, 3)}"
        if not curve.num_groundtruth or not len(curve.scores):
            axes.plot([], [], label=label)
            continue
        (line,) = axes.step(
            np.concatenate([[0.0], curve.recall]),
            np.concatenate([curve.precision[:1], curve.precision]),
            where="post",
            label=label,
        )
        kept = int(np.sum(curve.scores >= min_score))
        if kept:
            axes.plot(curve.recall[kept - 1], curve.precision[kept - 1], "o", color=line.get_color(), markersize=7)
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.05), title=title)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower left", title=f"dot: score >= {min_score:g}", fontsize="small")
    _save(figure, path)


def plot_confusion_matrix(matrix: ConfusionMatrix, path: str | os.PathLike, title: str = "") -> None:
    """Counts in a grid; the shade is the share of the row (of the true class), so rare classes are visible too."""
    counts = matrix.counts
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = 1.6 + 0.95 * len(counts)
    figure = Figure(figsize=(size + 1.0, size), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(*counts.shape):
        if row == column == len(counts) - 1:
            continue
        dark = shares[row, column] > 0.55
        axes.text(column, row, str(counts[row, column]), ha="center", va="center", color="white" if dark else "black")
    axes.set_xticks(range(len(counts)), matrix.column_names, rotation=35, ha="right")
    axes.set_yticks(range(len(counts)), matrix.row_names)
    axes.set(
        xlabel=f"predicted (score >= {matrix.min_score:g}, IoU >= {matrix.iou_threshold:g})", ylabel="true", title=title
    )
    _save(figure, path)

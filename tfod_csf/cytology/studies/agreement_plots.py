"""Plots of machine against hospital: each patient, Bland-Altman, and the regression lines."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.typing import LineStyleType

from tfod_csf import cell_classes
from tfod_csf.cytology.counting.intervals import simultaneous_intervals
from tfod_csf.cytology.studies import method_checks, method_comparison
from tfod_csf.cytology.studies.agreement import Differentials
from tfod_csf.cytology.studies.cell_agreement import Proportion
from tfod_csf.graphics import figures

_MAX_PATIENTS = 40
# More points are one dark field; the plot then shows how many patients are where, in a scale of powers of ten.
_MAX_POINTS = 5_000
_HEXAGONS = 60


def _scatter(axes: Axes, x: np.ndarray, y: np.ndarray, name: str) -> None:
    """A mark for every patient, or of more than `_MAX_POINTS` the density of them."""
    if len(x) > _MAX_POINTS:
        shades = LinearSegmentedColormap.from_list(name, ["#FFFFFF", cell_classes.color_of(name), figures.INK])
        axes.hexbin(x, y, gridsize=_HEXAGONS, bins="log", mincnt=1, cmap=shades, vmin=0.1, linewidths=0)
        return
    faint = 0.9 if len(x) < 60 else max(0.25, 30 / len(x))
    style: dict[str, Any] = {"color": cell_classes.color_of(name), "marker": cell_classes.MARKERS[name]}
    axes.plot(x, y, linestyle="", markersize=5, alpha=faint, markeredgewidth=0, **style)


def _outside(axes: Axes, text: str, y: float) -> None:
    """A remark right of the plot, where it covers no patient."""
    place: dict[str, Any] = {
        "xy": (1, y),
        "xycoords": axes.get_yaxis_transform(),
        "xytext": (3, 0),
        "textcoords": "offset points",
    }
    axes.annotate(text, **place, va="center", fontsize=7, color=figures.INK, annotation_clip=False)


def plot_bland_altman(path: str | os.PathLike, machine: Differentials, hospital: Differentials) -> None:
    """Difference against mean per class, with bias and limits of agreement and what counting alone gives.

    Where differences or their spread change with the mean, the regression limits are there in place of the constant
    ones with their 95 % intervals.
    """
    differences = machine.percent - hospital.percent
    reach = max(20.0, 1.15 * float(np.abs(differences).max()))
    with figures.drawing(path, 12, 4.2, 1, 3, sharey=True) as (figure, axes):
        for k, (panel, name) in enumerate(zip(axes, cell_classes.WHITE_CELLS, strict=True)):
            x, y = hospital.percent[:, k], machine.percent[:, k]
            panel.axhline(0, color=figures.GRAY, linewidth=0.8)
            if len(x) > 1:
                reach = max(reach, _limits(panel, x, y))
            _counting_alone(panel, machine, hospital)
            _scatter(panel, (x + y) / 2, differences[:, k], name)
            panel.set(title=name, xlabel="mean of both methods (%)", xlim=(-2, 102))
        axes[0].set_ylabel("machine - hospital (points)")
        axes[0].set_ylim(-reach, reach)
        patients = len(machine.patient_ids)
        figure.suptitle(
            f"Bland-Altman, {patients} patients; gray bands: 95 % intervals of the three lines; sloping lines: "
            "differences change with the mean",
            fontsize=9,
        )
        handle = Line2D([], [], color=figures.GRAY, linewidth=1, label="+-1.96 SD of counting alone")
        figure.legend(handles=[handle], loc="outside lower center")


def _limits(panel: Axes, x: np.ndarray, y: np.ndarray) -> float:
    """Bias and limits of agreement, constant or not; returns how far from 0 they reach."""
    style: dict[str, Any] = {"color": figures.INK, "linestyle": (0, (1, 2)), "linewidth": 1.1}
    try:
        trend = method_checks.regression_limits(x, y)
    except ValueError:
        trend = None
    if trend is not None and trend.are_needed:
        means = np.linspace(((x + y) / 2).min(), ((x + y) / 2).max(), 50)
        lines = trend.at(means)
        for line, text in zip(lines, ("-1.96 SD", "bias", "+1.96 SD"), strict=True):
            panel.plot(means, line, **style)
            panel.annotate(text, (means[-1], line[-1]), (3, 0), textcoords="offset points", va="center", fontsize=7)
        return 1.1 * float(np.abs(lines).max())
    found = method_comparison.bland_altman(x, y)
    for estimate, text in ((found.bias, "bias"), (found.lower, "-1.96 SD"), (found.upper, "+1.96 SD")):
        panel.axhspan(estimate.low, estimate.high, color=figures.LIGHT_GRAY, alpha=0.5, linewidth=0)
        panel.axhline(estimate.value, **style)
        _outside(panel, f"{text} {estimate.value:+.1f}", estimate.value)
    return 1.1 * max(abs(found.lower.low), abs(found.upper.high))


def _counting_alone(panel: Axes, machine: Differentials, hospital: Differentials) -> None:
    """+-1.96 standard deviations that counting alone gives at every percentage, for the typical numbers of cells."""
    percent = np.linspace(0, 100, 101)
    per_cell = float(np.mean(1 / machine.independent_cells + 1 / hospital.independent_cells))
    reach = 1.96 * np.sqrt(percent * (100 - percent) * per_cell)
    for sign in (-1, 1):
        panel.plot(percent, sign * reach, color=figures.GRAY, linewidth=1)


def plot_comparison(
    path: str | os.PathLike, machine: Differentials, hospital: Differentials, error_ratio: float = 1.0
) -> None:
    """Machine against hospital per class with identity, Passing-Bablok and Deming line."""
    ends = np.array([0.0, 100.0])
    lines: tuple[tuple[str, Callable[..., method_comparison.Line], LineStyleType], ...] = (
        ("Passing-Bablok", method_comparison.passing_bablok, "-"),
        ("Deming", lambda x, y: method_comparison.deming(x, y, error_ratio), "--"),
    )
    with figures.drawing(path, 10.5, 4.2, 1, 3) as (figure, axes):
        for k, (panel, name) in enumerate(zip(axes, cell_classes.WHITE_CELLS, strict=True)):
            x, y = hospital.percent[:, k], machine.percent[:, k]
            panel.plot(ends, ends, color=figures.GRAY, linewidth=1, linestyle=":")
            _scatter(panel, x, y, name)
            texts = []
            for title, fit, style in lines:
                try:
                    line = fit(x, y)
                except ValueError:  # no line can be drawn; agreement.csv says why
                    continue
                slope, intercept = line.slope.value, line.intercept.value
                panel.plot(ends, intercept + slope * ends, color=figures.INK, linewidth=1.2, linestyle=style)
                texts.append(f"{title}: {slope:.2f} x {intercept:+.1f}")
            panel.set(title="\n".join([name, *texts]), xlabel="hospital (%)", xlim=(-2, 102), ylim=(-2, 102))
            panel.title.set_fontsize(8.5)
            panel.set_aspect("equal")
        axes[0].set_ylabel("machine (%)")
        handles = [Line2D([], [], color=figures.GRAY, linestyle=":", label="identity")]
        handles += [Line2D([], [], color=figures.INK, linestyle=style, label=title) for title, _, style in lines]
        figure.legend(handles=handles, loc="outside lower center", ncols=3)


def plot_patients(
    path: str | os.PathLike, machine: Differentials, hospital: Differentials, differs: Sequence[bool]
) -> None:
    """Both percentages of each patient with simultaneous 95 % intervals; the first 40 by size of the difference."""
    mean = np.abs(machine.percent - hospital.percent).mean(axis=1)
    shown = np.argsort(-mean, kind="stable")[:_MAX_PATIENTS]
    with figures.drawing(path, 10.5, 1.6 + 0.3 * len(shown), 1, 3, sharey=True) as (figure, axes):
        for row, p in enumerate(shown):
            for method, marker, shift in ((hospital, "D", -0.16), (machine, "o", 0.16)):
                counts = method.percent[p] / method.percent[p].sum() * method.cells[p]
                bounds = 100 * simultaneous_intervals(counts)[0]
                for k, (panel, name) in enumerate(zip(axes, cell_classes.WHITE_CELLS, strict=True)):
                    color = cell_classes.color_of(name) if method is machine else figures.INK
                    panel.plot(bounds[k], [row + shift] * 2, color=color, linewidth=1.4, alpha=0.6)
                    panel.plot(method.percent[p, k], row + shift, marker=marker, markersize=4.5, color=color)
        labels = [figures.printable(machine.patient_ids[p]) + (" *" if differs[p] else "") for p in shown]
        axes[0].set_yticks(range(len(shown)), labels)
        axes[0].set_ylim(len(shown) - 0.4, -0.6)
        for panel, name in zip(axes, cell_classes.WHITE_CELLS, strict=True):
            panel.set(title=name, xlabel="share of white cells (%)", xlim=(-2, 102))
        handles = [
            Line2D([], [], color=figures.INK, marker="D", markersize=4.5, label="hospital"),
            Line2D([], [], color=figures.GRAY, marker="o", markersize=4.5, label="machine (class color)"),
            Line2D([], [], linestyle="", marker="", label="* differs beyond counting error (Holm)"),
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=3)


# Outcomes of annotated cells with a gray that grows darker, the right one in the class's color.
_OUTCOMES = {"other_class": "#4D4D4D", "unknown": "#9A9A9A", "missed": "#DDDDDD"}
_ACCURACIES = {
    "sensitivity": ("sensitivity", "o"),
    "specificity": ("specificity", "s"),
    "positive_predictive_value": ("positive predictive value", "D"),
    "negative_predictive_value": ("negative predictive value", "^"),
}


def plot_classes(path: str | os.PathLike, shares: Mapping[str, Mapping[str, Proportion]]) -> None:
    """What became of the annotated cells of each class, and four accuracies with their 95 % intervals.

    Args:
      shares: {class: `cell_agreement.class_accuracy`}; a class without annotated cells has no bar.
    """
    names = list(shares)
    with figures.drawing(path, 10.5, 1.8 + 0.55 * len(names), 1, 2, sharey=True) as (figure, (bars, points)):
        for row, name in enumerate(names):
            _draw_outcomes(bars, row, name, shares[name])
            for place, (measure, (_, marker)) in enumerate(_ACCURACIES.items()):
                found, y = shares[name][measure].value, row + 0.16 * (place - 1.5)
                color = cell_classes.color_of(name)
                points.plot([100 * found.low, 100 * found.high], [y, y], color=color, linewidth=1.4, alpha=0.6)
                points.plot(100 * found.value, y, marker=marker, markersize=5, color=color)
        labels = [f"{figures.printable(name)} ({shares[name]['sensitivity'].cells})" for name in names]
        bars.set_yticks(range(len(names)), labels)
        bars.set_ylim(len(names) - 0.4, -0.6)
        bars.set(
            title="annotated cells (number)", xlabel="right (color), other class, unknown, missed (%)", xlim=(0, 100)
        )
        points.set(title="accuracy with 95 % interval", xlabel="%", xlim=(-2, 102))
        for panel in (bars, points):
            panel.grid(visible=False, axis="y")
        handles: list[Artist] = [
            Patch(color=color, label=outcome.replace("_", " ")) for outcome, color in _OUTCOMES.items()
        ]
        handles += [
            Line2D([], [], linestyle="", color=figures.INK, marker=marker, markersize=5, label=text)
            for text, marker in _ACCURACIES.values()
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=4)


def _draw_outcomes(panel: Axes, row: int, name: str, shares: Mapping[str, Proportion]) -> None:
    """A bar of the four outcomes, which add up to 100 %."""
    if not shares["sensitivity"].cells:
        return
    left = 0.0
    for outcome, color in {"sensitivity": cell_classes.color_of(name), **_OUTCOMES}.items():
        width = 100 * shares[outcome].value.value
        panel.barh(row, width, 0.6, left=left, color=color)
        left += width

"""Figure 2 of the paper for one patient and for all: percentage against white cells counted."""

import os
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from tfod_csf import cell_classes
from tfod_csf.cytology.counting.cases import NO_CASE
from tfod_csf.cytology.counting.enough_cells import NO, PROBABILITY, YES, EnoughCells
from tfod_csf.cytology.counting.saturation import PAPER_CELLS, Saturation, SaturationRules
from tfod_csf.graphics import figures

# Colors of Okabe and Ito's palette in the paper's order of cases; a patient without a case is gray.
_CASE_COLORS = {
    "low_white_cells": figures.GRAY,
    "high_neutrophils": cell_classes.PURPLE,
    "high_erythrocytes": cell_classes.VERMILION,
    "medium_white_cells": cell_classes.SKY_BLUE,
    "high_white_cells": cell_classes.BLUE,
}

_MAX_LINES = 2_000
_PLACES, _LEAST_FOR_A_RANGE = 200, 20


def case_title(case: str) -> str:
    """The case as a person writes it."""
    return "no case assigned" if case == NO_CASE else case.replace("_", " ")


def draw_patient(axes: Axes, result: Saturation, enough: EnoughCells, title: str) -> None:
    """The three curves with both bands, each with its final percentage at the end, and n_sat where there is one."""
    for k, name in enumerate(cell_classes.WHITE_CELLS):
        color = cell_classes.color_of(name)
        band = result.orders
        assert band is not None, "needs a result with a random-orders band"
        axes.fill_between(band.cells, band.low[:, k], band.high[:, k], color=color, alpha=0.25, linewidth=0)
        axes.plot(band.cells, band.median[:, k], color=color, linestyle=cell_classes.LINE_STYLES[name], linewidth=1.6)
        if result.bootstrap is not None:
            again = result.bootstrap
            shown = slice(0, result.num_images)
            for edge in (again.low, again.high):
                axes.plot(again.cells[shown], edge[shown, k], color=color, linestyle=(0, (1, 1)), linewidth=1)
    _label_ends(axes, result)
    if enough.answer == YES:
        heights = np.sort([0, *result.percent, 100])
        widest = int(np.argmax(np.diff(heights)))
        middle = heights[widest : widest + 2].mean() / 100
        figures.reference_line(axes, f"n_sat {enough.cells_needed}", x=enough.cells_needed, along=middle - 0.08)
    axes.set(
        title=title,
        xlabel="white cells counted",
        ylabel="share of white cells (%)",
        xlim=(0, result.white_cells),
        ylim=(0, 100),
    )


def _label_ends(axes: Axes, result: Saturation) -> None:
    """Class and final percentage right of the plot, moved away from each other where two end close together."""
    order = np.argsort(result.percent)
    heights = result.percent[order].astype(float)
    for i in range(1, len(heights)):
        heights[i] = max(heights[i], heights[i - 1] + 7)
    heights -= max(0.0, heights[-1] - 97)
    for k, height in zip(order, heights, strict=True):
        name = cell_classes.WHITE_CELLS[k]
        axes.annotate(
            f"{name} {result.percent[k]:.0f} %",
            xy=(1, height),
            xycoords=axes.get_yaxis_transform(),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color=cell_classes.color_of(name),
            annotation_clip=False,
        )


def _legend_handles(with_bootstrap: bool) -> list:
    handles = [
        Line2D([], [], color=figures.INK, linewidth=1.6, label="median of random orders"),
        Patch(color=figures.GRAY, alpha=0.4, label="95 % of random orders (closes by construction)"),
    ]
    if with_bootstrap:
        handles.append(
            Line2D([], [], color=figures.INK, linestyle=(0, (1, 1)), label="95 % of images sampled with replacement")
        )
    return handles


def plot_patient(
    path: str | os.PathLike, patient_id: str, result: Saturation, enough: EnoughCells, rules: SaturationRules
) -> None:
    """One patient's Figure 2; needs a result with a random-orders band."""
    with figures.drawing(path, 7.2, 4.4) as (figure, (axes,)):
        if enough.answer == YES:
            verdict = f"saturated at {enough.cells_needed} white cells"
        else:
            verdict = "not saturated" if enough.answer == NO else "saturation not known"
        title = f"{figures.printable(patient_id)}: {verdict} (+-{rules.tolerance_points:g} points)"
        draw_patient(axes, result, enough, title)
        images = f"{result.white_cells} white cells on {result.num_images} images"
        axes.set_xlabel(f"white cells counted ({images})")
        handles = _legend_handles(result.bootstrap is not None)
        figure.legend(handles=handles, loc="outside lower center", ncols=2 if len(handles) > 2 else len(handles))


def plot_cases(path: str | os.PathLike, examples: Mapping[str, tuple[str, Saturation, EnoughCells]]) -> None:
    """One example patient per case side by side, in the form of the paper's Figure 2.

    Args:
      examples: {case: (patient_id, result with a random-orders band, its answer)}, at least one.
    """
    columns = min(len(examples), 3)
    rows = -(-len(examples) // columns)
    with figures.drawing(path, 4.3 * columns + 0.2, 3.2 * rows + 0.7, rows, columns) as (figure, axes):
        for panel, (case, (patient_id, result, enough)) in zip(axes, examples.items(), strict=False):
            draw_patient(panel, result, enough, f"{case_title(case)}\n{figures.printable(patient_id)}")
        for panel in axes[len(examples) :]:
            panel.set_visible(False)
        handles = _legend_handles(any(result.bootstrap is not None for _, result, _ in examples.values()))
        figure.legend(handles=handles, loc="outside lower center", ncols=1 if columns == 1 else len(handles))


def plot_cohort(
    path: str | os.PathLike,
    within_curves: Sequence[tuple[str, np.ndarray, np.ndarray]],
    rules: SaturationRules,
) -> None:
    """Probability that the largest class error is within d against cells, one line per patient, colored by case.

    Of more than `_MAX_LINES` patients, whose lines would be one dark field, each case has its median and the range of
    its middle 90 % of patients instead.

    Args:
      within_curves: (case, [J] white cells, [J] probability) per patient, from the bootstrap.
    """
    title = f"How often all three percentages are within +-{rules.tolerance_points:g} points of the final ones"
    if len(within_curves) > _MAX_LINES:
        title += "\nmedian and middle 90 % of the patients of each case"
    with figures.drawing(path, 7.2, 4.2) as (figure, (axes,)):
        reached = [cells[np.argmax(within >= PROBABILITY)] for _, cells, within in within_curves]
        if len(within_curves) > _MAX_LINES:
            right = 1.25 * max([*PAPER_CELLS.values(), float(np.quantile(reached, 0.99))])
            _draw_ranges(axes, within_curves, right)
        else:
            right = 1.25 * max([*PAPER_CELLS.values(), *reached])
            faint = max(0.08, min(0.8, 12 / max(len(within_curves), 1)))
            for case, cells, within in within_curves:
                axes.plot(cells, 100 * within, color=_CASE_COLORS.get(case, "#BBBBBB"), alpha=faint, linewidth=1)
        for name, limit in PAPER_CELLS.items():
            figures.reference_line(axes, f"{name} {limit}", x=limit)
        figures.reference_line(axes, f"{100 * PROBABILITY:g} %", y=100 * PROBABILITY)
        axes.set(
            title=title,
            xlabel="white cells counted",
            ylabel="resampled image sets within the tolerance (%)",
            xlim=(0, right),
            ylim=(0, 102),
        )
        seen = dict.fromkeys(case for case, _, _ in within_curves)
        handles = [
            Line2D([], [], color=_CASE_COLORS.get(case, "#BBBBBB"), label=case_title(case))
            for case in (*_CASE_COLORS, *seen)
            if case in seen
        ]
        unique = list({handle.get_label(): handle for handle in handles}.values())
        figure.legend(handles=unique, loc="outside lower center", ncols=min(len(unique), 3) or 1)


def _draw_ranges(axes: Axes, within_curves: Sequence[tuple[str, np.ndarray, np.ndarray]], right: float) -> None:
    """Median and middle 90 % of the patients of each case at 200 numbers of cells, where at least 20 have curves."""
    places = np.linspace(0, right, _PLACES)
    counts: dict[str, np.ndarray] = {}  # {case: [places, percent 0 .. 100] patients}
    for case, cells, within in within_curves:
        of_case = counts.setdefault(case, np.zeros((_PLACES, 101), int))
        shown = np.flatnonzero((places >= cells[0]) & (places <= cells[-1]))
        of_case[shown, np.rint(100 * np.interp(places[shown], cells, within)).astype(int)] += 1
    for case, of_case in counts.items():
        color = _CASE_COLORS.get(case, "#BBBBBB")
        total = of_case.sum(axis=1)
        shown = total >= _LEAST_FOR_A_RANGE
        reached = np.cumsum(of_case, axis=1)
        low, median, high = ((reached >= q * total[:, None]).argmax(axis=1)[shown] for q in (0.05, 0.5, 0.95))
        axes.fill_between(places[shown], low, high, color=color, alpha=0.15, linewidth=0)
        axes.plot(places[shown], median, color=color, linewidth=1.6)

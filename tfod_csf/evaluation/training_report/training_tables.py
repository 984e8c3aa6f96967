"""The training report: reads a model directory's event files and best.json, writes training_*.csv and the figure."""

import math
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from tfod_csf.cell_classes import BLUE, GREEN, ORANGE, PURPLE, SKY_BLUE, VERMILION
from tfod_csf.errors import UserError
from tfod_csf.evaluation.training_report.event_files import Series, read_scalars
from tfod_csf.evaluation.training_report.training_curves import AsymptoteFit, fit_asymptote, smoothed
from tfod_csf.files import csv_schemas, given_files
from tfod_csf.graphics import figures

# The first that a run has is its precision in the figure; TFOD's names.
PRECISION_TAGS = (
    "PascalBoxes_Precision/mAP@0.5IOU",
    "DetectionBoxes_Precision/mAP@.50IOU",
    "DetectionBoxes_Precision/mAP",
)
TOTAL_LOSS = "Loss/total_loss"
_LOSS_PREFIX = "Loss/"
_LEARNING_RATE = "learning_rate"
_COLORS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY_BLUE)
_TRAIN, _EVAL = "train", "eval"


def read_runs(model_dir: str | os.PathLike) -> dict[str, dict[str, Series]]:
    """{run: {tag: series}} of every folder below a model directory that has event files with numbers.

    Raises:
      UserError: no such folder, or no numbers in it.
    """
    root = pathlib.Path(model_dir)
    if not root.is_dir():
        raise UserError(f"{model_dir}: no such folder; give the --model_dir of model_main_tf2.")
    folders = sorted({path.parent for path in root.rglob("*.tfevents.*")})
    runs = {folder.relative_to(root).as_posix(): read_scalars(folder) for folder in folders}
    runs = {name: scalars for name, scalars in runs.items() if scalars}
    if not runs:
        raise UserError(
            f"{model_dir}: no TensorBoard event file with numbers in it; give the --model_dir of model_main_tf2."
        )
    return runs


def read_best(model_dir: str | os.PathLike) -> dict[str, Any] | None:
    """best.json of the run (in best/ or beside the checkpoints); None where there is none."""
    for path in (pathlib.Path(model_dir, "best", "best.json"), pathlib.Path(model_dir, "best.json")):
        if path.is_file():
            try:
                return given_files.read_json(path)
            except ValueError as error:
                raise UserError(f"{path}: not JSON ({error}).") from error
    return None


def _is_precision(tag: str) -> bool:
    return tag.startswith(("PascalBoxes_", "DetectionBoxes_"))


def _known(series: Series, tag: str) -> Series:
    """Without values that are not finite, nor precisions of -1 ("no ground truth")."""
    keep = np.isfinite(series.values) & ((series.values >= 0) | (not _is_precision(tag)))
    return Series(series.steps[keep], series.values[keep], series.wall_times[keep])


def _tolerance(tag: str, series: Series, precision_tolerance: float, loss_tolerance: float) -> float:
    """In the tag's unit: points for a precision, a fraction of the whole fall for a loss."""
    if _is_precision(tag):
        return precision_tolerance
    return max(loss_tolerance * float(np.ptp(series.values)), 1e-12)


def fit_rows(
    runs: Mapping[str, Mapping[str, Series]], precision_tolerance: float, loss_tolerance: float
) -> Iterator[tuple[dict[str, Any], AsymptoteFit | None]]:
    """Rows of training_fit.csv with their fits, for every precision and loss."""
    for run, scalars in runs.items():
        for tag, series in scalars.items():
            if not (_is_precision(tag) or tag.startswith(_LOSS_PREFIX)):
                continue
            series = _known(series, tag)
            if not len(series.steps):
                continue
            tolerance = _tolerance(tag, series, precision_tolerance, loss_tolerance)
            fit = fit_asymptote(series.steps, series.values, tolerance)
            best = int(np.argmax(series.values) if _is_precision(tag) else np.argmin(series.values))
            row = {
                "run": run,
                "tag": tag,
                "points": int((series.steps > 0).sum()),
                "last_step": int(series.steps[-1]),
                "last_value": float(series.values[-1]),
                "best_step": int(series.steps[best]),
                "best_value": float(series.values[best]),
                "tolerance": tolerance,
            }
            if fit is not None:
                row |= {"a": fit.a, "a_low": fit.a_low, "a_high": fit.a_high, "b": fit.b, "r_squared": fit.r_squared}
                row |= {"saturated_step_fit": math.ceil(fit.fit_step), "saturated_step_observed": fit.observed_step}
                row["saturated"] = fit.saturated
            yield row, fit


def _curve_rows(runs: Mapping[str, Mapping[str, Series]]) -> Iterator[dict[str, Any]]:
    for run, scalars in runs.items():
        start = min(series.wall_times.min() for series in scalars.values())
        for tag, series in scalars.items():
            for step, value, wall_time in zip(series.steps, series.values, series.wall_times, strict=True):
                number = float(value) if math.isfinite(value) else None
                yield {"run": run, "tag": tag, "step": int(step), "value": number, "seconds": wall_time - start}


def write_training_report(
    model_dir: str | os.PathLike,
    output_dir: str | os.PathLike,
    precision_tolerance: float = 0.01,
    loss_tolerance: float = 0.02,
) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Writes both tables and the figure as PNG and SVG.

    Returns:
      (row of the plotted precision, or else of the total loss; contents of best.json).
    """
    output, runs, best = pathlib.Path(output_dir), read_runs(model_dir), read_best(model_dir)
    fits = list(fit_rows(runs, precision_tolerance, loss_tolerance))
    csv_schemas.load("training_curve").write_into(output, _curve_rows(runs))
    csv_schemas.load("training_fit").write_into(output, (row for row, _ in fits))
    precision = _first(fits, PRECISION_TAGS, (best or {}).get("run"))
    for suffix in ("png", "svg"):
        plot_training(output / f"training_report.{suffix}", runs, precision, best)
    chosen = precision or _first(fits, (TOTAL_LOSS,))
    return (chosen[0] if chosen else None), best


def _first(
    fits: list[tuple[dict[str, Any], AsymptoteFit | None]], tags: tuple[str, ...], run: str | None = None
) -> tuple[dict[str, Any], AsymptoteFit | None] | None:
    """Row of the first tag that has one, of this run where it has one.

    Training data evaluated for comparison is not the run's precision.
    """
    for tag in tags:
        found = [one for one in fits if one[0]["tag"] == tag and "train_data" not in one[0]["run"]]
        if found:
            return next((one for one in found if one[0]["run"] == run), found[0])
    return None


def plot_training(
    path: str | os.PathLike,
    runs: Mapping[str, Mapping[str, Series]],
    precision: tuple[dict[str, Any], AsymptoteFit | None] | None,
    best: Mapping[str, Any] | None,
) -> None:
    """Four panels: precision with its fit, total loss of both sides, the four losses, learning rate."""
    with figures.drawing(path, 10.5, 7.0, 2, 2) as (_, (top_left, top_right, bottom_left, bottom_right)):
        _draw_precision(top_left, runs, precision, best)
        _draw_losses(top_right, runs, lambda tag: tag == TOTAL_LOSS, "total loss")
        parts = ("RPNLoss", "BoxClassifierLoss", "regularization")
        _draw_losses(bottom_left, runs, lambda tag: any(part in tag for part in parts), "parts of the loss")
        for run, scalars in runs.items():
            if _LEARNING_RATE in scalars:
                series = scalars[_LEARNING_RATE]
                bottom_right.plot(
                    series.steps, series.values, color=figures.INK, linewidth=1.4, label=figures.printable(run)
                )
        bottom_right.set(title="learning rate", xlabel="training step", ylabel="learning rate", ylim=(0, None))
        for panel in (top_left, top_right, bottom_left, bottom_right):
            panel.set_xlim(left=0)
            if not panel.lines:
                panel.text(0.5, 0.5, "not recorded", ha="center", transform=panel.transAxes, color=figures.GRAY)


def _draw_precision(
    axes: Axes,
    runs: Mapping[str, Mapping[str, Series]],
    precision: tuple[dict[str, Any], AsymptoteFit | None] | None,
    best: Mapping[str, Any] | None,
) -> None:
    axes.set(title="precision on the validation side", xlabel="training step", ylabel="precision (%)", ylim=(0, 102))
    if precision is None:
        return
    row, fit = precision
    series = _known(runs[row["run"]][row["tag"]], row["tag"])
    axes.plot(series.steps, 100 * series.values, "o-", color=_COLORS[0], markersize=3.5, linewidth=1, label=row["tag"])
    if fit is not None:
        steps = np.linspace(max(1, series.steps[series.steps > 0].min()), series.steps[-1], 300)
        label = f"fit {100 * fit.a:.1f} {'-' if fit.b >= 0 else '+'} {100 * abs(fit.b):,.0f} / step (%)"
        axes.plot(steps, 100 * fit.at(steps), color=_COLORS[1], linewidth=1.4, label=label)
        if fit.saturated:
            step = max(step for step in (fit.fit_step, fit.observed_step) if step is not None)
            figures.reference_line(axes, f"saturated at {step:,.0f}", x=step)
        else:
            axes.set_title("precision on the validation side (not saturated)")
    if best and best.get("step") is not None and best.get("metric") == row["tag"] and _run_of(best, runs) == row["run"]:
        text = f"best checkpoint: step {best['step']:,}"
        axes.plot(best["step"], 100 * best["value"], "*", color=figures.INK, markersize=11, linestyle="", label=text)
    axes.legend(loc="lower right")


def _run_of(best: Mapping[str, Any], runs: Mapping[str, Mapping[str, Series]]) -> str | None:
    """Which run best.json is of; None where it does not say so (earlier versions) and there are several."""
    there = [name for name, scalars in runs.items() if best["metric"] in scalars and "train_data" not in name]
    return best.get("run", there[0] if len(there) == 1 else None)


def _draw_losses(
    axes: Axes, runs: Mapping[str, Mapping[str, Series]], is_wanted: Callable[[str], bool], title: str
) -> None:
    """Losses of training (lines) and evaluation (dots), the same color for the same tag."""
    tags = sorted({tag for scalars in runs.values() for tag in scalars if tag.startswith("Loss/") and is_wanted(tag)})
    tops = []
    for run, scalars in runs.items():
        for color, tag in zip(_COLORS, tags, strict=False):
            series = scalars.get(tag)
            if series is None or "train_data" in run:
                continue
            known = _known(series, tag)
            if not len(known.steps):
                continue
            name = tag.removeprefix(_LOSS_PREFIX).replace("_loss", "").replace("Loss/", " ")
            if run == _TRAIN:
                axes.plot(known.steps, known.values, color=color, linewidth=0.6, alpha=0.3)
                middle = smoothed(known.values, max(3, len(known.steps) // 40 | 1))
                axes.plot(known.steps, middle, color=color, linewidth=1.4, label=f"{name}, {figures.printable(run)}")
                tops.append(float(np.quantile(middle, 0.98)))
            else:
                style: dict[str, Any] = {"linestyle": ":", "marker": "o", "markersize": 3, "color": color}
                axes.plot(known.steps, known.values, **style, label=f"{name}, {figures.printable(run)}")
                tops.append(float(np.quantile(known.values, 0.98)))
    axes.set(title=title, xlabel="training step", ylabel="loss")
    if tops:
        axes.set_ylim(0, (1.45 if len(tags) > 2 else 1.25) * max(tops))
        axes.legend(loc="upper right", fontsize=7, ncols=2 if len(tags) > 2 else 1)

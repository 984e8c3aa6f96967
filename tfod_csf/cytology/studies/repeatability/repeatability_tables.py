"""The repeatability study: reads repeated results of the same samples, writes repeatability.csv and the plot.

Shape shorthand in this module:
  K: the three white-cell classes, in the order of cell_classes.WHITE_CELLS.
  I: images of a result.
"""

import dataclasses
import math
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from scipy import stats

from tfod_csf import cell_classes
from tfod_csf.cytology import run_tables
from tfod_csf.cytology.counting import cohort
from tfod_csf.cytology.studies.days import day_labels
from tfod_csf.cytology.studies.repeatability.variance_components import TOTAL, Component, nested_components
from tfod_csf.files import csv_schemas
from tfod_csf.graphics import figures
from tfod_csf.problems import ProblemLog
from tfod_csf.study import patient_ids

LEVELS = ("run", "day", "operator", "slide")
ALL_SAMPLES = "all"
_SCHEMA = "input_repeatability"


@dataclasses.dataclass(frozen=True)
class Result:
    """One result of a sample.

    Attributes:
      sample: what was measured.
      labels: {level: label}.
      counts: [K] white cells.
      fields_variance: [K] variance of the percentages that other fields of the same slide would give, in squared
        points; NaN where the images are not known.
    """

    sample: str
    labels: Mapping[str, str]
    counts: np.ndarray
    fields_variance: np.ndarray

    @property
    def percent(self) -> np.ndarray:
        """[K] percentages."""
        return 100 * self.counts / self.counts.sum()


def fields_variance(image_counts: np.ndarray) -> np.ndarray:
    """[K] variance of the pooled percentages if other images of the same slide had been taken, in squared points.

    Linearized variance of a ratio (Cochran 1977, section 6): I / (I - 1) times the sum over images of
    (k - p n)^2, divided by the squared number of cells; counting is part of it.

    Args:
      image_counts: [I, K] cells per image and class.

    Returns:
      NaN with fewer than two images or without cells.
    """
    cells, total = image_counts.sum(axis=1, keepdims=True), image_counts.sum()
    if len(image_counts) < 2 or not total:
        return np.full(image_counts.shape[1], math.nan)
    rest = image_counts - image_counts.sum(axis=0) / total * cells
    return 1e4 * len(image_counts) / (len(image_counts) - 1) * (rest**2).sum(axis=0) / total**2


def read_counts(path: str | os.PathLike) -> list[Result]:
    """Results from a table that holds the cells itself: sample, lymphocyte, monocyte, neutrophil and levels.

    Raises:
      TableError: no row, or a column of cells is missing or empty.
    """
    results = []
    for row in _rows(path):
        counts = [row.get(name) for name in cell_classes.WHITE_CELLS]
        if None in counts:
            raise run_tables.TableError(
                f"{path}, line {row.line}: cells are missing; give the columns {', '.join(cell_classes.WHITE_CELLS)}, "
                "or --run and the column patient_id."
            )
        unknown = np.full(len(counts), math.nan)
        results.append(Result(row["sample"], _labels(row), np.array(counts, float), unknown))
    return results


def read_runs(
    inference_dirs: Sequence[str | os.PathLike],
    path: str | os.PathLike | None,
    problems: ProblemLog,
    model: str | None = None,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> list[Result]:
    """Results of runs of batch_infer, in the order of the table.

    Args:
      path: a table that says which patient of which run is which sample, slide, day; None takes every patient as a
        sample and every run as a repeat.
      model: whose cells; None takes each patient's first model.

    Raises:
      TableError: a row about a patient who is not in the runs, or about one that several runs have.
    """
    measured: dict[tuple[str, str], tuple[np.ndarray, np.ndarray]] = {}
    for inference_dir in inference_dirs:
        for folder in progress(run_tables.patient_folders(inference_dir)):
            patient = run_tables.read_patient(folder)
            counts = patient.unit_counts(cell_classes.WHITE_CELLS, patient.model_or_first(model))
            run = str(inference_dir)
            measured[run, patient.patient_id] = counts.sum(axis=0).astype(float), fields_variance(counts)
        _note_unreliable(inference_dir, problems)
    if path is None:
        return [Result(patient, {"run": run}, *found) for (run, patient), found in measured.items()]
    results, used = [], set()
    for row in _rows(path):
        key = _key_of(path, row, [str(folder) for folder in inference_dirs], measured)
        if key in used:
            raise run_tables.TableError(f"{path}, line {row.line}: {key[1]!r} of run {key[0]} is there twice.")
        used.add(key)
        results.append(Result(row["sample"], _labels(row), *measured[key]))
    for run, name in measured:
        if (run, name) not in used:
            problems.noted(run, f"patient {name!r} is in no row of {path}", "Add a row if it is a repeat.", name)
    return results


def _note_unreliable(inference_dir: str | os.PathLike, problems: ProblemLog) -> None:
    """Notes the patients of a run whose unknown white cells are beyond its limit; their results are kept."""
    differentials = pathlib.Path(inference_dir) / "differentials.csv"
    if not differentials.is_file():
        problems.noted(
            differentials, "no such file: whether too many cells are unknown is not said", "Run differential."
        )
        return
    cohort.check_made_of(differentials, inference_dir)
    for name, percent in cohort.unreliable_patients(differentials).items():
        problems.noted(
            differentials, cohort.unreliable_words(percent), "Decide on the unknown cells where that is possible.", name
        )


def _rows(path: str | os.PathLike) -> list[csv_schemas.Row]:
    rows = list(csv_schemas.load(_SCHEMA).read(path))
    if not rows:
        raise run_tables.TableError(f"{path}: no result in it.")
    labels = day_labels(path, [row.get("day", "") for row in rows])
    for row, day in zip(rows, labels, strict=True):
        row.update({name: patient_ids.tidy(row[name]) for name in ("sample", *LEVELS[1:]) if name in row})
        if day:
            row["day"] = day
    return rows


def _labels(row: Mapping[str, Any]) -> dict[str, str]:
    return {level: row[level].strip() for level in LEVELS if row.get(level)}


def _key_of(
    path: str | os.PathLike, row: csv_schemas.Row, runs: Sequence[str], measured: Mapping[tuple[str, str], Any]
) -> tuple[str, str]:
    """(run, patient) that a row is about; the run need not be named where only one has the patient."""
    patient, named = row.get("patient_id", ""), row.get("run", "").rstrip("/")
    among = [run for run in runs if not named or named in (run.rstrip("/"), pathlib.Path(run).name)]
    found = [
        (run, name)
        for run in among
        for name in patient_ids.match([patient], [name for of, name in measured if of == run]).run_ids.values()
    ]
    if len(found) != 1:
        what = "none" if not found else "several"
        raise run_tables.TableError(
            f"{path}, line {row.line}: patient {patient!r} is in {what} of the runs {', '.join(among) or named}; check "
            "patient_id (as in differentials.csv), and name the run in the column run where several have the patient."
        )
    return found[0]


def enough_cells(results: Sequence[Result], min_white_cells: int, problems: ProblemLog) -> list[Result]:
    """The results with at least so many white cells; the others are noted as skipped."""
    for result in results:
        if result.counts.sum() < max(min_white_cells, 1):
            where = ", ".join(f"{level} {label}" for level, label in result.labels.items())
            reason = f"{result.counts.sum():g} white cells are fewer than {min_white_cells}"
            problems.skipped(f"sample {result.sample}", reason, "Photograph more fields.", where)
    return [result for result in results if result.counts.sum() >= max(min_white_cells, 1)]


def component_rows(results: Sequence[Result], levels: Sequence[str] = LEVELS) -> Iterator[dict[str, Any]]:
    """Rows of repeatability.csv: per sample with at least two results, then over all samples.

    Args:
      levels: outermost first; a result without a label of a level has the label "".
    """
    by_sample: dict[str, list[Result]] = {}
    for result in results:
        by_sample.setdefault(result.sample, []).append(result)
    groups = {name: of for name, of in by_sample.items() if len(of) > 1}
    together = [result for of in groups.values() for result in of]
    counts = {name: np.sum([result.counts for result in of], axis=0) for name, of in groups.items()}
    for name, chosen in [*groups.items(), *([(ALL_SAMPLES, together)] if len(groups) > 1 else [])]:
        labels = {level: [result.labels.get(level, "") for result in chosen] for level in levels}
        of_sample = [result.sample for result in chosen]
        for k, kind in enumerate(cell_classes.WHITE_CELLS):
            share = np.array([counts[sample][k] / counts[sample].sum() for sample in of_sample])
            cells = np.array([result.counts.sum() for result in chosen])
            counting = float(np.mean(1e4 * share * (1 - share) / cells))
            of_fields = float(np.mean([result.fields_variance[k] for result in chosen]))
            found = nested_components([result.percent[k] for result in chosen], of_sample, labels)
            same = {"sample": name, "class": kind, "results": len(chosen), "mean_percent": 100 * float(share.mean())}
            for place, component in enumerate(found):
                row = {**same, "component": component.name, "sd_points": component.sd}
                row |= {"ci_low_points": component.low, "ci_high_points": component.high}
                row |= {"degrees_of_freedom": component.freedom}
                if place >= len(found) - 2:
                    row |= {"sd_counting_points": math.sqrt(counting), "sd_fields_points": math.sqrt(of_fields)}
                yield {**row, "note": _note(component, counting, place == len(found) - 2)}


def _note(component: Component, counting: float, is_innermost: bool) -> str:
    if component.is_negative:
        return "the estimate of the variance is below 0: taken as 0"
    if not is_innermost or not counting:
        return ""
    p_value = stats.chi2.sf(component.freedom * component.sd**2 / counting, component.freedom)
    verdict = "more than counting explains" if p_value < 0.05 else "counting alone explains it"
    return f"{verdict} (p = {p_value:.2g})"


def write_repeatability(
    output_dir: str | os.PathLike, results: Sequence[Result], levels: Sequence[str] = LEVELS
) -> list[dict[str, Any]]:
    """Writes repeatability.csv and repeatability.png; returns the rows.

    Raises:
      TableError: no sample was measured twice.
    """
    output = pathlib.Path(output_dir)
    rows = list(component_rows(results, levels))
    if not rows:
        raise run_tables.TableError(
            f"none of {len({result.sample for result in results})} samples was measured twice; give repeats of the "
            "same sample (column sample)."
        )
    csv_schemas.load("repeatability").write_into(output, rows)
    plot_components(output / "repeatability.png", rows)
    return rows


def plot_components(path: str | os.PathLike, rows: Sequence[Mapping[str, Any]]) -> None:
    """Standard deviation of each component per class: of all samples with its interval, and of each sample."""
    components = [name for name in dict.fromkeys(row["component"] for row in rows) if name != TOTAL]
    components.append(TOTAL)
    samples = list(dict.fromkeys(row["sample"] for row in rows))
    main = ALL_SAMPLES if ALL_SAMPLES in samples else samples[0]
    with figures.drawing(path, 3.4 * len(cell_classes.WHITE_CELLS), 4.0, 1, 3, sharey=True) as (figure, axes):
        for panel, kind in zip(axes, cell_classes.WHITE_CELLS, strict=True):
            for row in (row for row in rows if row["class"] == kind):
                _draw_component(panel, row, components.index(row["component"]), row["sample"] == main)
            panel.set_xticks(range(len(components)), [name.replace("_", "\n") for name in components])
            panel.set(title=kind, xlim=(-0.6, len(components) - 0.4))
            panel.grid(visible=False, axis="x")
        axes[0].set_ylabel("standard deviation (points)")
        axes[0].set_ylim(bottom=0)
        name = "all samples together" if main == ALL_SAMPLES else f"sample {figures.printable(main)}"
        handles = [
            Line2D([], [], linestyle="", marker="o", color=figures.INK, label=f"{name}, 95 % interval"),
            Line2D([], [], color=figures.INK, linestyle=":", label="counting alone"),
            Line2D([], [], color=figures.GRAY, linestyle="-", label="other fields of the slide"),
        ]
        if len(samples) > 1:
            handles.append(Line2D([], [], linestyle="", marker=".", color=figures.GRAY, label="each sample"))
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))


def _draw_component(panel: Axes, row: Mapping[str, Any], x: int, is_main: bool) -> None:
    if not is_main:
        panel.plot(x + 0.22, row["sd_points"], ".", color=figures.GRAY, markersize=4)
        return
    color = cell_classes.color_of(row["class"])
    panel.plot(x, row["sd_points"], marker="o", markersize=7, color=color)
    if not math.isnan(row["ci_low_points"]):
        panel.plot([x, x], [row["ci_low_points"], row["ci_high_points"]], color=color, linewidth=1.4)
    for name, line, shade in (("counting", ":", figures.INK), ("fields", "-", figures.GRAY)):
        value = row.get(f"sd_{name}_points", math.nan)
        if not math.isnan(value):
            panel.plot([x - 0.3, x + 0.3], [value, value], color=shade, linestyle=line, linewidth=1.2)

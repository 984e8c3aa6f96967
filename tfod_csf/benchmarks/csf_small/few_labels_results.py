"""What trainings with few labels gave: average precision of each class, as a table and as a figure.

A class is in the mean if there are `FEWEST_CELLS` of it in the test images: below that, one cell more or less found
moves its average precision by more than an eighth. The classes that are not are in the table all the same.
"""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfod_csf import cell_classes
from tfod_csf.benchmarks.csf_small import detection_precision, held_out
from tfod_csf.benchmarks.csf_small.detection_precision import IGNORED, WHITE_CELL
from tfod_csf.benchmarks.csf_small.source_images import SourceImage
from tfod_csf.cell_classes import STUDY_CLASSES
from tfod_csf.detections import Detections
from tfod_csf.files import atomic_write, csv_tables
from tfod_csf.graphics import figures
from tfod_csf.inference.cell_selection import ScoreThresholds
from tfod_csf.label_map import LabelMap

TRAINED, SCRATCH = "model", "scratch"
STARTS = (TRAINED, SCRATCH)
START_WORDS = {TRAINED: "from the model", SCRATCH: "from scratch"}
FEWEST_CELLS = 8
_MEAN = "mean"
_READINGS = ((IGNORED, STUDY_CLASSES), (WHITE_CELL, (WHITE_CELL,)))
_FROM_SETTINGS = (
    "images",
    "with_complete_boxes",
    "start",
    "minutes",
    "seed",
    "batch_size",
    "learning_rate",
    "optimizer",
)
_FROM_RECORD = ("steps", "cpu_seconds")
_FINGERPRINTS = ("labeled_images", "test_images", "network", "model")
_COLUMNS = (
    *(*_FROM_SETTINGS, *_FROM_RECORD, "mean_ap", "classes_in_mean"),
    *(f"{name.replace(' ', '_')}_{what}" for name in (*STUDY_CLASSES, WHITE_CELL) for what in ("ap", "test_cells")),
    *(f"{name}_labeled" for name in STUDY_CLASSES),
    *(*_FINGERPRINTS, "date", "processor"),
)
_COLORS = {TRAINED: cell_classes.BLUE, SCRATCH: cell_classes.VERMILION}
_MARKERS = {TRAINED: "o", SCRATCH: "s"}
_PANELS = (("mean_ap", "mAP@0.5"), ("white_cell_ap", "AP@0.5, white cells as one class"))


def figures_of(label_map: LabelMap, found: Sequence[tuple[SourceImage, Detections]]) -> dict[str, dict[str, float]]:
    """{class: {"ap": at an IoU of 0.5, "cells": in the test images}}, white cells as one class, and the mean.

    Erythrocytes are tested in images with complete boxes only. Cells that nobody is sure of count neither way. A class
    without a cell has an average precision of None.
    """
    held = held_out.examine("few labels", label_map, ScoreThresholds(), found)
    rows = detection_precision.figures(held)
    of_class = {
        row.class_name: {"ap": None if np.isnan(row.estimate.value) else row.estimate.value, "cells": row.cells}
        for row in rows
        if any(row.reading == reading and row.class_name in names for reading, names in _READINGS)
    }
    in_mean = classes_in_mean(of_class)
    values = [of_class[name]["ap"] for name in in_mean]
    return {**of_class, _MEAN: {"ap": float(np.mean(values)) if values else None, "cells": len(in_mean)}}


def classes_in_mean(of_class: Mapping[str, Mapping[str, float]]) -> list[str]:
    """The study's classes of which there are enough cells."""
    return [name for name in STUDY_CLASSES if of_class[name]["cells"] >= FEWEST_CELLS]


def row_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """A row of few_labels.csv from a training's run.json."""
    settings, of_class = record["settings"], record["figures"]
    row = {name: settings[name] for name in (*_FROM_SETTINGS, *_FINGERPRINTS)}
    row |= {name: record[name] for name in (*_FROM_RECORD, "date", "processor")}
    row |= {"mean_ap": of_class[_MEAN]["ap"], "classes_in_mean": " ".join(classes_in_mean(of_class))}
    for name in (*STUDY_CLASSES, WHITE_CELL):
        column = name.replace(" ", "_")
        row |= {f"{column}_ap": of_class[name]["ap"], f"{column}_test_cells": of_class[name]["cells"]}
    row |= {f"{name}_labeled": settings["labeled_cells"][name] for name in STUDY_CLASSES}
    return row


def write(out: pathlib.Path, rows: Sequence[Mapping[str, Any]], missing: Sequence[str]) -> None:
    """Writes few_labels.csv, few_labels.md and few_labels.png.

    Args:
      rows: of `row_of`, at least one.
      missing: trainings that are not there, in words.
    """
    rows = sorted(rows, key=lambda row: (row["images"], row["minutes"], STARTS.index(row["start"])))
    csv_tables.write_rows(out / "few_labels.csv", _COLUMNS, rows)
    atomic_write.write_text(out / "few_labels.md", _text(rows, missing))
    _draw(out / "few_labels.png", rows)


def _text(rows: Sequence[Mapping[str, Any]], missing: Sequence[str]) -> str:
    head = [
        "labeled images (complete boxes)",
        "start",
        "CPU minutes",
        "steps",
        "mAP@0.5",
        *STUDY_CLASSES,
        "white cells",
    ]
    lines = [f"| {' | '.join(head)} |", "|---|---|" + "---:|" * (len(head) - 2)]
    for row in rows:
        start = START_WORDS[row["start"]] if row["images"] else "the model as it is"
        images = f"{row['images']} ({row['with_complete_boxes']})" if row["images"] else "0"
        values = [row["mean_ap"], *(row[f"{name}_ap"] for name in (*STUDY_CLASSES, "white_cell"))]
        cells = [images, start, f"{row['cpu_seconds'] / 60:.1f}", f"{row['steps']:,}", *map(_value_text, values)]
        lines.append(f"| {' | '.join(cells)} |")
    first = rows[0]
    tested = ", ".join(f"{first[f'{name}_test_cells']:,} {name}s" for name in STUDY_CLASSES)
    notes = [
        f"Test cells: {tested}; {first['white_cell_test_cells']} white cells of these classes in all. mAP@0.5 is the "
        f"mean of {', '.join(first['classes_in_mean'].split())}.",
        f"Labeled images `{'`, `'.join(dict.fromkeys(row['labeled_images'] for row in rows if row['images']))}`, test "
        f"images `{first['test_images']}`, network `{first['network']}`, seed {first['seed']}; {first['processor']}.",
        *([f"Not there yet: {'; '.join(missing)}."] if missing else []),
    ]
    return "\n".join(lines) + "\n\n" + "\n\n".join(notes) + "\n"


def _value_text(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}"


def _draw(path: pathlib.Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """A column of panels for each number of labeled images: figures against CPU minutes, a line for each start."""
    sizes = sorted({row["images"] for row in rows if row["images"]}) or [0]
    untrained = next((row for row in rows if not row["images"]), None)
    minutes = sorted({row["minutes"] for row in rows if row["minutes"]}) or [1]
    with figures.drawing(path, 8.2, 4.8, len(_PANELS), len(sizes), sharex=True, sharey="row") as (_, axes):
        for place, (column, title) in enumerate(_PANELS):
            for number, size in enumerate(sizes):
                panel = axes[place * len(sizes) + number]
                of_size = [row for row in rows if row["images"] == size]
                for start in STARTS:
                    _draw_line(panel, [row for row in of_size if row["start"] == start and row["minutes"]], column)
                if untrained and untrained[column] is not None:
                    figures.reference_line(panel, "the model as it is", y=untrained[column], in_legend=True)
                panel.set(ylim=(0, 1.02), xscale="log", xlim=(minutes[0] / 1.4, minutes[-1] * 1.4))
                panel.set_xticks(minutes, [f"{one:g}" for one in minutes])
                panel.minorticks_off()
                if number == 0:
                    panel.set_ylabel(title)
                if place == 0:
                    panel.set_title(f"{size} labeled images", pad=18)  # above the figures at 1.0
                if place == len(_PANELS) - 1:
                    panel.set_xlabel("CPU minutes of training")
        if axes[0].get_legend_handles_labels()[0]:
            axes[0].legend(loc="lower right")


def _draw_line(panel: Any, rows: Sequence[Mapping[str, Any]], column: str) -> None:
    shown = [row for row in rows if row[column] is not None]
    if not shown:
        return
    start = shown[0]["start"]
    x, y = [row["minutes"] for row in shown], [row[column] for row in shown]
    panel.plot(x, y, color=_COLORS[start], marker=_MARKERS[start], linewidth=1.6, label=START_WORDS[start])
    for minutes, value in zip(x, y, strict=True):
        above = start == TRAINED
        panel.annotate(
            f"{value:.2f}",
            (minutes, value),
            textcoords="offset points",
            xytext=(0, 5 if above else -5),
            ha="center",
            va="bottom" if above else "top",
            fontsize=7,
            color=_COLORS[start],
        )

"""The turnaround study: reads times of technicians, reviews and the machine, writes turnaround*.csv and the plot."""

import dataclasses
import math
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from tfod_csf import cell_classes, run_folder
from tfod_csf.cytology import run_tables
from tfod_csf.cytology.studies.days import day_labels
from tfod_csf.cytology.studies.turnaround import (
    Measured,
    Quantity,
    Trend,
    measured,
    percent_saved,
    percent_saved_paired,
    slowdown_percent,
    trend,
)
from tfod_csf.files import csv_schemas
from tfod_csf.graphics import figures
from tfod_csf.study import patient_ids
from tfod_csf.wording import named, plural

_HAND_COLORS = (cell_classes.BLUE, cell_classes.SKY_BLUE)
_MACHINE_COLORS = (cell_classes.VERMILION, cell_classes.ORANGE)


@dataclasses.dataclass(frozen=True)
class HandTimes:
    """Minutes of technicians, one row per patient.

    Attributes:
      classification, report: [P] minutes.
      days: [P], empty text where no day was given.
      patient_ids: [P], empty text where none was given; empty where nobody's is known.
    """

    classification: np.ndarray
    report: np.ndarray
    days: tuple[str, ...]
    patient_ids: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class PatientMinutes:
    """[P] minutes per patient; `patient_ids` [P], empty text or empty where they are not known."""

    minutes: np.ndarray
    patient_ids: tuple[str, ...] = ()

    def by_patient(self) -> dict[str, float]:
        """{patient_id: minutes}, the mean of several rows about one patient; ids as `patient_ids.tidy` writes them."""
        found: dict[str, list[float]] = {}
        for patient_id, minutes in zip(self.patient_ids, self.minutes, strict=False):
            found.setdefault(patient_ids.tidy(patient_id), []).append(float(minutes))
        return {patient_id: float(np.mean(values)) for patient_id, values in found.items() if patient_id}


def read_hand_times(path: str | os.PathLike) -> HandTimes:
    """Reads patient_id, classification_minutes, report_minutes and optionally day.

    Raises:
      TableError: no row, a time that is not a number >= 0, or days in several spellings.
    """
    rows = _rows("input_technician_times", path)
    return HandTimes(
        classification=np.array([row["classification_minutes"] for row in rows]),
        report=np.array([row["report_minutes"] for row in rows]),
        days=day_labels(path, [row.get("day", "") for row in rows]),
        patient_ids=tuple(row["patient_id"] for row in rows),
    )


def read_review_times(path: str | os.PathLike) -> PatientMinutes:
    """Minutes a person still spends per patient with the machine: column review_minutes, capture included.

    Raises:
      TableError: no row, or a time that is not a number >= 0.
    """
    rows = _rows("input_review_times", path)
    return PatientMinutes(np.array([row["review_minutes"] for row in rows]), tuple(row["patient_id"] for row in rows))


def _rows(schema: str, path: str | os.PathLike) -> list[csv_schemas.Row]:
    rows = list(csv_schemas.load(schema).read(path))
    if not rows:
        raise run_tables.TableError(f"{path}: no patient in it.")
    return rows


def machine_minutes(run: Mapping[str, Any]) -> PatientMinutes:
    """Minutes the machine took per patient, reading and drawing included, from run.json.

    Raises:
      TableError: no patient with a time.
    """
    seconds = {name: patient.get("seconds") for name, patient in run.get("patients", {}).items()}
    found = {name: value for name, value in seconds.items() if isinstance(value, int | float) and value > 0}
    if not found:
        raise run_tables.TableError(
            "run.json: no patient with a time (seconds of the entries of patients); run batch_infer on the images "
            "again."
        )
    return PatientMinutes(np.array(list(found.values())) / 60, tuple(found))


def image_times(inference_dir: str | os.PathLike, run: Mapping[str, Any]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """{model: (cells, seconds)} of all images in the order they were examined.

    Patients kept from an earlier run are ignored: they were not timed by this run.
    """
    folders = {folder.name: folder for folder in run_tables.patient_folders(inference_dir)}
    patients = run.get("patients", {})
    order = [
        patient.get("folder", name) for name, patient in patients.items() if not patient.get("done_in_earlier_run")
    ]
    found: dict[str, list[tuple[float, float]]] = {}
    for name in order or list(folders):
        if name not in folders:
            continue
        images = run_tables.read_images(folders[name])
        done = images[(images["status"] == run_folder.OK) & images["seconds"].notna()]
        for model, cells, seconds in zip(done["model"], done["cells"], done["seconds"], strict=True):
            found.setdefault(model, []).append((cells, seconds))
    return {model: tuple(np.array(rows, float).T) for model, rows in found.items()}


# How a measured mean becomes a quantity: with its standard error, or with the spread of single measurements.
_Kind = Callable[[Measured], Quantity]


def _measured_row(per: str, step: str, found: Measured, unit: str, kind: _Kind) -> dict[str, Any]:
    value = kind(found)
    known = found.count > 1
    row = {"per": per, "step": step, "mean": found.mean, "sd": found.sd, "count": found.count, "unit": unit}
    errors = {"error_independent": value.independent, "error_worst_case": value.worst_case}
    return row | (errors if known else dict.fromkeys(errors))


def _computed_row(per: str, step: str, value: Quantity, unit: str) -> dict[str, Any]:
    errors = {"error_independent": value.independent, "error_worst_case": value.worst_case}
    return {"per": per, "step": step, "mean": value.mean, **errors, "unit": unit}


def _saving_rows(per: str, by_hand: Quantity, machine: Quantity) -> list[dict[str, Any]]:
    rows = [
        _computed_row(per, "machine_total", machine, "minutes"),
        _computed_row(per, "saved", by_hand - machine, "minutes"),
    ]
    if by_hand.mean > 0:
        rows.append(_computed_row(per, "saved_percent", percent_saved(by_hand, machine), "%"))
    return rows


def turnaround_rows(hand: HandTimes, machine: PatientMinutes, review: PatientMinutes | None) -> list[dict[str, Any]]:
    """Rows of turnaround.csv, per patient and, where every row has a day, per day.

    Everything is propagated twice, with standard errors and with standard deviations. A day with the machine is
    extrapolated as in the paper: patients per day times machine minutes per patient. Patients timed both ways are also
    compared one by one.
    """
    with_errors = _rows_of_kind(hand, machine, review, lambda found: found.quantity)
    with_spreads = _rows_of_kind(hand, machine, review, lambda found: found.spread)
    rows = [
        row | {f"sd_{name}": spread[f"error_{name}"] for name in ("independent", "worst_case")}
        for row, spread in zip(with_errors, with_spreads, strict=True)
    ]
    return rows + _paired_rows(hand, machine, review)


def _rows_of_kind(
    hand: HandTimes, machine: PatientMinutes, review: PatientMinutes | None, kind: _Kind
) -> list[dict[str, Any]]:
    """Rows with one kind of error."""
    parts = {"classification": measured(hand.classification), "report": measured(hand.report)}
    rows = [_measured_row("patient", f"by_hand_{name}", part, "minutes", kind) for name, part in parts.items()]
    by_hand = kind(parts["classification"]) + kind(parts["report"])
    rows.append(_computed_row("patient", "by_hand_total", by_hand, "minutes"))
    run = measured(machine.minutes)
    with_machine = kind(run)
    rows.append(_measured_row("patient", "machine_run", run, "minutes", kind))
    if review is not None:
        with_machine = with_machine + kind(measured(review.minutes))
        rows.append(_measured_row("patient", "machine_review", measured(review.minutes), "minutes", kind))
    rows += _saving_rows("patient", by_hand, with_machine)
    return rows + (_day_rows(hand, with_machine, kind) if all(hand.days) else [])


def _day_rows(hand: HandTimes, machine_per_patient: Quantity, kind: _Kind) -> list[dict[str, Any]]:
    days = sorted(set(hand.days))
    of_day = np.array([days.index(day) for day in hand.days])
    patients = measured(np.bincount(of_day))
    parts = {
        name: measured(np.bincount(of_day, weights=minutes))
        for name, minutes in (("classification", hand.classification), ("report", hand.report))
    }
    rows = [_measured_row("day", "patients", patients, "patients", kind)]
    rows += [_measured_row("day", f"by_hand_{name}", part, "minutes", kind) for name, part in parts.items()]
    by_hand = kind(parts["classification"]) + kind(parts["report"])
    rows.append(_computed_row("day", "by_hand_total", by_hand, "minutes"))
    return rows + _saving_rows("day", by_hand, kind(patients) * machine_per_patient)


def paired_minutes(
    hand: HandTimes, machine: PatientMinutes, review: PatientMinutes | None
) -> tuple[np.ndarray, np.ndarray]:
    """([P] minutes by hand, [P] minutes with the machine) of the patients whose times are all known, sorted by id."""
    by_hand = PatientMinutes(hand.classification + hand.report, hand.patient_ids).by_patient()
    sides = [machine.by_patient()] + ([review.by_patient()] if review is not None else [])
    shared = sorted(set(by_hand).intersection(*sides))
    totals = [sum(side[patient_id] for side in sides) for patient_id in shared]
    return np.array([by_hand[patient_id] for patient_id in shared]), np.array(totals, float)


def _paired_rows(hand: HandTimes, machine: PatientMinutes, review: PatientMinutes | None) -> list[dict[str, Any]]:
    by_hand, with_machine = paired_minutes(hand, machine, review)
    if len(by_hand) < 2:
        return []
    saved = measured(by_hand - with_machine)
    row = _measured_row("patient", "saved_paired", saved, "minutes", lambda found: found.quantity)
    rows = [row | {"sd_independent": saved.sd, "sd_worst_case": saved.sd}]
    if by_hand.sum() > 0:
        percent = percent_saved_paired(by_hand, with_machine)
        rows.append(_measured_row("patient", "saved_percent_paired", percent, "%", lambda found: found.quantity))
    return rows


def remarks(hand: HandTimes, machine: PatientMinutes, review: PatientMinutes | None) -> list[str]:
    """What was not computed, and whose times could not be compared with their own; one sentence each."""
    found = []
    without_day = sum(not day for day in hand.days)
    if 0 < without_day < len(hand.days):
        rows = f"{without_day} of {plural(len(hand.days), 'row')}"
        found.append(f"per day: not computed, {rows} of --technician_times have no day.")
    in_run, known = set(machine.by_patient()), {patient_ids.tidy(name) for name in hand.patient_ids if name}
    if known:
        who = f"{len(known & in_run)} of {plural(len(known), 'patient')} of --technician_times are in the run"
        count = len(paired_minutes(hand, machine, review)[0])
        how = f"{count} timed both ways are also compared patient by patient" if count > 1 else "compared as two groups"
        found.append(f"{who}; {how}.")
        matched = patient_ids.match(sorted(known), in_run)
        if matched.only_given:
            found.append(f"--technician_times: not in the run: {named(matched.only_given)}{matched.hint}.")
    strange = sorted(set(review.by_patient()) - in_run) if review is not None else []
    if strange:
        found.append(f"--review_times has {plural(len(strange), 'patient')} not in the run ({named(strange)}).")
    return found


def _image_row(model: str, against: str, seconds: np.ndarray, found: Trend) -> dict[str, Any]:
    return {
        "model": model,
        "against": against,
        "images": found.count,
        "median_seconds": float(np.median(seconds)),
        "spearman": found.spearman,
        "p_value": float(f"{found.p_value:.3g}"),
        "slope_seconds": found.slope,
        "slope_low_seconds": found.slope_low,
        "slope_high_seconds": found.slope_high,
        "slowdown_percent": slowdown_percent(seconds) if against == "position" else None,
    }


def write_turnaround(
    inference_dir: str | os.PathLike,
    output_dir: str | os.PathLike,
    hand: HandTimes | None,
    review: PatientMinutes | None,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Writes the tables and the plot; returns their rows (those of turnaround.csv are empty without times by hand)."""
    output, run = pathlib.Path(output_dir), run_folder.finished_run(inference_dir)
    machine = machine_minutes(run)
    rows = turnaround_rows(hand, machine, review) if hand is not None else []
    if rows:
        csv_schemas.load("turnaround").write_into(output, rows)
    times = image_times(inference_dir, run)
    image_rows = [
        _image_row(model, against, seconds, trend(x, seconds))
        for model, (cells, seconds) in times.items()
        for against, x in (("cells", cells), ("position", np.arange(len(seconds))))
    ]
    csv_schemas.load("turnaround_images").write_into(output, image_rows)
    if times:
        plot_turnaround(output / "turnaround.png", rows, times)
    return rows, image_rows


def plot_turnaround(
    path: str | os.PathLike, rows: Sequence[dict[str, Any]], times: Mapping[str, tuple[np.ndarray, np.ndarray]]
) -> None:
    """Minutes per patient by hand and with the machine; seconds per image against cells and over the run."""
    model, (cells, seconds) = next(iter(times.items()))
    columns = 3 if rows else 2
    with figures.drawing(path, 4.2 * columns, 3.8, 1, columns) as (figure, axes):
        if rows:
            _draw_minutes(axes[0], {row["step"]: row for row in rows if row["per"] == "patient"})
        top = 1.15 * float(np.quantile(seconds, 0.99)) if seconds.max() > 0 else 1.0
        faint = max(0.15, min(0.8, 200 / len(seconds)))
        panels = ((cells, "cells on the image"), (np.arange(1, len(seconds) + 1), "image of the run"))
        for panel, (x, label) in zip(axes[-2:], panels, strict=True):
            panel.plot(x, np.minimum(seconds, top), ".", color=cell_classes.BLUE, alpha=faint, markersize=4)
            panel.set(xlabel=label, ylabel="seconds per image", ylim=(0, top))
            found = trend(x, seconds)
            if not math.isnan(found.slope):
                middle = np.median(seconds) + found.slope * (np.array([x.min(), x.max()]) - np.median(x))
                panel.plot([x.min(), x.max()], middle, color=figures.INK, linewidth=1.3)
            panel.set_title(f"Spearman {found.spearman:+.2f}" if not math.isnan(found.spearman) else "too few images")
        figure.suptitle(f"model {figures.printable(model)}; line: median slope (Theil-Sen)", fontsize=9)


def _draw_minutes(axes: Axes, steps: Mapping[str, dict[str, Any]]) -> None:
    bars = (
        ("by hand", ("by_hand_classification", "by_hand_report"), _HAND_COLORS),
        ("machine", ("machine_run", "machine_review"), _MACHINE_COLORS),
    )
    for x, (_, names, colors) in enumerate(bars):
        bottom = 0.0
        for name, color in zip(names, colors, strict=True):
            if name in steps:
                label = name.removeprefix("by_hand_").removeprefix("machine_").replace("run", "machine's run")
                axes.bar(x, steps[name]["mean"], 0.55, bottom=bottom, color=color, label=label)
                bottom += steps[name]["mean"]
        total = steps["by_hand_total" if x == 0 else "machine_total"]
        axes.errorbar(x, total["mean"], total["error_worst_case"], color=figures.INK, capsize=4, linewidth=1.2)
    axes.set_xticks([0, 1], ["by hand", "machine"])
    axes.grid(visible=False, axis="x")
    saved = steps.get("saved_percent")
    axes.set_title(f"saved: {saved['mean']:.1f} % (standard error {saved['error_worst_case']:.1f})" if saved else "")
    axes.set_ylabel("minutes per patient (bar: standard error)")
    axes.title.set_fontsize(9)
    axes.legend(loc="upper right")

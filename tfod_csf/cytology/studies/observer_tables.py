"""The observers study: reads people's XML and the machine's rounds, writes the tables observers*.csv and the plot."""

import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from tfod_csf import cell_classes
from tfod_csf.cytology import run_tables
from tfod_csf.cytology.annotated_cells import AnnotationsError, ImageCells
from tfod_csf.cytology.studies.method_comparison import Estimate, number_columns
from tfod_csf.cytology.studies.observers import MIN_IMAGES, ObserverStudy, among_people, pair_kappas, study
from tfod_csf.detections import BOX_SIDES
from tfod_csf.files import csv_schemas
from tfod_csf.graphics import figures
from tfod_csf.problems import ProblemLog
from tfod_csf.study.patient_ids import composed
from tfod_csf.wording import plural

PEOPLE = "people"
ROUNDS = "rounds"
MACHINE_AMONG_PEOPLE = "machine_among_people"
# With fewer people a note says how little their spread is known.
_FEW_PEOPLE = 10
_COMPARED = ("predicted_class", "score", *BOX_SIDES)


def shared_images(observers: Mapping[str, Mapping[str, Any]], problems: ProblemLog) -> list[str]:
    """Images that every observer saw; what only some of them saw is noted.

    Raises:
      AnnotationsError: there is none.
    """
    everybody = set.intersection(*(set(seen) for seen in observers.values()))
    for name, seen in observers.items():
        lone = sorted(set(seen) - everybody)
        if lone:
            reason = f"{len(lone)} images that not every observer saw are ignored ({', '.join(lone[:3])}, ...)"
            problems.noted(name, reason, "Let every observer label the same images under the same names.")
    if not everybody:
        raise AnnotationsError(
            f"no image was seen by all of {', '.join(observers)}; the XML of one image needs the same name everywhere."
        )
    return sorted(everybody)


def read_round(inference_dir: str | os.PathLike, names: set[str], model: str | None = None) -> dict[str, ImageCells]:
    """Cells of one run as an observer sees them, {image: cells}, classes as counted.

    Args:
      names: images as people's folders name them ("patient/stem", or "stem" in a flat study, accents composed);
        decides which form is used; an image that nobody else has keeps "patient/stem".
      model: whose cells; None takes each patient's first model.

    Raises:
      TableError: `model` is not in the run.
    """
    found = {}
    for patient in map(_with_details, run_tables.patient_folders(inference_dir)):
        name = patient.model_or_first(model)
        cells = patient.cells[patient.cells["model"] == name]
        rows = cells.groupby("image", sort=False).indices
        for image in patient.images_used_by(name):
            stem = composed(pathlib.PurePosixPath(image).with_suffix("").as_posix())
            full = f"{composed(patient.patient_id)}/{stem}"
            of_image = cells.iloc[rows.get(image, [])]
            classes = tuple(map(cell_classes.canonical_name, of_image["counted_as"]))
            boxes = of_image[list(BOX_SIDES)].to_numpy(dtype=float)
            found[stem if full not in names and stem in names else full] = ImageCells(classes, boxes)
    return found


def _with_details(folder: pathlib.Path) -> run_tables.PatientTables:
    return run_tables.read_patient(folder, details=True)


def round_differences(rounds: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Rows of observers_differences.csv: every image on which a round is not, number by number, the first round.

    A round that failed on an image differs from one that examined it, also where that one found no cell.

    Raises:
      TableError: the rounds examined different patients.
    """
    first = run_tables.patient_folders(rounds[0])
    for other_dir in rounds[1:]:
        others = {folder.name: folder for folder in run_tables.patient_folders(other_dir)}
        if set(others) != {folder.name for folder in first}:
            raise run_tables.TableError(f"{other_dir}: not the same patients as in {rounds[0]}; repeat the whole run.")
        for folder in first:
            one, other = _with_details(folder), _with_details(others[folder.name])
            columns = ["image", *_COMPARED]
            same_cells = one.cells[columns].reset_index(drop=True).equals(other.cells[columns].reset_index(drop=True))
            of_one, of_other = _examined_by(one), _examined_by(other)
            if same_cells and of_one == of_other:
                continue
            for image in sorted(of_one.keys() | of_other.keys()):
                cells = [side.cells[side.cells["image"] == image] for side in (one, other)]
                row = _image_difference(cells[0], cells[1], of_one.get(image), of_other.get(image))
                if row:
                    same = {"patient_id": one.patient_id, "image": image}
                    yield {**same, "first_round": rounds[0], "other_round": other_dir, **row}


def _examined_by(patient: run_tables.PatientTables) -> dict[str, set[str]]:
    """{image: models that examined it} of every image of the patient; nobody where all failed."""
    examined: dict[str, set[str]] = {image: set() for image in patient.images["image"]}
    for model in patient.models:
        for image in patient.images_used_by(model):
            examined[image].add(model)
    return examined


def _image_difference(
    one: pd.DataFrame, other: pd.DataFrame, one_by: set[str] | None, other_by: set[str] | None
) -> dict[str, Any] | None:
    """How one image differs between two rounds; None where it does not.

    Args:
      one, other: its cells.
      one_by, other_by: the models that examined it; None where the round does not have the image.
    """
    row: dict[str, Any] = {
        "first_cells": len(one) if one_by else None,
        "other_cells": len(other) if other_by else None,
        "status_differs": one_by != other_by,
    }
    if len(one) != len(other):
        return row
    a, b = (table[list(_COMPARED)].reset_index(drop=True) for table in (one, other))
    if a.equals(b):
        return row if row["status_differs"] else None
    boxes = list(BOX_SIDES)
    return row | {
        "classes_changed": int((a["predicted_class"] != b["predicted_class"]).sum()),
        "largest_score_difference": float((a["score"] - b["score"]).abs().max()),
        "largest_box_difference_px": float((a[boxes] - b[boxes]).abs().to_numpy().max()),
    }


def _summary_rows(group: str, result: ObserverStudy, identical: bool | None) -> Iterator[dict[str, Any]]:
    same = {"group": group, "observers": len(result.observers)}

    def row(name: str, measure: str, value: float | Estimate) -> dict[str, Any]:
        return {**same, "class": name, "measure": measure, **number_columns(value)}

    for k, name in enumerate(result.classes):
        yield row(name, "mean", result.spreads[k].mean)
        yield row(name, "sd", result.spreads[k].sd)
        yield row(name, "cv_percent", result.spreads[k].cv_percent)
        yield row(name, "icc", result.icc[k])
    yield row("all", "fleiss_kappa", result.kappa)
    yield row("all", "fleiss_kappa_with_missed", result.kappa_with_missed)
    yield row("all", "cells_marked", float(result.num_cells))
    yield row("all", "cells_by_all", float(result.num_by_all))
    yield row("all", "images", float(len(result.images)))
    if identical is not None:
        yield row("all", "rounds_identical", float(identical))


def machine_rows(
    people: Mapping[str, Mapping[str, ImageCells]],
    machine: Mapping[str, ImageCells],
    images: Sequence[str],
    classes: Sequence[str],
    iou_threshold: float = 0.5,
) -> list[dict[str, Any]]:
    """Rows of observers_summary.csv on whether the machine lies within the people; none with fewer than two people.

    Args:
      machine: cells of its first round.
    """
    if len(people) < 2:
        return []
    seen = [[of[image] for image in images] for of in people.values()]
    by_machine = [machine[image] for image in images]
    same = {"group": MACHINE_AMONG_PEOPLE, "observers": len(people)}
    few = f"only {len(people)} people: their spread is hardly known" if len(people) < _FEW_PEOPLE else ""
    rows = []
    for name in classes:
        counts = [sum(image.counts()[name] for image in person) for person in seen]
        count = sum(image.counts()[name] for image in by_machine)
        found = among_people(counts, count)
        within = {**number_columns(float(count)), "ci_low": found.low, "ci_high": found.high}
        rows.append({**same, "class": name, "measure": "machine_count", **within, "note": few})
        verdict = "within the people" if found.is_within else "outside the people"
        unknown = "all people have the same count: no spread to compare with"
        note = unknown if np.isnan(found.z) else f"{verdict} (p = {found.p_value:.2g})"
        rows.append({**same, "class": name, "measure": "machine_z", **number_columns(found.z), "note": note})
    for name in ("all", *classes):
        kappas = pair_kappas(seen, by_machine, None if name == "all" else name, iou_threshold)
        few_images = f"no interval: fewer than {MIN_IMAGES} images with cells" if np.isnan(kappas.people.low) else ""
        for measure in ("people", "machine", "difference"):
            numbers = number_columns(getattr(kappas, measure))
            rows.append({**same, "class": name, "measure": f"kappa_{measure}", **numbers, "note": few_images})
    return rows


def write_observers(
    output_dir: str | os.PathLike,
    people: Mapping[str, Mapping[str, ImageCells]],
    rounds: Sequence[str],
    problems: ProblemLog,
    model: str | None = None,
    iou_threshold: float = 0.5,
) -> tuple[dict[str, ObserverStudy], int | None]:
    """Writes the tables and the plot.

    Args:
      people: {person: {image: cells}}, may be empty.
      rounds: output folders of batch_infer, may be empty; with people, only images all of both saw are counted.

    Returns:
      ({group: study}, number of images on which rounds differ; None with fewer than two rounds).
    """
    output = pathlib.Path(output_dir)
    names = {image for seen in people.values() for image in seen}
    machine = {folder: read_round(folder, names, model) for folder in rounds}
    images = shared_images({**people, **machine}, problems)
    seen = {name for of in (*people.values(), *machine.values()) for image in images for name in of[image].names}
    known = (*cell_classes.WHITE_CELLS, cell_classes.ERYTHROCYTE)
    classes = [*known, *sorted(seen - set(known))]
    differences = list(round_differences(rounds)) if len(rounds) > 1 else None
    groups = {name: group for name, group in ((PEOPLE, people), (ROUNDS, machine)) if group}
    studies = {name: study(group, images, classes, iou_threshold) for name, group in groups.items()}
    csv_schemas.load("observers").write_into(output, _count_rows(studies))
    identical = None if differences is None else not differences
    rows = [
        row
        for name, found in studies.items()
        for row in _summary_rows(name, found, identical if name == ROUNDS else None)
    ]
    if machine:
        rows += machine_rows(people, machine[rounds[0]], images, classes, iou_threshold)
    csv_schemas.load("observers_summary").write_into(output, rows)
    csv_schemas.load("observers_differences").write_into(output, differences or [])
    plot_counts(output / "observers.png", studies)
    return studies, None if differences is None else len(differences)


def _count_rows(studies: Mapping[str, ObserverStudy]) -> Iterator[dict[str, Any]]:
    for group, found in studies.items():
        for r, observer in enumerate(found.observers):
            for k, name in enumerate(found.classes):
                yield {"group": group, "observer": observer, "class": name, "cells": found.counts[r, k]}


def machine_text(path: str | os.PathLike) -> str:
    """One line on whether the machine lies within the people, from observers_summary.csv; "" where it does not say."""
    rows = [row for row in csv_schemas.load("observers_summary").read(path) if row["group"] == MACHINE_AMONG_PEOPLE]
    scores = [
        f"{row['class']} {row['value']:+.1f}"
        for row in rows
        if row["measure"] == "machine_z" and row["value"] is not None
    ]
    if not rows:
        return ""
    of_class = [row for row in rows if row["measure"] == "machine_z"]
    outside = [row["class"] for row in of_class if row["note"].startswith("outside")]
    # Where all people have the same count, nothing says whether the machine lies within them.
    unjudged = [row["class"] for row in of_class if row["value"] is None]
    verdict = f"outside them for {', '.join(outside)}" if outside else "within them for every class"
    if unjudged and not outside:
        verdict = "within them for every other class" if scores else "not known"
    same = f"; no spread to compare with for {', '.join(unjudged)}" if unjudged else ""
    shown = f" (z: {', '.join(scores)})" if scores else ""
    return f"the machine among {plural(rows[0]['observers'], 'person', 'people')}: {verdict}{shown}{same}"


def table_text(found: ObserverStudy) -> str:
    """The paper's Table 1 as text: a line per observer, and the standard deviations."""
    width = max(len("std dev"), *map(len, found.observers))
    lines = [" ".join([" " * width, *(f"{name:>12}" for name in found.classes)])]
    for name, counts in zip(found.observers, found.counts, strict=True):
        lines.append(" ".join([f"{name:<{width}}", *(f"{count:>12}" for count in counts)]))
    deviations = [" " * 11 + "-" if np.isnan(s.sd) else f"{s.sd:>12.1f}" for s in found.spreads]
    return "\n".join([*lines, " ".join([f"{'std dev':<{width}}", *deviations])])


def plot_counts(path: str | os.PathLike, studies: Mapping[str, ObserverStudy]) -> None:
    """Counts of every observer per class; bars from mean - SD to mean + SD."""
    classes = next(iter(studies.values())).classes
    with figures.drawing(path, max(6.0, 1.5 * len(classes) + 1.5), 4.0) as (figure, (axes,)):
        for group, found in studies.items():
            shift = {PEOPLE: -0.13, ROUNDS: 0.13}[group] if len(studies) > 1 else 0.0
            filled = group == PEOPLE
            for k, name in enumerate(classes):
                color, spread = cell_classes.color_of(name), found.spreads[k]
                if not np.isnan(spread.sd):
                    ends = [spread.mean - spread.sd, spread.mean + spread.sd]
                    axes.plot([k + shift] * 2, ends, color=color, linewidth=9, alpha=0.25, solid_capstyle="butt")
                places = k + shift + np.linspace(-0.06, 0.06, len(found.observers))
                face = color if filled else "white"
                style: dict[str, Any] = {
                    "marker": "o" if filled else "D",
                    "markerfacecolor": face,
                    "markeredgecolor": color,
                }
                axes.plot(places, found.counts[:, k], linestyle="", markersize=5.5, **style)
        axes.set_xticks(range(len(classes)), map(figures.printable, classes))
        axes.grid(visible=False, axis="x")
        shared = f"{plural(len(next(iter(studies.values())).images), 'image')} that all of them saw"
        axes.set(title=f"Cells counted by every observer on the {shared}", ylabel="cells counted")
        means = [spread.mean for found in studies.values() for spread in found.spreads if spread.mean]
        if means and max(means) > 15 * min(means):
            # Thousands of erythrocytes must not press a few monocytes onto the axis.
            axes.set_yscale("function", functions=(lambda y: np.sqrt(np.maximum(y, 0)), np.square))
            axes.set_ylabel("cells counted (square-root scale)")
        axes.set_ylim(bottom=0)
        handles = [
            Line2D([], [], linestyle="", marker="o", color=figures.INK, label="person"),
            Line2D([], [], linestyle="", marker="D", markerfacecolor="white", color=figures.INK, label="machine round"),
            Line2D([], [], color=figures.GRAY, linewidth=7, alpha=0.4, label="mean +- SD"),
        ]
        kept = [
            h for h, group in zip(handles, (PEOPLE, ROUNDS, None), strict=True) if group is None or group in studies
        ]
        figure.legend(handles=kept, loc="outside lower center", ncols=3)

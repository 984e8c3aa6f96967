"""How far two reviewers agree, cell by cell and in the differential, on images that both of them verified.

Each person's own version is rebuilt from the history (`statements`), whatever the current state is after disagreements
were settled. Two boxes are the same cell when they overlap enough, one to one, whatever they are called; a cell that
only one of two marked is `not marked` by the other.

Shape shorthand in this module:
  I: images that both verified.
  K: names a cell can have: classes, `unknown`, `not marked`.
  U: units that are sampled with replacement, images or patients.
"""

import dataclasses
import itertools
import math
import os
import pathlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from tfod_csf import cell_classes
from tfod_csf.cytology.counting.clustering import measure_clustering
from tfod_csf.cytology.review import changes, revisions, statements
from tfod_csf.cytology.review.sidecar import ReviewError, ShownCell
from tfod_csf.cytology.review.statements import PersonsWord
from tfod_csf.evaluation.matching import match_one_to_one
from tfod_csf.files import csv_schemas
from tfod_csf.problems import ProblemLog
from tfod_csf.wording import plural

NOT_MARKED = "not marked"
# With fewer units no interval is given: a bootstrap over them would be far too narrow.
MIN_UNITS = 5
# White cells each of two observers counts for a reference differential (CLSI H20-A2, 2007).
REFERENCE_CELLS = 200
_WHITE = cell_classes.WHITE_CELLS
Pairs = Counter[tuple[str, str]]  # (name by the first, name by the second): cells


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval; NaN where it is not defined or there are too few units for an interval."""

    value: float
    low: float = math.nan
    high: float = math.nan


@dataclasses.dataclass(frozen=True)
class Reference:
    """The differential of two observers together (CLSI H20-A2: 2 x 200 cells).

    Attributes:
      percents: [3] mean of the two people's percentages, in the order of `WHITE_CELLS`; NaN without white cells.
      cells: white cells it rests on: per image the mean of those who verified it, because two people who look at one
        image count the same cells.
      effective_cells: independently drawn cells that these are worth (`clustering`).
      limits: [3, 2] exact 95 % binomial limits of these percentages with `effective_cells`, each class by itself.
      note: why it is not a reference by H20-A2; "" when it is one.
    """

    percents: np.ndarray
    cells: float
    effective_cells: float
    limits: np.ndarray
    note: str


@dataclasses.dataclass(frozen=True)
class PatientPair:
    """Two people on one patient.

    Attributes:
      first, second: names, in alphabetical order.
      images: [I] images both verified, sorted.
      independent: whether neither had been shown what the other had decided.
      pairs: [I] cells by both names.
      white: [2, I, 3] white cells of each person, image and class.
      reference: from all images that either verified.
    """

    patient_id: str
    first: str
    second: str
    images: tuple[str, ...]
    independent: bool
    pairs: tuple[Pairs, ...]
    white: np.ndarray
    reference: Reference

    @property
    def all_pairs(self) -> Pairs:
        """Cells of all images by both names."""
        return sum(self.pairs, Counter())


def cell_pairs(first: Sequence[ShownCell], second: Sequence[ShownCell], iou_threshold: float = 0.5) -> Pairs:
    """Cells of one image by the names two people gave them."""
    one, other = (changes.boxes_array([cell.box for cell in cells]) for cells in (first, second))
    matching = match_one_to_one(one, other, iou_threshold)
    pairs: Pairs = Counter()
    for row, column in zip(matching.first, matching.second, strict=True):
        pairs[first[row].name, second[column].name] += 1
    pairs.update((first[row].name, NOT_MARKED) for row in matching.unmatched_first)
    pairs.update((NOT_MARKED, second[column].name) for column in matching.unmatched_second)
    return pairs


def only_white(pairs: Pairs) -> Pairs:
    """Those of the cells that at least one of two people called a white cell."""
    return Counter({names: count for names, count in pairs.items() if set(names) & set(_WHITE)})


def kappa(units: Sequence[Pairs], replicates: int = 1000, seed: int = 0) -> Estimate:
    """Cohen's kappa of all cells, with a percentile bootstrap over whole units.

    Args:
      units: [U] cells by both names, per image or per patient.

    Returns:
      NaN where there are no cells, or both gave one and the same name to all; no interval with fewer than `MIN_UNITS`.
    """
    names = sorted({name for pairs in units for names in pairs for name in names})
    tables = np.array([[[pairs[a, b] for b in names] for a in names] for pairs in units], float)
    if not names:
        return Estimate(math.nan)

    def of(sums: np.ndarray) -> np.ndarray:
        total = sums.sum(axis=(-2, -1))
        with np.errstate(divide="ignore", invalid="ignore"):
            observed = np.trace(sums, axis1=-2, axis2=-1) / total
            chance = (sums.sum(axis=-1) * sums.sum(axis=-2)).sum(axis=-1) / total**2
            return (observed - chance) / (1 - chance)

    value = float(of(tables.sum(axis=0)))
    if len(units) < MIN_UNITS or math.isnan(value):
        return Estimate(value)
    times = np.random.default_rng(seed).multinomial(len(units), np.full(len(units), 1 / len(units)), replicates)
    again = of(np.einsum("ru,uab->rab", times, tables))
    again = again[np.isfinite(again)]
    return Estimate(value, *map(float, np.quantile(again, [0.025, 0.975])))


def percents(white: np.ndarray) -> np.ndarray:
    """[..., 3] percentages of [..., 3] white cells; NaN without any."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return 100 * white / white.sum(axis=-1, keepdims=True)


def differences(white: np.ndarray, replicates: int = 1000, seed: int = 0) -> list[Estimate]:
    """Second person's minus first person's percentage of each white-cell class, on the same images.

    The two counted the same cells, so whole images are sampled with replacement for both at once.

    Args:
      white: [2, I, 3] white cells.
    """
    value = np.diff(percents(white.sum(axis=1)), axis=0)[0]
    num_images = white.shape[1]
    if num_images < MIN_UNITS or np.isnan(value).any():
        return [Estimate(float(one)) for one in value]
    times = np.random.default_rng(seed).multinomial(num_images, np.full(num_images, 1 / num_images), replicates)
    again = np.diff(percents(np.einsum("ri,pik->prk", times, white)), axis=0)[0]
    low, high = np.nanquantile(again, [0.025, 0.975], axis=0)
    return [Estimate(*map(float, ends)) for ends in zip(value, low, high, strict=True)]


def mean_difference(values: Sequence[float]) -> Estimate:
    """Mean over patients with its interval from their spread (t distribution); none with fewer than three patients."""
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return Estimate(math.nan)
    mean = float(np.mean(known))
    if len(known) < 3:
        return Estimate(mean)
    half = float(stats.t.ppf(0.975, len(known) - 1) * np.std(known, ddof=1) / math.sqrt(len(known)))
    return Estimate(mean, mean - half, mean + half)


def _white_counts(cells: Iterable[ShownCell]) -> np.ndarray:
    counts = Counter(cell_classes.canonical_name(cell.name) for cell in cells)
    return np.array([counts[name] for name in _WHITE], float)


def reference(first: Mapping[str, Sequence[ShownCell]], second: Mapping[str, Sequence[ShownCell]]) -> Reference:
    """The differential of two people together.

    Args:
      first, second: {image: cells} of all images the person verified.
    """
    counts = [{image: _white_counts(cells) for image, cells in person.items()} for person in (first, second)]
    totals = np.array([sum(person.values(), np.zeros(len(_WHITE))) for person in counts])
    images = sorted({*first, *second})
    by_image = [np.mean([person[image] for person in counts if image in person], axis=0) for image in images]
    together = np.array(by_image).reshape(-1, len(_WHITE))
    cells, mean = float(together.sum()), percents(totals).mean(axis=0)
    effective = measure_clustering(together).effective_cells(cells)
    limits = np.full((len(_WHITE), 2), math.nan)
    if cells and not np.isnan(mean).any():
        ends = proportion_confint(np.minimum(mean / 100 * effective, effective), effective, alpha=0.05, method="beta")
        limits = 100 * np.stack(ends, axis=1)
    fewer = [f"{total:.0f}" for total in totals.sum(axis=1)]
    note = ""
    if totals.sum(axis=1).min() < REFERENCE_CELLS:
        note = f"not 2 x {REFERENCE_CELLS} cells: {fewer[0]} and {fewer[1]} white cells were counted"
    return Reference(mean, cells, effective, limits, note)


def _is_independent(one: PersonsWord, other: PersonsWord, images: Iterable[str]) -> bool:
    return all(
        one.exported_from[image] < other.first_revision and other.exported_from[image] < one.first_revision
        for image in images
    )


def patient_pairs(patient_folder: pathlib.Path, iou_threshold: float = 0.5) -> list[PatientPair]:
    """All pairs of reviewers of a patient who verified an image in common; empty when there are none.

    Raises:
      RevisionError: the history is broken.
      ReviewError: the imported state in a revision cannot be read.
    """
    chain = revisions.read_revisions(patient_folder)
    said = statements.read_statements(chain)
    found = []
    for one, other in itertools.combinations(sorted(said), 2):
        first, second = said[one], said[other]
        images = tuple(sorted(set(first.verified) & set(second.verified)))
        if not images:
            continue
        pairs = tuple(cell_pairs(first.verified[image], second.verified[image], iou_threshold) for image in images)
        white = [[_white_counts(person.verified[image]) for image in images] for person in (first, second)]
        found.append(
            PatientPair(
                patient_id=chain[-1].record["patient_id"],
                first=first.reviewer,
                second=second.reviewer,
                images=images,
                independent=_is_independent(first, second, images),
                pairs=pairs,
                white=np.array(white),
                reference=reference(first.verified, second.verified),
            )
        )
    return found


def _estimate_columns(name: str, found: Estimate) -> dict[str, float]:
    return {name: found.value, f"{name}_ci_low": found.low, f"{name}_ci_high": found.high}


def _agreement_columns(units: Sequence[Pairs]) -> dict[str, Any]:
    """Counts of cells, and kappa of all, of those both marked, and of white cells."""
    total: Pairs = sum(units, Counter())
    both = [Counter({names: n for names, n in unit.items() if NOT_MARKED not in names}) for unit in units]
    return {
        "cells": total.total(),
        "cells_by_both": sum(unit.total() for unit in both),
        "cells_same_class": sum(count for (a, b), count in total.items() if a == b),
        **_estimate_columns("kappa", kappa(units)),
        **_estimate_columns("kappa_by_both", kappa(both)),
        **_estimate_columns("kappa_white_cells", kappa([only_white(unit) for unit in units])),
    }


def patient_row(pair: PatientPair) -> dict[str, Any]:
    """The row of review_agreement.csv of two people on one patient."""
    by_person, found = percents(pair.white.sum(axis=1)), differences(pair.white)
    row = {
        "patient_id": pair.patient_id,
        "first_reviewer": pair.first,
        "second_reviewer": pair.second,
        "patients": 1,
        "images": len(pair.images),
        "independent": pair.independent,
        **_agreement_columns(pair.pairs),
        "white_cells_first": pair.white[0].sum(),
        "white_cells_second": pair.white[1].sum(),
        "reference_cells": pair.reference.cells,
        "reference_effective_cells": pair.reference.effective_cells,
        "note": pair.reference.note,
    }
    for k, name in enumerate(_WHITE):
        row[f"{name}_percent_first"], row[f"{name}_percent_second"] = by_person[:, k]
        row |= _estimate_columns(f"{name}_difference", found[k])
        row[f"{name}_reference_percent"] = pair.reference.percents[k]
        row[f"{name}_reference_ci_low"], row[f"{name}_reference_ci_high"] = pair.reference.limits[k]
    return row


def overall_row(rows: Sequence[Mapping[str, Any]], units: Sequence[Pairs]) -> dict[str, Any]:
    """The row over all patients of two people: cells together, percentages as means over patients.

    Args:
      rows: of the patients.
      units: [U] their cells by both names.
    """
    row: dict[str, Any] = {
        "first_reviewer": rows[0]["first_reviewer"],
        "second_reviewer": rows[0]["second_reviewer"],
        "patients": len(rows),
        "images": sum(row["images"] for row in rows),
        "independent": all(row["independent"] for row in rows),
        **_agreement_columns(units),
        "white_cells_first": sum(row["white_cells_first"] for row in rows),
        "white_cells_second": sum(row["white_cells_second"] for row in rows),
        "note": "" if len(rows) >= MIN_UNITS else f"no interval of kappa with fewer than {MIN_UNITS} patients",
    }
    for name in _WHITE:
        for column in (f"{name}_percent_first", f"{name}_percent_second"):
            row[column] = mean_difference([one[column] for one in rows]).value
        row |= _estimate_columns(f"{name}_difference", mean_difference([one[f"{name}_difference"] for one in rows]))
    return row


@dataclasses.dataclass
class ReviewerAgreement:
    """Result of `write_agreement`.

    Attributes:
      overall: the row over all patients of every pair of people.
    """

    overall: list[dict[str, Any]]

    def __str__(self) -> str:
        lines = []
        for row in self.overall:
            low, high = row["kappa_white_cells_ci_low"], row["kappa_white_cells_ci_high"]
            ends = "" if math.isnan(low) else f" ({low:.2f} to {high:.2f})"
            lines.append(
                f"{row['first_reviewer']} and {row['second_reviewer']}: {plural(row['patients'], 'patient')}, "
                f"{plural(row['images'], 'image')}, {plural(row['cells'], 'cell')}; kappa {row['kappa']:.2f}, "
                f"over white cells {row['kappa_white_cells']:.2f}{ends}"
                + ("" if row["independent"] else "; one of them had seen the other's decisions")
            )
        return "\n".join(lines)


def write_agreement(
    patient_folders: Iterable[pathlib.Path],
    output_dir: str | os.PathLike,
    problems: ProblemLog,
    iou_threshold: float = 0.5,
) -> ReviewerAgreement:
    """Writes review_agreement.csv and review_agreement_cells.csv.

    A patient whose history cannot be read is skipped, with a row in `problems`.

    Raises:
      ReviewError: no image was verified by two people.
    """
    rows: dict[tuple[str, str], list[dict[str, Any]]] = {}
    units: dict[tuple[str, str], list[Pairs]] = {}
    for folder in patient_folders:
        try:
            found = patient_pairs(folder, iou_threshold)
        except (revisions.RevisionError, ReviewError) as error:
            problems.skipped(folder, str(error), "Put the files back from a backup.")
            continue
        for pair in found:
            people = (revisions.reviewer_key(pair.first), revisions.reviewer_key(pair.second))
            rows.setdefault(people, []).append(patient_row(pair))
            units.setdefault(people, []).append(pair.all_pairs)
    if not rows:
        raise ReviewError(
            "no image was verified by two reviewers; run review_export once for each of them, and let both mark the "
            "same images as verified."
        )
    overall = {people: overall_row(rows[people], units[people]) for people in rows}
    lines = (row for people in rows for row in (*rows[people], overall[people]))
    csv_schemas.load("review_agreement").write_into(output_dir, lines)
    csv_schemas.load("review_agreement_cells").write_into(output_dir, _cell_rows(overall, units))
    return ReviewerAgreement(list(overall.values()))


def _cell_rows(overall: Mapping[Any, Mapping[str, Any]], units: Mapping[Any, Sequence[Pairs]]) -> Iterator[dict]:
    for people, row in overall.items():
        same = {"first_reviewer": row["first_reviewer"], "second_reviewer": row["second_reviewer"]}
        for (first, second), count in sorted(sum(units[people], Counter()).items()):
            yield {**same, "first_class": first, "second_class": second, "cells": count}

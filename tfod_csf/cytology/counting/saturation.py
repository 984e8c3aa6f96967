"""Percentage of each class against cells counted, and where it stops moving (Figure 2).

Shape shorthand in this module:
  I: images of a patient.
  N: white cells on them.
  K: the three white-cell classes.
  B: random replicates.
  G: numbers of cells (or of images) at which a band is computed.
  d: the tolerance in percentage points.

A class's error at n cells is |its percentage among the first n - its percentage among all N|.

How it works. Two questions look alike and are not:

* Random orders: the patient's own images in random order, cells of an image in random order, each cell once. This is
  Figure 2. Its band shrinks to nothing at N by construction, also when N is far too small; so n_sat beyond 70 % of N
  counts as "not saturated". n_sat is the smallest n, of all 1 .. N, such that for this and every larger n the largest
  class error is within d with probability at least 0.95; it is never below the minimum for percentages, and there is
  none where all cells are of one class, because then nothing can move.
* Images drawn with replacement, j = 1, 2, ... of them, also more than the patient has. Whole images are drawn because
  cells of one kind lie together; the band shows what another set of images of the same slide could have given and does
  not close at N.

Whether enough cells were counted, and how many would be, is answered in one place for all tables and pages:
enough_cells.py. The paper reports one number for all (onset about 150 cells, 315 on average, against the hospital's
rule of 200); here each patient has one, and patients are summarized per case by medians.
"""

import dataclasses
import math
import zlib
from collections.abc import Iterable, Sequence

import numpy as np

from tfod_csf.cytology.counting import intervals
from tfod_csf.cytology.counting.clustering import MIN_IMAGES, Clustering
from tfod_csf.cytology.counting.enough_cells import PROBABILITY, first_lasting, redrawn_counts

# What the paper reports beside Figure 2, in white cells.
PAPER_CELLS = {"paper: onset of saturation": 150, "paper: the hospital's rule": 200, "paper: needed on average": 315}

_MAX_GRID = 200
_MAX_CHUNK_CELLS = 2_000_000
# A rounding error of float32 must not turn an error of exactly d into one above it.
_ROUNDING = 1e-4
# From fewer patients order statistics give no 95 % interval of a median.
_MIN_PATIENTS = 6


@dataclasses.dataclass(frozen=True)
class SaturationRules:
    """Numbers behind the curves.

    Attributes:
      tolerance_points: d.
      replicates: B of the random orders and of the drawn images; at least 1000 for a usable 2.5 % quantile.
      max_fraction: n_sat of the random orders beyond this fraction of N counts as not saturated.
      min_white_cells: under this many no percentages are given, so nothing can saturate.
      seed: of the random numbers; each patient has its own stream, whatever the order of patients.
    """

    tolerance_points: float = 10.0
    replicates: int = 1000
    max_fraction: float = 0.7
    min_white_cells: int = 30
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Band:
    """Percentages of the classes against the number of cells.

    Attributes:
      cells: [G] white cells (drawn images: expected on j images, j = 1 .. G).
      median, low, high: [G, K] percent: median, 2.5 % and 97.5 % quantile over the replicates.
      within: [G] fraction of replicates whose largest class error is within d.
    """

    cells: np.ndarray
    median: np.ndarray
    low: np.ndarray
    high: np.ndarray
    within: np.ndarray


@dataclasses.dataclass(frozen=True)
class Saturation:
    """Curves of one patient.

    Attributes:
      num_images: I, images without white cells included.
      white_cells: N.
      percent: [K] final percentages; empty without white cells.
      orders: band of the random orders, None without white cells.
      bootstrap: band of the drawn images, None where fewer than 5 images hold white cells.
      n_sat_orders: white cells; None means not saturated, too few cells, or (one class) not known.
    """

    num_images: int
    white_cells: int
    percent: np.ndarray
    orders: Band | None
    bootstrap: Band | None
    n_sat_orders: int | None

    @property
    def cells_per_image(self) -> float | None:
        """White cells per image; None without images."""
        return self.white_cells / self.num_images if self.num_images else None

    @property
    def has_one_class(self) -> bool:
        """Whether all white cells are of one class, so that no curve can show anything."""
        return int(np.count_nonzero(self.percent)) == 1


def saturation(patient_id: str, image_counts: np.ndarray, rules: SaturationRules = SaturationRules()) -> Saturation:
    """Random orders and drawn images of one patient.

    Args:
      patient_id: seeds the patient's random numbers.
      image_counts: [I, K] whole numbers of cells per image and class; images without cells belong here too.
      rules: numbers behind the curves.
    """
    counts = np.asarray(image_counts)
    if counts.ndim != 2 or not np.array_equal(counts, np.rint(counts)):
        raise ValueError("image_counts must be [images, classes] whole numbers of one model")
    counts = counts.astype(np.int64)
    num_images, white = len(counts), int(counts.sum())
    if not white:
        return Saturation(num_images, white, np.empty(0), None, None, None)
    percent = 100 * counts.sum(axis=0) / white
    orders, within = _random_orders(patient_id, counts, percent, rules)
    bootstrap = _drawn_images(patient_id, counts, percent, rules) if _can_be_drawn(counts) else None
    result = Saturation(num_images, white, percent, orders, bootstrap, None)
    return dataclasses.replace(result, n_sat_orders=_n_sat(within, result, rules))


def _can_be_drawn(counts: np.ndarray) -> bool:
    return int(np.count_nonzero(counts.sum(axis=1))) >= MIN_IMAGES


def _n_sat(within: np.ndarray, result: Saturation, rules: SaturationRules) -> int | None:
    """n_sat from [N] fractions of orders within d at 1 .. N cells."""
    first = first_lasting(within, PROBABILITY)
    if first is None or result.has_one_class or result.white_cells < rules.min_white_cells:
        return None
    n_sat = max(first + 1, rules.min_white_cells)
    return n_sat if n_sat <= rules.max_fraction * result.white_cells else None


def _random_orders(
    patient_id: str, counts: np.ndarray, percent: np.ndarray, rules: SaturationRules
) -> tuple[Band, np.ndarray]:
    """Each cell once: images in random order, cells of an image in random order.

    Returns:
      (the band at a grid of numbers of cells up to N, [N] fraction of orders within d at each number of cells).
    """
    rng = np.random.default_rng([rules.seed, zlib.crc32(patient_id.encode()), 1])
    num_images, num_classes = counts.shape
    image_of = np.repeat(np.arange(num_images), counts.sum(axis=1))
    class_of = np.concatenate([np.repeat(np.arange(num_classes), row) for row in counts]).astype(np.int8)
    total = len(class_of)
    every = np.arange(1, total + 1)
    grid = np.unique(np.linspace(1, total, min(total, _MAX_GRID)).round().astype(int))
    percents = np.empty((rules.replicates, len(grid), num_classes), np.float32)
    within = np.zeros(total)
    step = max(1, _MAX_CHUNK_CELLS // total)
    for start in range(0, rules.replicates, step):
        size = min(step, rules.replicates - start)
        # A random rank per image plus a random fraction per cell: sorting by the sum shuffles images, then cells.
        ranks = rng.random((size, num_images), np.float32).argsort(axis=1).argsort(axis=1).astype(np.float32)
        keys = ranks[:, image_of] + rng.random((size, total), np.float32)
        ordered = class_of[keys.argsort(axis=1)]
        largest = np.zeros((size, total), np.float32)
        for k in range(num_classes):
            seen = np.float32(100) * np.cumsum(ordered == k, axis=1, dtype=np.int32) / every.astype(np.float32)
            percents[start : start + size, :, k] = seen[:, grid - 1]
            np.maximum(largest, np.abs(seen - np.float32(percent[k])), out=largest)
        within += (largest <= rules.tolerance_points + _ROUNDING).sum(axis=0)
    return _band(grid, percents, percent, rules), within / rules.replicates


def _drawn_images(patient_id: str, counts: np.ndarray, percent: np.ndarray, rules: SaturationRules) -> Band:
    """Images with replacement; the draws are those of the answer where the rules have its number and seed."""
    drawn = redrawn_counts(patient_id, counts, rules.replicates, rules.seed)
    with np.errstate(invalid="ignore"):  # NaN where the drawn images hold no cell
        parts = [(100 * seen / seen.sum(axis=2, keepdims=True)).astype(np.float32) for seen in drawn]
    percents = np.concatenate(parts)
    expected = np.arange(1, percents.shape[1] + 1) * counts.sum() / len(counts)
    return _band(expected, percents, percent, rules)


def _band(cells: np.ndarray, percents: np.ndarray, final: np.ndarray, rules: SaturationRules) -> Band:
    """Quantiles over replicates of [B, G, K] percentages, and how often the largest error is within d."""
    largest = np.abs(percents - final.astype(np.float32)).max(axis=2)  # NaN (no cell seen) is not within
    within = (largest <= rules.tolerance_points + _ROUNDING).mean(axis=0)
    ordered = np.sort(percents, axis=0)  # NaN last
    found = np.maximum((~np.isnan(percents[:, :, 0])).sum(axis=0), 1)[:, None]  # [G, 1]

    def quantile(q: float) -> np.ndarray:
        index = np.broadcast_to(np.rint(q * (found - 1)).astype(int), ordered.shape[1:])
        return np.take_along_axis(ordered, index[None], axis=0)[0]

    return Band(cells, quantile(0.5), quantile(0.025), quantile(0.975), within)


@dataclasses.dataclass(frozen=True)
class CaseSummary:
    """Median n_sat over the patients of a case.

    Attributes:
      case: case name, "all" for everybody.
      patients: patients whose n_sat was looked for.
      saturated: those that have one.
      median: lower median; inf where half of the patients or more are "not saturated", who count as larger than any
        number.
      low, high: its 95 % bootstrap interval over patients; inf where it is not bounded, None with fewer than 6 patients
        or without a median.
    """

    case: str
    patients: int
    saturated: int
    median: float
    low: float | None
    high: float | None


def summarize_cases(
    n_sat: Sequence[float | None], case: Sequence[str], replicates: int = 1000, seed: int = 0
) -> list[CaseSummary]:
    """Medians per case and over all; a patient without n_sat (None) counts as larger than any number.

    Leaving unsaturated patients out would make the median too small: they are the ones that need the most cells.
    Patients of whom it is not known do not belong into `n_sat`.
    """
    values = np.array([math.inf if value is None else value for value in n_sat], dtype=float)
    cases = np.array(case, dtype=object)
    summaries = []
    for name in [*dict.fromkeys(sorted(case)), "all"]:
        chosen = values if name == "all" else values[cases == name]
        if not len(chosen):
            continue
        median = _median(chosen)
        low, high = None, None
        if len(chosen) >= _MIN_PATIENTS and math.isfinite(median):
            rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
            medians = np.sort([_median(rng.choice(chosen, len(chosen))) for _ in range(replicates)])
            low, high = medians[[round(0.025 * (replicates - 1)), round(0.975 * (replicates - 1))]].tolist()
        saturated = int(np.isfinite(chosen).sum())
        summaries.append(CaseSummary(name, len(chosen), saturated, median, low, high))
    return summaries


def _median(values: np.ndarray) -> float:
    """Lower median, which is one of the values and stays defined with infinite ones."""
    return float(np.partition(values, (len(values) - 1) // 2)[(len(values) - 1) // 2])


def planner_rows(
    tolerances_points: Iterable[float], shares: Sequence[float] | None = None, clustering: Clustering | None = None
) -> list[dict]:
    """Cells to count, asked as `enough_cells` asks; rows of saturation_planner.csv.

    Args:
      tolerances_points: the reach to plan for.
      shares: [K] shares of a typical patient; None leaves the number for these empty.
      clustering: of a typical patient (`typical_clustering`); None plans for independent cells.
    """
    clustering = clustering or Clustering()
    rows = []
    for points in tolerances_points:
        anyone = intervals.cells_needed_worst(points / 100, effective_cells=clustering.effective_cells)
        needed = None
        if shares is not None:
            needed = intervals.cells_needed(shares, points / 100, effective_cells=clustering.effective_cells)
        rows.append(
            {"plan": f"within {points:g} points", "reach_points": points}
            | {"cells_needed": needed, "cells_needed_worst": anyone, "design_effect": clustering.design_effect}
        )
    for name, cells in PAPER_CELLS.items():
        reach = intervals.reach_points_worst(clustering.effective_cells(cells))
        rows.append(
            {"plan": name, "reach_points": reach}
            | {"cells_needed_worst": cells, "design_effect": clustering.design_effect}
        )
    return rows


def typical_clustering(patients: Sequence[Clustering]) -> Clustering | None:
    """Median design effect, and median white cells on an equally filled image, of the patients who have one."""
    known = [patient for patient in patients if patient.design_effect is not None]
    if not known:
        return None
    return Clustering(
        white_cells=float(np.median([patient.white_cells / patient.equal_images for patient in known])),
        images=1,
        classes=3,
        equal_images=1.0,
        design_effect=float(np.median([patient.design_effect for patient in known])),
    )

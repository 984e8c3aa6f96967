"""How many cells are enough: percentage of each class against cells counted, and where it stops moving (Figure 2).

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
  counts as "not saturated".
* Bootstrap: images sampled with replacement, j = 1, 2, ... of them, also more than the patient has. Whole images are
  sampled because cells of one kind lie together; the band shows what another set of images of the same slide could have
  given and does not close at N. It also answers how many images would be needed.

In both, n_sat is the smallest n such that for this and every larger n the largest class error is within d with
probability at least 0.95. The paper reports one number for all (onset about 150 cells, 315 on average, against the
hospital's rule of 200); here each patient has one, and patients are summarized per case by medians.
"""

import dataclasses
import math
import zlib
from collections.abc import Iterable, Sequence

import numpy as np

from tfod_csf.cytology.counting import intervals

# What the paper reports beside Figure 2, in white cells.
PAPER_CELLS = {"paper: onset of saturation": 150, "paper: the hospital's rule": 200, "paper: needed on average": 315}

_MAX_GRID = 200
_MAX_CHUNK_CELLS = 2_000_000


@dataclasses.dataclass(frozen=True)
class SaturationRules:
    """Numbers behind n_sat.

    Attributes:
      tolerance_points: d.
      probability: with which the largest error must be within d.
      replicates: B of the random orders and of the bootstrap; at least 1000 for a usable 2.5 % quantile.
      max_fraction: n_sat of the random orders beyond this fraction of N counts as not saturated.
      max_images_factor: the bootstrap looks for the images needed up to this many times I.
      min_white_cells: under this many no percentages are given, so nothing can saturate.
      min_images: with fewer images there is too little to sample from, and no bootstrap is made.
      seed: of the random numbers; each patient has its own stream, whatever the order of patients.
    """

    tolerance_points: float = 10.0
    probability: float = 0.95
    replicates: int = 1000
    max_fraction: float = 0.7
    max_images_factor: int = 4
    min_white_cells: int = 30
    min_images: int = 5
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Band:
    """Percentages of the classes against the number of cells.

    Attributes:
      cells: [G] white cells (bootstrap: expected at j images, j = 1 .. G).
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
    """Result for one patient.

    Attributes:
      num_images: I, images without white cells included.
      white_cells: N.
      percent: [K] final percentages; empty without white cells.
      orders: band of the random orders, None without white cells.
      bootstrap: band of the bootstrap, None where there are too few images or cells.
      n_sat_orders, n_sat_bootstrap: white cells; None means not saturated (or, without a band, not known).
      images_needed: images the bootstrap needs, possibly more than I; None where it needs more than it looked at.
      design_effect: variance of the bootstrap at I images over that of N independently sampled cells.
    """

    num_images: int
    white_cells: int
    percent: np.ndarray
    orders: Band | None
    bootstrap: Band | None
    n_sat_orders: int | None
    n_sat_bootstrap: int | None
    images_needed: int | None
    design_effect: float | None
    note: str

    @property
    def cells_per_image(self) -> float | None:
        """White cells per image; None without images."""
        return self.white_cells / self.num_images if self.num_images else None

    @property
    def saturated(self) -> bool | None:
        """Whether the bootstrap's n_sat lies within the data; None where there is no bootstrap."""
        return None if self.bootstrap is None else self.n_sat_bootstrap is not None


def saturation(patient_id: str, image_counts: np.ndarray, rules: SaturationRules = SaturationRules()) -> Saturation:
    """Random orders and bootstrap of one patient.

    Args:
      patient_id: seeds the patient's random numbers.
      image_counts: [I, K] whole numbers of cells per image and class; images without cells belong here too.
      rules: numbers behind n_sat.
    """
    counts = np.asarray(image_counts)
    if counts.ndim != 2 or not np.array_equal(counts, np.rint(counts)):
        raise ValueError("image_counts must be [images, classes] whole numbers of one model")
    counts = counts.astype(np.int64)
    num_images, white = len(counts), int(counts.sum())
    if white < max(rules.min_white_cells, 1):
        note = f"fewer than {max(rules.min_white_cells, 1)} white cells: not saturated"
        percent = 100 * counts.sum(axis=0) / white if white else np.empty(0)
        return Saturation(num_images, white, percent, None, None, None, None, None, None, note)
    rng = np.random.default_rng([rules.seed, zlib.crc32(patient_id.encode())])
    percent = 100 * counts.sum(axis=0) / white
    orders = _random_orders(counts, percent, rules, rng)
    n_sat = first_lasting(orders.within, rules.probability)
    n_sat_orders = None if n_sat is None else int(orders.cells[n_sat])
    if n_sat_orders is not None and n_sat_orders > rules.max_fraction * white:
        n_sat_orders = None
    if num_images < rules.min_images:
        note = f"fewer than {rules.min_images} images: no bootstrap"
        return Saturation(num_images, white, percent, orders, None, n_sat_orders, None, None, None, note)
    bootstrap, design_effect = _bootstrap_images(counts, percent, rules, rng)
    j = first_lasting(bootstrap.within, rules.probability)
    images_needed = None if j is None else j + 1
    n_sat = None
    if images_needed is not None and images_needed <= num_images:
        n_sat = math.ceil(images_needed * white / num_images)
    note = "" if n_sat is not None else "not saturated"
    if np.count_nonzero(percent) == 1:
        note = "; ".join(filter(None, [note, "all white cells are of one class: resampling shows no spread"]))
    return Saturation(
        num_images=num_images,
        white_cells=white,
        percent=percent,
        orders=orders,
        bootstrap=bootstrap,
        n_sat_orders=n_sat_orders,
        n_sat_bootstrap=n_sat,
        images_needed=images_needed,
        design_effect=design_effect,
        note=note,
    )


def first_lasting(within: np.ndarray, probability: float) -> int | None:
    """Smallest index from which on every value is at least `probability`; None when the last one is not.

    >>> first_lasting(np.array([0.96, 0.5, 0.95, 0.99]), 0.95), first_lasting(np.array([1.0, 0.9]), 0.95)
    (2, None)
    """
    below = np.flatnonzero(within < probability)
    first = int(below[-1]) + 1 if len(below) else 0
    return first if first < len(within) else None


def _random_orders(counts: np.ndarray, percent: np.ndarray, rules: SaturationRules, rng: np.random.Generator) -> Band:
    """Each cell once: images in random order, cells of an image in random order; every n of a grid up to N."""
    num_images, num_classes = counts.shape
    image_of = np.repeat(np.arange(num_images), counts.sum(axis=1))
    class_of = np.concatenate([np.repeat(np.arange(num_classes), row) for row in counts]).astype(np.int8)
    total = len(class_of)
    grid = np.unique(np.linspace(1, total, min(total, _MAX_GRID)).round().astype(int))
    percents = np.empty((rules.replicates, len(grid), num_classes), np.float32)
    step = max(1, _MAX_CHUNK_CELLS // total)
    for start in range(0, rules.replicates, step):
        size = min(step, rules.replicates - start)
        # A random rank per image plus a random fraction per cell: sorting by the sum shuffles images, then cells.
        ranks = rng.random((size, num_images), np.float32).argsort(axis=1).argsort(axis=1).astype(np.float32)
        keys = ranks[:, image_of] + rng.random((size, total), np.float32)
        ordered = class_of[keys.argsort(axis=1)]
        for k in range(num_classes):
            seen = np.cumsum(ordered == k, axis=1, dtype=np.int32)[:, grid - 1]
            percents[start : start + size, :, k] = 100 * seen / grid
    return _band(grid, percents, percent, rules)


def _bootstrap_images(
    counts: np.ndarray, percent: np.ndarray, rules: SaturationRules, rng: np.random.Generator
) -> tuple[Band, float | None]:
    """Images with replacement, j = 1 .. max_images_factor * I of them; and the design effect at j = I."""
    num_images = len(counts)
    sampled = rng.integers(0, num_images, (rules.replicates, rules.max_images_factor * num_images))
    seen = counts[sampled].cumsum(axis=1)  # [B, J, K]
    cells = seen.sum(axis=2, keepdims=True)
    with np.errstate(invalid="ignore"):
        percents = (100 * seen / cells).astype(np.float32)  # NaN where the sampled images hold no cell
    expected = np.arange(1, sampled.shape[1] + 1) * counts.sum() / num_images
    band = _band(expected, percents, percent, rules)
    shares = percent / 100
    independent = float((shares * (1 - shares)).sum() / counts.sum())
    # Sampling from I images with replacement makes the variance too small by (I - 1) / I.
    variance = float(np.nanvar(percents[:, num_images - 1] / 100, axis=0).sum()) * num_images / (num_images - 1)
    return band, variance / independent if independent > 0 else None


def _band(cells: np.ndarray, percents: np.ndarray, final: np.ndarray, rules: SaturationRules) -> Band:
    """Quantiles over replicates of [B, G, K] percentages, and how often the largest error is within d."""
    largest = np.abs(percents - final.astype(np.float32)).max(axis=2)  # NaN (no cell seen) is not within
    # A rounding error of float32 must not turn an error of exactly d into one above it.
    within = (largest <= rules.tolerance_points + 1e-4).mean(axis=0)
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
      median, low, high: median and its 95 % bootstrap interval over patients; inf where "not saturated" patients, who
        count as larger than any number, make it unbounded.
    """

    case: str
    patients: int
    saturated: int
    median: float
    low: float
    high: float


def summarize_cases(
    n_sat: Sequence[float | None], case: Sequence[str], replicates: int = 1000, seed: int = 0
) -> list[CaseSummary]:
    """Medians per case and over all; a patient without n_sat (None) counts as larger than any number.

    Leaving unsaturated patients out would make the median too small: they are the ones that need the most cells.
    """
    values = np.array([math.inf if value is None else value for value in n_sat], dtype=float)
    cases = np.array(case, dtype=object)
    summaries = []
    for name in [*dict.fromkeys(sorted(case)), "all"]:
        chosen = values if name == "all" else values[cases == name]
        if not len(chosen):
            continue
        rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
        medians = np.array([_median(rng.choice(chosen, len(chosen))) for _ in range(replicates)])
        low, high = np.sort(medians)[[round(0.025 * (replicates - 1)), round(0.975 * (replicates - 1))]]
        saturated = int(np.isfinite(chosen).sum())
        summaries.append(CaseSummary(name, len(chosen), saturated, _median(chosen), float(low), float(high)))
    return summaries


def _median(values: np.ndarray) -> float:
    """Lower median, which is one of the values and stays defined with infinite ones."""
    return float(np.partition(values, (len(values) - 1) // 2)[(len(values) - 1) // 2])


def planner_rows(tolerances_points: Iterable[float], shares: Sequence[float] | None = None) -> list[dict]:
    """Cells needed for +- d points, and what the paper's numbers of cells give; rows of saturation_planner.csv.

    Args:
      tolerances_points: the d to plan for.
      shares: [K] shares of a typical patient for Goodman's number; None leaves it empty.
    """
    rows = []
    for points in tolerances_points:
        goodman = intervals.cells_needed_goodman(shares, points / 100) if shares is not None else None
        thompson = intervals.cells_needed_thompson(points / 100)
        rows.append(
            {"plan": f"+-{points:g} points", "half_width_points": points}
            | {"cells_thompson": thompson, "cells_goodman": goodman}
        )
    for name, cells in PAPER_CELLS.items():
        half_width = 100 * intervals.half_width_thompson(cells)
        rows.append({"plan": name, "half_width_points": half_width, "cells_thompson": cells})
    return rows

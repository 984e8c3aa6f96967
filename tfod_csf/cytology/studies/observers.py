"""How much people differ among themselves on the same images, and whether the machine repeats itself (Table 1).

Shape shorthand in this module:
  R: observers (people, or rounds of the machine).
  I: images that all of them saw.
  K: classes.
  C: cells; one cell is the boxes of different observers that match by overlap.

Counts alone hide disagreement that cancels out (one person misses a lymphocyte here and finds one there). So the spread
of counts is given together with the intraclass correlation of counts per image and Fleiss' kappa cell by cell.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

from tfod_csf.cytology.annotated_cells import ImageCells
from tfod_csf.cytology.studies.method_comparison import Estimate
from tfod_csf.evaluation.matching import match_one_to_one

NOT_MARKED = "not marked"
# Below this no bootstrap interval is given: that of kappa would be far too narrow.
MIN_IMAGES = 5


@dataclasses.dataclass(frozen=True)
class Spread:
    """Spread of one class's counts over observers.

    Attributes:
      mean: cells.
      sd: standard deviation with n - 1, as in the paper's Table 1; NaN with one observer.
      cv_percent: 100 * sd / mean; NaN where nobody counted a cell.
    """

    mean: float
    sd: float
    cv_percent: float


def spread(counts: Sequence[float] | np.ndarray) -> Spread:
    """Spread of [R] counts.

    >>> lymphocytes = spread([66, 43, 77, 80])  # the four people of the paper's Table 1
    >>> round(lymphocytes.sd), round(lymphocytes.cv_percent)
    (17, 25)
    """
    values = np.asarray(counts, float)
    mean = float(values.mean())
    sd = float(values.std(ddof=1)) if len(values) > 1 else math.nan
    return Spread(mean, sd, 100 * sd / mean if mean else math.nan)


def intraclass_correlation(ratings: np.ndarray, alpha: float = 0.05) -> Estimate:
    """ICC(2,1) of Shrout and Fleiss: how far one observer's count per image can replace another's.

    Two-way random effects, absolute agreement, single observer: a person who always counts more lowers it. Interval of
    McGraw and Wong (1996).

    Args:
      ratings: [I, R] counts of one class per image and observer.

    Returns:
      NaN with fewer than two images or observers, or where nothing varies.
    """
    ratings = np.asarray(ratings, float)
    n, k = ratings.shape
    if n < 2 or k < 2 or np.ptp(ratings) == 0:
        return Estimate(math.nan, math.nan, math.nan)
    grand = ratings.mean()
    rows = k * ((ratings.mean(axis=1) - grand) ** 2).sum() / (n - 1)
    columns = n * ((ratings.mean(axis=0) - grand) ** 2).sum() / (k - 1)
    residual = ratings - ratings.mean(axis=1, keepdims=True) - ratings.mean(axis=0) + grand
    error = (residual**2).sum() / ((n - 1) * (k - 1))
    value = (rows - error) / (rows + (k - 1) * error + k * (columns - error) / n)
    if value >= 1 - 1e-12:
        return Estimate(1.0, 1.0, 1.0)
    a = k * value / (n * (1 - value))
    b = 1 + k * value * (n - 1) / (n * (1 - value))
    freedom = (a * columns + b * error) ** 2 / ((a * columns) ** 2 / (k - 1) + (b * error) ** 2 / ((n - 1) * (k - 1)))
    f_low = stats.f.ppf(1 - alpha / 2, n - 1, freedom)
    f_high = stats.f.ppf(1 - alpha / 2, freedom, n - 1)
    common = k * columns + (k * n - k - n) * error
    low = n * (rows - f_low * error) / (f_low * common + n * rows)
    high = n * (f_high * rows - error) / (common + n * f_high * rows)
    return Estimate(float(value), float(low), float(high))


def same_cells(observers: Sequence[ImageCells], iou_threshold: float = 0.5) -> list[list[str]]:
    """Which boxes of different observers on one image are the same cell, whatever they called it.

    The observers are added one after the other: boxes are paired one to one, best overlap first, with the mean boxes of
    the cells found so far; a box without a partner is a new cell.

    Args:
      observers: [R] cells of the same image.

    Returns:
      One list of R names per cell; "not marked" where an observer has no box on it.
    """
    names: list[list[str]] = []
    sums = np.empty((0, 4))
    marks = np.empty(0)
    for r, observer in enumerate(observers):
        centers = sums / marks[:, None] if len(marks) else sums
        matching = match_one_to_one(centers, observer.boxes, iou_threshold)
        for cell, box in zip(matching.first, matching.second, strict=True):
            names[cell][r] = observer.names[box]
        sums[matching.first] += observer.boxes[matching.second]
        marks[matching.first] += 1
        for box in matching.unmatched_second:
            row = [NOT_MARKED] * len(observers)
            row[r] = observer.names[box]
            names.append(row)
        sums = np.concatenate([sums, observer.boxes[matching.unmatched_second]])
        marks = np.concatenate([marks, np.ones(len(matching.unmatched_second))])
    return names


def fleiss_kappa(
    cells_by_image: Sequence[Sequence[Sequence[str]]], replicates: int = 1000, seed: int = 0, alpha: float = 0.05
) -> Estimate:
    """Fleiss' kappa of cells named by R observers each, with a bootstrap interval over whole images.

    Args:
      cells_by_image: per image a list of cells, each with R names.

    Returns:
      NaN where there are no cells, or all names are the same (agreement by chance is then complete); no interval with
      fewer than `MIN_IMAGES` images.
    """
    names = sorted({name for image in cells_by_image for cell in image for name in cell})
    raters = next((len(cell) for image in cells_by_image for cell in image), 0)
    if len(names) < 2 or raters < 2:
        return Estimate(math.nan, math.nan, math.nan)
    column = {name: k for k, name in enumerate(names)}
    # Per image: number of cells, sum over cells of pairwise agreement, and how often each name was given.
    totals = np.zeros((len(cells_by_image), 2 + len(names)))
    for i, image in enumerate(cells_by_image):
        for cell in image:
            counts = np.bincount([column[name] for name in cell], minlength=len(names))
            totals[i, 0] += 1
            totals[i, 1] += (counts * (counts - 1)).sum() / (raters * (raters - 1))
            totals[i, 2:] += counts

    def kappa(sums: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            observed = sums[..., 1] / sums[..., 0]
            chance = ((sums[..., 2:] / (raters * sums[..., :1])) ** 2).sum(axis=-1)
            return (observed - chance) / (1 - chance)

    if len(totals) < MIN_IMAGES:
        return Estimate(float(kappa(totals.sum(axis=0))), math.nan, math.nan)
    sampled = np.random.default_rng(seed).integers(0, len(totals), (replicates, len(totals)))
    again = kappa(totals[sampled].sum(axis=1))
    again = again[np.isfinite(again)]
    low, high = np.quantile(again, [alpha / 2, 1 - alpha / 2]) if len(again) else (math.nan, math.nan)
    return Estimate(float(kappa(totals.sum(axis=0))), float(low), float(high))


@dataclasses.dataclass(frozen=True)
class ObserverStudy:
    """Result for one group of observers on the images they share.

    Attributes:
      observers: [R] names.
      images: [I] images all of them saw, sorted.
      classes: [K] classes somebody used, in the order given.
      counts: [R, K] cells.
      spreads: [K].
      icc: [K].
      kappa: over cells that every observer marked.
      kappa_with_missed: over all cells, "not marked" being a name too.
      num_cells, num_by_all: cells marked by anybody, and by everybody.
    """

    observers: tuple[str, ...]
    images: tuple[str, ...]
    classes: tuple[str, ...]
    counts: np.ndarray
    spreads: tuple[Spread, ...]
    icc: tuple[Estimate, ...]
    kappa: Estimate
    kappa_with_missed: Estimate
    num_cells: int
    num_by_all: int


def study(
    observers: Mapping[str, Mapping[str, ImageCells]],
    images: Sequence[str],
    classes: Sequence[str],
    iou_threshold: float = 0.5,
) -> ObserverStudy:
    """Compares observers on images that all of them saw.

    Args:
      observers: {observer: {image: cells}}.
      images: those to use; every observer has them.
      classes: those to count.
    """
    per_image = np.array(
        [[[seen[image].counts()[name] for name in classes] for image in images] for seen in observers.values()]
    ).reshape(len(observers), len(images), len(classes))
    cells = [same_cells([seen[image] for seen in observers.values()], iou_threshold) for image in images]
    by_all = [[cell for cell in image if NOT_MARKED not in cell] for image in cells]
    counts = per_image.sum(axis=1)
    return ObserverStudy(
        observers=tuple(observers),
        images=tuple(images),
        classes=tuple(classes),
        counts=counts,
        spreads=tuple(spread(counts[:, k]) for k in range(len(classes))),
        icc=tuple(intraclass_correlation(per_image[:, :, k].T) for k in range(len(classes))),
        kappa=fleiss_kappa(by_all),
        kappa_with_missed=fleiss_kappa(cells),
        num_cells=sum(map(len, cells)),
        num_by_all=sum(map(len, by_all)),
    )

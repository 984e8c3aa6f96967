"""How much people differ among themselves on the same images, and whether the machine repeats itself (Table 1).

Shape shorthand in this module:
  R: observers (people, or rounds of the machine).
  I: images that all of them saw.
  K: classes.
  C: cells; one cell is the boxes of different observers that match by overlap.

Counts alone hide disagreement that cancels out (one person misses a lymphocyte here and finds one there). So the spread
of counts is given together with the intraclass correlation of counts per image and Fleiss' kappa cell by cell.

Whether the machine lies within the people is asked twice: could its count be that of one more person, and does it agree
with people, cell by cell, as they agree with each other? A handful of people can only show that it does not.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

from tfod_csf.cytology.annotated_cells import ImageCells
from tfod_csf.cytology.studies.cell_agreement import bootstrap, kappa, quantiles_for
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


@dataclasses.dataclass(frozen=True)
class AmongPeople:
    """A count of the machine beside those of people.

    Attributes:
      z: distance from the people's mean in standard deviations of a further person; NaN where people all agree.
      low, high: between them a further person's count lies with 95 % probability.
      p_value: of a further person this far from the mean; NaN as z.
    """

    z: float
    low: float
    high: float
    p_value: float

    @property
    def is_within(self) -> bool:
        """Whether the machine could be one more person, as far as so few people can say."""
        return not self.p_value < 0.05


def among_people(people: Sequence[float] | np.ndarray, machine: float) -> AmongPeople:
    """Whether a count of the machine could be that of one more person: the t prediction interval.

    The standard deviation of a further person about the mean of R people is sd * sqrt(1 + 1 / R); Student's t with
    R - 1 degrees of freedom takes into account that the SD is that of a few. With four people the interval reaches 3.6
    SD to either side, so that being within it proves little.

    Raises:
      ValueError: fewer than two people.

    >>> lymphocytes = among_people([66, 43, 77, 80], 77)  # the paper's Table 1
    >>> round(lymphocytes.z, 2), lymphocytes.is_within
    (0.56, True)
    """
    values = np.asarray(people, float)
    if len(values) < 2:
        raise ValueError("a spread needs two people")
    mean, error = float(values.mean()), float(values.std(ddof=1)) * math.sqrt(1 + 1 / len(values))
    if error == 0:
        return AmongPeople(math.nan, mean, mean, math.nan)
    z, reach = (machine - mean) / error, float(stats.t.ppf(0.975, len(values) - 1)) * error
    return AmongPeople(z, mean - reach, mean + reach, float(2 * stats.t.sf(abs(z), len(values) - 1)))


@dataclasses.dataclass(frozen=True)
class PairKappas:
    """Mean of Cohen's kappa over pairs of observers, intervals from samples of whole images.

    Attributes:
      people: over all pairs of people.
      machine: over all pairs of the machine and a person.
      difference: machine - people, from the same samples.
    """

    people: Estimate
    machine: Estimate
    difference: Estimate


def pair_kappas(
    people: Sequence[Sequence[ImageCells]],
    machine: Sequence[ImageCells],
    name: str | None = None,
    iou_threshold: float = 0.5,
) -> PairKappas:
    """Does the machine agree with people as people agree with each other?

    Args:
      people: [R][I] cells of at least two people on the same images; `machine` [I] those of the machine.
      name: the class that a cell has or not (not marked is not); None compares the names of cells that both marked.
    """
    pairs = [(people[a], people[b]) for a in range(len(people)) for b in range(a + 1, len(people))]
    num_people = len(pairs)
    pairs += [(machine, person) for person in people]
    names = sorted({cell for seen in (*people, machine) for image in seen for cell in image.names} - {NOT_MARKED})
    tables = np.stack([_pair_tables(*pair, names, name, iou_threshold) for pair in pairs], axis=1)  # [I, pairs, K, K]

    def of_people(summed: np.ndarray) -> np.ndarray:
        return kappa(summed)[..., :num_people].mean(axis=-1)

    def of_machine(summed: np.ndarray) -> np.ndarray:
        return kappa(summed)[..., num_people:].mean(axis=-1)

    return PairKappas(
        bootstrap(tables, of_people),
        bootstrap(tables, of_machine),
        bootstrap(tables, lambda summed: of_machine(summed) - of_people(summed)),
    )


def _pair_tables(
    first: Sequence[ImageCells],
    second: Sequence[ImageCells],
    names: Sequence[str],
    name: str | None,
    iou_threshold: float,
) -> np.ndarray:
    """[I, K, K] cells of two observers by both names; with a class, [I, 2, 2] by whether it is that class."""
    column = {kind: k for k, kind in enumerate(names)} if name is None else {}
    size = len(names) if name is None else 2
    tables = np.zeros((len(first), size, size), np.int64)
    for i, seen in enumerate(zip(first, second, strict=True)):
        for a, b in same_cells(seen, iou_threshold):
            if name is not None:
                tables[i, int(a == name), int(b == name)] += 1
            elif NOT_MARKED not in (a, b):
                tables[i, column[a], column[b]] += 1
    return tables


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

    def of_sums(sums: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            observed = sums[..., 1] / sums[..., 0]
            chance = ((sums[..., 2:] / (raters * sums[..., :1])) ** 2).sum(axis=-1)
            return (observed - chance) / (1 - chance)

    if len(totals) < MIN_IMAGES:
        return Estimate(float(of_sums(totals.sum(axis=0))), math.nan, math.nan)
    sampled = np.random.default_rng(seed).integers(0, len(totals), (replicates, len(totals)))
    again = of_sums(totals[sampled].sum(axis=1))
    again = again[np.isfinite(again)]
    low, high = np.quantile(again, quantiles_for(len(totals), alpha)) if len(again) else (math.nan, math.nan)
    return Estimate(float(of_sums(totals.sum(axis=0))), float(low), float(high))


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

"""Were enough white cells counted? The one answer that tables and pages give.

Three conditions, all to be met by the number of white cells:

* the minimum from which on percentages are given,
* the reach of the simultaneous intervals on effective cells (`intervals.cells_needed` with the patient's design
  effect): no end of an interval is farther from its percentage than the tolerance,
* saturation: with whole images drawn again from the patient's own, the percentages stay within the tolerance of the
  final ones in 95 % of the draws (see saturation.py).

`cells_needed` is the largest of the three numbers, and the answer is yes exactly where there are so many cells, but for
these cases, in which it is "not known" although that many were counted:

* all white cells are of one class, or fewer than 5 images hold white cells: nothing shows how cells lie together, and
  the interval for independent cells is the narrowest possible one. (Where even that is too wide, the answer is no.)
* unknown cells are more than the set share of the white cells: more counting does not help, a person has to decide.

The draws behind the answer are always the same for a patient and his counts (1,000 draws, seed 0), whatever curves a
command draws, so that no two commands can answer differently. With several models the counts are their means.

Counting until the answer is yes is nearly harmless: the stopping rule looks at how long an interval is, not at which
side of anything it lies (tests/cytology/counting/test_stopping_early.py measures the coverage of the interval at the
stop). Who asks after every image uses live_count.py, which asks for more than one yes.
"""

import dataclasses
import functools
import math
import zlib
from collections.abc import Iterator, Sequence

import numpy as np

from tfod_csf.cytology.counting import intervals
from tfod_csf.cytology.counting.clustering import MIN_IMAGES, Clustering
from tfod_csf.wording import plural

YES, NO, NOT_KNOWN = "yes", "no", "not known"

# Drawing looks at up to this many times the images there are.
MAX_IMAGES_FACTOR = 4
PROBABILITY = 0.95
_DRAWS = 1000
_MAX_CHUNK_IMAGES = 500_000


@dataclasses.dataclass(frozen=True)
class EnoughCells:
    """The answer for one patient.

    Attributes:
      answer: "yes", "no" or "not known".
      cells_needed: white cells for a yes at these percentages; None without percentages, and where drawing images says
        that more than `MAX_IMAGES_FACTOR` times those there are would be needed.
      why: what makes the answer a "not known", as a clause; "" for the others.
    """

    answer: str
    cells_needed: int | None = None
    why: str = ""


def redrawn_counts(
    patient_id: str, image_counts: np.ndarray, draws: int = _DRAWS, seed: int = 0
) -> Iterator[np.ndarray]:
    """Cells on j = 1 .. `MAX_IMAGES_FACTOR` * I images drawn with replacement from a patient's I images.

    Args:
      patient_id: gives each patient random numbers of his own, whatever the order of patients.
      image_counts: [I, K] white cells per image and class; images without any belong here too.
      draws: how often images are drawn.
      seed: of the random numbers.

    Yields:
      [B, J, K] white cells on the first j images, some draws at a time.
    """
    for by_class in _redrawn_by_class(patient_id, image_counts, draws, seed):
        yield np.stack(by_class, axis=2)


def _redrawn_by_class(patient_id: str, image_counts: np.ndarray, draws: int, seed: int) -> Iterator[list[np.ndarray]]:
    """`redrawn_counts` as K arrays [B, J]: class by class, which is three times as fast as all at once."""
    counts = np.asarray(image_counts, dtype=float)
    rng = np.random.default_rng([seed, zlib.crc32(patient_id.encode())])
    longest = MAX_IMAGES_FACTOR * len(counts)
    step = max(1, _MAX_CHUNK_IMAGES // longest)
    for start in range(0, draws, step):
        drawn = rng.integers(0, len(counts), (min(step, draws - start), longest))
        yield [of_class[drawn].cumsum(axis=1) for of_class in counts.T.copy()]


def images_needed(patient_id: str, image_counts: np.ndarray, tolerance_points: float) -> int | None:
    """Images from which on redrawn percentages stay within the tolerance; None for more than it looks at.

    The smallest j from which on the largest error of a percentage is within the tolerance in 95 % of the draws.

    Args:
      patient_id: seeds the draws.
      image_counts: [I, K] white cells per image and class; images without any belong here too.
      tolerance_points: in percentage points.
    """
    counts = np.asarray(image_counts, dtype=float)
    shares = counts.sum(axis=0) / counts.sum()
    within = np.zeros(MAX_IMAGES_FACTOR * len(counts))
    for seen in _redrawn_by_class(patient_id, counts, _DRAWS, seed=0):
        cells = functools.reduce(np.add, seen)
        errors = (np.abs(of_class - share * cells) for of_class, share in zip(seen, shares, strict=True))
        largest = functools.reduce(np.maximum, errors)
        within += ((largest <= (tolerance_points / 100 + 1e-9) * cells) & (cells > 0)).sum(axis=0)
    first = first_lasting(within / _DRAWS, PROBABILITY)
    return None if first is None else first + 1


def first_lasting(within: np.ndarray, probability: float) -> int | None:
    """Smallest index from which on every value is at least `probability`; None when the last one is not.

    >>> first_lasting(np.array([0.96, 0.5, 0.95, 0.99]), 0.95), first_lasting(np.array([1.0, 0.9]), 0.95)
    (2, None)
    """
    below = np.flatnonzero(within < probability)
    first = int(below[-1]) + 1 if len(below) else 0
    return first if first < len(within) else None


def enough_cells(
    patient_id: str,
    white_cells: float,
    shares: Sequence[float] | np.ndarray,
    image_counts: np.ndarray,
    clustering: Clustering,
    unknown_white_percent: float,
    *,
    min_white_cells: float,
    tolerance_points: float,
    max_unknown_percent: float,
    alpha: float = 0.05,
) -> EnoughCells:
    """The answer for a patient who has percentages.

    Args:
      patient_id: seeds the draws.
      white_cells: mean over the models.
      shares: [K] fractions, means over the models.
      image_counts: [I, K] white cells per image and class, means over the models; empty where not known.
      clustering: of these image counts.
      unknown_white_percent: `UnknownCells.white_percent`.
      min_white_cells, tolerance_points, max_unknown_percent, alpha: of the rules.
    """
    reach = tolerance_points / 100
    needed = max(math.ceil(min_white_cells), intervals.cells_needed(shares, reach, alpha, clustering.effective_cells))
    if clustering.design_effect is not None:
        images = images_needed(patient_id, image_counts, tolerance_points)
        if images is None:
            return EnoughCells(NO)
        needed = max(needed, math.ceil(images * float(np.sum(image_counts)) / len(image_counts)))
    if white_cells < needed:
        return EnoughCells(NO, needed)
    why = _why_not_known(clustering, unknown_white_percent, max_unknown_percent)
    return EnoughCells(NOT_KNOWN if why else YES, needed, why)


def _why_not_known(clustering: Clustering, unknown_white_percent: float, max_unknown_percent: float) -> str:
    if unknown_white_percent > max_unknown_percent:
        return (
            f"unknown cells are {unknown_white_percent:.1f} % of the white cells, more than {max_unknown_percent:g} %"
        )
    if clustering.design_effect is not None:
        return ""
    if clustering.images < MIN_IMAGES:
        return (
            f"{plural(clustering.images, 'image')} with white cells cannot show whether cells of one kind lie together"
        )
    return "all white cells are of one class, which cannot show whether cells of one kind lie together"

"""The error of a count that is looked at after every image and ends when enough white cells were counted.

    python -m tfod_csf.benchmarks.counting.stopping_coverage                   # 300 patients per number, some minutes
    python -m tfod_csf.benchmarks.counting.stopping_coverage --patients=1000

Simulated patients (`interval_coverage.simulate_images`) are photographed image by image. After each image the question
of `enough_cells` is asked; the count ends at the first yes, or (as `live_count` has it) when the answer was yes after
several images in a row. A patient of whom it never is ends with the last image. Per number the worst of three mixtures
of classes is printed: how often all three percentages are within the tolerance of the true ones at the stop, and how
often the three 95 % intervals hold the true ones; and the mean number of images.

For comparison, the same patients looked at once: at the number of images at which the rule ends on average.
"""

import argparse
import dataclasses
from collections.abc import Sequence

import numpy as np

from tfod_csf.benchmarks.interval_coverage import MIXTURES, simulate_images
from tfod_csf.cytology.counting import intervals
from tfod_csf.cytology.counting.clustering import MIN_IMAGES, measure_clustering
from tfod_csf.cytology.counting.differential import DifferentialRules
from tfod_csf.cytology.counting.enough_cells import YES, enough_cells
from tfod_csf.cytology.counting.live_count import LOOKS

CORRELATIONS = (0.0, 0.05, 0.1)
_RULES = DifferentialRules()


@dataclasses.dataclass(frozen=True)
class Look:
    """One look at a simulated patient.

    Attributes:
      images: images so far.
      is_enough: whether `enough_cells` answers yes.
      is_within: whether all three percentages are within the tolerance of the true ones.
      holds: whether all three intervals hold the true ones.
    """

    images: int
    is_enough: bool
    is_within: bool
    holds: bool


def look(patient_id: str, counts: np.ndarray, shares: Sequence[float]) -> Look:
    """Looks at the images so far.

    Args:
      patient_id: seeds the draws behind the answer.
      counts: [I, 3] white cells per image and class.
      shares: [3] the true ones.
    """
    white, clustering = float(counts.sum()), measure_clustering(counts)
    if white < _RULES.min_white_cells or clustering.design_effect is None:
        return Look(len(counts), False, False, False)
    found = counts.sum(axis=0) / white
    bounds, _ = intervals.simultaneous_intervals(found * clustering.effective_cells(white, _RULES.alpha), _RULES.alpha)
    # An interval that reaches farther than the tolerance cannot be a yes, and the whole answer takes much longer.
    is_enough = (
        intervals.reach_points(found, bounds) <= _RULES.tolerance_points
        and enough_cells(
            patient_id,
            white,
            found,
            counts,
            clustering,
            0.0,
            min_white_cells=_RULES.min_white_cells,
            tolerance_points=_RULES.tolerance_points,
            max_unknown_percent=_RULES.max_unknown_percent,
            alpha=_RULES.alpha,
        ).answer
        == YES
    )
    is_within = 100 * float(np.abs(found - shares).max()) <= _RULES.tolerance_points
    holds = bool(((bounds[:, 0] <= shares) & (shares <= bounds[:, 1])).all())
    return Look(len(counts), is_enough, is_within, holds)


def stops(patient_id: str, counts: np.ndarray, shares: Sequence[float], looks: Sequence[int]) -> list[Look]:
    """The look at which each rule ends: when the answer was yes after so many images in a row, or at the last image."""
    found: dict[int, Look] = {}
    in_a_row = 0
    latest = Look(0, False, False, False)
    for images in range(MIN_IMAGES, len(counts) + 1):
        latest = look(patient_id, counts[:images], shares)
        in_a_row = in_a_row + 1 if latest.is_enough else 0
        for wanted in looks:
            if in_a_row >= wanted:
                found.setdefault(wanted, latest)
        if len(found) == len(looks):
            break
    return [found.get(wanted, latest) for wanted in looks]


@dataclasses.dataclass(frozen=True)
class StoppingError:
    """What a rule gave for simulated patients: fractions of them, and the mean number of images."""

    within: float
    holds: float
    images: float

    @classmethod
    def of(cls, looks: Sequence[Look]) -> "StoppingError":
        """Of one look per patient."""
        columns = ([look.is_within for look in looks], [look.holds for look in looks], [look.images for look in looks])
        return cls(*(float(np.mean(column)) for column in columns))

    def __str__(self) -> str:
        return f"{self.within:.3f} {self.holds:.3f} {self.images:5.1f}"


def measure(
    cells: int, shares: Sequence[float], correlation: float, unequal: bool, patients: int, images: int, seed: int
) -> tuple[StoppingError, StoppingError, StoppingError]:
    """One mixture of classes.

    Args:
      cells: on an image, on average.
      images: after so many a patient ends in any case.

    Returns:
      (of the first yes, of `LOOKS` in a row, of one look at the number of images that the latter takes on average).
    """
    seeds = [seed, cells, round(1000 * correlation), round(1000 * shares[0]), unequal]
    rng = np.random.default_rng(seeds)
    simulated = [simulate_images(rng, images, cells, shares, correlation, unequal) for _ in range(patients)]
    ends = [stops(str(number), counts, shares, (1, LOOKS)) for number, counts in enumerate(simulated)]
    first, last = (StoppingError.of(rule) for rule in zip(*ends, strict=True))
    once = [look(str(number), counts[: round(last.images)], shares) for number, counts in enumerate(simulated)]
    return first, last, StoppingError.of(once)


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints, per kind of images, the worst mixture of each rule."""
    parser = argparse.ArgumentParser(
        prog="python -m tfod_csf.benchmarks.counting.stopping_coverage", description=__doc__
    )
    parser.add_argument("--patients", type=int, default=300, help="patients of each number")
    parser.add_argument("--images", type=int, default=120, help="images after which a patient ends in any case")
    parser.add_argument("--seed", type=int, default=1, help="seed of the patients")
    options = parser.parse_args(arguments)
    print("within, holds, images of:            first yes          yes " + f"{LOOKS} times in a row     one look")
    for unequal in (False, True):
        for cells in (10, 20, 50):
            for correlation in CORRELATIONS:
                found = [
                    measure(cells, shares, correlation, unequal, options.patients, options.images, options.seed)
                    for shares in MIXTURES
                ]
                worst = "   ".join(str(_worst(rule)) for rule in zip(*found, strict=True))
                sizes = "unequal" if unequal else "equal"
                print(f"{cells:3d} cells, {sizes:<7} rho {correlation:4.2f}     {worst}", flush=True)


def _worst(mixtures: Sequence[StoppingError]) -> StoppingError:
    return StoppingError(
        within=min(found.within for found in mixtures),
        holds=min(found.holds for found in mixtures),
        images=float(np.mean([found.images for found in mixtures])),
    )


if __name__ == "__main__":
    main()

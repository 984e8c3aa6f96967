"""How often the interval on effective cells holds the true percentages, over numbers and sizes of images.

    python -m tfod_csf.benchmarks.interval_coverage                   # 400 patients per number, some minutes
    python -m tfod_csf.benchmarks.interval_coverage --patients=2000

Cells of an image are multinomial with shares that are Dirichlet around the true ones (alpha = (1 - rho) / rho), so that
two cells of an image are of one class more often than chance says: rho is the intra-image correlation. Images hold
equally many cells, or (--unequal) negative binomial numbers with the variance of two fields out of three nearly empty.
benchmarks/coverage.py asks the same of whole cohorts with a detector; here nothing but the interval is at work.
"""

import argparse
from collections.abc import Sequence

import numpy as np

from tfod_csf.cytology.counting import intervals
from tfod_csf.cytology.counting.clustering import MIN_IMAGES, measure_clustering

CORRELATIONS = (0.0, 0.05, 0.1, 0.2)
MIXTURES = ((0.35, 0.63, 0.02), (0.5, 0.25, 0.25), (1 / 3, 1 / 3, 1 / 3))
_MIN_WHITE_CELLS = 30


def simulate_images(
    rng: np.random.Generator,
    images: int,
    cells: int,
    shares: Sequence[float],
    correlation: float,
    unequal: bool = False,
) -> np.ndarray:
    """[images, 3] cells per image and class of one patient."""
    of_images = np.tile(shares, (images, 1))
    if correlation:
        of_images = rng.dirichlet(np.array(shares) * (1 - correlation) / correlation, images)
    sizes = rng.negative_binomial(2, 2 / (2 + cells), images) if unequal else np.full(images, cells)
    return rng.multinomial(sizes, of_images)


def measure(
    images: int,
    cells: int,
    shares: Sequence[float],
    correlation: float,
    patients: int = 400,
    seed: int = 1,
    unequal: bool = False,
) -> tuple[float, float]:
    """Coverage and width of the intervals of simulated patients.

    Returns:
      (fraction of patients whose three true shares lie in their intervals at once, mean width of the intervals divided
      by that for as many independent cells); NaN where no patient has 30 cells on 5 images.
    """
    rng = np.random.default_rng([seed, images, cells, round(1000 * correlation), round(1000 * shares[0]), unequal])
    holds, widths = [], []
    for _ in range(patients):
        counts = simulate_images(rng, images, cells, shares, correlation, unequal)
        white, clustering = counts.sum(), measure_clustering(counts)
        if white < _MIN_WHITE_CELLS or clustering.images < MIN_IMAGES:
            continue
        found = counts.sum(axis=0) / white
        bounds, _ = intervals.simultaneous_intervals(found * clustering.effective_cells(float(white)))
        independent, _ = intervals.simultaneous_intervals(found * white)
        holds.append(bool(((bounds[:, 0] <= shares) & (shares <= bounds[:, 1])).all()))
        widths.append(np.ptp(bounds, axis=1).sum() / np.ptp(independent, axis=1).sum())
    return (float(np.mean(holds)), float(np.mean(widths))) if holds else (np.nan, np.nan)


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints, per number and size of images, the lowest coverage over the mixtures and the mean width."""
    parser = argparse.ArgumentParser(prog="python -m tfod_csf.benchmarks.interval_coverage", description=__doc__)
    parser.add_argument("--patients", type=int, default=400, help="patients of each number")
    parser.add_argument("--seed", type=int, default=1, help="seed of the patients")
    parser.add_argument("--unequal", action="store_true", help="images with unequal numbers of cells")
    options = parser.parse_args(arguments)
    print("images  cells  " + "  ".join(f"rho {correlation:4.2f}    " for correlation in CORRELATIONS))
    for images in (5, 8, 15, 30):
        for cells in (5, 20, 50):
            numbers = [
                [
                    measure(images, cells, shares, correlation, options.patients, options.seed, options.unequal)
                    for shares in MIXTURES
                ]
                for correlation in CORRELATIONS
            ]
            print(f"{images:6d}  {cells:5d}  " + "  ".join(map(_words, numbers)), flush=True)


def _words(found: Sequence[tuple[float, float]]) -> str:
    lowest = min(holds for holds, _ in found)
    width = float(np.mean([width for _, width in found]))
    return "-            " if np.isnan(lowest) else f"{lowest:.3f} ({width:.2f}) "


if __name__ == "__main__":
    main()

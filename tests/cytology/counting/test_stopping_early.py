"""Looking again and again while images are added: harmless for the width, and what it does to marks."""

import numpy as np
import pytest

from tfod_csf.benchmarks.interval_coverage import simulate_images
from tfod_csf.cytology.counting import intervals
from tfod_csf.cytology.counting.certain_marks import is_certain
from tfod_csf.cytology.counting.clustering import measure_clustering
from tfod_csf.cytology.counting.reference_ranges import ReferenceRange

NORMAL = (0.35, 0.63, 0.02)
NEUTROPHIL = 2
RANGE = ReferenceRange(0, 2)


def look(counts):
    """(shares, interval, clustering, white cells) of the images so far."""
    white, clustering = float(counts.sum()), measure_clustering(counts)
    shares = counts.sum(axis=0) / white
    return shares, intervals.simultaneous_intervals(shares * clustering.effective_cells(white))[0], clustering, white


def stopped_by_width(counts):
    """Interval at the first number of images at which none of its ends is more than 10 points away."""
    for images in range(5, len(counts) + 1):
        shares, bounds, _, white = look(counts[:images])
        if white >= 30 and intervals.reach_points(shares, bounds) <= 10:
            break
    return bounds


def test_stopping_when_enough_cells_are_counted_keeps_the_coverage():
    rng = np.random.default_rng(1)
    holds = []
    for _ in range(150):
        bounds = stopped_by_width(simulate_images(rng, 40, 20, NORMAL, 0.05))
        holds.append(((bounds[:, 0] <= NORMAL) & (bounds[:, 1] >= NORMAL)).all())
    assert np.mean(holds) >= 0.93


def is_high_for_certain(counts):
    """Whether the rule of the differential calls neutrophils high for certain."""
    shares, bounds, clustering, white = look(counts)
    is_known = clustering.design_effect is not None
    cells = clustering.effective_cells(white) if is_known else clustering.least_effective_cells
    percent = 100 * shares[NEUTROPHIL]
    return is_certain("high", RANGE, tuple(100 * bounds[NEUTROPHIL]), percent, cells, 0.05 / 3)


@pytest.mark.parametrize("correlation", [0.0, 0.2])
def test_a_normal_fluid_looked_at_after_every_image_is_seldom_high_for_certain(correlation):
    rng = np.random.default_rng(2)
    wrong = by_interval = 0
    for _ in range(80):
        counts = simulate_images(rng, 27, 15, NORMAL, correlation)
        looks = [counts[:images] for images in range(2, 28) if counts[:images, NEUTROPHIL].mean() > 0.02 * 15]
        wrong += any(is_high_for_certain(seen) for seen in looks)
        by_interval += any(look(seen)[1][NEUTROPHIL, 0] > 0.02 for seen in looks)
    assert wrong / 80 <= 0.05
    assert by_interval > wrong  # an interval alone is wrong more often when it is looked at again and again


def test_many_neutrophils_are_high_for_certain():
    rng = np.random.default_rng(3)
    shares = (0.5, 0.35, 0.15)
    found = [is_high_for_certain(simulate_images(rng, 15, 20, shares, 0.05)) for _ in range(100)]
    assert np.mean(found) >= 0.95

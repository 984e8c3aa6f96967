"""The bar of the printed interval, and that what is simulated is what is said."""

import numpy as np
import pytest

from tfod_csf.benchmarks import interval_coverage
from tfod_csf.benchmarks.interval_coverage import CORRELATIONS, MIXTURES, measure, simulate_images


@pytest.mark.parametrize("correlation", CORRELATIONS)
@pytest.mark.parametrize("shares", MIXTURES[:1])
def test_coverage_of_fifteen_images_of_twenty_cells(correlation, shares):
    holds, width = measure(15, 20, shares, correlation)
    assert holds >= 0.93
    # Not by being absurdly wide: the true design effect of 20 cells an image is 1 + 19 rho.
    assert width <= 1.25 * np.sqrt(1 + 19 * correlation)


@pytest.mark.parametrize("correlation", [0.0, 0.2])
def test_coverage_of_few_and_of_unequal_images(correlation):
    assert measure(5, 20, MIXTURES[0], correlation, patients=200)[0] >= 0.93
    assert measure(8, 20, MIXTURES[1], correlation, patients=200, unequal=True)[0] >= 0.93


def test_two_cells_of_an_image_correlate_as_much_as_is_said():
    rng = np.random.default_rng(0)
    pairs = simulate_images(rng, 40_000, 2, (0.5, 0.3, 0.2), 0.2)
    # Both of the class: p^2 + rho p (1 - p).
    assert np.mean(pairs[:, 0] == 2) == pytest.approx(0.25 + 0.2 * 0.25, abs=0.01)
    sizes = simulate_images(rng, 20_000, 20, (0.5, 0.3, 0.2), 0, unequal=True).sum(axis=1)
    assert (sizes.mean(), sizes.var()) == (pytest.approx(20, rel=0.03), pytest.approx(20 + 20**2 / 2, rel=0.06))


def test_no_patient_with_enough_cells_has_no_coverage():
    assert np.isnan(measure(5, 1, MIXTURES[0], 0, patients=3)).all()


def test_table(capsys):
    interval_coverage.main(["--patients=2"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 13
    assert lines[0].split()[:4] == ["images", "cells", "rho", "0.00"]

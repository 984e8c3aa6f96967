"""The error of the live count, and that the rule in the simulation is the rule of the command."""

import numpy as np
import pytest

from tfod_csf.benchmarks.counting import stopping_coverage
from tfod_csf.benchmarks.counting.stopping_coverage import look, measure, stops
from tfod_csf.benchmarks.interval_coverage import MIXTURES, simulate_images
from tfod_csf.cytology.counting.live_count import LOOKS


@pytest.mark.parametrize(("correlation", "unequal"), [(0.0, False), (0.05, True)])
def test_looking_after_every_image_keeps_the_percentages_within_the_tolerance(correlation, unequal):
    first, in_a_row, once = measure(50, MIXTURES[1], correlation, unequal, patients=60, images=60, seed=1)
    assert in_a_row.within >= 0.95
    assert in_a_row.within >= first.within
    assert in_a_row.images > first.images
    assert once.images == pytest.approx(in_a_row.images, abs=0.5)


def test_a_count_ends_at_the_first_yes_that_was_repeated():
    counts = simulate_images(np.random.default_rng(3), 60, 20, MIXTURES[1], 0.05, True)
    answers = [look("0", counts[:n], MIXTURES[1]).is_enough for n in range(5, 61)]
    (first, last) = stops("0", counts, MIXTURES[1], (1, LOOKS))
    assert first.images == 5 + answers.index(True)
    in_a_row = [all(answers[n - LOOKS + 1 : n + 1]) for n in range(LOOKS - 1, len(answers))]
    assert last.images == 5 + LOOKS - 1 + in_a_row.index(True)


def test_who_never_gets_a_yes_ends_with_the_last_image():
    counts = simulate_images(np.random.default_rng(3), 8, 5, MIXTURES[1], 0.2)
    assert [end.images for end in stops("0", counts, MIXTURES[1], (1, 3))] == [8, 8]


def test_table(capsys):
    stopping_coverage.main(["--patients=1", "--images=8"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + 18
    assert lines[1].split()[:5] == ["10", "cells,", "equal", "rho", "0.00"]

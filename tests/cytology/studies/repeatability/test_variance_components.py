"""A published nested design, a one-way unbalanced one by hand, and simulation.

PASTE: moisture of 15 batches of pigment paste, two samples of each, two tests of each sample (Box, Hunter and Hunter,
Statistics for Experimenters, 1978, section 17.3): mean squares 86.5, 58.0 and 0.92; variances 7.1, 28.5 and 0.92.
"""

import math

import numpy as np
import pytest
from scipy import stats

from tfod_csf.cytology.studies.repeatability.variance_components import nested_components

PASTE = """40 39 30 30  26 28 25 26  29 28 14 15  30 31 24 24  19 20 17 17  33 32 26 24  23 24 32 33  34 34 29 29
27 27 31 31  13 16 27 24  25 23 25 27  29 29 31 32  19 20 29 30  23 24 25 25  39 37 26 28"""


def by_name(components):
    return {component.name: component for component in components}


def test_published_nested_design():
    values = np.array(PASTE.split(), float)
    batch, sample = [str(i // 4) for i in range(60)], [str(i // 2 % 2) for i in range(60)]
    found = by_name(nested_components(values, ["paste"] * 60, {"batch": batch, "sample": sample}))
    assert list(found) == ["batch", "sample", "repeat", "within_laboratory"]
    assert found["batch"].sd ** 2 == pytest.approx(7.1, abs=0.05)
    assert found["sample"].sd ** 2 == pytest.approx(28.5, abs=0.05)
    assert found["repeat"].sd ** 2 == pytest.approx(0.92, abs=0.005)
    assert [found[name].freedom for name in ("batch", "sample", "repeat")] == [14, 15, 30]
    assert found["within_laboratory"].sd ** 2 == pytest.approx(7.13 + 28.53 + 0.917, abs=0.02)
    # Satterthwaite: total = MS1 / 4 + MS2 / 4 + MS3 / 2.
    parts = np.array([86.5 / 4, 57.98 / 4, 0.917 / 2])
    freedom = parts.sum() ** 2 / (parts**2 / [14, 15, 30]).sum()
    assert found["within_laboratory"].freedom == pytest.approx(freedom, rel=1e-3)
    # Chi-square interval of the repeats: 30 degrees of freedom, 46.98 and 16.79.
    assert found["repeat"].low == pytest.approx(math.sqrt(0.9167 * 30 / 46.98), rel=1e-3)
    assert found["repeat"].high == pytest.approx(math.sqrt(0.9167 * 30 / 16.79), rel=1e-3)
    assert math.isnan(found["batch"].low)


def test_unbalanced_days_by_hand():
    # Days of 2, 3 and 1 results: means 2, 5, 9; within 2 + 2 = 4 on 3 degrees of freedom.
    values, day = np.array([1.0, 3, 4, 5, 6, 9]), list("aabbbc")
    found = by_name(nested_components(values, ["s"] * 6, {"day": day}))
    assert found["repeat"].sd ** 2 == pytest.approx(4 / 3)
    # Grand mean 28 / 6: between 2 * 4 + 3 * 25 + 81 - 784 / 6 = 33.333 on 2; n0 = (6 - 14 / 6) / 2 = 11 / 6.
    assert found["day"].sd ** 2 == pytest.approx((33.3333333 / 2 - 4 / 3) / (11 / 6))
    assert (found["day"].freedom, found["repeat"].freedom) == (2, 3)


def test_without_repeats_the_innermost_level_takes_their_place():
    values = np.array([1.0, 3, 4, 8])
    found = by_name(nested_components(values, ["s"] * 4, {"day": list("aabb"), "slide": list("1212")}))
    # Slides within days: (2 + 8) / 2; days: means 2 and 6: 2 (4 + 4) = 16 = slide + 2 day.
    assert list(found) == ["day", "slide", "within_laboratory"]
    assert found["slide"].sd ** 2 == pytest.approx(5)
    assert found["day"].sd ** 2 == pytest.approx((16 - 5) / 2)
    one_day = by_name(nested_components(values, ["s"] * 4, {"day": list("aaaa"), "slide": list("1234")}))
    assert list(one_day) == ["slide", "within_laboratory"]
    assert one_day["slide"].sd == pytest.approx(values.std(ddof=1))


def test_samples_are_compared_with_their_own_mean():
    # Two samples measured twice: differences 2 and 4: variance (2 + 8) / 2 on 2 degrees of freedom.
    found = by_name(nested_components([1, 3, 60, 64], list("aabb"), {}))
    assert found["repeat"].sd ** 2 == pytest.approx(5)
    assert found["repeat"].freedom == 2
    assert found["within_laboratory"].sd == found["repeat"].sd


def test_negative_estimates_are_zero_and_said():
    # Day means are equal while results within days differ.
    found = by_name(nested_components([1, 3, 3, 1], ["s"] * 4, {"day": list("aabb")}))
    assert (found["day"].sd, found["day"].is_negative) == (0, True)
    assert found["within_laboratory"].sd == pytest.approx(math.sqrt(2))


def test_nothing_that_repeats():
    assert nested_components([], [], {"day": []}) == []
    assert nested_components([5.0], ["s"], {"day": ["1"]}) == []
    assert nested_components([5.0, 6], ["s", "t"], {"day": ["1", "1"]}) == []
    equal = by_name(nested_components([5.0, 5], ["s", "s"], {}))
    assert (equal["repeat"].sd, equal["repeat"].high) == (0, 0)


def test_unbalanced_components_are_right_on_average_and_intervals_hold():
    rng = np.random.default_rng(0)
    day = np.repeat(np.arange(6), [1, 2, 3, 4, 2, 6])
    slide = np.array([0, 0, 1, 0, 0, 1, 0, 0, 1, 1, 0, 0, 0, 0, 1, 1, 2, 2])
    labels = {"day": day.astype(str).tolist(), "slide": slide.astype(str).tolist()}
    pair = np.unique(np.stack([day, slide]), axis=1, return_inverse=True)[1]
    variances, held = [], 0
    for _ in range(1500):
        values = 3 * rng.normal(size=6)[day] + 2 * rng.normal(size=18)[pair] + rng.normal(size=18)
        found = by_name(nested_components(values, ["s"] * 18, labels))
        variances.append([found[name].sd ** 2 for name in ("slide", "repeat")])
        held += found["repeat"].low <= 1 <= found["repeat"].high
    assert np.mean(variances, axis=0)[1] == pytest.approx(1, rel=0.05)
    # A little above 4, because estimates below 0 became 0.
    assert 3.7 < np.mean(variances, axis=0)[0] < 5
    assert stats.binom.cdf(held, 1500, 0.95) > 0.001
    assert stats.binom.sf(held, 1500, 0.95) > 0.001

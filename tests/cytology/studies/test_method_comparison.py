"""Expected numbers from published examples.

PEFR: the peak flow data of Bland and Altman, Lancet 1986;i:307-310 (17 subjects, first readings): bias -2.1 l/min (95 %
-22.0 to 17.8), SD 38.8, limits -79.7 (-114.3 to -45.1) and 75.5 (40.9 to 110.1). The same data are the example of
epi.ccc in the R package epiR, which gives a concordance of 0.943.

TWENTY: the points on which the Python package methcomp 1.0 is compared with R's mcr (mcreg, method.reg = "PaBa",
analytical intervals): slope 1.0050 (0.9848077 to 1.0265805), intercept 0.0125 (-0.2975146 to 0.1393271). mcr ends its
interval half-way (in angle) between the 65th and 66th and between the 125th and 126th of the 190 ordered slopes; we
end it, as the paper of 1983 says, at the 65th and 126th: C = 1.96 * sqrt(20 * 19 * 45 / 18) = 60.41 and
(190 - 60.41) / 2 = 64.8.
"""

import dataclasses
import math

import numpy as np
import pytest

from tfod_csf.cytology.studies import method_comparison
from tfod_csf.cytology.studies.method_comparison import (
    bland_altman,
    concordance,
    deming,
    passing_bablok,
    weighted_deming,
)

WRIGHT = [494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427]
MINI = [512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451]
TWENTY = [1.03, 2.05, 2.79, 3.67, 5.00, 5.82, 7.16, 7.69, 8.53, 10.38]
TWENTY += [11.11, 12.17, 13.47, 13.83, 15.15, 16.12, 16.94, 18.09, 19.13, 19.54]


def test_bland_altman_published_example():
    result = bland_altman(np.array(MINI), np.array(WRIGHT))
    assert result.bias.value == pytest.approx(-2.1, abs=0.05)
    assert result.sd == pytest.approx(38.8, abs=0.05)
    assert (result.bias.low, result.bias.high) == pytest.approx((-22.0, 17.8), abs=0.1)
    # The paper rounds 1.96 to 2 for the limits and sqrt(3 / n) for their error, hence the half liter.
    assert (result.lower.value, result.upper.value) == pytest.approx((-79.7, 75.5), abs=2)
    assert (result.lower.low, result.lower.high) == pytest.approx((-114.3, -45.1), abs=2)
    assert (result.upper.low, result.upper.high) == pytest.approx((40.9, 110.1), abs=2)


def test_bland_altman_by_hand_and_its_smallest_size():
    # Differences 1, 2, 3: bias 2, sd 1, t(2) = 4.30265, 4.30265 / sqrt(3) = 2.48414.
    result = bland_altman(np.zeros(3), np.array([1.0, 2.0, 3.0]))
    assert (result.bias.value, result.sd) == (2, 1)
    assert result.bias.low == pytest.approx(2 - 2.48414, abs=1e-5)
    assert result.upper.value == pytest.approx(2 + 1.959964)
    with pytest.raises(ValueError, match="at least two"):
        bland_altman(np.zeros(1), np.zeros(1))


def test_passing_bablok_against_mcr():
    line = passing_bablok(np.arange(1, 21), np.array(TWENTY))
    assert line.slope.value == pytest.approx(1.0050, abs=5e-4)
    x, y = np.arange(1, 21), np.array(TWENTY)
    ordered = sorted((y[j] - y[i]) / (x[j] - x[i]) for i in range(20) for j in range(i + 1, 20))
    between = [math.tan((math.atan(ordered[i]) + math.atan(ordered[i + 1])) / 2) for i in (64, 124)]
    assert between == pytest.approx([0.9848077, 1.0265805], abs=1e-7)
    assert (line.slope.low, line.slope.high) == (ordered[64], ordered[125])
    assert line.intercept.value == pytest.approx(0.0125, abs=5e-3)
    assert (line.intercept.low, line.intercept.high) == pytest.approx((-0.2975146, 0.1393271), abs=1.5e-2)


def test_passing_bablok_by_hand():
    # Points (0, 0), (1, 1), (2, 4): slopes 1, 2, 3; the median is 2 and the intercept median(0, -1, 0) = 0.
    line = passing_bablok([0, 1, 2], [0, 1, 4])
    assert (line.slope.value, line.intercept.value) == (2, 0)


def test_passing_bablok_is_the_same_line_with_the_methods_swapped():
    rng = np.random.default_rng(2)
    x = rng.uniform(0, 100, 41)
    y = 1.2 * x - 3 + rng.normal(0, 4, 41)
    there, back = passing_bablok(x, y), passing_bablok(y, x)
    assert there.slope.value == pytest.approx(1 / back.slope.value, rel=2e-3)
    assert there.slope.low < 1.2 < there.slope.high


def test_passing_bablok_with_ties_vertical_pairs_and_many_patients(monkeypatch):
    line = passing_bablok([5, 5, 5, 7, 9], [5, 5, 6, 7, 9])
    assert line.slope.value == pytest.approx(1, abs=0.3)
    with pytest.raises(ValueError, match="two different"):
        passing_bablok([1, 1, 1], [2, 2, 2])
    with pytest.raises(ValueError, match="at least three"):
        passing_bablok([1, 2], [1, 2])
    monkeypatch.setattr(method_comparison, "MAX_PASSING_BABLOK", 50)
    x = np.linspace(0, 100, 500)
    assert passing_bablok(x, 2 * x + 1).slope.value == pytest.approx(2)


def test_deming_against_the_first_principal_axis():
    # With equal errors the line is the first principal axis: an independent way through NumPy's eigenvectors.
    rng = np.random.default_rng(4)
    x = rng.normal(50, 20, 60)
    y = 0.9 * x + 4 + rng.normal(0, 5, 60)
    _, vectors = np.linalg.eigh(np.cov(x, y))
    slope = vectors[1, 1] / vectors[0, 1]
    line = deming(x, y)
    assert line.slope.value == pytest.approx(slope, rel=1e-9)
    assert line.intercept.value == pytest.approx(y.mean() - slope * x.mean(), rel=1e-9)
    # Jackknife by leaving out one patient at a time.
    without = np.array([deming(np.delete(x, i), np.delete(y, i)).slope.value for i in range(60)])
    error = math.sqrt(59 / 60 * ((without - without.mean()) ** 2).sum())
    assert (line.slope.high - line.slope.low) / 2 == pytest.approx(2.0017 * error, rel=1e-3)  # t(58) = 2.0017


def test_deming_with_unequal_errors_scales_with_the_unit():
    # Measuring y in tenths multiplies its error variance by 100 and must multiply the slope by 10.
    x, y = np.array(MINI, float), np.array(WRIGHT, float)
    assert deming(x, 10 * y, error_ratio=100).slope.value == pytest.approx(10 * deming(x, y).slope.value)
    with pytest.raises(ValueError, match="vary together"):
        deming([1, 1, 1], [1, 2, 3])


def test_no_line_where_all_values_of_the_hospital_but_one_are_equal():
    x, y = np.array([75.0, 15, 15, 15]), np.array([75.4, 13.04, 12.73, 14.63])
    for fit in (deming, lambda x, y: weighted_deming(x, y, np.ones(4), np.ones(4))):
        with pytest.raises(ValueError, match="hospital's values vary too little: 3 of 4 are 15"):
            fit(x, y)
    # Two values, each of two patients, are a line; y without one patient is constant, so there is no interval.
    assert np.isfinite(deming([75.0, 75, 15, 15], y).slope.high)
    swapped = deming(y, x)
    assert 0.9 < swapped.slope.value < 1.1
    assert (math.isnan(swapped.slope.high), swapped.note[:11]) == (True, "no interval")
    # A third that binary numbers do not hold exactly leaves no rounding error as a line.
    with pytest.raises(ValueError, match=r"5 of 5 are 33\.3"):
        deming(np.full(5, 100 / 3), [1, 2, 3, 4, 5])
    assert math.isnan(concordance(np.full(5, 100 / 3), np.arange(5)).low)


def test_concordance_published_example_and_extremes():
    result = concordance(MINI, WRIGHT)
    assert result.value == pytest.approx(0.943, abs=5e-4)
    assert result.low < 0.90 < result.high < 1
    assert concordance([1, 2, 3], [1, 2, 3]).value == pytest.approx(1)
    # Shifted by 1: 2 * (2/3) / (2/3 + 2/3 + 1) = 4/7.
    assert concordance([1, 2, 3], [2, 3, 4]).value == pytest.approx(4 / 7)
    assert math.isnan(concordance([5, 5], [5, 5]).value)


def test_passing_bablok_has_no_interval_where_order_statistics_do_not_exist():
    # n = 3: N = 3, C = 1.96 sqrt(3 * 2 * 11 / 18) = 3.75 > N; n = 4: (6 - 5.77) / 2 = 0.12; n = 5: (10 - 8.00) / 2 = 1.
    for n, is_known in ((3, False), (4, False), (5, True)):
        line = passing_bablok(np.arange(n), np.arange(n) + 0.1 * np.array([0, 1, 0, 2, 1])[:n])
        ends = [line.slope.low, line.slope.high, line.intercept.low, line.intercept.high]
        assert np.isfinite(ends).all() if is_known else np.isnan(ends).all()
        assert ("too few" in line.note) != is_known
        assert math.isfinite(line.slope.value)
    # With five patients: the smallest and the largest of the ten slopes.
    x, y = np.arange(5), np.array([0, 1.1, 2, 3.2, 4.1])
    slopes = sorted((y[j] - y[i]) / (j - i) for i in range(5) for j in range(i + 1, 5))
    found = passing_bablok(x, y).slope
    assert (found.low, found.high) == (slopes[0], slopes[-1])


def test_passing_bablok_needs_methods_that_rise_together():
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 100, 120)
    y = 100 - x + rng.normal(0, 5, 120)
    for pair in ((x, y), (y, x), (x, 50 - 0.3 * x), (50 - 0.3 * x, x), (x, np.full(120, 4.0))):
        with pytest.raises(ValueError, match="do not rise together"):
            passing_bablok(*pair)


def test_passing_bablok_never_gives_infinity():
    # Normal fluids: hardly any neutrophils by either method, so that most pairs share a value.
    rng = np.random.default_rng(7)
    lines = refused = 0
    for _ in range(200):
        x, y = (rng.binomial(200, 0.01, 20) / 2 for _ in range(2))
        x[:4], y[:4] = (1, 2, 4, 6), (1.5, 2, 5, 6)
        for pair in ((x, y), (y, x)):
            try:
                line = passing_bablok(*pair)
            except ValueError:
                refused += 1
                continue
            lines += 1
            assert 0 < line.slope.value < math.inf
            numbers = [line.slope.low, line.slope.high, line.intercept.low, line.intercept.high]
            assert not np.isinf(numbers).any()
            assert line.note if np.isnan(numbers).any() else not line.note
    assert lines > 50
    assert refused


def test_passing_bablok_with_swapped_methods_swaps_the_interval():
    rng = np.random.default_rng(11)
    x = rng.uniform(0, 100, 30)
    y = 0.8 * x + rng.normal(0, 10, 30)
    there, back = passing_bablok(x, y), passing_bablok(y, x)
    assert (there.slope.low, there.slope.high) == pytest.approx((1 / back.slope.high, 1 / back.slope.low))
    # A flat line is not excluded there, and a vertical one not here.
    x, y = np.arange(10.0), np.array([7.0, 3, 0, 5, 6, 8, 4, 1, 9, 2])
    there, back = passing_bablok(x, y), passing_bablok(y, x)
    assert there.slope.low == pytest.approx(-1 / 8)
    assert math.isnan(back.slope.high)
    assert "vertical" in back.note


# Pearson's data with York's weights (York 1966, table II): slope -0.4805, intercept 5.4799.
PEARSON_X = np.array([0, 0.9, 1.8, 2.6, 3.3, 4.4, 5.2, 6.1, 6.5, 7.4])
PEARSON_Y = np.array([5.9, 5.4, 4.4, 4.6, 3.5, 3.7, 2.8, 2.8, 2.4, 1.5])
YORK_X = 1 / np.array([1000, 1000, 500, 800, 200, 80, 60, 20, 1.8, 1])
YORK_Y = 1 / np.array([1, 1.8, 4, 8, 20, 20, 70, 70, 100, 500])


def test_weighted_deming_published_example_and_its_jackknife():
    line = weighted_deming(PEARSON_X, PEARSON_Y, YORK_X, YORK_Y)
    assert (line.slope.value, line.intercept.value) == pytest.approx((-0.480533, 5.479910), abs=1e-6)
    for i in range(10):
        data = [np.delete(part, i) for part in (PEARSON_X, PEARSON_Y, YORK_X, YORK_Y)]
        alone = weighted_deming(*data)
        assert line.without[i] == pytest.approx([alone.slope.value, alone.intercept.value], abs=1e-8)


def test_weighted_deming_with_equal_variances_is_deming():
    x, y = np.array(MINI, float), np.array(WRIGHT, float)
    weighted = weighted_deming(x, y, np.full(17, 3.0), np.full(17, 6.0))
    plain = deming(x, y, error_ratio=2)
    assert weighted.slope.value == pytest.approx(plain.slope.value, abs=1e-8)
    assert (weighted.slope.low, weighted.slope.high) == pytest.approx((plain.slope.low, plain.slope.high), abs=1e-6)
    with pytest.raises(ValueError, match="vary together"):
        weighted_deming([1, 1, 1], [1, 2, 3], np.ones(3), np.ones(3))


def test_bias_at_a_level_is_the_lines_difference_with_a_jackknife_interval():
    x, y = np.array(MINI, float), np.array(WRIGHT, float)
    line = deming(x, y)
    bias = line.bias_at(450)
    # The same through a line whose origin is at 450: its intercept is the bias.
    moved = deming(x - 450, y - 450).intercept
    assert (bias.value, bias.low, bias.high) == pytest.approx((moved.value, moved.low, moved.high))
    assert math.isnan(passing_bablok(x, y).bias_at(450).low)


def test_weighted_deming_of_many_patients_leaves_out_groups_of_them(monkeypatch):
    rng = np.random.default_rng(4)
    x = rng.uniform(5, 95, 200)
    variance = x * (100 - x) / 200
    y = 1 + 1.1 * x + rng.normal(size=200) * np.sqrt(variance)
    alone = method_comparison.weighted_deming(x, y, variance, variance)
    monkeypatch.setattr(method_comparison, "_MAX_JACKKNIFE", 100)
    monkeypatch.setattr(method_comparison, "_GROUPS", 200)  # a group is one patient
    groups_of_one = method_comparison.weighted_deming(x, y, variance, variance)
    for name in ("slope", "intercept"):
        np.testing.assert_allclose(
            dataclasses.astuple(getattr(groups_of_one, name)), dataclasses.astuple(getattr(alone, name)), rtol=1e-9
        )
    monkeypatch.setattr(method_comparison, "_GROUPS", 100)  # a group is two
    pairs = method_comparison.weighted_deming(x, y, variance, variance)
    assert pairs.without.shape == (100, 2)
    assert pairs.slope.value == alone.slope.value
    assert pairs.slope.high - pairs.slope.low == pytest.approx(alone.slope.high - alone.slope.low, rel=0.25)

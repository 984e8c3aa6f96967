"""NIST's example of Rosner's test, statsmodels for the regressions, and a cusum by hand."""

import math

import numpy as np
import pytest
import statsmodels.api as sm

from tfod_csf.cytology.studies.method_checks import linearity_cusum, outliers, regression_limits
from tfod_csf.cytology.studies.method_comparison import Estimate, Line

# NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.5.17.3 (Rosner 1983): three outliers.
ROSNER = [-0.25, 0.68, 0.94, 1.15, 1.20, 1.26, 1.26, 1.34, 1.38, 1.43, 1.49, 1.49, 1.55, 1.56, 1.58, 1.65, 1.69, 1.70]
ROSNER += [1.76, 1.77, 1.81, 1.91, 1.94, 1.96, 1.99, 2.06, 2.09, 2.10, 2.14, 2.15, 2.23, 2.24, 2.26, 2.35, 2.37, 2.40]
ROSNER += [2.47, 2.54, 2.62, 2.64, 2.90, 2.92, 2.92, 2.93, 3.21, 3.26, 3.30, 3.59, 3.68, 4.30, 4.64, 5.34, 5.42, 6.01]


def growing(n=60, spread=0.1, bias=-0.2, seed=5):
    """Differences that fall and spread with the mean."""
    rng = np.random.default_rng(seed)
    mean = rng.uniform(2, 90, n)
    difference = bias * mean + spread * mean * rng.normal(size=n)
    return mean - difference / 2, mean + difference / 2


def test_growing_differences_against_statsmodels():
    x, y = growing()
    found = regression_limits(x, y)
    mean, difference = (x + y) / 2, y - x
    design = sm.add_constant(mean)
    first = sm.OLS(difference, design).fit()
    second = sm.OLS(np.abs(first.resid), design).fit()
    assert found.difference.slope.value == pytest.approx(first.params[1])
    assert (found.difference.slope.low, found.difference.slope.high) == pytest.approx(tuple(first.conf_int()[1]))
    assert found.difference.p_value == pytest.approx(first.pvalues[1])
    assert found.spread.p_value == pytest.approx(second.pvalues[1])
    assert found.are_needed
    low, bias, high = found.at(50.0)
    # Bland and Altman print b0 + b1 A -/+ 2.46 (c0 + c1 A).
    assert bias == pytest.approx(first.params @ [1, 50])
    assert (low, high) == pytest.approx(
        (bias - 2.4564 * second.params @ [1, 50], bias + 2.4564 * second.params @ [1, 50]), rel=1e-4
    )


def test_constant_differences_keep_constant_limits():
    rng = np.random.default_rng(1)
    x = rng.uniform(0, 100, 40)
    y = x + 3 + rng.normal(0, 2, 40)
    found = regression_limits(x, y)
    assert not found.are_needed
    difference = y - x
    expected = [difference.mean() + k * 1.959964 * difference.std(ddof=1) for k in (-1, 0, 1)]
    for mean in (0.0, 70.0):
        assert found.at(mean) == pytest.approx(expected)
    same = regression_limits(x, x)
    assert same.at(50.0) == (0, 0, 0)
    with pytest.raises(ValueError, match="at least 10 patients"):
        regression_limits(x[:9], y[:9])
    with pytest.raises(ValueError, match="different values"):
        regression_limits(np.full(12, 3.0), np.full(12, 4.0))


def test_cusum_by_hand():
    # y = x: patients 1, 2 below, 3 on the line, 4, 5 and 6 above: scores -sqrt(3/2) twice, 0, sqrt(2/3) three times.
    line = Line(Estimate(1, 1, 1), Estimate(0, 0, 0))
    x = np.array([1.0, 2, 3, 4, 5, 6])
    y = x + np.array([-0.5, -0.5, 0, 0.1, 0.1, 0.1])
    statistic, p_value = linearity_cusum(x, y, line)
    assert statistic == pytest.approx(2 * math.sqrt(3 / 2) / math.sqrt(3))
    # Kolmogorov: p = 2 (exp(-2 s^2) - exp(-8 s^2) + exp(-18 s^2) ...), here s^2 = 2.
    assert p_value == pytest.approx(2 * (math.exp(-4) - math.exp(-16)), rel=1e-6)
    assert math.isnan(linearity_cusum(x, x, line)[0])


def test_a_bent_relation_is_seen_and_a_straight_one_is_not():
    rng = np.random.default_rng(3)
    x = np.sort(rng.uniform(0, 100, 80))
    line = Line(Estimate(1, 1, 1), Estimate(0, 0, 0))
    straight = linearity_cusum(x, x + rng.normal(0, 3, 80), line)
    bent = linearity_cusum(x, x + 10 * np.sin(x / 100 * np.pi) - 6.4 + rng.normal(0, 3, 80), line)
    assert straight[1] > 0.05 > bent[1]


def test_outliers_published_example():
    assert [ROSNER[place] for place in outliers(np.array(ROSNER), max_fraction=0.2)] == [6.01, 5.42, 5.34]
    # Two are at most looked for at 5 % of 54: both alone are not far enough, as NIST's table says.
    assert outliers(np.array(ROSNER)) == []
    assert outliers(np.array([1.0, 2] * 10 + [90])) == [20]
    assert outliers(np.ones(20)) == []
    assert outliers(np.array([1, 2, 3, 90.0])) == []

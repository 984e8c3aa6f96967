"""The paper's Table 3, and the arithmetic behind it."""

import math

import numpy as np
import pytest

from tfod_csf.cytology.studies.turnaround import (
    Quantity,
    measured,
    percent_saved,
    percent_saved_paired,
    slowdown_percent,
    trend,
)


def test_table_3_of_the_paper_per_day():
    hand = Quantity.with_error(211, 25.3) + Quantity.with_error(70, 13.4)
    machine = Quantity.with_error(34, 4.5) + Quantity.with_error(3, 0.3)
    assert (hand.mean, machine.mean) == (281, 37)
    # Printed: 281 +- 38.5 and 37 +- 4.8; the parts are added as they are.
    assert hand.worst_case == pytest.approx(38.5, abs=0.25)
    assert machine.worst_case == pytest.approx(4.8)
    assert hand.independent == pytest.approx(28.63, abs=0.01)  # sqrt(25.3^2 + 13.4^2)
    totals = Quantity.with_error(281, 38.5), Quantity.with_error(37, 4.8)
    saved = totals[0] - totals[1]
    assert saved.mean == pytest.approx(243, abs=1)  # the paper prints 243 for 281 - 37
    assert saved.independent == pytest.approx(38.8, abs=0.05)
    percent = percent_saved(*totals)
    assert percent.mean == pytest.approx(86, abs=1)
    assert round(percent.worst_case) == 4
    # With the printed 243 minutes instead of 244: 243 / 281 = 86.5 %.
    assert round(percent_saved(totals[0], Quantity.with_error(38, 4.8)).mean) == 86


def test_table_3_of_the_paper_per_patient():
    hand, machine = Quantity.with_error(17.8, 0.92), Quantity.with_error(2.4, 0.04)
    saved = hand - machine
    assert saved.mean == pytest.approx(15.5, abs=0.11)
    assert saved.independent == pytest.approx(0.92, abs=0.005)
    assert percent_saved(hand, machine).mean == pytest.approx(86.5, abs=0.1)


def test_product_of_patients_per_day_and_minutes_per_patient():
    # 10 +- 2 patients of 3 +- 0.5 minutes: 30, errors 2 * 3 = 6 and 0.5 * 10 = 5: sqrt(61) = 7.81 or 11.
    product = Quantity.with_error(10, 2) * Quantity.with_error(3, 0.5)
    assert (product.mean, product.worst_case) == (30, 11)
    assert product.independent == pytest.approx(math.sqrt(61))


def test_measured_by_hand_and_a_single_value():
    found = measured([1, 2, 3])
    assert (found.mean, found.sd, found.count) == (2, 1, 3)
    assert found.standard_error == pytest.approx(1 / math.sqrt(3))
    assert math.isnan(measured([5]).sd)
    assert measured([5]).quantity == Quantity(5, 0, 0)


def test_saving_of_paired_patients_is_that_of_sums_with_its_error_by_jackknife():
    rng = np.random.default_rng(0)
    by_hand = rng.uniform(10, 30, 400)
    machine = 0.15 * by_hand + rng.normal(0, 0.5, 400)
    found = percent_saved_paired(by_hand, machine)
    assert found.mean == pytest.approx(100 * (1 - machine.sum() / by_hand.sum()))
    without = 1 - (machine.sum() - machine) / (by_hand.sum() - by_hand)
    jackknife = 100 * math.sqrt(399 / 400 * ((without - without.mean()) ** 2).sum())
    assert found.standard_error == pytest.approx(jackknife, rel=0.01)
    # Taken as two groups, the same numbers have a larger error: who takes long does so both ways.
    apart = percent_saved(measured(by_hand).quantity, measured(machine).quantity)
    assert apart.independent > 2 * found.standard_error
    with pytest.raises(ValueError, match="two of them"):
        percent_saved_paired(by_hand[:1], machine[:1])


def test_standard_errors_shrink_with_patients_and_deviations_do_not():
    few, many = measured([1, 2, 3]), measured([1, 2, 3] * 100)
    assert few.spread == Quantity(2, 1, 1)
    assert many.spread.independent == pytest.approx(math.sqrt(200 / 299))
    assert many.quantity.independent < 0.1 * few.quantity.independent
    assert measured([5]).spread == Quantity(5, 0, 0)


def test_trends():
    x = np.arange(50)
    steady = trend(x, np.full(50, 0.5))
    assert steady.slope == 0
    assert math.isnan(steady.spearman)
    rising = trend(x, 0.5 + 0.01 * x)
    assert rising.spearman == pytest.approx(1)
    assert rising.slope == pytest.approx(0.01)
    with_outlier = 0.5 + 0.01 * x
    with_outlier[0] = 30  # the first image builds the program
    assert trend(x, with_outlier).slope == pytest.approx(0.01, rel=0.05)
    assert math.isnan(trend(np.ones(50), x).spearman)
    assert math.isnan(trend(x[:2], x[:2]).slope)
    many = np.arange(4000)
    assert trend(many, 1 + 0.001 * many).slope == pytest.approx(0.001)


def test_slowdown_compares_the_end_with_the_second_tenth():
    seconds = np.r_[np.full(10, 9.0), np.full(10, 1.0), np.full(70, 1.1), np.full(10, 1.2)]
    assert slowdown_percent(seconds) == pytest.approx(20)
    assert math.isnan(slowdown_percent(np.ones(19)))

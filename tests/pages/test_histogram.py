"""Bars, lines and ticks of a histogram, by hand."""

import re

import numpy as np
import pytest

from tfod_csf.pages import histogram


def bars(svg: str) -> list[tuple[float, float, float]]:
    """(x, width, height) of each bar."""
    found = re.findall(r'<rect x="([\d.]+)" y="[\d.]+" width="([\d.]+)" height="([\d.]+)"', svg)
    return [tuple(map(float, bar)) for bar in found]


def test_bars_are_as_high_as_their_counts_and_empty_bins_have_none():
    svg = str(histogram.histogram("h", "Title", [0, 10, 20, 30], [4, 0, 2], "axis", "boxes"))
    (x0, width0, height0), (x2, width2, height2) = bars(svg)
    assert height0 == 2 * height2 == 164 - 28
    assert width0 == width2
    assert x2 - x0 == pytest.approx(2 * (width0 + 1), abs=0.11)
    assert "0 to 10: 4; 20 to 30: 2" in svg
    assert re.findall(r">(\d+)</text>", svg) == ["0", "2", "4", "0", "10", "20", "30"]


def test_equal_factors_are_equally_wide_on_a_logarithmic_axis():
    svg = str(histogram.histogram("h", "Title", [1, 10, 100], [3, 3], "axis", "boxes", marks=[10, 1000], is_log=True))
    (_, width0, _), (x1, width1, _) = bars(svg)
    assert width0 == pytest.approx(width1, abs=0.11)
    [[line]] = [re.findall(r"M([\d.]+) 28V164", path) for path in re.findall(r'd="([^"]+)" stroke="#1b2733"', svg)]
    assert float(line) == pytest.approx(x1 - 0.5, abs=0.11)  # 10; 1000 is ignored
    assert re.findall(r">(\d+)</text>", svg)[-7:] == ["1", "2", "5", "10", "20", "50", "100"]


def test_a_logarithmic_axis_of_less_than_a_decade_has_more_than_one_number():
    svg = str(histogram.histogram("h", "Title", [2.4, 4, 7.2], [3, 3], "axis", "boxes", is_log=True))
    assert re.findall(r">(\d+)</text>", svg)[-5:] == ["3", "4", "5", "6", "7"]


def test_a_histogram_of_nothing():
    assert '<desc id="h-d">no boxes</desc>' in histogram.histogram("h", "Title", [0, 1], [0], "axis", "boxes")


def test_a_band_lies_behind_the_bars_and_the_unit_is_said():
    svg = str(histogram.histogram("h", "Title", [0, 50, 100], [1, 1], "axis", "boxes", band=(25, 75), unit=" %"))
    (x, width), (bar, *_) = re.findall(r'<rect x="([\d.]+)" y="28" width="([\d.]+)"', svg)[0], bars(svg)[1:]
    left = 10 + 8 * 3
    assert (float(x), float(width)) == pytest.approx((left + (310 - left) / 4, (310 - left) / 2), abs=0.06)
    assert bar[0] == left + 0.5
    assert "0 to 50 %: 1; 50 to 100 %: 1" in svg


def test_edges_do_not_depend_on_other_values():
    few, many = histogram.log_edges(np.array([5.0]), 2.0), histogram.log_edges(np.array([0.7, 5.0, 8.0]), 2.0)
    assert few == pytest.approx([4, 8])
    assert many == pytest.approx([0.5, 1, 2, 4, 8, 16])

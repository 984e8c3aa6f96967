import re

import numpy as np
import pytest
from lxml import etree

from tfod_csf.cytology.counting.differential import Share, differential
from tfod_csf.cytology.counting.reference_ranges import load_reference_ranges
from tfod_csf.cytology.counting.saturation import SaturationRules, saturation
from tfod_csf.cytology.report import charts
from tfod_csf.pages import svg

RULES = SaturationRules(replicates=100)


def words(chart):
    """Title, description and labels of a chart that must be well-formed XML."""
    root = etree.fromstring(str(chart))
    return {name: [e.text for e in root.iter(name)] for name in ("title", "desc", "text")}


def test_bars_stand_where_the_percentages_are():
    counts = {"lymphocyte": 50, "monocyte": 25, "neutrophil": 25}
    shares = differential("p", {"m": counts}, references=load_reference_ranges()).shares
    chart = charts.percent_bars(shares, "bars")
    widths = [float(w) for w in re.findall(r'width="([\d.]+)" height="18"', chart)]
    assert widths == [100.0, 50.0, 50.0]  # the axis is 200 units long
    assert re.search(r'<rect x="238.0" [^>]*width="74.0" height="36"', chart)  # 63 .. 100 % from 112 on: 99 is open
    assert words(chart)["desc"][0].startswith("lymphocyte 50.0 % (interval ")


def test_bars_without_reference_ranges():
    shares = differential("p", {"m": {"lymphocyte": 50, "monocyte": 0, "neutrophil": 0}}).shares
    assert 'height="36"' not in charts.percent_bars(shares, "bars")


@pytest.mark.parametrize("n_sat", [None, 200])
def test_curves_end_at_the_final_percentages(n_sat):
    result = saturation("p", np.tile([20, 10, 2], [12, 1]), RULES)
    found = words(charts.saturation_curves(result, n_sat, "curves"))
    assert {"lymphocyte 62 %", "monocyte 31 %", "neutrophil 6 %"} <= set(found["text"])
    assert ("enough from 200" in found["text"]) == (n_sat is not None)


def test_labels_of_equal_percentages_do_not_overlap():
    result = saturation("p", np.tile([10, 10, 10], [2, 1]), RULES)
    chart = str(charts.saturation_curves(result, None, "curves"))
    heights = sorted(float(y) for y in re.findall(r'<text x="565.0" y="([\d.]+)"', chart))
    assert min(np.diff(heights)) >= 18
    bottom = saturation("p", np.tile([30, 0, 0], [2, 1]), RULES)  # two labels at 0 % stay inside the chart
    heights = re.findall(r'<text x="565.0" y="([\d.]+)"', str(charts.saturation_curves(bottom, None, "curves")))
    assert max(map(float, heights)) <= 285


def test_histogram_counts_patients():
    chart = charts.percent_histogram("monocyte", [0, 5, 10, 99.9, 100], 3, 37)
    assert words(chart)["desc"] == ["0 to 10 %: 2; 10 to 20 %: 1; 90 to 100 %: 2"]
    assert words(charts.percent_histogram("monocyte", [], None, None))["desc"] == ["no patients"]


@pytest.mark.parametrize(("patients", "largest"), [(7, "5"), (60_000, "60,000")])
def test_numbers_of_patients_lie_within_the_picture(patients, largest):
    """A number that is clipped at the left is read as another: 60,000 as 0,000."""
    chart = etree.fromstring(str(charts.percent_histogram("lymphocyte", [95.0] * patients, None, None)))
    (text,) = (one for one in chart.iter("text") if one.text == largest)
    assert text.get("text-anchor") == "end"
    assert float(text.get("x")) - 7.7 * len(largest) >= 0  # the widest digits that a browser uses at 12 px


def test_settled_patients_step_up():
    chart = charts.settled_patients([100, None, 100, 400], "settled")
    assert words(chart)["desc"] == ["3 of 4 patients have enough cells."]
    # 200 units high from 228: two of four at 100 cells, three of four at 400; the axis ends at 420.
    assert "H181.1V128.0H592.6V78.0H620" in chart
    assert words(charts.settled_patients([None], "settled"))["desc"] == ["0 of 1 patients have enough cells."]


def test_text_of_a_chart_is_escaped():
    chart = charts.percent_bars({"<b>": Share(50.0, 40.0, 60.0, None, None, None)}, "bars")
    assert "<b>" not in chart
    assert "<b>" in words(chart)["text"]
    assert svg.marker('"><script>').count("<") == 3

import math

import pytest

from tests.support.cross_validation_folds import ALL_RIGHT, SIX_TWO_TWO, fold
from tfod_csf.cytology.studies.cross_validation import cross_validation_page
from tfod_csf.cytology.studies.cross_validation.cross_validation_table import measure_rows
from tfod_csf.cytology.studies.cross_validation.fold_results import FoldMembers


def written(folder, folds):
    members = {one.number: FoldMembers((f"<{one.number}>",), len(one.patient_ids), 1200) for one in folds}
    cross_validation_page.write_page(folder, folds, members, measure_rows(folds), "patient")
    return folder / cross_validation_page.PAGE


def test_every_measure_is_a_chart_with_its_table(tmp_path):
    page = written(tmp_path, [fold(1, [SIX_TWO_TWO] * 5, 0.61), fold(2, [ALL_RIGHT] * 5, 0.65)]).read_text("utf-8")
    assert "<h1>2 folds by patient: 10 patients, each tested once</h1>" in page
    assert page.count('class="chart"') == 4
    assert "0.630 (0.190 to 1.000)" in page
    assert "<li>Fold 2: &lt;2&gt;: 5 patients, 1,200 images</li>" in page
    # Rings of folds that have a value: mAP and 3 average precisions; 3 recalls, of which one fold has no label for two;
    # precision of lymphocytes, and of neutrophils in one fold; the error.
    assert page.count('r="5"') == 8 + 4 + 3 + 2
    assert "Nadeau and Bengio 2003" in page


def test_folds_without_a_value_and_names_with_markup(tmp_path):
    names = ("<b>lymphocyte</b>", "monocyte", "neutrophil")
    nothing = [fold(number, [[[0, 0, 0]] * 4], math.nan, [math.nan] * 3, names) for number in (1, 2)]
    page = written(tmp_path, nothing).read_text("utf-8")
    assert "<b>" not in page
    assert "no value" in page
    assert "no fold has a value" in page


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_is_quiet_and_fits_the_screen(browser, tmp_path, width):
    page = written(tmp_path, [fold(number, [SIX_TWO_TWO, ALL_RIGHT] * 3, 0.5 + number / 20) for number in range(1, 6)])
    browser.open(page, width)
    assert browser.console == []
    assert [request for request in browser.requests if not request.startswith("data:")] == [page.as_uri()]
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert "What the intervals mean" in browser.evaluate("document.body.innerText")

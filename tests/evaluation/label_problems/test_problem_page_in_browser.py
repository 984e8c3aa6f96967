"""The gallery of contradicted labels in a real headless Chromium."""

import numpy as np
import pytest

from tfod_csf.evaluation.label_problems import problem_page
from tfod_csf.evaluation.label_problems.problem_list import LabelProblem
from tfod_csf.evaluation.label_problems.suspicion import KINDS, OVERLOOKED, Suspicion
from tfod_csf.study.pictures import PixelPicture

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("found")
    picture = PixelPicture(np.full((80, 120, 3), 200, np.uint8))
    problems = []
    for number in range(24):
        kind = KINDS[number % 4]
        label = (None, "", None) if kind == OVERLOOKED else (0, "lymphocyte", (5.0, 8.0, 25.0, 28.0))
        one = Suspicion(kind, 1 - number / 50, *label[:2], "monocyte", label[2], (10.0, 10.0, 30.0, 30.0), 0.5)
        problems.append(LabelProblem("<b onclick=alert(1)>/a very long name of an image.jpg", "P", one))
    pictures = {place: problem_page.picture_of(picture, problem) for place, problem in enumerate(problems[:20])}
    problem_page.write_page(problems, pictures, 3, 100, "model", folder)
    return folder / problem_page.PAGE


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_is_quiet_and_fits_the_screen(browser, page, width):
    browser.open(page, width)
    assert browser.console == []
    assert [request for request in browser.requests if not request.startswith("data:")] == [page.as_uri()]
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert browser.evaluate("document.querySelectorAll('.gallery img').length") == 20
    assert browser.evaluate("document.querySelectorAll('b').length") == 0
    assert "20 of 24 are shown, half of them the most likely of each kind and class" in browser.evaluate(
        "document.body.innerText"
    )


def test_pictures_by_keyboard(browser, page):
    browser.open(page)
    browser.evaluate("document.querySelector('#kind-2 .gallery button').focus()")
    browser.press("ArrowRight")
    browser.press("Enter")
    words = browser.evaluate("document.querySelector('#viewer p').textContent")
    assert words.startswith("6: swapped, labeled lymphocyte, model monocyte, score 0.90, at x 10, y 10 of <b onclick")
    browser.press("Escape")
    assert not browser.evaluate("document.getElementById('viewer').open")

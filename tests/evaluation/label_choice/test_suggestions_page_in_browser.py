"""The page of images to label next in a real headless Chromium."""

import numpy as np
import pytest
from PIL import Image

from tfod_csf.evaluation.label_choice import suggestions_page
from tfod_csf.evaluation.label_choice.suggestions import Suggestion
from tfod_csf.evaluation.label_choice.suggestions_page import Searched

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("suggested")
    picture = suggestions_page.picture_of(Image.fromarray(np.full((600, 1200, 3), 200, np.uint8)))
    some = [
        Suggestion(
            f"<b onclick=alert(1)>/a very long name of an image {n}.jpg", "P", 0.5, 0.5, 1, "", 9, 1, "in doubt: 1 a"
        )
        for n in range(7)
    ]
    searched = Searched("model", 12, {"lymphocyte": 1234})
    suggestions_page.write_page(some, {one.image: picture for one in some[:5]}, searched, folder)
    return folder / suggestions_page.PAGE


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_is_quiet_and_fits_the_screen(browser, page, width):
    browser.open(page, width)
    assert browser.console == []
    assert [request for request in browser.requests if not request.startswith("data:")] == [page.as_uri()]
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert browser.evaluate("document.querySelectorAll('.fields img').length") == 5
    assert browser.evaluate("document.querySelectorAll('b').length") == 0
    text = browser.evaluate("document.body.innerText")
    assert "5 images to label next" in text
    assert "1,234" in text
    assert "In doubt: 1 a." in text


def test_pictures_by_keyboard(browser, page):
    browser.open(page)
    browser.evaluate("document.querySelector('.fields button').focus()")
    browser.press("Enter")
    browser.press("ArrowRight")
    words = browser.evaluate("document.querySelector('#viewer p').textContent")
    assert words.startswith("2: <b onclick")
    assert browser.evaluate("document.querySelector('#viewer img').naturalWidth") == 800

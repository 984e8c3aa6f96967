"""The data page in a real headless Chromium: nothing on the console, nothing fetched, keys, narrow screens."""

import pytest

from tests.support import drawn_records
from tests.support.drawn_records import drawn
from tfod_csf.data.dataset_page.data_page import PAGE, PageOptions, write_data_page
from tfod_csf.problems import ProblemLog

pytestmark = pytest.mark.slow

FOCUSED = "document.activeElement"
PLACE = f"[...{FOCUSED}.closest('ul').querySelectorAll('button')].indexOf({FOCUSED})"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    names = ("lymphocyte", "monocyte", "neutrophil", "erythrocyte")
    train = [
        drawn(f"a very long name of a patient of whom there are images {n}/{n}.jpg", n, names[n % 4]) for n in range(16)
    ]
    folder = tmp_path_factory.mktemp("data") / "records"
    drawn_records.write(folder, {"train": train, "test": [drawn("P/1.jpg", 1), drawn("P/99.jpg", 99, blur=4.0)]})
    write_data_page(folder, folder, PageOptions(), ProblemLog())
    return folder / PAGE


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_is_quiet_full_and_fits_the_screen(browser, page, width):
    browser.open(page, width)
    assert browser.console == []
    assert [request for request in browser.requests if not request.startswith("data:")] == [page.as_uri()]
    assert browser.evaluate("[...document.querySelectorAll('main img')].every((image) => image.naturalWidth > 0)")
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    first = browser.evaluate("document.querySelector('main li').innerText")
    assert first.startswith("Leak: 1 of 2 test images has the same file among the training images")


def test_every_warning_leads_to_its_section(browser, page):
    browser.open(page)
    targets = browser.evaluate("[...document.querySelectorAll('#warnings a')].map((a) => a.getAttribute('href'))")
    assert "#leaks" in targets
    links = "[...document.querySelectorAll('#warnings a, nav a')]"
    assert browser.evaluate(f"{links}.every((link) => document.querySelector(link.getAttribute('href')))")


def test_cells_and_images_by_keyboard(browser, page):
    browser.open(page)
    browser.press("Tab")
    assert browser.evaluate(f"{FOCUSED}.textContent") == "Skip to the result"
    assert browser.evaluate("document.querySelectorAll('.gallery [tabindex=\"0\"]').length") == browser.evaluate(
        "document.querySelectorAll('.gallery').length"
    )
    browser.evaluate("document.querySelector('#cells .gallery button').focus()")
    browser.press("ArrowRight")
    assert browser.evaluate(PLACE) == 1
    browser.press("Enter")
    assert browser.evaluate("document.getElementById('viewer').open")
    assert "px, at x" in browser.evaluate("document.querySelector('#viewer p').textContent")
    browser.press("ArrowRight")
    browser.press("Escape")
    assert not browser.evaluate("document.getElementById('viewer').open")
    browser.wait(f"{PLACE} === 2")  # the focus comes back after the dialog has closed
    browser.evaluate("document.querySelector('#images .field').focus()")
    browser.press("Enter")
    assert "(train): " in browser.evaluate("document.querySelector('#viewer p').textContent")

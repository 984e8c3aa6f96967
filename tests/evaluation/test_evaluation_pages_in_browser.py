"""errors.html and thresholds.html in a real headless Chromium: quiet, by keyboard, on narrow screens."""

import pytest

from tests.support.evaluated_images import MIXED, RIGHT, examined, write

pytestmark = pytest.mark.slow

OWNED = "document.title='owned'"
HOSTILE = f"\"'><svg onload={OWNED}><img src=x onerror={OWNED}></script><script>{OWNED}</script>{{{{7*7}}}}\u202e"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluation")
    crowded = [("L", 22 * i, 22 * j, 0.9) for i in range(6) for j in range(5)]
    hostile = examined(HOSTILE, found=crowded, labels=[cell[:3] for cell in crowded[::2]])
    write(folder, MIXED, RIGHT, hostile)
    return folder


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", ["errors.html", "thresholds.html"])
def test_pages_are_quiet_and_fit_the_screen(browser, folder, name, width):
    browser.open(folder / name, width)
    browser.evaluate("new Promise((done) => setTimeout(done, 100))")
    assert browser.console == []
    assert len([request for request in browser.requests if not request.startswith("data:")]) == 1
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert browser.evaluate("[...document.querySelectorAll('main img')].every((image) => image.naturalWidth > 0)")
    assert not browser.evaluate("document.title").startswith("owned")
    assert browser.evaluate("document.scripts.length") == 1
    assert browser.evaluate("document.querySelectorAll('[onload], [onerror], [href^=http]').length") == 0
    text = browser.evaluate("document.body.innerText")
    assert "\u202e" not in text
    nodes = browser.call("Accessibility.getFullAXTree")["nodes"]
    for node in nodes:
        if node.get("role", {}).get("value") in {"button", "link", "image", "table", "dialog"} and not node.get(
            "ignored"
        ):
            assert node.get("name", {}).get("value"), node


def test_the_matrix_opens_the_pictures_behind_a_number_by_keyboard(browser, folder):
    browser.open(folder / "errors.html")
    assert browser.evaluate("document.querySelectorAll('details[open]').length") == 0
    browser.evaluate("document.querySelector('.matrix a[href=\"#m-1-0\"]').focus()")
    browser.press("Enter")
    browser.evaluate("new Promise((done) => setTimeout(done, 100))")
    opened = "[...document.querySelectorAll('details[open]')].map((group) => group.id).join()"
    assert browser.evaluate(opened) == "m-1-0"
    assert browser.evaluate("document.activeElement.closest('details').id") == "m-1-0"
    browser.press("Enter")
    said = browser.evaluate("document.querySelector('#viewer[open] p').textContent")
    assert said == "found: lymphocyte (90 %); labeled: monocyte; image p/<b>mixed</b>.jpg"
    browser.press("Escape")
    browser.evaluate("new Promise((done) => setTimeout(done, 200))")
    # Closed again by hand, the same number opens it again.
    browser.evaluate("document.querySelector('details[open]').open = false")
    browser.evaluate("document.querySelector('.matrix a[href=\"#m-1-0\"]').focus()")
    browser.press("Enter")
    assert browser.evaluate(opened) == "m-1-0"


def test_arrows_move_among_the_pictures_of_a_type(browser, folder):
    browser.open(folder / "errors.html", 390)
    buttons = "[...document.querySelectorAll('#t-background button')]"
    browser.evaluate(f"{buttons}[0].focus()")
    browser.press("ArrowRight")
    place = f"{buttons}.indexOf(document.activeElement)"
    assert browser.evaluate(place) == 1
    browser.press("ArrowDown")
    assert browser.evaluate(place) == 5  # four side by side
    browser.press("Enter")
    assert "labeled: nothing" in browser.evaluate("document.querySelector('#viewer[open] p').textContent")

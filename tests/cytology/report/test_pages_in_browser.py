"""The pages in a real headless Chromium: nothing on the console, nothing fetched, keys, narrow screens, print."""

import pathlib
import re
import shutil
import subprocess
import time

import numpy as np
import pytest
from PIL import Image

from tests.cytology.report import test_cohort_page
from tests.support import examined_study, signing_desk
from tests.support.report_pages import page, write
from tests.support.review_desk import Desk, edit, nothing, rename
from tfod_csf.commands import command_line, report
from tfod_csf.cytology import run_tables
from tfod_csf.cytology.counting.differential import DifferentialRules
from tfod_csf.cytology.counting.live_count import live_count
from tfod_csf.cytology.report import chromium, cohort_page, live_page
from tfod_csf.files import atomic_write, csv_tables

pytestmark = pytest.mark.slow

PICTURES_THERE = "[...document.querySelectorAll('main img')].every((image) => image.naturalWidth > 0)"


def check_quiet(browser):
    assert browser.console == []
    assert len([request for request in browser.requests if not request.startswith("data:")]) == 1  # the page itself


@pytest.mark.parametrize("which", ["synthetic", "odd"])
@pytest.mark.parametrize("width", [1200, 390])
def test_pages_are_quiet_full_and_fit_the_screen(browser, request, tmp_path, which, width):
    summary, _ = request.getfixturevalue(which)
    for path in summary.pages:
        browser.open(path, width)
        check_quiet(browser)
        assert browser.evaluate(PICTURES_THERE)
        assert browser.evaluate("document.documentElement.scrollWidth") <= width
        pixels = np.asarray(Image.open(browser.screenshot(tmp_path / "page.png")).convert("L"))
        assert pixels.shape[1] == width
        # Text and pictures on white: neither blank nor black, also in the last third.
        assert 0.01 < (pixels < 128).mean() < 0.6
        assert (pixels[-pixels.shape[0] // 3 :] < 128).mean() > 0.005


def test_a_final_report_fits_a_narrow_screen_and_shows_its_signature(browser, tmp_path):
    patients = {
        "王伟": {"a.jpg": [("lymphocyte", 0.95, (1.0, 2.0, 11.0, 12.0)), ("monocyte", 0.6, (20.0, 5.0, 30.0, 15.0))]}
    }
    patients["王伟"]["b.jpg"] = []
    desk = Desk(examined_study.write_study(tmp_path, patients), tmp_path)
    signing_desk.review(desk)
    for signed in (False, True):
        if signed:
            assert signing_desk.sign(desk, "--comment=No tumor cells.") == 0
        else:
            write(desk.output, desk.output)
        browser.open(signing_desk.folder_of(desk) / "report.html", 390)
        check_quiet(browser)
        assert browser.evaluate("document.documentElement.scrollWidth") <= 390
        shown = "document.querySelector('.signature').checkVisibility()"
        assert browser.evaluate(shown) is signed  # the empty block is for paper
        assert ("No tumor cells." in browser.evaluate("document.body.innerText")) is signed


def test_markup_of_a_name_did_not_run(browser, odd):
    _, folder = odd
    for path in (page(folder, "markup"), folder / "report.html"):
        browser.open(path)
        assert not browser.evaluate("document.title").startswith("owned")
        assert browser.evaluate("document.scripts.length") == 1


OWNED = "document.title='owned'"
# In names of files and folders, without "/": a patient, an image, a model.
HOSTILE_NAME = f"\"'><svg onload={OWNED}><img src=x onerror={OWNED}>\u202e&lt;"
HOSTILE = f"{HOSTILE_NAME}</style></title></script><script>{OWNED}</script><a href='http://127.0.0.1:9/'>{{{{7*7}}}}"


def test_texts_that_people_and_files_bring_run_nothing(browser, tmp_path, capsys):
    sure, unsure = ("lymphocyte", 0.95, (1.0, 2.0, 11.0, 12.0)), ("monocyte", 0.6, (20.0, 5.0, 30.0, 15.0))
    images = {f"{HOSTILE_NAME}.jpg": [sure, unsure], "b.jpg": []}
    study = examined_study.write_study(tmp_path, {HOSTILE_NAME: images}, (HOSTILE_NAME,))
    desk = Desk(study, tmp_path)
    exported = desk.export("review", f"--extra_class=x{HOSTILE}")
    for xml in exported.glob("*/*.xml"):
        edit(xml, nothing if xml.stem.endswith("__b") else rename(1, f"x{HOSTILE}"), verified=True)
    flags = [f"--comment={HOSTILE}", f"--extra_class=x{HOSTILE}"]
    assert desk.take(exported, *flags, reviewer=HOSTILE) == 0, capsys.readouterr().err
    rows = [{"patient_id": HOSTILE_NAME, "sample_id": HOSTILE, "operator": HOSTILE, "collected_at": "2022-01-24"}]
    rows[0]["cells_per_ul"] = ""
    csv_tables.write_rows(tmp_path / "facts.csv", tuple(rows[0]), rows)
    table = f"--patient_table={tmp_path / 'facts.csv'}"
    flags = [table, f"--comment={HOSTILE}", "--max_unknown_percent=100"]
    assert signing_desk.sign(desk, *flags, patient=HOSTILE_NAME, who=HOSTILE) == 0, capsys.readouterr().err
    report_flags = [f"--inference_dir={desk.output}", "--min_white_cells=1", "--max_unknown_percent=100", table]
    report_flags.append(f"--date={HOSTILE}")
    assert command_line.run(report.main, report.FLAGS, "", "report", report_flags) == 0, capsys.readouterr().err
    pages = [desk.output / "report.html", *desk.output.glob("patients/*/report.html")]
    assert len(pages) == 2
    for path in pages:
        browser.open(path)
        browser.evaluate("new Promise((done) => setTimeout(done, 100))")
        check_quiet(browser)
        assert not browser.evaluate("document.title").startswith("owned")
        assert browser.evaluate("document.scripts.length") == 1
        assert browser.evaluate("document.querySelectorAll('[onload], [onerror], [href^=http]').length") == 0
        assert browser.evaluate("[...document.images].every((image) => !image.src || image.src.startsWith('data:'))")
        text = browser.evaluate("document.body.innerText")
        assert "<svg onload=" in text
        assert "\u202e" not in text  # which would turn the line around
        assert "49" not in browser.evaluate("document.querySelector('footer').innerText")


def test_policy_of_the_page_stops_what_gets_in(browser, synthetic):
    _, folder = synthetic
    browser.open(page(folder))
    browser.evaluate("document.body.insertAdjacentHTML('beforeend', '<img id=bad src=http://127.0.0.1:9/a.png>')")
    browser.evaluate("document.body.insertAdjacentHTML('beforeend', '<b onclick=\"document.title=1\" id=b>x</b>')")
    browser.evaluate("document.getElementById('b').click()")
    assert browser.evaluate("document.title") != "1"
    browser.evaluate("new Promise((done) => setTimeout(done, 200))")
    assert any("Content Security Policy" in line for line in browser.console)
    assert browser.blocked == ["csp"]


def test_gallery_by_keyboard(browser, synthetic):
    _, folder = synthetic
    browser.open(page(folder), width=390)
    browser.press("Tab")
    assert browser.evaluate("document.activeElement.textContent") == "Skip to the result"
    groups = browser.evaluate("document.querySelectorAll('.gallery').length")
    assert browser.evaluate("document.querySelectorAll('.gallery [tabindex=\"0\"]').length") == groups
    two_rows = "[...document.querySelectorAll('.gallery')].find((list) => list.querySelectorAll('button').length > 5)"
    browser.evaluate(f"{two_rows}.querySelector('button').focus()")
    place = "[...document.activeElement.closest('ul').querySelectorAll('button')].indexOf(document.activeElement)"
    browser.press("ArrowRight")
    assert browser.evaluate(place) == 1
    browser.press("ArrowDown")
    assert browser.evaluate(place) == 5  # four stand side by side
    browser.press("ArrowUp")
    assert browser.evaluate(place) == 1
    browser.press("Enter")
    said = browser.evaluate("document.querySelector('#viewer[open] p').textContent")
    assert re.search(r"\d+\u00a0%.*; image \d+, cell \d+ \(patient_002_\d+\.jpg\)", said)
    browser.press("ArrowRight")
    assert browser.evaluate("document.querySelector('#viewer p').textContent") != said
    browser.press("Escape")
    browser.evaluate("new Promise((done) => setTimeout(done, 200))")  # the event that closes is a task of its own
    assert browser.evaluate("document.getElementById('viewer').open") is False
    assert browser.evaluate(place) == 2


def test_cohort_table_sorts_searches_and_filters(browser, odd):
    _, folder = odd
    browser.open(folder / "report.html")
    first = "document.querySelector('#cohort tbody tr:not([hidden]) th').textContent"
    browser.evaluate("document.querySelectorAll('#cohort thead button')[1].focus()")
    browser.press("Enter")
    assert browser.evaluate(first) == "two models"  # 318 white cells
    sorted_by = "document.querySelectorAll('#cohort thead th')[1].getAttribute('aria-sort')"
    assert browser.evaluate(sorted_by) == "descending"
    browser.press("Enter")
    assert browser.evaluate(sorted_by) == "ascending"
    assert browser.evaluate(first) == "failed only"  # no number at all
    search = (
        "((text) => { const find = document.getElementById('find'); find.value = text; "
        "find.dispatchEvent(new Event('input')); return shown.textContent; })"
    )
    assert browser.evaluate(f"{search}('ONE im')") == "1 of 8 patients"
    assert browser.evaluate(first) == "one image"
    assert browser.evaluate(f"{search}('')") == "8 of 8 patients"
    browser.evaluate("document.querySelector('.filter input[value=f]').click()")
    assert browser.evaluate("shown.textContent") == "2 of 8 patients"


def test_names_of_all_controls(browser, synthetic):
    _, folder = synthetic
    for path in (page(folder), folder / "report.html"):
        browser.open(path)
        nodes = browser.call("Accessibility.getFullAXTree")["nodes"]
        named = {"button", "link", "image", "checkbox", "searchbox", "table", "dialog"}
        for node in nodes:
            if node.get("role", {}).get("value") in named and not node.get("ignored"):
                assert node.get("name", {}).get("value"), node


@pytest.mark.parametrize("which", ["synthetic", "odd"])
def test_printed_pages(browser, request, tmp_path, which):
    if not shutil.which("pdftotext"):
        pytest.skip("poppler-utils is not installed")
    _, folder = request.getfixturevalue(which)
    for path, first, most in ((page(folder, {"synthetic": "patient_002", "odd": "chinese"}[which]), 1, 6),
                              (folder / "report.html", 1, 3)):  # fmt: skip
        pdf = tmp_path / "page.pdf"
        chromium.print_pdf(chromium.find_chromium(), path, pdf)
        info = subprocess.run(["pdfinfo", pdf], capture_output=True, text=True, check=True).stdout
        sheets = int(re.search(r"Pages:\s+(\d+)", info)[1])
        assert first <= sheets <= most
        assert "A4" in info
        texts = subprocess.run(["pdftotext", "-layout", pdf, "-"], capture_output=True, text=True, check=True).stdout
        texts = texts.split("\f")[:sheets]
        title = (
            {"synthetic": "Patient patient_002", "odd": "Patient "}[which] if path.parent != folder else "CSF cell diff"
        )
        for number, text in enumerate(texts, start=1):
            assert title in text
            assert "Research software, not a medical device." in text
            assert f"{number}/{sheets}" in text.replace(" ", "")


def test_page_needs_nothing_beside_it(browser, synthetic, tmp_path):
    _, folder = synthetic
    alone = pathlib.Path(shutil.copy(page(folder), tmp_path / "sent by mail.html"))
    browser.open(alone)
    check_quiet(browser)
    assert browser.evaluate(PICTURES_THERE)


def test_very_many_patients_are_found_and_sorted(browser, tmp_path, monkeypatch):
    for name, number in {"MAX_ROWS": 3, "ROWS_PER_PAGE": 2, "MAX_SHOWN": 3}.items():
        monkeypatch.setattr(cohort_page, name, number)
    (tmp_path / "report_pages").mkdir()

    def write_page(href, text):
        (tmp_path / href).write_text(text, encoding="utf-8")

    counts = {"a": 40, "b": 400, "c": 5, "<i>d": 80, "e": 90}
    patients = [test_cohort_page.patient(name, {"lymphocyte": cells}) for name, cells in counts.items()]
    (tmp_path / "report.html").write_text(test_cohort_page.many(patients, write_page), encoding="utf-8")
    for path in sorted(tmp_path.glob("**/*.html")):
        browser.open(path)
        check_quiet(browser)
    browser.open(tmp_path / "report.html", 390)
    assert browser.evaluate("document.documentElement.scrollWidth") <= 390
    shown = "[...document.querySelectorAll('#many tbody th')].map((cell) => cell.textContent).join()"
    status = "document.getElementById('shown').textContent"
    assert (browser.evaluate(shown), browser.evaluate(status)) == ("a,b,c", "5 of 5 patients")
    browser.evaluate("document.querySelectorAll('#many thead button')[1].click()")  # white cells, most first
    assert browser.evaluate(shown) == "b,e,<i>d"
    browser.evaluate("document.querySelectorAll('#many thead button')[0].click()")
    assert browser.evaluate(shown) == "<i>d,a,b"
    search = "const find = document.getElementById('find'); find.value = 'D'; find.dispatchEvent(new Event('input'));"
    browser.evaluate(f"{{ {search} }}")
    assert (browser.evaluate(shown), browser.evaluate(status)) == ("<i>d", "1 of 5 patients")
    first, second = "document.querySelector('#many td').textContent", "document.querySelectorAll('#many td').length"
    assert (browser.evaluate(first), browser.evaluate(second)) == ("80", 13)


def write_live_page(path, patient_id, age=0.0):
    """The live page of a patient of whom nothing is counted yet, written so many seconds ago."""
    patients = [live_page.LivePatient(patient_id, None, 1)]
    html = live_page.live_html(patients, 1, DifferentialRules(), time.time() - age, "12:00:00")
    atomic_write.write_text(path, html)
    return path


def wait_until(browser, expression):
    """Waits in the page until an expression is true."""
    deadline = time.monotonic() + 60
    while not browser.evaluate(expression):
        assert time.monotonic() < deadline, expression
        time.sleep(0.05)


def test_the_live_page_loads_itself_again_without_a_network_and_can_be_stopped_by_key(browser, tmp_path, monkeypatch):
    monkeypatch.setattr(live_page, "RELOAD_SECONDS", 0.5)
    path = write_live_page(tmp_path / "live.html", "first")
    browser.open(path)
    write_live_page(path, "second")
    wait_until(browser, "document.title.endsWith('second')")
    is_paused = "document.getElementById('pause')?.getAttribute('aria-pressed') === 'true'"
    for _ in range(50):  # the page may load itself again between the focus and the key
        browser.evaluate("document.getElementById('pause')?.focus()")
        browser.press("Enter")
        if browser.evaluate(is_paused):
            break
    assert browser.evaluate(is_paused)
    write_live_page(path, "third")
    time.sleep(1.5)
    assert browser.evaluate("document.title").endswith("second")
    browser.press("Enter")
    wait_until(browser, "document.title.endsWith('third')")
    assert browser.console == []
    assert all(request.startswith(("file:", "data:")) for request in browser.requests)


def test_an_old_live_page_says_so(browser, tmp_path):
    browser.open(write_live_page(tmp_path / "live.html", "p", age=3600))
    assert "the program has ended" in browser.evaluate("document.getElementById('old').innerText")
    browser.open(write_live_page(tmp_path / "other.html", "p"))
    assert browser.evaluate("document.getElementById('old').hidden")


@pytest.mark.parametrize("width", [1280, 390])
def test_the_live_page_fits_the_screen(browser, tmp_path, write_patient, width):
    images = [{"lymphocyte": 12, "monocyte": 8, "neutrophil": 1, "erythrocyte": 4}] * 4
    write_patient(tmp_path / "p", "p", images)
    count = live_count(run_tables.read_patient(tmp_path / "p"))
    patients = [
        live_page.LivePatient(f"P{n} 王伟", count, 6, ("IMG_0005.jpg",), {"IMG_0003.jpg": "truncated"})
        for n in range(3)
    ]
    html = live_page.live_html(patients, 40, DifferentialRules(), time.time(), "12:00:00")
    (tmp_path / "live.html").write_text(html, encoding="utf-8")
    browser.open(tmp_path / "live.html", width)
    check_quiet(browser)
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    pixels = np.asarray(Image.open(browser.screenshot(tmp_path / "page.png")).convert("L"))
    assert 0.01 < (pixels < 128).mean() < 0.6

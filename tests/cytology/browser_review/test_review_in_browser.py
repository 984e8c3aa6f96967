"""A review in a real headless Chromium: keys alone, two windows, a killed server, a hostile page."""

import contextlib
import http.server
import json
import os
import re
import signal
import subprocess
import sys
import threading

import pytest

from tests.support import browser as browsers
from tests.support import examined_study
from tests.support.browser_review import BrowserDesk
from tfod_csf.cytology.browser_review import desk
from tfod_csf.cytology.browser_review.journal import FILE_NAME
from tfod_csf.cytology.browser_review.shown_pictures import ShownPictures

pytestmark = pytest.mark.slow

KEYS = {"lymphocyte": "1", "monocyte": "2", "neutrophil": "3", "erythrocyte": "4", "unknown": "0", "": "Delete"}
CHOSEN = "[document.activeElement.dataset.image, Number(document.activeElement.dataset.cell)]"
SAVED = "document.body.dataset.waiting === '0'"
NOTICE = "document.getElementById('notice').textContent"
CROP_OF_3 = "document.querySelector('.cell[data-cell=\"3\"] img').getAttribute('src')"
PROGRESS = "document.getElementById('progress').textContent"
CROP_SHOWN = "(one => one.complete && one.naturalWidth > 0)(document.activeElement.querySelector('img'))"
CROPS_SHOWN = "[...document.querySelectorAll('.cell img')].every((one) => one.complete && one.naturalWidth > 0)"
FIELD_SHOWN = "document.getElementById('image').complete && document.getElementById('image').naturalWidth > 0"


@pytest.fixture(scope="module")
def browser():
    with browsers.running(with_server=True) as running:
        yield running


def entries(folder):
    return [json.loads(line) for line in (folder / FILE_NAME).read_text(encoding="utf-8").splitlines()]


def open_first_patient(browser, address, width=1280):
    browser.open_address(address, width)
    browser.wait("document.querySelectorAll('#rows button').length > 0")
    browser.press("Enter")
    browser.wait("document.body.dataset.view === 'cells' && document.activeElement.className.startsWith('cell')")


def middle_of(browser, script):
    box = (
        f"(() => {{ const b = ({script}).getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; }})()"
    )
    return tuple(browser.evaluate(box))


def large_patient():
    """10 images of 30 cells, every second one unknown; the machine says lymphocyte of all."""
    images = {}
    for number in range(10):
        places = [(10 * column + 1.0, 9 * row + 1.0) for row in range(5) for column in range(6)]
        images[f"{number}.jpg"] = [
            ("lymphocyte", 0.6 if i % 2 else 0.9, (x, y, x + 8, y + 7)) for i, (x, y) in enumerate(places)
        ]
    return images


def right_name(image, cell_id):
    """What the reviewer says: every third cell as it is, and all others named in turn."""
    number = 30 * int(image.removesuffix(".jpg").rpartition("_")[2]) + cell_id
    return ("lymphocyte", "monocyte", "neutrophil", "erythrocyte", "unknown", "")[number % 6]


def test_300_cells_are_reviewed_with_the_keyboard_alone(browser, tmp_path):
    large = BrowserDesk(examined_study.write_study(tmp_path, {"p": large_patient()}), tmp_path)
    folder = large.export()
    with large.serving(folder) as address:
        open_first_patient(browser, address)
        assert browser.evaluate("document.querySelectorAll('.cell').length") == 300
        for _ in range(300):
            image, cell_id = browser.evaluate(CHOSEN)
            browser.wait(CROP_SHOWN)
            browser.press(KEYS[right_name(image, cell_id)])
        browser.wait(SAVED)
        assert browser.evaluate(PROGRESS).startswith("300 of 300 cells decided, 0 unknown left, 0 of 10 fields")
        browser.press("f")
        for number in range(10):
            browser.wait(FIELD_SHOWN)
            browser.press(" ")
            browser.wait(f"{SAVED} && {PROGRESS}.includes('{number + 1} of 10 fields verified')")
        browser.press("s")
        browser.wait("document.getElementById('confirm').open")
        browser.press("Enter")
        browser.wait(f"{NOTICE}.startsWith('Signed off: revision 1')")
        assert browser.console == []
        assert {request.partition("?")[0].startswith((address, "data:")) for request in browser.requests} == {True}
    cells = large.cells("p")
    assert len(cells) == 300
    assert {key: name for key, (name, _) in cells.items()} == {key: right_name(*key) for key in cells}
    assert {status for _, status in cells.values()} == {"confirmed", "relabelled", "deleted"}
    assert sum(entry["action"] == "name" for entry in entries(folder)) == 300
    assert (folder / desk.TIMES).is_file()


def test_two_windows_at_once_lose_nothing_and_overwrite_nothing_unseen(browser, study):
    folder = study.export()
    with study.serving(folder) as address:
        open_first_patient(browser, address)
        assert browser.evaluate(CHOSEN) == ["=王__day1__a.jpg", 2]  # the unknown one comes first
        first, second = browser.session, browser.attach()
        open_first_patient(browser, address)
        browser.wait(CROPS_SHOWN)
        browser.press("3")
        browser.wait(SAVED)
        browser.use(first)
        browser.wait(CROPS_SHOWN)
        browser.press("2")
        browser.wait(f"{NOTICE}.includes('another window')")
        name = "document.querySelector('.cell[data-cell=\"2\"]').closest('.group').dataset.group"
        browser.wait(f"{name} === 'neutrophil'")
        browser.use(second)
        browser.wait(CROPS_SHOWN)
        browser.press("1")  # the next cell, whatever the other window did
        browser.wait(SAVED)
        browser.use(first)
    named = [(entry["cell"], entry["name"]) for entry in entries(folder) if entry["action"] == "name"]
    assert named[0] == (2, "neutrophil")
    assert len(named) == 2


def test_a_cell_is_dragged_to_a_class_and_a_box_is_drawn_removed_and_undone(browser, study):
    folder = study.export()
    with study.serving(folder) as address:
        open_first_patient(browser, address)
        browser.wait(CROPS_SHOWN)
        cell = middle_of(browser, "document.querySelector('.cell[data-cell=\"2\"]')")
        browser.drag(cell, middle_of(browser, "document.querySelector('.classes [data-name=monocyte]')"))
        browser.wait(f"{SAVED} && {PROGRESS}.startsWith('1 of 3')")
        browser.press("f")
        browser.wait(f"{FIELD_SHOWN} && document.querySelectorAll('.box').length === 3")
        x, y, width, height = browser.evaluate(
            "(({ x, y, width, height }) => [x, y, width, height])"
            "(document.getElementById('image').getBoundingClientRect())"
        )
        browser.drag((x + width * 8 / 64, y + height * 24 / 48), (x + width * 24 / 64, y + height * 40 / 48))
        browser.wait(f"{SAVED} && document.querySelectorAll('.box').length === 4")
        browser.press("3")
        browser.wait(f"{SAVED} && document.querySelector('.box.chosen span').textContent === 'neutrophil'")
        browser.press("ArrowRight")
        browser.press("Delete")
        browser.wait(f"{SAVED} && document.querySelectorAll('.box').length === 3")
        browser.press("u")
        browser.wait(f"{SAVED} && document.querySelectorAll('.box').length === 4")
        assert browser.console == []
    actions = [entry for entry in entries(folder) if entry["action"] in ("name", "draw", "undo")]
    assert [entry["action"] for entry in actions] == ["name", "draw", "name", "name", "undo"]
    assert (actions[0]["cell"], actions[0]["name"], actions[2]["name"]) == (2, "monocyte", "neutrophil")
    assert all(abs(a - b) <= 1 for a, b in zip(actions[1]["box"], [8, 24, 24, 40], strict=True))
    assert actions[2]["cell"] == -actions[1]["number"]


def test_a_box_is_moved_and_resized_with_the_mouse_and_with_keys(browser, study):
    folder = study.export()
    with study.serving(folder) as address:
        open_first_patient(browser, address)
        browser.wait(CROPS_SHOWN)  # a crop that is asked for after its box was moved is not there any more
        browser.press("f")
        browser.wait("document.querySelectorAll('.box.chosen').length === 1")
        browser.wait(FIELD_SHOWN)
        x, y, width = browser.evaluate(
            "(({ x, y, width }) => [x, y, width])(document.getElementById('image').getBoundingClientRect())"
        )
        px = width / 64  # of the screen, for a pixel of the image

        def at(column, row):
            return x + column * px, y + row * px

        browser.drag(at(46, 16), at(46, 18))  # cell 3, which is not chosen: it is, and nothing moves
        browser.wait("document.querySelector('.box.chosen').dataset.cell === '3'")
        browser.drag(at(46, 16), at(46, 18))
        browser.wait(f"{SAVED} && {CROP_OF_3}.endsWith('/40-12-52-24')")
        browser.drag(at(51.8, 18), at(53.8, 14))  # the right side alone
        browser.wait(f"{SAVED} && {CROP_OF_3}.endsWith('/40-12-54-24')")
        browser.press("+")
        browser.wait(f"{SAVED} && {CROP_OF_3}.endsWith('/38-10-56-26')")
        browser.press("u")
        browser.wait(f"{SAVED} && {CROP_OF_3}.endsWith('/40-12-54-24')")
        assert browser.evaluate(PROGRESS).startswith("0 of 3 cells decided, 1 unknown left")
        browser.press("s")
        browser.wait("document.getElementById('confirm').open")
        browser.press("Enter")
        browser.wait(f"{NOTICE}.startsWith('Signed off: revision 1')")
        assert browser.console == []
    boxes = [entry["box"] for entry in entries(folder) if entry["action"] == "move"]
    assert boxes == [[40, 12, 52, 24], [40, 12, 54, 24], [38, 10, 56, 26]]
    assert study.cells("=王")["day1/a.jpg", 3] == ("neutrophil", "moved")


def test_nothing_is_decided_about_a_picture_that_cannot_be_shown(browser, study):
    folder = study.export()
    picture = folder / "=王" / "=王__day1__a.jpg"
    exported = picture.read_bytes()
    picture.write_bytes(b"gone")
    with study.serving(folder) as address:
        open_first_patient(browser, address)
        browser.wait("document.querySelectorAll('.cell.unseen').length === 3")
        browser.press("2")
        browser.wait(f"{NOTICE}.includes('cannot be shown')")
        browser.press("f")
        browser.wait(f"{NOTICE}.includes('cannot be shown')")
        browser.press(" ")
        browser.press("c")
        browser.wait("document.querySelectorAll('.cell.unseen').length === 3")
        picture.write_bytes(exported)
        # A press asks for the picture once more; it names the cell where the browser has just asked by itself.
        named = f"{PROGRESS}.startsWith('1 of 3')"
        for _ in range(5):
            if browser.evaluate(named):
                break
            browser.press("2")
            browser.wait(f"{named} || document.activeElement.className === 'cell'")
        browser.wait(f"{SAVED} && {PROGRESS}.startsWith('1 of 3')")
    decided = [entry["action"] for entry in entries(folder) if entry["action"] not in ("begin", "open", "active")]
    assert decided == ["name"]


def test_a_cell_is_named_only_once_its_picture_is_there(browser, study, monkeypatch):
    """In the gallery its crop, in the field the field's picture."""
    folder, crop, field, may_go_on = study.export(), ShownPictures.crop, ShownPictures.field, threading.Event()

    def slow(answer):
        def wait(*arguments):
            assert may_go_on.wait(60)
            return answer(*arguments)

        return wait

    monkeypatch.setattr(ShownPictures, "crop", slow(crop))
    monkeypatch.setattr(ShownPictures, "field", slow(field))
    with study.serving(folder) as address:
        open_first_patient(browser, address)
        for keys in (("2",), ("f", "3")):
            for key in keys:
                browser.press(key)
            browser.wait(f"{NOTICE}.includes('still on its way')")
        assert browser.evaluate(PROGRESS).startswith("0 of 3 cells decided")
        may_go_on.set()
        browser.wait(FIELD_SHOWN)
        browser.press("3")
        browser.wait(f"{SAVED} && {PROGRESS}.startsWith('1 of 3 cells decided')")
    assert [entry["name"] for entry in entries(folder) if entry["action"] == "name"] == ["neutrophil"]


def test_a_key_that_is_held_down_decides_once(browser, study):
    folder = study.export()
    with study.serving(folder) as address:
        open_first_patient(browser, address)
        browser.wait(CROPS_SHOWN)
        browser.press("2", repeats=5)
        assert browser.evaluate(CHOSEN)[1] == 1
        browser.press("ArrowRight", repeats=1)
        assert browser.evaluate(CHOSEN)[1] == 3
        browser.press("f")
        browser.wait(FIELD_SHOWN)
        browser.press(" ", repeats=5)
        browser.wait(f"{SAVED} && {PROGRESS}.includes('1 of 2 fields verified')")
        browser.wait(FIELD_SHOWN)
        browser.press(" ")
        browser.wait(f"{SAVED} && {PROGRESS}.includes('2 of 2 fields verified')")
    actions = [entry["action"] for entry in entries(folder)]
    assert [action for action in actions if action not in ("begin", "open", "active")] == ["name", "verify", "verify"]


def test_a_key_pressed_before_a_drawn_box_has_come_names_no_other_cell(browser, study, monkeypatch):
    folder, may_go_on, decide = study.export(), threading.Event(), desk.Desk.decide

    def slow(one, *decision):
        assert may_go_on.wait(60)
        return decide(one, *decision)

    with study.serving(folder) as address:
        open_first_patient(browser, address)
        browser.press("f")
        browser.wait("document.querySelectorAll('.box.chosen').length === 1")
        browser.wait(FIELD_SHOWN)
        x, y, width, height = browser.evaluate(
            "(({ x, y, width, height }) => [x, y, width, height])"
            "(document.getElementById('image').getBoundingClientRect())"
        )
        monkeypatch.setattr(desk.Desk, "decide", slow)
        browser.drag((x + width * 8 / 64, y + height * 24 / 48), (x + width * 24 / 64, y + height * 40 / 48))
        browser.press("3")
        may_go_on.set()
        browser.wait(f"{SAVED} && document.querySelectorAll('.box').length === 4")
        browser.press("1")
        browser.wait(f"{SAVED} && document.querySelector('.box.chosen span').textContent === 'lymphocyte'")
    decided = [entry for entry in entries(folder) if entry["action"] in ("draw", "name")]
    assert [(entry["action"], entry["name"]) for entry in decided] == [("draw", "unknown"), ("name", "lymphocyte")]
    assert decided[1]["cell"] == -decided[0]["number"]


CHANGED_ELSEWHERE = """(async () => {
  for (const image of ["=王__day1__a.jpg", "=王__b.jpg"]) {
    const box = [2, 30, 12, 40], request = "other-" + image;
    const drawn = { request, patient: "=王", action: "draw", image, name: "unknown", box };
    await fetch(location.pathname + "decide",
      { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(drawn) });
  }
})()"""


def test_a_field_that_was_changed_in_another_window_is_not_verified_behind_one_that_is_refused(
    browser, study, monkeypatch
):
    folder, decide, may_go_on = study.export(), desk.Desk.decide, threading.Event()

    def slow(one, *decision):
        assert may_go_on.wait(60)
        return decide(one, *decision)

    with study.serving(folder) as address:
        open_first_patient(browser, address)
        browser.press("f")
        browser.evaluate(CHANGED_ELSEWHERE)
        monkeypatch.setattr(desk.Desk, "decide", slow)
        for _ in range(2):  # the second while the first is not answered
            browser.wait(FIELD_SHOWN)
            browser.press(" ")
        may_go_on.set()
        browser.wait(f"{NOTICE}.includes('are not verified either')")
        browser.wait(f"{SAVED} && {PROGRESS}.includes('0 of 2 fields verified')")
    assert [entry["action"] for entry in entries(folder)] == ["begin", "open", "draw", "draw"]


@contextlib.contextmanager
def started(study, folder):
    """(process, address) of the command itself."""
    command = [sys.executable, "-m", "tfod_csf", "review_serve", f"--inference_dir={study.study.inference_dir}"]
    command += [f"--review_dir={folder}", f"--output_dir={study.output}", "--reviewer=Dr Li"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ)
    try:
        said = ""
        for line in process.stdout:
            said += line
            if found := re.search(r"http://127\.0\.0\.1:\d+/\S+/", line):
                yield process, found[0]
                break
        else:
            pytest.fail(said + process.stderr.read())
    finally:
        process.kill()
        process.communicate()


def test_nothing_acknowledged_is_lost_when_the_server_is_killed(browser, study):
    folder = study.root / "made by the command"
    with started(study, folder) as (process, address):
        open_first_patient(browser, address)
        browser.wait(CROPS_SHOWN)
        browser.press("2")
        browser.wait(SAVED)
        process.kill()
        process.wait()
        browser.press("3")
        browser.wait("document.getElementById('saved').textContent.includes('does not answer')")
        assert browser.evaluate("document.body.dataset.waiting") == "1"
        browser.attach()  # the old window would ask whether to leave with something unsaved
    with started(study, folder) as (process, address):
        open_first_patient(browser, address)
        assert browser.evaluate(PROGRESS).startswith("1 of 3 cells decided, 0 unknown left")
        browser.press("u")
        browser.wait(f"{SAVED} && {PROGRESS}.startsWith('0 of 3')")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, "")
        assert "the same command resumes" in out
    assert [entry["action"] for entry in entries(folder)] == ["begin", "open", "name", "open", "undo"]


HOSTILE = """<!DOCTYPE html><title>hostile</title><body><script>
(async () => {{
  const address = "{address}", body = JSON.stringify({message});
  const tries = [
    () => fetch(address + "decide", {{ method: "POST", mode: "no-cors", body }}),
    () => fetch(address + "decide", {{ method: "POST", headers: {{ "Content-Type": "text/plain" }}, body }}),
    () => fetch(address + "decide", {{ method: "POST", headers: {{ "Content-Type": "application/json" }}, body }}),
    () => fetch(address + "patients").then((answer) => answer.json()),
    () => navigator.sendBeacon(address + "decide", new Blob([body], {{ type: "application/json" }})),
  ];
  let read = 0;
  for (const one of tries) {{ try {{ if (Array.isArray((await one()).patients)) read += 1; }} catch {{}} }}
  const frame = document.createElement("iframe");
  frame.name = "frame";
  document.body.append(frame);
  const form = document.createElement("form");
  Object.assign(form, {{ method: "POST", action: address + "decide", target: "frame", enctype: "text/plain" }});
  const field = document.createElement("input");
  Object.assign(field, {{ name: body.slice(0, -1) + ', "x": "', value: '"}}' }});
  form.append(field);
  document.body.append(form);
  form.submit();
  const picture = new Image();
  picture.onload = () => {{ read += 1; document.title = "done " + read; }};
  picture.onerror = () => {{ document.title = "done " + read; }};
  setTimeout(() => {{ picture.src = address + "field/%3D%E7%8E%8B/%3D%E7%8E%8B__b.jpg"; }}, 500);
}})();
</script>"""


def test_a_hostile_page_that_even_knows_the_address_can_neither_write_nor_read(browser, study):
    folder = study.export()
    message = {"request": "x1", "patient": "=王", "action": "verify", "image": "=王__b.jpg", "seen": 0}
    with study.serving(folder) as address:
        page = HOSTILE.format(address=address, message=json.dumps(message)).encode()

        class Hostile(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.end_headers()
                self.wfile.write(page)

            def log_message(self, *_):
                pass

        other = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hostile)
        thread = threading.Thread(target=other.serve_forever, args=(0.05,))
        thread.start()
        try:
            browser.open_address(f"http://127.0.0.1:{other.server_port}/")
            browser.wait("document.title.startsWith('done')")
            assert browser.evaluate("document.title") == "done 0"
        finally:
            other.shutdown()
            thread.join()
            other.server_close()
    assert [entry["action"] for entry in entries(folder)] == ["begin"]

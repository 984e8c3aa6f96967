"""The server: what it answers, and whom it refuses."""

import json
import threading
import time

import pytest
from werkzeug.test import Client

from tfod_csf.cytology.browser_review import desk, server
from tfod_csf.cytology.browser_review.journal import FILE_NAME
from tfod_csf.cytology.review.sidecar import ReviewError
from tfod_csf.errors import UserError

PORT, TOKEN, IMAGE = 8765, "t" * 43, "=王__day1__a.jpg"
HOST = f"127.0.0.1:{PORT}"
SAME_ORIGIN = {"Host": HOST, "Origin": f"http://{HOST}", "Content-Type": "application/json"}
NAMED = {"request": "r1", "patient": "=王", "seen": 0, "action": "name", "image": IMAGE, "cell": 1, "name": "monocyte"}


@pytest.fixture
def review(study):
    folder = study.export()
    with desk.open_desk(folder, "Dr <b>Li</b>") as one:
        application = study.application(one, TOKEN)
        application.port = PORT
        yield Client(application), one


def nothing(folders):
    """Neither imports nor refuses."""


def get(client, path, **headers):
    return client.get(f"/{TOKEN}{path}", headers={"Host": HOST, **headers})


def post(client, path, content, headers=SAME_ORIGIN, token=TOKEN):
    return client.post(f"/{token}{path}", data=json.dumps(content), headers=headers)


def test_a_decision_is_on_the_disk_when_it_is_acknowledged(review):
    client, one = review
    answer = post(client, "/decide", NAMED)
    assert (answer.status_code, answer.json["before"], answer.json["version"]) == (200, 0, 2)
    (image,) = answer.json["images"]
    assert image["cells"][0]["name"] == "monocyte"
    assert json.loads((one.folder / FILE_NAME).read_bytes().splitlines()[-1])["name"] == "monocyte"
    again = post(client, "/decide", NAMED)
    assert (again.status_code, again.json["before"], len(again.json["images"])) == (200, -1, 2)
    assert post(client, "/decide", {**NAMED, "request": "r2"}).status_code == 409  # it has not seen the first one
    undone = post(client, "/decide", {"request": "r3", "patient": "=王", "seen": 2, "action": "undo"})
    assert undone.json["images"][1]["cells"][0]["name"] == "lymphocyte"
    assert get(client, "/version/=王").json == {"version": 3}


def test_states_and_pictures(review):
    client, _ = review
    assert [row["patient_id"] for row in get(client, "/patients").json["patients"]] == ["=王", "p2"]
    state = get(client, "/patient/=王").json
    assert [image["title"] for image in state["images"]] == ["b.jpg", "day1/a.jpg"]
    assert state["progress"] == {"cells": 3, "decided": 0, "unknown_left": 1, "images": 2, "verified": 0}
    assert get(client, f"/crop/=王/{IMAGE}/1-2-11-12").mimetype == "image/jpeg"
    assert get(client, f"/crop/=王/{IMAGE}/1-2-11-13").status_code == 404  # no cell is there
    assert get(client, f"/field/=王/{IMAGE}").mimetype == "image/jpeg"


@pytest.mark.parametrize("path", ["/field/=王/..%2Fcells.json", "/field/../run.json", "/crop/=王/x/1-2-3-4", "/else"])
def test_nothing_else_is_served(review, path):
    client, _ = review
    assert get(client, path).status_code in (404, 409)


def test_what_could_not_be_signed_off_is_said_before_anybody_works_on_it(review, study):
    client, _ = review
    assert get(client, "/check/p2").json == {}
    assert get(client, "/check/p3").status_code == 409
    cells = study.study.inference_dir / "patients" / "p2" / "cells.csv"
    cells.write_bytes(cells.read_bytes().replace(b"0.6", b"0.7"))
    answer = get(client, "/check/p2")
    assert answer.status_code == 422
    assert "the machine has examined patient 'p2' again" in answer.json["error"]
    assert get(client, "/check/=王").json == {}


def test_an_address_that_was_copied_without_its_end_leads_to_the_page(review):
    client, _ = review
    answer = get(client, "")
    assert (answer.status_code, answer.headers["Location"]) == (308, f"/{TOKEN}/")
    assert client.get("/" + "t" * 42 + "u", headers={"Host": HOST}).status_code == 403


def test_the_page_runs_only_its_own_script_and_says_who_reviews(review):
    client, _ = review
    page = get(client, "/")
    text = page.get_data(as_text=True)
    assert "Dr &lt;b&gt;Li&lt;/b&gt;" in text
    assert "<b>Li" not in text
    policy = text.partition('Content-Security-Policy" content="')[2].partition('"')[0]
    assert "default-src &#39;none&#39;" in policy or "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["X-Frame-Options"] == "DENY"
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert page.headers["Cache-Control"] == "no-store"


HOSTILE = {
    "no token": ({}, ""),
    "another token": ({}, "t" * 42 + "u"),
    "half a token": ({}, "t" * 20),
    "no origin": ({"Origin": None}, TOKEN),
    "a page of another site": ({"Origin": "http://evil.example"}, TOKEN),
    "a file or a sandboxed frame": ({"Origin": "null"}, TOKEN),
    "another port of this computer": ({"Origin": "http://127.0.0.1:8766"}, TOKEN),
    "https": ({"Origin": f"https://{HOST}"}, TOKEN),
    "a name that was pointed here": ({"Host": f"evil.example:{PORT}", "Origin": f"http://evil.example:{PORT}"}, TOKEN),
    "a form": ({"Content-Type": "text/plain"}, TOKEN),
    "a form with fields": ({"Content-Type": "application/x-www-form-urlencoded"}, TOKEN),
    "a browser that says who asks": ({"Sec-Fetch-Site": "cross-site"}, TOKEN),
    "another server of this computer": ({"Sec-Fetch-Site": "same-site"}, TOKEN),
}


@pytest.mark.parametrize("who", HOSTILE)
@pytest.mark.parametrize("path", ["/decide", "/sign_off"])
def test_a_hostile_page_cannot_write(review, who, path):
    client, one = review
    before = (one.folder / FILE_NAME).read_bytes()
    changed, token = HOSTILE[who]
    headers = {name: value for name, value in {**SAME_ORIGIN, **changed}.items() if value is not None}
    answer = post(client, path, NAMED, headers, token)
    assert answer.status_code == 403
    assert (one.folder / FILE_NAME).read_bytes() == before
    assert TOKEN not in answer.get_data(as_text=True)


@pytest.mark.parametrize(
    "changed", [{"Host": f"evil.example:{PORT}"}, {"Host": "127.0.0.1"}, {"Sec-Fetch-Site": "cross-site"}]
)
def test_a_hostile_page_cannot_read(review, changed):
    client, _ = review
    for path in ("/", "/patients", "/patient/=王", f"/field/=王/{IMAGE}"):
        assert get(client, path, **changed).status_code == 403
        assert client.get(path, headers={"Host": HOST}).status_code == 403


def test_what_is_too_long_or_no_json_is_refused(review):
    client, one = review
    before = (one.folder / FILE_NAME).read_bytes()
    assert post(client, "/decide", {**NAMED, "name": "x" * 70_000}).status_code == 413
    for data in (b"\xff{", b"[" * 60_000):
        assert client.post(f"/{TOKEN}/decide", data=data, headers=SAME_ORIGIN).status_code == 409
    assert get(client, "/decide").status_code == 405
    assert (one.folder / FILE_NAME).read_bytes() == before


def test_a_full_disk_is_said_and_the_decision_can_be_sent_again(review, monkeypatch):
    client, _ = review
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        patch.setattr("os.truncate", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        answer = post(client, "/decide", NAMED)
    assert answer.status_code == 507
    assert "No space left" in answer.json["error"]


def test_a_sign_off_says_its_revision(review, study):
    client, _ = review
    post(client, "/decide", NAMED)
    assert post(client, "/sign_off", {"patient": "=王", "seen": 0}).status_code == 409  # another window decided
    answer = post(client, "/sign_off", {"patient": "=王", "seen": 2})
    assert (answer.status_code, answer.json["revision"], len(answer.json["sha256"])) == (200, 1, 64)
    assert study.cells("=王")["day1/a.jpg", 1] == ("monocyte", "relabelled")
    assert get(client, "/patients").json["patients"][0]["state"] == "signed off"
    assert post(client, "/sign_off", {"patient": "..", "seen": 0}).status_code == 409
    assert post(client, "/sign_off", []).status_code == 409


def test_of_two_sign_offs_at_once_the_second_waits_for_the_first(review):
    _, one = review
    under_way, may_end, most = [], threading.Event(), []

    def take(folders):
        under_way.append(folders)
        most.append(len(under_way))
        may_end.wait(60)
        under_way.pop()
        raise ReviewError("it is enough")

    application = server.ReviewApplication(one, take, nothing, TOKEN)
    application.port = PORT
    ask = [
        threading.Thread(target=post, args=(Client(application), "/sign_off", {"patient": "p2", "seen": 0}))
        for _ in range(2)
    ]
    for thread in ask:
        thread.start()
    while not most:
        time.sleep(0.01)
    ask[1].join(0.3)
    may_end.set()
    for thread in ask:
        thread.join()
    assert most == [1, 1]


def test_a_disk_that_fails_at_the_sign_off_is_said(review):
    _, one = review

    def take(folders):
        raise OSError(28, "No space left on device", "reviewed/run.json")

    application = server.ReviewApplication(one, take, nothing, TOKEN)
    application.port = PORT
    answer = post(Client(application), "/sign_off", {"patient": "p2", "seen": 0})
    assert (answer.status_code, "run.json" in answer.json["error"]) == (507, True)


def test_it_listens_on_this_computer_alone_and_a_used_port_is_said(review, capsys):
    _, one = review
    running = server.make_review_server(server.ReviewApplication(one, nothing, nothing, TOKEN))
    try:
        assert running.server_address == ("127.0.0.1", running.port)
        with pytest.raises(UserError, match=rf"--port={running.port}: is in use"):
            server.make_review_server(server.ReviewApplication(one, nothing, nothing, TOKEN), running.port)
    finally:
        running.server_close()


def test_tokens_cannot_be_guessed():
    tokens = {server.new_token() for _ in range(100)}
    assert len(tokens) == 100
    assert {len(token) for token in tokens} == {43}  # 32 bytes in base 64

import pytest

from tfod_csf.commands import live_display
from tfod_csf.commands.live_display import LiveDisplay
from tfod_csf.files import csv_schemas
from tfod_csf.inference.watch.watched_patients import PatientState

CLASSES = ("lymphocyte", "monocyte", "neutrophil", "erythrocyte")


def write_tables(folder, patient_id, lymphocytes):
    """Tables of one image with so many lymphocytes."""
    same = {"patient_id": patient_id, "image": "a.png", "model": "m"}
    box = {"xmin": 1.0, "ymin": 1.0, "xmax": 9.0, "ymax": 9.0}
    found = {"predicted_class": "lymphocyte", "score": 0.9, "status": "counted", "counted_as": "lymphocyte"}
    cells = [{**same, "cell_id": n + 1, **box, **found} for n in range(lymphocytes)]
    image = {"width": 96, "height": 72, "status": "ok", "seconds": 0.5, "cells": lymphocytes, "limit_reached": False}
    csv_schemas.load("cells").write(folder / "cells.csv", cells, CLASSES)
    csv_schemas.load("images").write(folder / "images.csv", [{**same, **image, "sha256": "0" * 64}], CLASSES)


def state_of(folder, patient_id="p1", version=1, **more):
    kept = {"images": 1, "examined": 1, "waiting": (), "unusable": {}, "since": 0.0}
    return PatientState(patient_id, folder, version, **{**kept, **more})


@pytest.fixture
def said():
    return []


@pytest.fixture
def display(tmp_path, said):
    (tmp_path / "out").mkdir()
    return LiveDisplay(tmp_path / "out", 10.0, said.append)


def test_a_line_for_each_change_of_the_tables_and_a_page(display, said, tmp_path):
    page = tmp_path / "out" / "live.html"
    display.show([], "")
    assert "live.html in a browser" in said[0]
    assert "Waiting for images" in page.read_text()
    write_tables(tmp_path / "t", "p1", 4)
    display.show([state_of(tmp_path / "t")], "")
    assert said[1].startswith("p1: 4 white cells on 1 image; not enough yet")
    display.show([state_of(tmp_path / "t", waiting=("b.png",), images=2)], "")  # the tables are the same
    assert len(said) == 2
    assert "b.png" in page.read_text()
    write_tables(tmp_path / "t", "p1", 5)
    display.show([state_of(tmp_path / "t", version=2)], "")
    assert said[2].startswith("p1: 5 white cells")


def test_a_page_without_news_is_written_again_only_when_it_has_grown_old(display, tmp_path, monkeypatch):
    page = tmp_path / "out" / "live.html"
    display.show([], "")
    page.unlink()
    display.show([], "")
    assert not page.exists()
    monkeypatch.setattr(live_display, "_REWRITE_SECONDS", 0.0)
    display.show([], "")
    assert page.exists()


def test_an_error_is_said_once(display, said):
    display.show([], "no such folder")
    display.show([], "no such folder")
    display.show([], "")
    assert said[1:] == ["Counting is held up: no such folder"]


def test_the_latest_patients_are_counted_and_shown(display, said, tmp_path):
    write_tables(tmp_path / "t", "p", 4)
    display.show([state_of(tmp_path / "t", f"p{n}") for n in range(30)], "")
    assert len(said) == 1 + live_display.SHOWN_PATIENTS
    assert "9 more patients whose images came earlier are not shown" in (tmp_path / "out" / "live.html").read_text()


def test_at_the_end_the_page_holds_no_numbers(display, tmp_path):
    page = tmp_path / "out" / "live.html"
    with display:
        display.show([], "")
    assert "Counting was stopped" in page.read_text()
    with display:
        display.is_complete = True
    assert "Counting has ended" in page.read_text()


def test_a_command_that_never_watched_writes_no_page(display, tmp_path):
    with display:
        pass
    assert not (tmp_path / "out" / "live.html").exists()

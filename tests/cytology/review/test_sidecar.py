"""cells.json comes back from outside: what was written is read, and nothing that was changed."""

import dataclasses
import json

import pytest

from tfod_csf.cytology.review import sidecar
from tfod_csf.cytology.review.sidecar import ReviewError, ShownCell, ShownImage, Sidecar

CELLS = (
    ShownCell(1, "lymphocyte", 0, (0, 2, 11, 12), 0.95, "lymphocyte"),
    ShownCell(7, "unknown", 1, (20, 5, 30, 15), None, ""),
)
IMAGES = {
    "p__a.jpg": ShownImage("day1/a.jpg", "5" * 64, 64, 48, "7" * 64, False, CELLS),
    "p__b.jpg": ShownImage("b.jpg", "6" * 64, 64, 48, "8" * 64, True, ()),
}
CONTENT = Sidecar(
    export_id="1-2",
    exported="2022-01-24T10:00:00+01:00",
    patient_id="=王",
    folder="p",
    model="m",
    names=("lymphocyte", "unknown"),
    machine_sha256="9" * 64,
    revision=0,
    revision_sha256="",
    thresholds={"min_score": 0.5},
    images=IMAGES,
)


@pytest.fixture
def path(tmp_path):
    sidecar.write_sidecar(tmp_path / sidecar.FILE_NAME, CONTENT)
    return tmp_path / sidecar.FILE_NAME


def edited(path, change):
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def test_what_was_written_is_read(path):
    assert sidecar.read_sidecar(path) == CONTENT


def test_no_images(tmp_path):
    empty = dataclasses.replace(CONTENT, images={})
    sidecar.write_sidecar(tmp_path / "cells.json", empty)
    assert sidecar.read_sidecar(tmp_path / "cells.json") == empty


def test_the_checksum_is_of_the_content_and_not_of_the_bytes(path):
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")), indent=7), encoding="utf-8")
    assert sidecar.read_sidecar(path) == CONTENT


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content["images"]["p__a.jpg"]["cells"][0].update(name="monocyte"),
        lambda content: content["images"]["p__a.jpg"]["cells"].pop(),
        lambda content: content.update(model="another"),
        lambda content: content.update(more=1),
    ],
)
def test_an_edited_file_is_refused(path, change):
    edited(path, change)
    with pytest.raises(ReviewError, match="the file was edited"):
        sidecar.read_sidecar(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "damaged"),
        ("[]", "damaged"),
        ("{}", "damaged"),
        ('{"format": "tfod_csf review 0"}', "this version reads 'tfod_csf review 1'"),
    ],
)
def test_a_damaged_file_is_refused(path, text, message):
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ReviewError, match=message):
        sidecar.read_sidecar(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ReviewError, match="give a folder made by review_export"):
        sidecar.read_sidecar(tmp_path / "cells.json")


A = IMAGES["p__a.jpg"]


@pytest.mark.parametrize(
    "changes",
    [
        {"folder": "../p"},
        {"folder": "/tmp"},
        {"folder": ".."},
        {"folder": ""},
        {"images": {"../p__a.jpg": A}},
        {"images": {"day1/p__a.jpg": A}},
        {"images": {"p__a.jpg": dataclasses.replace(A, image="../../secret.jpg")}},
        {"images": {"p__a.jpg": dataclasses.replace(A, image="/etc/passwd")}},
    ],
)
def test_names_that_lead_elsewhere_are_refused_with_a_right_checksum_too(path, changes):
    sidecar.write_sidecar(path, dataclasses.replace(CONTENT, **changes))
    with pytest.raises(ReviewError, match="run review_export again"):
        sidecar.read_sidecar(path)

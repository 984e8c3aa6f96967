"""Names put back in texts, paths and files, case by case; test_blind.py blinds and unblinds whole studies."""

import base64
import hashlib
import json
import os

import pytest

from tfod_csf.cytology.blinding.blind import BlindError
from tfod_csf.cytology.blinding.pseudonyms import BlindedImage
from tfod_csf.cytology.blinding.unblind import Names, unblind

PATIENT, IMAGE, OTHER = "paaaaaaaaaaaa", "ibbbbbbbbbbbb", "icccccccccccc"


def _row(patient_id, pseudonym, image, blinded_image):
    return BlindedImage(patient_id, pseudonym, image, blinded_image, "0" * 64, "1" * 64, "png")


ROWS = [
    _row("王 <1>", PATIENT, "day1/a.jpg", f"{IMAGE}.jpg"),
    _row("=x", "pzzzzzzzzzzzz", "b.tif", f"{OTHER}.png"),
]
NAMES = Names.of(ROWS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"patient {PATIENT}.", "patient 王 <1>."),
        (f"{IMAGE}.jpg", "day1/a.jpg"),
        (f"{IMAGE}.png", "day1/a.png"),  # a plot of the image, for example
        (f"{OTHER}.png", "b.tif"),
        (f"x{PATIENT}", f"x{PATIENT}"),  # not a word of its own
        (f"{PATIENT}2", f"{PATIENT}2"),
        ("pqqqqqqqqqqqq and image", "pqqqqqqqqqqqq and image"),  # of another blinding
        ("", ""),
    ],
)
def test_words_of_a_text(text, expected):
    assert NAMES.in_text(text) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (f"patients/{PATIENT}/cells.csv", f"patients/{NAMES.folders[PATIENT]}/cells.csv"),
        (f"pictures/{IMAGE}.jpg.jpg", "pictures/day1/a.jpg.jpg"),
        (f"{PATIENT}__{IMAGE}.xml", f"{NAMES.folders[PATIENT]}__day1__a.xml"),
        ("run.json", "run.json"),
    ],
)
def test_parts_of_a_path(path, expected):
    assert NAMES.in_path(path) == expected


def test_labeled_pictures_get_the_names_of_those_of_the_images():
    scan, copy = "iddddddddddddd", "ieeeeeeeeeeeee"
    names = Names.of(
        [_row("x", PATIENT, "d/scan.tif", f"{scan}.png"), _row("x", PATIENT, "scan.tif.jpg", f"{copy}.jpg")]
    )
    folder = f"patients/{PATIENT}/pictures"
    assert names.in_path(f"{folder}/{scan}.png.jpg") == "patients/x/pictures/d/scan.tif.jpg"
    assert names.in_path(f"{folder}/{scan}.png.tiles/1.jpg") == "patients/x/pictures/d/scan.tif.tiles/1.jpg"
    assert names.in_path(f"{folder}/model/{copy}.jpg") == "patients/x/pictures/model/scan.tif.jpg.jpg"


def test_every_kind_of_file(tmp_path):
    results = tmp_path / "results"
    (results / "patients" / PATIENT).mkdir(parents=True)
    (results / "t.csv").write_text("patient_id,n\npzzzzzzzzzzzz,1\n'-5,2\n", encoding="utf-8")
    (results / "run.json").write_text(json.dumps({PATIENT: [IMAGE, 1, None]}), encoding="utf-8")
    (results / "page.html").write_text(f'<a href="patients/{PATIENT}/report.html">{PATIENT}</a>', encoding="utf-8")
    (results / "patients" / PATIENT / "picture.png").write_bytes(b"\x89PNG " + PATIENT.encode())
    (results / "broken.json").write_bytes(b"\xff" + PATIENT.encode())
    assert unblind(results, tmp_path / "named", ROWS) == (5, 4)
    named = tmp_path / "named"
    # The formula-like id is guarded; the cell that is not changed keeps its bytes.
    assert (named / "t.csv").read_text(encoding="utf-8") == "patient_id,n\n'=x,1\n'-5,2\n"
    assert json.loads((named / "run.json").read_text(encoding="utf-8")) == {"王 <1>": ["day1/a", 1, None]}
    page = (named / "page.html").read_text(encoding="utf-8")
    assert page.endswith(">王 &lt;1&gt;</a>")
    assert "%E7%8E%8B" in page  # the link's path is quoted
    picture = named / "patients" / NAMES.folders[PATIENT] / "picture.png"
    assert picture.read_bytes() == b"\x89PNG " + PATIENT.encode()
    assert (named / "broken.json").read_bytes() == b"\xff" + PATIENT.encode()


def test_no_results_at_all(tmp_path):
    (tmp_path / "results").mkdir()
    assert unblind(tmp_path / "results", tmp_path / "named", ROWS) == (0, 0)


def test_an_output_with_files_or_inside_the_results_is_refused(tmp_path):
    results = tmp_path / "results"
    results.mkdir()
    (results / "a.txt").write_text("a", encoding="utf-8")
    with pytest.raises(BlindError, match="lies in --results_dir"):
        unblind(results, results / "named", ROWS)
    (tmp_path / "named").mkdir()
    (tmp_path / "named" / "old.txt").write_text("old", encoding="utf-8")
    with pytest.raises(BlindError, match="is not empty"):
        unblind(results, tmp_path / "named", ROWS)
    assert [path.name for path in (tmp_path / "named").iterdir()] == ["old.txt"]


def test_a_report_with_names_keeps_its_style_sheet_and_nothing_more(tmp_path):
    def checksum(style):
        return "sha256-" + base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()

    def page(style, name):
        policy = f"default-src 'none'; style-src '{checksum(style)}'"
        return f'<meta content="{policy}"><title>{name}</title><style>{style}</style><p>{name}</p>'

    (tmp_path / "results").mkdir()
    text = page(f'@page {{ content: "Patient {PATIENT}"; }}', PATIENT)
    (tmp_path / "results" / "report.html").write_text(text, encoding="utf-8")
    unblind(tmp_path / "results", tmp_path / "named", ROWS)
    # The name is a CSS string in the style sheet and HTML elsewhere; the policy allows the style sheet as it is now.
    expected = page('@page { content: "Patient 王 \\3c 1\\3e "; }', "王 &lt;1&gt;")
    assert (tmp_path / "named" / "report.html").read_text(encoding="utf-8") == expected


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="needs links")
def test_a_link_out_of_the_results_is_refused_and_nothing_is_copied(tmp_path):
    (tmp_path / "secret.txt").write_text("secret", encoding="utf-8")
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "a.txt").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(BlindError, match=r"a\.txt: is a link out of --results_dir"):
        unblind(tmp_path / "results", tmp_path / "named", ROWS)
    assert not (tmp_path / "named").exists()

"""The report of a reviewed run: who decided, before and after, decisions in the gallery."""

import json

import pytest
from lxml import html

from tests.support import examined_study
from tests.support.report_pages import page, text_of, write
from tests.support.review_desk import Desk, edit, rename
from tfod_csf.study.labelimg import LabeledObject

SURE = ("lymphocyte", 0.95, (1.0, 2.0, 11.0, 12.0))
UNSURE = ("monocyte", 0.6, (20.0, 5.0, 30.0, 15.0))


@pytest.fixture
def desk(tmp_path):
    patients = {"p1": {"a.jpg": [SURE, UNSURE], "b.jpg": []}, "p2": {"a.jpg": [UNSURE]}}
    return Desk(examined_study.write_study(tmp_path, patients), tmp_path)


def reviewed(desk):
    review = desk.export()

    def change(annotation):
        rename(1, "neutrophil")(annotation)
        annotation.objects.append(LabeledObject("monocyte", 40, 30, 50, 40))

    edit(review / "p1" / "p1__a.xml", change, verified=True)
    assert desk.take(review, "--comment=<b>twice</b> looked", reviewer="Dr <i>Li</i>") == 0
    return desk.output


def test_review_stands_on_the_pages(desk, tmp_path):
    write(reviewed(desk), tmp_path / "report")
    text = text_of(page(tmp_path / "report", "p1"))
    for part in (
        "Reviewed once by Dr <i>Li</i>; 1 of 2 images marked as checked. Cells changed: 1 relabelled, 1 added.",
        "<b>twice</b> looked",
        "Checksum of this state and its history: ",
    ):
        assert part in text
    root = html.parse(str(page(tmp_path / "report", "p1"))).getroot()
    rows = [[cell.text_content() for cell in row] for row in root.xpath("//section[@id='review']//tbody/tr")]
    assert [row[:3] for row in rows[:3]] == [["lymphocyte", "1", "1"], ["monocyte", "0", "1"], ["neutrophil", "0", "1"]]
    alts = " | ".join(root.xpath("//ul[@class='gallery']//img/@alt"))
    assert "neutrophil; the model: monocyte 60\u00a0%; relabelled by a person; image 1, cell 2 (a.jpg)" in alts
    assert "monocyte; added by a person; image 1, cell 3 (a.jpg)" in alts
    assert "Letters: L lymphocyte, M monocyte, N neutrophil" in text
    untouched = html.parse(str(page(tmp_path / "report", "p2"))).getroot()
    assert not untouched.xpath("//section[@id='review']")
    cohort = html.parse(str(tmp_path / "report" / "report.html")).getroot()
    row = cohort.xpath("//table[@id='cohort']//tr[th[.='p1']]")[0]
    assert row[-2].text_content() == "Dr <i>Li</i>"
    assert "r" not in row.get("data-f")


def test_an_edited_table_is_nobodys_review(desk, tmp_path):
    output = reviewed(desk)
    cells = output / "patients" / "p1" / "cells.csv"
    cells.write_text(cells.read_text(encoding="utf-8").replace(",lymphocyte,0.9", ",monocyte,0.9"), encoding="utf-8")
    examined_study.record_tables(output)
    write(output, tmp_path / "report")
    root = html.parse(str(page(tmp_path / "report", "p1"))).getroot()
    assert "not that of the newest revision (1)" in root.xpath("//li[@class='stop']")[0].text_content()
    assert not root.xpath("//section[@id='review']")


def test_broken_history_is_said_first(desk, tmp_path):
    output = reviewed(desk)
    record = output / "patients" / "p1" / "revisions" / "0001" / "revision.json"
    content = json.loads(record.read_text(encoding="utf-8"))
    record.write_text(json.dumps({**content, "files": {**content["files"], "cells.csv": "0"}}), encoding="utf-8")
    write(output, tmp_path / "report")
    root = html.parse(str(page(tmp_path / "report", "p1"))).getroot()
    assert root.xpath("//li[@class='stop']")[0].text_content().startswith("The history of reviews is broken")
    assert not root.xpath("//section[@id='review']")

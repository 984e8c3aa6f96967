"""Signing: a report becomes final by it, and is not any more when a number of it changes."""

import json

import pytest
from lxml import html

from tests.support.examined_study import record_tables
from tests.support.report_pages import page, text_of
from tests.support.review_desk import edit, rename
from tests.support.signing_desk import folder_of, review, sign
from tfod_csf.commands import command_line, report, sign_report


def write_pages(desk, *flags):
    arguments = [f"--inference_dir={desk.output}", "--min_white_cells=1", "--replicates=100", *flags]
    assert command_line.run(report.main, report.FLAGS, "", "report", arguments) == 0
    return text_of(page(desk.output, desk.study.patient("王伟").name))


def test_a_reviewed_report_is_signed_and_final(desk, capsys):
    review(desk)
    assert "Reviewed report, not signed" in write_pages(desk)
    assert sign(desk, "--comment=No  tumor cells.") == 0, capsys.readouterr().err
    text = text_of(page(desk.output, desk.study.patient("王伟").name))
    (record,) = (folder_of(desk) / "signatures").iterdir()
    record = json.loads(record.read_text(encoding="utf-8"))
    assert (record["signed_by"], record["number"], record["comment"]) == ("Dr Wu", 1, "No  tumor cells.")
    assert record["content"]["counts"]["monocyte"] == 1
    # 2 lymphocytes and 1 monocyte.
    assert record["content"]["percentages"]["lymphocyte"]["percent"] == 66.67
    assert "Final report" in text
    assert f"Signed by Dr Wu on {record['signed_at'].replace('T', ' ')}." in text
    assert "Result after review3 white cells on 2 images" in text
    assert "No tumor cells." in text
    assert "prelim." not in text
    assert "PRELIMINARY" not in text
    assert not (desk.output / "report.html").exists()  # the page of all patients did not have the signature
    write_pages(desk)
    cohort = html.parse(str(desk.output / "report.html")).getroot()
    rows = cohort.xpath("//table[@id='cohort']/tbody/tr")
    states = {row[0].text_content(): [cell.text_content() for cell in row] for row in rows}
    assert "final" in states["王伟"]
    assert "preliminary" in states["p2"]


@pytest.mark.parametrize(
    ("verified", "cell", "patient", "message"),
    [
        (("a",), "monocyte", "王伟", "Review by a person: not complete; 1 of 2 images verified"),
        ((), "unknown", "王伟", "1 undecided cell that may be white on 1 image"),
        (("a", "b"), "monocyte", "p2", "Review by a person: none."),
        (("a", "b"), "monocyte", "p3", "no patient 'p3' in it"),
    ],
)
def test_what_is_left_to_check_cannot_be_signed(desk, capsys, verified, cell, patient, message):
    exported = desk.export()
    folder = exported / desk.study.patient("王伟").name
    for image in "ab":
        (xml,) = [path for path in folder.glob("*.xml") if path.stem.endswith(f"__{image}")]
        edit(xml, rename(1, cell) if image == "a" else rename(0, "neutrophil"), verified=image in verified)
    assert desk.take(exported) == 0
    capsys.readouterr()
    assert sign(desk, patient=patient) == 1
    assert message in capsys.readouterr().err
    assert not list(desk.output.rglob("signatures"))


def test_one_patient_who_cannot_be_signed_keeps_the_others_unsigned(desk, capsys):
    review(desk)
    assert sign(desk, "--patient=p2") == 1
    assert "p2" in capsys.readouterr().err
    assert not list(desk.output.rglob("signatures"))


def test_a_later_review_makes_the_signature_not_count(desk):
    review(desk)
    assert sign(desk) == 0
    review(desk, "again", cell="neutrophil", reviewer="Li")
    text = write_pages(desk)
    assert "Reviewed report, not signed" in text
    assert (
        "but other numbers: the signature does not count (changed: counts, percentages, cells.csv or images.csv)."
        in text
    )
    assert "Dr Wu" not in text
    assert sign(desk, who="Dr Xu") == 0
    assert "Signed by Dr Xu" in write_pages(desk)
    assert len(list((folder_of(desk) / "signatures").iterdir())) == 2


def test_other_flags_than_those_signed_do_not_show_the_signature(desk, tmp_path):
    review(desk)
    assert sign(desk) == 0
    table = tmp_path / "patients.csv"
    table.write_text("patient_id,cells_per_ul\n王伟,80\n", encoding="utf-8")
    text = write_pages(desk, f"--patient_table={table}")
    assert "the signature does not count (changed: the row of the patient table)" in text
    assert "Final report" in write_pages(desk)
    assert "the signature does not count (changed: thresholds, rules or reference ranges)" in write_pages(
        desk, "--tolerance_points=5"
    )


def test_a_table_that_was_edited_is_not_final(desk, capsys):
    review(desk)
    assert sign(desk) == 0
    path = folder_of(desk) / "cells.csv"
    before = path.read_text(encoding="utf-8")
    path.write_text(before.replace("confirmed,lymphocyte", "confirmed,neutrophil"), encoding="utf-8")
    assert path.read_text(encoding="utf-8") != before
    assert sign(desk) == 1
    assert "changed after the run had written it" in capsys.readouterr().err
    record_tables(desk.output)  # even if run.json is brought into line, the history is not
    text = write_pages(desk)
    assert "Preliminary report" in text
    assert "Dr Wu" not in text
    assert sign(desk) == 1
    assert "not that of the newest revision" in capsys.readouterr().err


def test_a_name_and_patients_are_needed(desk, capsys):
    review(desk)
    assert sign(desk, who="  ") == 1
    assert "--signed_by is empty" in capsys.readouterr().err
    arguments = [f"--inference_dir={desk.output}", "--signed_by=Wu"]
    assert command_line.run(sign_report.main, sign_report.FLAGS, "", "sign_report", arguments) == 1
    assert "--patient is missing" in capsys.readouterr().err


def test_verifying_images_does_not_make_their_unknown_cells_known(desk, capsys):
    review(desk, cell="unknown")  # every image verified, the unknown cell left as it is
    capsys.readouterr()
    assert sign(desk) == 1
    # 1 of 3 white cells.
    assert "33.3 % of the white cells are unknown, more than 10 %: a person has to name them" in capsys.readouterr().err
    text = write_pages(desk)
    assert "Preliminary report" in text
    assert "1 unknown cell may be white, 33.3 % of the white cells, more than 10 %: a person looked at them" in text
    assert sign(desk, "--max_unknown_percent=40") == 0, capsys.readouterr().err


def test_a_lower_threshold_than_the_runs_is_not_signed_and_is_said_on_the_page(desk, capsys):
    review(desk)
    capsys.readouterr()
    assert sign(desk, "--unknown_below=0.55") == 1
    assert "--unknown_below=0.55 is below that of the run" in capsys.readouterr().err
    text = write_pages(desk, "--unknown_below=0.55")
    assert "Cells count as known from a score of 55 % on; in the run it was 80 %." in text
    assert "Cells count as known" not in write_pages(desk)


def test_a_higher_score_does_not_make_undecided_cells_go_away(desk, capsys):
    review(desk)
    capsys.readouterr()
    assert sign(desk, "--min_score=0.9") == 1
    assert "--min_score=0.9 is above that of the run" in capsys.readouterr().err
    text = write_pages(desk, "--min_score=0.9")
    assert "Only cells with a score of 90 % or more are counted; in the run it was 50 %." in text
    assert "Only cells with" not in write_pages(desk)

"""The page of one patient, put together from results worked by hand."""

import dataclasses

import numpy as np
import pytest
from lxml import html

from tests.support import report_pages
from tests.support.report_pages import facts_of, words
from tfod_csf import run_folder
from tfod_csf.cytology import run_tables
from tfod_csf.cytology.counting import corrected_differential
from tfod_csf.cytology.counting.differential import differential
from tfod_csf.cytology.counting.reference_ranges import load_reference_ranges
from tfod_csf.cytology.counting.saturation import SaturationRules, saturation
from tfod_csf.cytology.counting.unknown_cells import UnnamedCells
from tfod_csf.cytology.patient_facts import PatientFacts
from tfod_csf.cytology.report import gallery, pages, patient_page
from tfod_csf.cytology.report.patient_page import PatientPage
from tfod_csf.cytology.signing import report_status
from tfod_csf.cytology.signing.report_status import ReportStatus
from tfod_csf.synthetic import cohort_folder, cohorts


@pytest.fixture
def page(tmp_path, write_patient):
    """60 lymphocytes, 30 monocytes, 10 neutrophils and 5 erythrocytes on two images; the third failed."""
    images = [
        {"lymphocyte": 40, "monocyte": 20, "erythrocyte": 5},
        {"lymphocyte": 20, "monocyte": 10, "neutrophil": 10},
    ]
    write_patient(tmp_path / "p", "<i>王</i>", images, failed=1)
    patient = run_tables.read_patient(tmp_path / "p", details=True)
    counts = patient.counts_by_model()
    result = differential(
        patient.patient_id, counts, images_used=2, images_failed=1, references=load_reference_ranges()
    )
    settled = saturation("p", [[40, 20, 0], [20, 10, 10]], SaturationRules(replicates=100))
    return PatientPage(patient, PatientFacts(), result, settled, "m", (), (), 0, "", None, "", STATUS, "", "0" * 64)


STATUS = ReportStatus(report_status.PRELIMINARY, ("Review by a person: none.",))


def parsed(page, run=None):
    facts = facts_of(run or {}, run_tables.Thresholds(0.5, 0.8, "apart"))
    return html.fromstring(patient_page.patient_html(page, facts))


def rows_of(root, table):
    return [[words(cell) for cell in row] for row in root.xpath(f"//table[contains(@class, '{table}')]/tbody/tr")]


def test_a_model_that_ships_says_what_limits_it(page):
    restriction = (
        "csf_small was trained on blood, never on cerebrospinal fluid; its card says what it must not be used for."
    )
    words_of_it = "SHA256SUMS of the shipped csf_small 0.3, sha256 0a1b"
    root = parsed(page, {"models_vouched_for_by": {"csf_small": words_of_it}})
    assert [words(item) for item in root.xpath("//li[@class='look']")].count(restriction) == 1
    # A laboratory's own model of that name.
    assert restriction not in words(parsed(page, {"models_vouched_for_by": {"csf_small": "SHA256SUMS"}}))
    assert restriction not in words(parsed(page))


def test_counts_and_percentages_are_those_of_the_result(page):
    rows = {row[0]: row[1:] for row in rows_of(parsed(page), "differential")}
    assert {name: row[:2] for name, row in rows.items() if name in ("lymphocyte", "monocyte", "neutrophil")} == {
        "lymphocyte": ["60", "60.0 prelim."],
        "monocyte": ["30", "30.0 prelim."],
        "neutrophil": ["10", "10.0 prelim."],
    }
    assert rows["White cells"][0] == "100"
    assert rows["erythrocyte"][:2] == ["5", "5 per 100 white cells"]
    assert rows["unknown"][:2] == ["0", ""]
    # Two images cannot show how cells lie together, so no mark is certain.
    assert rows["neutrophil"][3:] == ["≤ 2", "△ high, uncertain"]
    assert rows["monocyte"][3:] == ["≤ 37", "within"]


def test_both_readings_and_the_worst_case_are_side_by_side(page):
    # 100 decided white cells, 10 unknown that are most likely neutrophils and 5 most likely erythrocytes.
    cells = UnnamedCells(
        {"m": {"lymphocyte": 60, "monocyte": 30, "neutrophil": 10}}, {"m": {"neutrophil": 10, "erythrocyte": 5}}
    )
    counts = {"lymphocyte": 60, "monocyte": 30, "neutrophil": 10, "unknown": 15}
    root = parsed(dataclasses.replace(page, result=differential("p", {"m": counts}, 2, undecided=cells)))
    readings = {row[0]: row[1:] for row in rows_of(root, "readings")}
    assert readings["neutrophil"] == ["10", "10.0", "18.2", "9.1 – 18.2"]  # 10 / 100, 20 / 110, 10 / 110
    assert readings["lymphocyte"] == ["0", "60.0", "54.5", "54.5 – 63.6"]
    (unknown,) = [row for row in rows_of(root, "differential") if row[0] == "unknown"]
    assert unknown[1:] == ["15", "10 may be white: 9.1 % of the white cells"]
    assert not rows_of(parsed(page), "readings")


def test_beyond_the_set_share_of_unknown_cells_no_percentage_is_the_result(page):
    # 90 decided white cells and 30 unknown that are most likely neutrophils: 25 % of the white cells.
    counts = {"lymphocyte": 60, "monocyte": 30, "unknown": 30}
    cells = UnnamedCells({"m": {"lymphocyte": 60, "monocyte": 30}}, {"m": {"neutrophil": 30}})
    result = differential("p", {"m": counts}, images_used=2, references=load_reference_ranges(), undecided=cells)
    root = parsed(dataclasses.replace(page, result=result))
    rows = {row[0]: row[1:] for row in rows_of(root, "differential")}
    assert rows["lymphocyte"] == ["60"]
    assert "so no percentages are given" in words(root.xpath("//p[@class='headline']")[0])
    assert parsed(page).xpath("//figure")
    assert not root.xpath("//figure")
    # How far they could reach is said: 60 to 90 of 120.
    assert rows_of(root, "readings")[0][-1] == "50.0 – 75.0"


def test_the_name_is_text_in_heading_and_title(page):
    root = parsed(page)
    assert words(root.xpath("//h1")[0]) == "<i>王</i>"
    assert root.xpath("//title")[0].text == "<i>王</i> - CSF cell differential (PRELIMINARY)"
    assert not root.xpath("//i")


def test_images_by_number_with_their_cells(page):
    root = parsed(page)
    # bad_0.jpg sorts first and is number 1. Columns as in the gallery: unknown, white cells, erythrocytes.
    assert rows_of(root, "images") == [
        ["2", "img_00.jpg", "640 × 480", "0", "40", "20", "0", "5", ""],
        ["3", "img_01.jpg", "640 × 480", "0", "20", "10", "10", "0", ""],
    ]
    assert rows_of(root, "failures") == [["1", "bad_0.jpg", "", "truncated"]]


def test_an_image_at_the_models_limit_is_said(page):
    images = page.patient.images.copy()
    images.loc[images["image"] == "img_01.jpg", "limit_reached"] = "yes"
    limited = dataclasses.replace(page, patient=dataclasses.replace(page.patient, images=images))
    assert [row[-1] != "" for row in rows_of(parsed(limited), "images")] == [False, True]


def test_what_is_not_there_is_said(page):
    page = dataclasses.replace(page, groups=(gallery.CellGroup("lymphocyte", 60, ()),))
    text = words(parsed(page))
    assert "the run does not say where its images are" in text
    assert "There are no labeled pictures" in text
    moved = words(parsed(dataclasses.replace(page, images_dir="D:/slides", num_fields=4)))
    assert "There are 4 labeled pictures; none was to be shown (--max_fields=0)." in moved
    assert not parsed(page).xpath("//section[@id='review']")


def test_a_broken_history_comes_before_all_other_remarks(page):
    root = parsed(dataclasses.replace(page, review_error="revision 2 is gone"))
    remarks = root.xpath("//div[starts-with(@class, 'remarks ')]//li")
    assert words(remarks[0]).startswith("The history of reviews is broken")
    assert words(remarks[0]).endswith("revision 2 is gone")
    assert remarks[0].get("class") == "stop"


def test_the_cohorts_page_is_linked_where_there_is_one(page):
    assert not parsed(page).xpath("//a[.='All patients']")
    (link,) = parsed(dataclasses.replace(page, cohort_href="../../report.html")).xpath("//a[.='All patients']/@href")
    assert link == "../../report.html"


def test_a_patient_without_an_image(tmp_path, write_patient, page):
    write_patient(tmp_path / "none", "none", [], failed=2)
    patient = run_tables.read_patient(tmp_path / "none", details=True)
    result = differential("none", {}, images_used=0, images_failed=2)
    settled = saturation("none", np.zeros([0, 3]))
    root = parsed(dataclasses.replace(page, patient=patient, result=result, settled=settled))
    assert words(root.xpath("//p[@class='headline']")[0]).startswith("No image of this patient could be examined")
    assert not root.xpath("//table[contains(@class, 'differential')]")
    assert [row[1] for row in rows_of(root, "failures")] == ["bad_0.jpg", "bad_1.jpg"]


def test_corrected_percentages_stand_beside_the_raw_ones_and_say_where_the_matrix_is_from(tmp_path):
    run = tmp_path / "run"
    settings = cohorts.CohortSettings(patients=1, images_per_patient=6)
    validation = [cohorts.simulate_patient(settings, number) for number in range(1, 6)]
    cohort_folder.write_cohort(run, cohorts.simulate(settings), validation=validation)
    facts = report_pages.facts_of(run_folder.read_run(run), run_tables.new_thresholds(run)[0])
    corrections = corrected_differential.read_corrections(run)
    facts = dataclasses.replace(facts, corrections=corrections)
    pages.write_report(run, tmp_path / "out", facts)
    page = html.parse(str(report_pages.page(tmp_path / "out", "sim_0001"))).getroot()
    (table,) = page.xpath("//table[contains(@class, 'corrected')]")
    patient = run_tables.read_patient(run / "patients" / "sim_0001", details=True)
    shares = corrected_differential.corrected_differential(patient, corrections, True).shares
    for row, name in zip(table.xpath("tbody/tr"), ("lymphocyte", "monocyte", "neutrophil"), strict=True):
        share = shares[name]
        expected = f"{share.percent:.1f} {share.ci_low:.1f} – {share.ci_high:.1f}"
        assert report_pages.words(row).endswith(expected)
    text = report_pages.text_of(report_pages.page(tmp_path / "out", "sim_0001"))
    assert (
        f"{corrections.matrices['simulated_detector'].num_cells} annotated cells of 5 patients that the model" in text
    )
    assert "Unknown cells are taken to be what they were there; what they are here a person decides." in text
    other = dataclasses.replace(facts, corrections=dataclasses.replace(corrections, why_not="of another camera"))
    pages.write_report(run, tmp_path / "other", other)
    text = report_pages.text_of(report_pages.page(tmp_path / "other", "sim_0001"))
    assert "No corrected percentages: of another camera." in text
    assert "corrected for the detector" not in text

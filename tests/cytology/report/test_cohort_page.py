"""The page of all patients, on patients worked by hand."""

import pytest
from lxml import html

from tests.support.report_pages import facts_of, words
from tfod_csf.cytology.counting.differential import differential
from tfod_csf.cytology.counting.reference_ranges import load_reference_ranges
from tfod_csf.cytology.report import cohort_page
from tfod_csf.cytology.report.cohort_page import CohortPatient
from tfod_csf.cytology.run_tables import Thresholds


def patient(patient_id, counts, images=3, failed=0, limited=0, reviewers=()):
    white = [counts.get(name, 0) for name in ("lymphocyte", "monocyte", "neutrophil")]
    result = differential(
        patient_id,
        {"m": counts},
        images_used=images,
        images_failed=failed,
        references=load_reference_ranges(),
        image_counts=[[count / 8 for count in white]] * 8,
    )
    failures = tuple((f"{number}.jpg", "truncated") for number in range(failed))
    return CohortPatient(result, "", limited, failures, tuple(reviewers))


# Within the ranges (63 to 99, 3 to 37, 0 to 2 %) with enough cells for ± 10 points; two classes outside; too few; no
# image.
USUAL_COUNTS = {"lymphocyte": 280, "monocyte": 120, "erythrocyte": 80}
USUAL = patient("usual", USUAL_COUNTS)
MARKED = patient(
    "marked",
    {"lymphocyte": 200, "monocyte": 100, "neutrophil": 100, "unknown": 20},
    failed=1,
    limited=1,
    reviewers=["Li", "<i>Wu</i>"],
)
FEW = patient("few", {"lymphocyte": 10})
NOTHING = patient("nothing", {}, images=0, failed=2)


def page_of(*patients):
    return html.fromstring(cohort_page.cohort_html(patients, facts_of({}, Thresholds(0.5, 0.8, "apart"))))


def overview(page):
    """{name: (value, more)} of the numbers at the top."""
    return {
        words(row.find("dt")): (row.find("dd").text or "", words(row.find("dd/span")))
        for row in page.xpath("//dl[@class='facts']/div")
    }


def row_of(page, patient_id):
    (row,) = page.xpath(f"//table[@id='cohort']//tr[th[.='{patient_id}']]")
    return [words(cell) for cell in row], row.get("data-f")


def test_overview_by_hand():
    found = overview(page_of(USUAL, MARKED, FEW, NOTHING))
    assert found["With percentages"] == ("2", "of 4; the others have fewer than 30 white cells")
    assert found["Enough cells for ± 10 points"] == ("2", "of 2")
    assert found["Outside a reference range"] == ("1", "of 2")
    # 20 of 480 + 420 + 10 cells.
    assert found["Unknown cells"] == ("20", "2.2 % of 910 cells")
    assert found["Images used"] == ("9", "3 failed, of 2 patients")
    assert found["Reviewed by a person"] == ("1", "of 4")


def test_rows_and_the_letters_they_are_filtered_by():
    page = page_of(USUAL, MARKED, FEW, NOTHING)
    cells, letters = row_of(page, "usual")
    # White cells, three percentages, reach, cells needed, erythrocytes per 100, unknown, % of white, images, failed.
    assert cells[1:5] == ["400", "70.0", "30.0", "0.0"]
    # With no neutrophil Clopper-Pearson holds: 70 % of 144 cells reach 10 points.
    assert cells[6:12] == ["144", "20", "0", "0.0", "3", ""]
    assert letters == "pr"
    cells, letters = row_of(page, "marked")
    assert cells[1:5] == ["400", "50.0 ▼", "25.0", "25.0 ▲"]
    assert cells[-2] == "Li, <i>Wu</i>"
    assert letters == "muflp"
    assert row_of(page, "few")[0][1:10] == ["10", "–", "–", "–", "–", "–", "0", "0", "0.0"]
    assert row_of(page, "few")[1] == "epr"
    assert row_of(page, "nothing")[0][1:12] == ["–"] * 9 + ["0", "2"]
    assert row_of(page, "nothing")[1] == "efpr"


def test_reviews_are_a_column_only_where_there_are_any():
    assert "Reviewed by" not in words(page_of(USUAL).xpath("//table[@id='cohort']/thead")[0])
    assert not page_of(USUAL).xpath("//input[@value='r']")
    assert "Reviewed by" in words(page_of(MARKED).xpath("//table[@id='cohort']/thead")[0])
    assert page_of(MARKED).xpath("//input[@value='r']")


def test_a_patient_without_enough_cells_counts_as_larger_than_any():
    # 144 cells are needed at 70 / 30 / 0 %, 138 at 50 / 25 / 25 %; 30 lymphocytes and 10 monocytes are too few.
    enough = [{"lymphocyte": 280, "monocyte": 120}, {"lymphocyte": 100, "monocyte": 50, "neutrophil": 50}]
    counts = [*enough, *[{"lymphocyte": 30, "monocyte": 10}] * 3]
    patients = [patient(str(number), found) for number, found in enumerate(counts)]
    tables = page_of(*patients).xpath("//table[caption[starts-with(., 'Patients per case')]]")
    last = [words(cell) for cell in tables[0].xpath(".//tbody/tr[last()]/*")]
    assert last == ["all", "5", "2 of 5", "–"]  # the third of five has not enough
    tables = page_of(*patients[:4]).xpath("//table[caption[starts-with(., 'Patients per case')]]")
    assert [words(cell) for cell in tables[0].xpath(".//tbody/tr[last()]/*")] == ["all", "4", "2 of 4", "144"]


def test_patients_of_whom_it_is_not_known_are_counted_apart():
    page = page_of(
        USUAL, patient("one class", {"lymphocyte": 200}), patient("unsure", {**USUAL_COUNTS, "unknown": 100})
    )
    assert overview(page)["Enough cells for ± 10 points"] == ("1", "of 3; not known of 2")
    assert overview(page)["More than 10 % of the white cells unknown"] == ("1", "of 3")
    assert row_of(page, "one class")[1] == "kpr"
    assert row_of(page, "unsure")[1] == "kuxpr"
    assert row_of(page, "unsure")[0][8:10] == ["100", "20.0"]


@pytest.mark.parametrize("patients", [[], [FEW], [NOTHING]])
def test_nobody_with_percentages(patients):
    page = page_of(*patients)
    assert overview(page)["With percentages"][0] == "0"
    assert "Patients in steps of ten points" not in words(page)
    title = "1 patient" if patients else "0 patients"
    assert words(page.xpath("//h1")[0]) == title

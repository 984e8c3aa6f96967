"""The page of all patients, on patients worked by hand."""

import dataclasses
import json

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
    facts, written = facts_of({}, Thresholds(0.5, 0.8, "apart")), {}
    pages = cohort_page.CohortPages(facts, written.__setitem__)
    for one in patients:
        pages.add(cohort_page.row_of(one, facts.rules))
    page = html.fromstring(pages.finish())
    assert not written
    return page


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
    assert found["Percentages shown"] == ("2", "of 4; the others have fewer than 30 white cells")
    assert found["Enough cells for ± 10 points"] == ("2", "of 2 with 30 white cells or more")
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
    assert overview(page)["Enough cells for ± 10 points"] == ("1", "of 3 with 30 white cells or more; not known of 2")
    assert overview(page)["More than 10 % of the white cells unknown"] == ("1", "of 3")
    assert row_of(page, "one class")[1] == "kpr"
    assert row_of(page, "unsure")[1] == "kuxpr"
    assert row_of(page, "unsure")[0][8:10] == ["100", "20.0"]


@pytest.mark.parametrize("patients", [[], [FEW], [NOTHING]])
def test_nobody_with_percentages(patients):
    page = page_of(*patients)
    assert overview(page)["Percentages shown"][0] == "0"
    assert "Patients in steps of ten points" not in words(page)
    title = "1 patient" if patients else "0 patients"
    assert words(page.xpath("//h1")[0]) == title


@pytest.fixture
def few_on_a_page(monkeypatch):
    monkeypatch.setattr(cohort_page, "MAX_ROWS", 3)
    monkeypatch.setattr(cohort_page, "ROWS_PER_PAGE", 2)
    monkeypatch.setattr(cohort_page, "MAX_SHOWN", 3)


def many(patients, write_page):
    """The page of all patients, that of some written with `write_page(address, text)`."""
    facts = facts_of({}, Thresholds(0.5, 0.8, "apart"))
    pages = cohort_page.CohortPages(facts, write_page)
    for one in patients:
        pages.add(cohort_page.row_of(one, facts.rules))
    return pages.finish()


def test_very_many_patients_are_on_pages_of_some_of_them(few_on_a_page):
    patients = [USUAL, MARKED, FEW, NOTHING, patient("</script>'\u202e", USUAL_COUNTS)]
    patients[0] = dataclasses.replace(USUAL, href="patients/usual/report.html")
    written = {}
    text = many(patients, written.__setitem__)
    assert list(written) == [f"report_pages/000{number}.html" for number in (1, 2, 3)]
    page, parts = html.fromstring(text), [html.fromstring(part) for part in written.values()]
    # The numbers over all are those of one page.
    one_page = html.fromstring(text_on_one_page(patients))
    assert overview(page) == overview(one_page)
    assert words(page.get_element_by_id("failures")) == words(one_page.get_element_by_id("failures"))
    # The rows too, except that addresses are those beside another folder.
    rows = [words(row) for part in parts for row in part.xpath("//table[@id='cohort']/tbody/tr")]
    assert sorted(rows) == sorted(words(row) for row in one_page.xpath("//table[@id='cohort']/tbody/tr"))
    assert [part.xpath("//table[@id='cohort']//a/@href") for part in parts] == [
        ["../patients/usual/report.html"],
        [],
        [],
    ]
    assert page.xpath("//section[@id='patients']//li/a/@href") == list(written)
    assert [words(link) for link in page.xpath("//section[@id='patients']//li/a")][:2] == [
        "usual to marked",
        "few to nothing",
    ]
    assert parts[1].xpath("//nav//a/@href") == ["../report.html", "0001.html"]
    # What the script sorts holds the same cells; nothing in it ends the element it is in.
    (data,) = page.xpath("//script[@type='application/json']")
    found = json.loads(data.text)
    assert found["shown"] == 3
    assert [row[2] for row in found["rows"][:4]] == ["usual", "marked", "few", "nothing"]
    assert "\u202e" not in data.text
    letters, href, _, *cells = found["rows"][1]
    assert (letters, href) == (row_of(one_page, "marked")[1], "")
    shown = ["".join(filter(None, [cell, ""])) if isinstance(cell, str) else " ".join(cell) for cell in cells]
    assert ["marked", *shown] == row_of(one_page, "marked")[0]


def text_on_one_page(patients):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(cohort_page, "MAX_ROWS", 1000)
        return many(patients, lambda *page: pytest.fail("another page"))

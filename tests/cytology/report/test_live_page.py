import pytest
from lxml import html

from tests.support.report_pages import words
from tfod_csf.cell_classes import WHITE_CELLS
from tfod_csf.cytology import run_tables
from tfod_csf.cytology.counting.differential import DifferentialRules
from tfod_csf.cytology.counting.live_count import live_count
from tfod_csf.cytology.report import live_page
from tfod_csf.cytology.report.live_page import LivePatient

RULES = DifferentialRules()


@pytest.fixture
def live(tmp_path, write_patient):
    """The function that gives a patient of these white cells per image."""

    def of_counts(counts, patient_id="p", **how):
        images = [dict(zip(WHITE_CELLS, row)) for row in counts]
        write_patient(tmp_path / "p", patient_id, images)
        count = live_count(run_tables.read_patient(tmp_path / "p"))
        return LivePatient(patient_id, count, len(images), **how)

    return of_counts


def text_of(patients, number=None, **how):
    page = live_page.live_html(patients, number or len(patients), RULES, 1000.0, "12:00:00", **how)
    return words(html.fromstring(page))


def test_before_the_first_image():
    page = text_of([])
    assert "Waiting for images" in page
    assert "No image has arrived yet" in page
    assert "enough for" not in page


def test_an_image_that_is_not_examined_yet_is_no_count():
    patient = LivePatient("p", None, 2, ("a.jpg", "b.jpg"))
    page = text_of([patient])
    assert "2 images arrived, none examined yet" in page
    assert "its turn has not come: a.jpg, b.jpg" in page
    assert live_page.live_line(patient, RULES) == "p: 2 images, none examined yet"


def test_too_few_cells(live):
    patient = live([[12, 7, 1], [4, 3, 1]])
    page = text_of([patient])
    assert "Not enough yet for ± 10 points" in page
    assert "No: 28 white cells were counted, and percentages need at least 30." in page
    assert live_page.live_line(patient, RULES) == (
        "p: 28 white cells on 2 images; not enough yet for ± 10 points (about 30 white cells needed)"
    )


@pytest.mark.parametrize(("cells", "named"), [(1, "1 unknown cell may be white"), (3, "3 unknown cells may be white")])
def test_the_line_names_unknown_cells_that_may_be_white(tmp_path, write_patient, cells, named):
    write_patient(tmp_path / "p", "p", [{"lymphocyte": cells, "erythrocyte": 2}], score=0.6)
    patient = LivePatient("p", live_count(run_tables.read_patient(tmp_path / "p")), 1)
    assert live_page.live_line(patient, RULES).startswith(f"p: 0 white cells on 1 image; {named}; not enough yet")


def test_percentages_interval_and_the_class_that_limits(live):
    patient = live([[12, 8, 0]] * 3, waiting=("d.jpg",))
    page = text_of([patient])
    # Clopper-Pearson at 0.05 / 3: 36 of 60, and 24 of 60.
    assert "lymphocytes, 60 %, between 44 and 75 %" in page or "monocytes, 40 %, between 25 and 56 %" in page
    assert page.count("limits the answer") == 1
    assert "0.0 – " in page  # neutrophils
    assert "still being written or its turn has not come: d.jpg" in page
    line = live_page.live_line(patient, RULES)
    assert "lymphocyte 60 % (44-75), monocyte 40 % (25-56), neutrophil 0 % (0-" in line
    assert line.endswith(("limited by lymphocytes", "limited by monocytes"))


def test_one_yes_is_almost_and_three_are_enough(live):
    few = live([[20, 12, 8]] * 5)
    assert few.count.looks == 1  # at 4 images the clustering is not known
    page = text_of([few])
    assert "Almost enough for ± 10 points" in page
    assert "Take 2 more images with white cells." in page
    assert "(2 more images to confirm it)" in live_page.live_line(few, RULES)
    enough = live([[20, 12, 8]] * 7)
    page = text_of([enough])
    assert "Enough for ± 10 points" in page
    assert "Almost" not in page
    assert "limits the answer" not in page
    assert "enough for ± 10 points" in live_page.live_line(enough, RULES)
    assert "limited by" not in live_page.live_line(enough, RULES)


def test_what_cannot_be_known_says_why(live):
    page = text_of([live([[60, 0, 0]] * 6)])
    assert "Not known for ± 10 points: all white cells are of one class" in page


def test_other_patients_and_those_that_are_not_shown(live):
    first, second = live([[20, 12, 8]] * 7), live([[12, 8, 0]] * 3, "q", unusable={"x.jpg": "no image"})
    page = text_of([first, second], 30)
    assert "28 more patients whose images came earlier are not shown; all are in differentials.csv" in page
    assert "1 not usable" in page


def test_names_and_reasons_are_text(live):
    nasty = "<script>alert(1)</script>"
    patient = live([[12, 8, 0]], nasty, unusable={nasty: nasty}, waiting=(nasty,), error=nasty)
    page = live_page.live_html([patient], 1, RULES, 1000.0, "12:00:00", nasty)
    tree = html.fromstring(page)
    assert len(tree.xpath("//script")) == 1
    assert words(tree).count(nasty) >= 5


def test_many_unusable_files_are_named_in_part(live):
    page = text_of([live([[12, 8, 0]], unusable={f"{n}.jpg": "no image" for n in range(30)})])
    assert page.count("no image") == 10
    assert "20 more are not shown; problems.csv names all" in page


@pytest.mark.parametrize("is_complete", [True, False])
def test_at_the_end_there_are_no_numbers(is_complete):
    page = live_page.ended_html(is_complete)
    assert ("differentials.csv" in page) is is_complete
    assert ("same command resumes" in page) is not is_complete
    assert "clock" not in html.fromstring(page).xpath("//main")[0].attrib
    assert not html.fromstring(page).get_element_by_id("main").xpath(".//table")

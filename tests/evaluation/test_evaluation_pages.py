import pytest

from tests.support.evaluated_images import CATEGORIES, EMPTY, MIXED, RIGHT, examined, pages_of, write
from tfod_csf.evaluation.evaluation_pages import EvaluationPages


def test_both_pages_and_their_tables_are_written(tmp_path):
    lines = write(tmp_path, MIXED, RIGHT, EMPTY)
    assert {path.name for path in tmp_path.iterdir()} == {
        "errors.html",
        "errors.csv",
        "error_images.csv",
        "error_types.csv",
        "class_counts.csv",
        "thresholds.html",
        "score_thresholds.csv",
        "threshold_pairs.csv",
    }
    assert str(tmp_path / "errors.html") in lines[0]
    assert str(tmp_path / "thresholds.html") in lines[-1]


def test_thresholds_see_cells_below_the_score_in_use():
    """In MIXED a neutrophil lies on its label with 0.3; counted from there on, its class has an F1 of 1/2 and not 0.

    Lymphocytes: one right, one wrong, 2/3. Monocytes: one wrong, 0. Neutrophils: at 0.3 one right, one badly placed,
    so 1/2; the mean is (2/3 + 0 + 1/2) / 3.
    """
    found = pages_of(MIXED).recommendations()
    assert found.by_f1.min_score == 0.3
    assert abs(found.by_f1.mean_f1 - 7 / 18) < 1e-9


def test_patients_are_kept_apart():
    labels = [("L", 10 * i, 5) for i in range(10)]
    images = [examined(name, labels=labels) for name in "abc"]
    assert pages_of(*images, patient_ids=["p", "q", "r"]).recommendations().num_patients == 3
    assert pages_of(*images, patient_ids=["p", "q", "p"]).recommendations().num_patients == 2


def test_cells_are_counted_by_their_names_and_not_by_those_that_are_shown():
    """All neutrophils are lost, which a name that says nothing to the differential would hide."""
    labels = [(letter, 5 + 30 * column, 5 + 30 * row) for row, letter in enumerate("LMN") for column in range(4)]
    image = examined("p/a.jpg", labels=labels, found=[(*label, 0.9) for label in labels if label[0] != "N"])
    shown = [{**one, "name": f"shown {one['name']}"} for one in CATEGORIES]
    found = []
    for pages in (
        EvaluationPages(CATEGORIES, 0.5, 0.8),
        EvaluationPages(shown, 0.5, 0.8, names={one["id"]: one["name"] for one in CATEGORIES}),
    ):
        for patient_id in "pqrst":
            pages.add_image(image, patient_id, image.detections, image.detections["detection_scores"])
        found.append(pages.recommendations())
    assert found[0].as_json() == found[1].as_json()
    # Truth 1/3 each, found 1/2, 1/2 and none: 16.7, 16.7 and 33.3 points.
    assert found[1].in_use.error.mean == pytest.approx(200 / 9)

import dataclasses

import numpy as np

from tests.support.evaluated_images import FACTS
from tests.support.scored_cells import CLASSES, scored_cells
from tfod_csf.evaluation.thresholds import thresholds_page
from tfod_csf.evaluation.thresholds.recommended import recommend
from tfod_csf.files import csv_schemas

HALVES, RIGHT = "LLLLLMMMMM", [("L", "L", 0.9)] * 5 + [("M", "M", 0.9)] * 5
BETTER_ELSEWHERE = {name: (HALVES, RIGHT + [("N", "-", 0.6)] * 10) for name in "abc"}


def written(folder, patients, min_score=0.5, unknown_below=0.5):
    cells = scored_cells(patients)
    lines = thresholds_page.write(folder, cells, recommend(cells, min_score, unknown_below), FACTS)
    return lines, (folder / "thresholds.html").read_text(encoding="utf-8")


def test_tables_of_classes_and_pairs(tmp_path):
    written(tmp_path, BETTER_ELSEWHERE)
    schema = csv_schemas.load("score_thresholds")
    assert schema.check(tmp_path / "score_thresholds.csv") == 95 * len(CLASSES)
    rows = {(row["class"], row["min_score"]): row for row in schema.read(tmp_path / "score_thresholds.csv")}
    assert [rows["neutrophil", score]["false_positives"] for score in (0.05, 0.6, 0.61)] == [30, 30, 0]
    assert rows["neutrophil", 0.61]["precision"] is None
    assert [rows["lymphocyte", score]["recall"] for score in (0.9, 0.91)] == [1, 0]
    pairs = csv_schemas.load("threshold_pairs")
    assert pairs.check(tmp_path / "threshold_pairs.csv") == 19 * 20
    of_pair = {(row["min_score"], row["unknown_below"]): row for row in pairs.read(tmp_path / "threshold_pairs.csv")}
    assert (of_pair[0.5, 0.0]["error_points"], of_pair[0.5, 0.65]["error_points"]) == (33.3333, 0)
    assert (of_pair[0.5, 0.0]["unknown_percent"], of_pair[0.5, 0.65]["unknown_percent"]) == (0, 50)
    # Of the neutrophils none is rightly named; lymphocytes and monocytes are all decided rightly.
    assert of_pair[0.5, 0.0]["decision_f1"] == 1


def test_better_thresholds_are_recommended_with_the_interval(tmp_path):
    lines, page = written(tmp_path, BETTER_ELSEWHERE)
    said = (
        "Thresholds chosen by the error of the percentages leave an error of 0.0 points on average in patients that "
        "they were not chosen on (95 % interval 0.0 to 0.0, 3 patients), 33.3 points less than those in use (interval "
        "of the difference -33.3 to -33.3)."
    )
    assert f"Recommended by differential: min_score 0.5, unknown_below 0.65; in use: 0.5, 0.5. {said}" in lines
    assert said in page
    assert page.count('class="chart"') == 3 + 2


def test_thresholds_that_are_not_certainly_better_are_said_to_be_that(tmp_path):
    lines, page = written(tmp_path, dict.fromkeys("abc", (HALVES, RIGHT)))
    assert "these patients do not show that others are better, so keep those in use." in page
    assert any("keep those in use" in line for line in lines)


def test_a_recommendation_at_the_end_of_the_search_is_said_to_be_that(tmp_path):
    """A class found with 0.05 alone is what the smallest min_score is for."""
    lines, page = written(tmp_path, {"p": ("LM", [("L", "L", 0.9), ("M", "M", 0.06)])})
    assert any("min_score 0.05 (by f1) is at the end of what is searched" in line for line in lines)
    assert "at the end of what is searched" in page
    lines, page = written(tmp_path, {"p": ("LM", [("L", "L", 0.9), ("M", "M", 0.6)])})
    assert "at the end of what is searched" not in page
    assert "is the highest that is searched" not in page
    cells = scored_cells({"p": ("LM", [("L", "L", 0.9), ("L", "M", 0.9)])})
    found = recommend(dataclasses.replace(cells, scores=np.array([0.96, 0.94])), 0.5, 0.5)
    said = thresholds_page.edge_words(found)
    assert said.startswith("unknown_below 0.95 (by f1) is the highest that is searched")
    assert said in thresholds_page.console_lines(found)


def test_few_patients_and_no_cells(tmp_path):
    lines, page = written(tmp_path / "few", dict.fromkeys("ab", (HALVES, RIGHT)))
    assert any("10 or more labeled white cells each, and there are 2." in line for line in lines)
    assert "10 or more labeled white cells each, and there are 2." in page
    assert page.count('class="chart"') == 2
    lines, page = written(tmp_path / "none", {})
    assert "No cell is labeled, so nothing is recommended." in lines
    assert "No cell was labeled or found." in page
    assert csv_schemas.load("threshold_pairs").check(tmp_path / "none" / "threshold_pairs.csv") == 380

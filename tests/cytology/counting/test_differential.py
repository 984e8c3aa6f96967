"""Numbers of the paper's Table 1 (the DNN's rounds) and small counts worked by hand."""

import numpy as np
import pytest

from tfod_csf.cytology.counting.differential import DifferentialRules, differential
from tfod_csf.cytology.counting.differential_tables import (
    long_rows,
    wide_row,
    write_differential_csv,
    write_differentials_csv,
)
from tfod_csf.cytology.counting.reference_ranges import load_reference_ranges
from tfod_csf.files import csv_schemas, csv_tables

TABLE_1 = {"erythrocyte": 28, "lymphocyte": 77, "monocyte": 66, "neutrophil": 50}


def evenly(counts, images=8):
    """[images, 3] white cells that lie as evenly as can be: the design effect is 0 and every cell an effective one."""
    white = [counts.get(name, 0) for name in ("lymphocyte", "monocyte", "neutrophil")]
    return np.tile(np.array(white) / images, (images, 1))


def test_table_1_of_the_paper_as_a_differential():
    images = evenly(TABLE_1)
    result = differential("1", {"m": TABLE_1}, 8, references=load_reference_ranges(), image_counts=images)
    # 77 + 66 + 50 = 193 white cells: 77 / 193 = 39.896 %, 66 / 193 = 34.197 %, 50 / 193 = 25.907 %.
    percents = [result.shares[name].percent for name in ("lymphocyte", "monocyte", "neutrophil")]
    assert percents == pytest.approx([39.896, 34.197, 25.907], abs=1e-3)
    assert sum(percents) == pytest.approx(100)
    assert result.per_100_white_cells("erythrocyte") == pytest.approx(14.508, abs=1e-3)  # 100 * 28 / 193
    assert result.interval_method == "goodman"
    assert (result.enough.answer, result.effective_cells) == ("yes", 193)
    assert result.half_width_points == pytest.approx(8.32, abs=0.01)  # 33.072 / 397.462, see test_intervals
    marks = {name: (share.mark, share.mark_certain) for name, share in result.shares.items()}
    assert marks == {"lymphocyte": ("low", True), "monocyte": ("", None), "neutrophil": ("high", True)}


def test_percentages_leave_unknown_erythrocytes_and_other_classes_out():
    counts = {"lymphocyte": 30, "neutrophil": 10, "erythrocyte": 500, "unknown": 20, "eosinophil": 40}
    result = differential("1", {"m": counts})
    assert result.shares["lymphocyte"].percent == 75
    assert (result.white_cells, result.all_cells, result.other_cells) == (40, 600, 40)
    assert result.unknown_percent == pytest.approx(100 * 20 / 600)
    groups = {row["class"]: row["group"] for row in long_rows(result)}
    assert groups == {
        "lymphocyte": "white_cells",
        "monocyte": "white_cells",
        "neutrophil": "white_cells",
        "erythrocyte": "apart",
        "unknown": "apart",
        "eosinophil": "apart",
        "white_cells": "total",
        "all_cells": "total",
    }


@pytest.mark.parametrize("counts", [{}, {"unknown": 25}, {"lymphocyte": 1}, {"erythrocyte": 400}, {"lymphocyte": 29}])
def test_under_the_minimum_there_are_counts_and_a_sentence_but_no_percentages(counts):
    result = differential("1", {"m": counts}, references=load_reference_ranges())
    assert not result.shares
    assert not result.enough_cells
    for row in long_rows(result):
        assert row.get("percent") is None
        if row["group"] == "white_cells":
            assert row["note"] == "fewer than 30 white cells: counts only"
    assert wide_row(result)["note"] == "fewer than 30 white cells: counts only"
    assert wide_row(result)["cells_needed"] is None


def test_one_cell_with_the_minimum_set_to_zero_has_percentages_and_no_cell_has_none():
    rules = DifferentialRules(min_white_cells=0)
    assert differential("1", {"m": {"lymphocyte": 1}}, rules=rules).shares["lymphocyte"].percent == 100
    assert differential("1", {"m": {}}, rules=rules).shares == {}


def test_thirty_cells_are_enough_for_percentages_but_not_for_the_tolerance():
    result = differential("1", {"m": {"lymphocyte": 15, "monocyte": 10, "neutrophil": 5}})
    assert result.shares
    assert not result.enough_cells
    assert result.cells_needed > 100


def test_classes_that_the_model_does_not_have_are_the_note():
    counts = {"m": {"Lymphocytes": 50}}
    none = differential("p", counts, model_classes=["Lymphocytes", "Neutrophils", "erythrocyte"])
    assert none.note == "none of the model's classes is lymphocyte, monocyte or neutrophil: no percentages"
    assert none.shares == {}
    two = {"m": {"lymphocyte": 20, "monocyte": 20, "Neutrophils": 40}}
    some = differential("p", two, model_classes=["lymphocyte", "monocyte", "Neutrophils"])
    assert some.note.startswith("none of the model's classes is neutrophil")
    assert some.absent_classes == ("neutrophil",)
    # A person has named cells that the model cannot name.
    named = differential("p", {"m": {"lymphocyte": 20, "monocyte": 20, "neutrophil": 5}}, model_classes=["lymphocyte"])
    assert named.absent_classes == ()


def test_models_are_averaged_by_percentage_and_by_count():
    counts = {"a": {"lymphocyte": 80, "monocyte": 20}, "b": {"lymphocyte": 30, "monocyte": 30}}
    result = differential("1", counts)
    # 80 % and 50 % average to 65 %; the counts average to 55 and 25 (68.75 % would be the share of those).
    assert result.shares["lymphocyte"].percent == pytest.approx(65)
    assert (result.counts["lymphocyte"], result.counts["monocyte"]) == (55, 25)
    assert (result.shares["lymphocyte"].models_low, result.shares["lymphocyte"].models_high) == (50, 80)
    assert result.models_range_points == pytest.approx(30)
    alone = differential("1", {"a": {"lymphocyte": 52, "monocyte": 28}})  # 65 % of 80, the mean number of white cells
    assert result.shares["lymphocyte"].ci_low == pytest.approx(alone.shares["lymphocyte"].ci_low)


def test_a_model_without_white_cells_has_no_percentages_to_average():
    result = differential("1", {"a": {"lymphocyte": 100}, "b": {}})
    assert result.counts["lymphocyte"] == 50
    assert result.shares["lymphocyte"].percent == 100
    assert "1 of 2 models found no white cell" in result.note


def certain_values(rows):
    return {row["class"]: row["mark_certain"] for row in rows if row.get("mark")}


def test_too_many_unknown_cells_are_the_remark_of_each_percentage_and_no_mark_is_certain():
    # 500 neutrophils of 600 named white cells; with 100 unknown ones, 14.3 %, still 500 of 700 in the worst case.
    named = {"lymphocyte": 60, "monocyte": 40, "neutrophil": 500}
    images, references = evenly(named), load_reference_ranges()
    few = differential("1", {"m": {**named, "unknown": 50}}, 8, references=references, image_counts=images)
    assert few.note == ""
    assert certain_values(long_rows(few))["neutrophil"] is True
    many = differential("1", {"m": {**named, "unknown": 100}}, 8, references=references, image_counts=images)
    rows = long_rows(many)
    assert certain_values(rows) == {"lymphocyte": False, "neutrophil": False}
    remark = "unknown cells are 14.3 % of the white cells: too many to rely on the percentages"
    assert {row["note"] for row in rows if row.get("percent") is not None} == {remark}
    row = wide_row(many)
    assert (row["note"], row["neutrophil_mark"], row["neutrophil_mark_certain"]) == (remark, "high", False)
    assert row["neutrophil_percent"] == pytest.approx(83.33, abs=0.01)  # the percentages themselves stay


def test_spelling_of_class_names_does_not_split_a_class():
    assert differential("1", {"m": {"Lymphocyte ": 20, "lymphocyte": 20}}).counts["lymphocyte"] == 40


def test_pleocytosis_and_case_need_the_patient_table():
    references = load_reference_ranges()
    assert differential("1", {"m": TABLE_1}, references=references).pleocytosis is None
    assert differential("1", {"m": TABLE_1}, references=references, cells_per_ul=5).pleocytosis is False
    result = differential("1", {"m": TABLE_1}, references=references, cells_per_ul=60)
    assert result.pleocytosis is True
    # The ranges are those of fluids with a normal count: 26 % neutrophils of 60 white cells per uL are not marked.
    assert {share.mark for share in result.shares.values()} == {""}
    assert {share.reference for share in result.shares.values()} == {None}
    assert result.case == "high_white_cells"


def test_no_model_examined_an_image(tmp_path):
    result = differential("1", {}, images_failed=2)
    assert (result.white_cells, result.shares, result.unknown_percent) == (0, {}, None)
    assert result.note == "no image could be examined; 2 images failed; fewer than 30 white cells: counts only"
    write_differential_csv(tmp_path / "differential.csv", result)
    write_differentials_csv(tmp_path / "differentials.csv", [wide_row(result)])
    csv_schemas.load("differential").check(tmp_path / "differential.csv")
    csv_schemas.load("differentials").check(tmp_path / "differentials.csv")


def test_both_tables_keep_their_schema_and_hostile_ids(tmp_path):
    results = [
        differential("=1+2", {"m": TABLE_1}, images_used=8, images_failed=1, references=load_reference_ranges()),
        differential("脑脊液", {"a": {}, "b": {"unknown": 3, "eosinophil": 1}}),
    ]
    for number, result in enumerate(results):
        path = tmp_path / str(number) / "differential.csv"
        write_differential_csv(path, result)
        assert csv_schemas.load("differential").check(path) == 7 + number
        assert {row["patient_id"] for row in csv_tables.read_rows(path)} == {result.patient_id}
    path = tmp_path / "differentials.csv"
    write_differentials_csv(path, map(wide_row, results))
    assert csv_schemas.load("differentials").check(path) == 2
    first, second = csv_tables.read_rows(path)
    assert (first["lymphocyte"], first["lymphocyte_percent"], first["images_failed"]) == ("77", "39.90", "1")
    assert (second["unknown"], second["other_cells"], second["lymphocyte_percent"]) == ("1.50", "0.50", "")
    assert "'=1+2" in path.read_text(encoding="utf-8")

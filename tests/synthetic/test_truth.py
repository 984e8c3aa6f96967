import pytest

from tfod_csf import run_folder
from tfod_csf.commands import command_line
from tfod_csf.errors import UserError
from tfod_csf.files import csv_schemas, csv_tables
from tfod_csf.synthetic import truth


def _write(tmp_path, found_rows):
    names = ["patient_id", "case", "images", "lymphocyte", "monocyte", "neutrophil", "erythrocyte", "unknown"]
    csv_schemas.load("truth").write(
        tmp_path / "truth.csv",
        [
            dict(zip(names, ["p1", "high WBC", 2, 50, 30, 20, 5, 1])),
            dict(zip(names, ["p2", "low WBC", 2, 0, 0, 0, 0, 0])),
        ],
    )
    columns = ["patient_id", "white_cells", "lymphocyte_percent", "monocyte_percent", "neutrophil_percent"]
    csv_tables.write_rows(tmp_path / "differentials.csv", columns, found_rows)
    return tmp_path / "differentials.csv", tmp_path / "truth.csv"


def test_differences_are_found_minus_true(tmp_path):
    paths = _write(
        tmp_path,
        [
            {"patient_id": "p1", "white_cells": 96, "lymphocyte_percent": 56.25, "monocyte_percent": 25}
            | {"neutrophil_percent": 18.75},
            {"patient_id": "p2", "white_cells": 2},
        ],
    )
    first, second = truth.compare(*paths)
    assert first.true_percent == (50, 30, 20)
    assert first.differences_points == pytest.approx((6.25, -5, -1.25))
    assert second.true_percent is None
    assert second.differences_points is None
    text = truth.format_comparison([first, second])
    assert "6.2 points" in text
    assert "too few white cells" in text
    truth.write_comparison([first, second], tmp_path / "truth_comparison.csv")
    assert csv_schemas.load("truth_comparison").check(tmp_path / "truth_comparison.csv") == 6


def test_the_largest_difference_is_of_patients_with_100_white_cells_or_more():
    def patient(white_cells, found):
        return truth.PatientComparison("p", "high WBC", white_cells, 0, (50, 30, 20), found)

    few, near, far = patient(99, (90, 5, 5)), patient(100, (52, 29, 19)), patient(300, (50, 26.6, 23.4))
    sentence = truth.largest_difference([few, near, far])
    assert sentence == "2 patients with 100 or more white cells: largest difference of a percentage 3.4 points."
    sentence = truth.largest_difference([near, patient(200, None)])
    assert sentence.endswith("a percentage 2.0 points; no percentages of 1 patient of them.")
    assert truth.largest_difference([few]) == "0 patients with 100 or more white cells: no percentages to compare."


def test_patients_with_too_many_unknown_cells_are_counted_in_the_last_line(tmp_path, capsys):
    percents = {"lymphocyte_percent": 50, "monocyte_percent": 25, "neutrophil_percent": 25}
    row = {"patient_id": "p1", "white_cells": 96, **percents, "unknown_beyond_limit": "yes"}
    csv_path, truth_path = _write(tmp_path, [])
    (tmp_path / "patients" / "p1").mkdir(parents=True)
    for name in run_folder.TABLES:
        (tmp_path / "patients" / "p1" / name).write_text("cells")
    run_folder.finish(tmp_path, {})
    row["tables_sha256"] = run_folder.digest_of(tmp_path / "patients" / "p1")
    for beyond, words in (("yes", "; 1 patient with too many unknown white cells: percentages not to be"), ("no", "")):
        csv_tables.write_rows(csv_path, list(row), [row | {"unknown_beyond_limit": beyond}])
        flags = [f"--inference_dir={tmp_path}", f"--truth={truth_path}"]
        assert command_line.main(["compare_with_truth", *flags]) == 0
        last = capsys.readouterr().out.splitlines()[-1]
        words = f"; 1 patient of {truth_path} without a result: 'p2'{words}{' relied on' if words else ''}"
        assert last == f"Wrote {tmp_path / 'truth_comparison.csv'}{words}."


def test_patients_without_a_result_are_in_the_tables(tmp_path):
    percents = {"lymphocyte_percent": 50, "monocyte_percent": 25, "neutrophil_percent": 25}
    paths = _write(tmp_path, [{"patient_id": "p2", "white_cells": 12, **percents}])
    has_result, without = truth.compare(*paths)
    assert (has_result.patient_id, has_result.has_result) == ("p2", True)
    assert (without.patient_id, without.true_percent, without.has_result) == ("p1", (50, 30, 20), False)
    assert (without.found_percent, without.differences_points) == (None, None)
    [line] = [line for line in truth.format_comparison([has_result, without]).splitlines() if line.startswith("p1 ")]
    assert line.split() == ["p1", "high", "WBC", "100", "-", "50", "30", "20", "-", "-", "-", "no", "result"]
    # One of the patients with enough white cells, none of whom has percentages.
    assert truth.largest_difference([has_result, without]).startswith("1 patient with 100 or more white cells: no")
    truth.write_comparison([has_result, without], tmp_path / "truth_comparison.csv")
    rows = list(csv_schemas.load("truth_comparison").read(tmp_path / "truth_comparison.csv"))
    assert [(row["patient_id"], row["found_white_cells"]) for row in rows[2:4]] == [("p2", 12), ("p1", None)]


def test_a_patient_without_true_counts_is_named(tmp_path):
    paths = _write(tmp_path, [{"patient_id": "other", "white_cells": 2}])
    with pytest.raises(UserError, match="no patient 'other'"):
        truth.compare(*paths)

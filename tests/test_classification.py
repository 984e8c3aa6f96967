import dataclasses
import json

import numpy as np
import pytest

from tfod_csf import classification
from tfod_csf.cell_classes import STUDY_CLASSES
from tfod_csf.classification import OUTCOMES, TRUE_CLASSES, Classification, ClassificationError, ValidationPatient


def patient(cells_of_each_class=20):
    counts = np.zeros((len(TRUE_CLASSES), len(OUTCOMES)), int)
    for name in STUDY_CLASSES:
        counts[TRUE_CLASSES.index(name), OUTCOMES.index(name)] = cells_of_each_class
    return ValidationPatient(4, counts, {"cells per image": 20.0})


def matrix(patients=3, **changes):
    found = Classification(
        model="m",
        fingerprint="f" * 64,
        temperature=1.25,
        classes=STUDY_CLASSES,
        thresholds={"min_score": 0.5, "unknown_below": 0.8, "duplicate_iou": 0.5},
        matching_iou_threshold=0.5,
        patients=tuple(patient() for _ in range(patients)),
        source="validation",
        date="2022-01-24T10:00:00+08:00",
    )
    return dataclasses.replace(found, **changes)


def test_names_of_rows_and_columns():
    assert classification.true_class(" Monocyte ") == "monocyte"
    assert classification.true_class("unknown") == "other"
    assert classification.outcome("Plasma cell", 0.9, 0.8) == "other"
    assert classification.outcome("lymphocyte", 0.8, 0.8) == "lymphocyte"
    assert len(OUTCOMES) == 11


def test_it_is_read_as_it_was_written(tmp_path):
    matrix().write(tmp_path / "classification.json")
    read = classification.read(tmp_path / "classification.json")
    assert np.array_equal(read.counts, matrix().counts)
    assert read.patients[0].pictures == {"cells per image": 20.0}
    assert dataclasses.replace(read, patients=()) == matrix(patients=0)
    assert read.num_cells == 240


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("format", 2, "format is 2, expected 1"),
        ("temperature", 0, "temperature is 0, expected a number above 0"),
        ("outcomes", ["lymphocyte"], "outcomes are"),
        ("thresholds", {"min_score": 2, "unknown_below": 1, "duplicate_iou": 1}, r"thresholds\.min_score is 2"),
        ("thresholds", {"min_score": 0.5}, "lacks 'unknown_below'"),
        ("patients", [{"images": 1, "counts": [[1]], "pictures": {}}], "patient 1: counts are"),
        ("patients", [{"images": 0, "counts": [[0] * 11] * 6, "pictures": {}}], "patient 1: images is 0"),
        ("patients", [{"images": 1, "counts": [[-1] * 11] * 6, "pictures": {}}], "patient 1: counts are not whole"),
        ("patients", [{"images": 1, "counts": [[0] * 11] * 6, "pictures": {"a": float("nan")}}], "NaN is not a JSON"),
        ("patients", [], "0 annotated cells of class lymphocyte in 0 patients are too few"),
    ],
)
def test_what_it_must_not_hold_is_named(tmp_path, key, value, expected):
    path = tmp_path / "classification.json"
    matrix().write(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(ClassificationError, match=expected) as error:
        classification.read(path)
    assert str(path) in str(error.value)


def test_a_file_that_is_missing_or_not_json(tmp_path):
    with pytest.raises(ClassificationError, match="cannot be read"):
        classification.read(tmp_path / "none.json")
    (tmp_path / "text.json").write_text("text")
    with pytest.raises(ClassificationError, match="is not what evaluate --store writes"):
        classification.read(tmp_path / "text.json")


@pytest.mark.parametrize(("cells", "patients"), [(30, 1), (15, 2), (9, 3)])
def test_too_few_cells_or_patients_are_refused(cells, patients):
    few = dataclasses.replace(matrix(), patients=tuple(patient(cells) for _ in range(patients)))
    with pytest.raises(ClassificationError, match=f"{cells * patients} annotated cells of class lymphocyte"):
        few.check_enough()


def test_ten_cells_in_each_of_three_patients_are_enough():
    dataclasses.replace(matrix(), patients=tuple(patient(10) for _ in range(3))).check_enough()


def test_contradictions():
    found = matrix()
    same = ("f" * 64, 1.25, STUDY_CLASSES)
    assert found.contradiction(*same) == ""
    assert found.contradiction("0", *same[1:]) == "it was made with other weights of the model"
    assert found.contradiction(same[0], 1.0, STUDY_CLASSES) == "it was made at temperature 1.25, not 1"
    assert "made for the classes lymphocyte, monocyte, neutrophil, erythrocyte, not a" in found.contradiction(
        same[0], 1.25, ["a"]
    )
    assert found.other_counting({"min_score": 0.5, "unknown_below": 0.8}) == ""
    other = {"min_score": 0.5, "unknown_below": 0.7}
    assert found.other_counting(other) == "it was made with unknown_below 0.8, not 0.7"


def test_the_copy_in_a_run_is_checked(tmp_path):
    entry = classification.write_into_run(tmp_path, matrix())
    assert entry["file"] == "classification/m.json"
    assert classification.read_from_run(tmp_path, entry).model == "m"
    path = tmp_path / entry["file"]
    path.write_text(path.read_text().replace("20", "21"))
    with pytest.raises(ClassificationError, match=r"is not the file that run\.json names any more"):
        classification.read_from_run(tmp_path, entry)
    path.unlink()
    with pytest.raises(ClassificationError, match="cannot be read"):
        classification.read_from_run(tmp_path, entry)


def test_picture_features_worked_by_hand():
    found = classification.FoundCells(
        image_sizes=np.array([[200, 100], [400, 100]]),
        image_of=np.array([0] * 20 + [1] * 10),
        predicted=["monocyte"] * 25 + ["neutrophil"] * 5,
        scores=np.array([0.9] * 20 + [0.6] * 10),
        box_sizes=np.array([[20.0, 10.0]] * 30),
    )
    assert classification.picture_features(found, 0.8) == {
        "image width (pixels)": 300,
        "image height (pixels)": 100,
        "cells per image": 15,
        # The root of 200 / 20,000 for 20 cells, of 200 / 40,000 for 10: the median is that of the 20.
        "box size (% of the image's)": pytest.approx(10),
        "median score": pytest.approx(0.9),
        "unknown cells among those most likely monocyte (%)": pytest.approx(20),  # 5 neutrophils are too few
    }
    empty = classification.FoundCells(np.array([[200, 100]]), np.zeros(0, int), [], np.zeros(0), np.zeros((0, 2)))
    assert classification.picture_features(empty, 0.8)["cells per image"] == 0
    assert classification.picture_features(dataclasses.replace(empty, image_sizes=np.zeros((0, 2))), 0.8) == {}

import json

import pytest

from tfod_csf.cytology.studies.cross_validation.fold_results import FoldMembers, read_fold, read_folds_csv, read_members
from tfod_csf.errors import UserError
from tfod_csf.files import csv_schemas

CLASSES = ("lymphocyte", "monocyte")
PATIENT_OF = {"b/1.jpg": "b", "a: x/1.jpg": "a", "b/2.jpg": "b"}


def write_evaluation(folder, names, counts, average_precisions=(0.5, "NaN")):
    """counts: of each image labeled, right, predicted and decided cells of both classes."""
    kinds = ("labeled", "right", "predicted", "decided")
    columns = [f"{kind}_{name}" for kind in kinds for name in CLASSES]
    rows = [
        {"image_name": name, "patient": "p", **dict(zip(columns, of_image, strict=True))}
        for name, of_image in zip(names, counts, strict=True)
    ]
    csv_schemas.load("class_counts").write_into(folder, rows, CLASSES)
    per_class = [{"class": name, "average_precision": ap} for name, ap in zip(CLASSES, average_precisions, strict=True)]
    metrics = {"PascalBoxes_Precision/mAP@0.5IOU": 0.5}
    (folder / "metrics.json").write_text(json.dumps({"metrics": metrics, "per_class": per_class}))


RECORD_NAMES = [
    f"test.record-00000-of-00001, record {number}: {key}"
    for number, key in enumerate(["b/1.jpg", "a: x/1.jpg", "b/2.jpg"], start=1)
]


def test_images_of_records_are_added_up_by_the_patients_of_the_folds(tmp_path):
    counts = [(1, 2, 1, 0, 3, 0, 2, 0), (5, 0, 4, 0, 4, 1, 4, 1), (10, 20, 10, 20, 10, 20, 10, 0)]
    write_evaluation(tmp_path, RECORD_NAMES, counts)
    fold = read_fold(tmp_path, 3, PATIENT_OF)
    assert (fold.number, fold.classes, fold.mean_ap, fold.patient_ids) == (3, CLASSES, 0.5, ("a", "b"))
    assert fold.average_precisions[0] == 0.5
    assert fold.average_precisions[1] != fold.average_precisions[1]
    assert fold.counts["labeled"].tolist() == [[5, 0], [11, 22]]
    assert fold.counts["right"].tolist() == [[4, 0], [11, 20]]
    assert fold.counts["predicted"].tolist() == [[4, 1], [13, 20]]
    assert fold.counts["decided"].tolist() == [[4, 1], [12, 0]]


def test_names_of_the_label_map_stand_beside_those_that_are_displayed(tmp_path):
    write_evaluation(tmp_path, RECORD_NAMES, [[0] * 8] * 3)
    assert read_fold(tmp_path, 1, PATIENT_OF).class_names == CLASSES
    report = json.loads((tmp_path / "metrics.json").read_text())
    (tmp_path / "metrics.json").write_text(json.dumps({**report, "classes": ["lym", "mono"]}))
    fold = read_fold(tmp_path, 1, PATIENT_OF)
    assert (fold.classes, fold.class_names) == (CLASSES, ("lym", "mono"))


def test_an_evaluation_of_other_images_is_refused(tmp_path):
    write_evaluation(tmp_path, ["b/1.jpg", "b/9.jpg"], [[0] * 8] * 2)
    with pytest.raises(UserError, match=r"not of the images that test in fold 1 \(2 of 3 are missing, 1 are others"):
        read_fold(tmp_path, 1, PATIENT_OF)


def test_a_damaged_report_is_refused(tmp_path):
    write_evaluation(tmp_path, RECORD_NAMES, [[0] * 8] * 3)
    for text in ("{", "{}", '{"metrics": {}, "per_class": [1]}'):
        (tmp_path / "metrics.json").write_text(text)
        with pytest.raises(UserError, match="not a report of evaluate"):
            read_fold(tmp_path, 1, PATIENT_OF)


def test_folds_are_read_in_order(tmp_path):
    rows = [
        {"image": f"{patient}/1.jpg", "patient": patient, "laboratory": "", "fold": fold, "sha256": "0"}
        for patient, fold in (("a", 2), ("b", 10), ("c", 2), ("d", 1))
    ]
    csv_schemas.load("folds").write_into(tmp_path, rows)
    folds = read_folds_csv(tmp_path / "folds.csv")
    assert list(folds.items()) == [
        (1, {"d/1.jpg": "d"}),
        (2, {"a/1.jpg": "a", "c/1.jpg": "c"}),
        (10, {"b/1.jpg": "b"}),
    ]


def test_who_tests_in_a_fold(tmp_path):
    rows = [
        {"image": f"{patient}/{number}.jpg", "patient": patient, "laboratory": laboratory, "fold": fold, "sha256": "0"}
        for patient, laboratory, fold in (("a", "HH", 2), ("b", "", 1), ("c", "B", 2))
        for number in range(3)
    ]
    csv_schemas.load("folds").write_into(tmp_path, rows)
    members = read_members(tmp_path / "folds.csv")
    assert list(members.items()) == [(1, FoldMembers((), 1, 3)), (2, FoldMembers(("HH", "B"), 2, 6))]
    assert [one.words for one in members.values()] == ["1 patient, 3 images", "HH and B: 2 patients, 6 images"]

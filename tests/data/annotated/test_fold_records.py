import json

import pytest

from tests.support import labeled_folders
from tfod_csf.data.annotated.create_tf_record import RecordOptions
from tfod_csf.data.annotated.dataset_split import SplitError
from tfod_csf.data.annotated.fold_folder import FoldFolder
from tfod_csf.data.annotated.fold_records import LABORATORY, Fold, FoldOptions, write_fold_records
from tfod_csf.files import csv_schemas, csv_tables, tfrecord
from tfod_csf.problems import ProblemLog

STUDY = {
    "HH-1": [["lymphocyte"] * 2, ["monocyte"]],
    "HH-2": [["lymphocyte"], []],
    "KI-1": [["neutrophil"], ["lymphocyte"]],
    "KI-2": [["lymphocyte", "neutrophil"], ["monocyte"]],
    "UL-1": [["lymphocyte"], ["lymphocyte"], ["lymphocyte"]],
}
PATTERN = "^(?P<laboratory>[A-Z]+)-"


@pytest.fixture(scope="module")
def images_dir(tmp_path_factory):
    return labeled_folders.write_study(tmp_path_factory.mktemp("study"), STUDY)


def write(images_dir, out, **fold_options):
    problems = ProblemLog(quiet=True)
    return write_fold_records(RecordOptions(str(images_dir), str(out)), FoldOptions(**fold_options), problems)


def test_every_image_tests_in_one_fold_and_trains_in_the_others(images_dir, tmp_path):
    folds = write(images_dir, tmp_path, num_folds=2)
    assert csv_schemas.load("folds").check(tmp_path / "folds.csv") == 11
    fold_of = {row["image"]: int(row["fold"]) for row in csv_tables.read_rows(tmp_path / "folds.csv")}
    for number in (1, 2):
        records = FoldFolder(tmp_path, number).records_dir
        sides = {row["image"]: row["side"] for row in csv_tables.read_rows(records / "split.csv")}
        assert sides == {key: "test" if fold == number else "train" for key, fold in fold_of.items()}
        examples = sum(1 for _ in tfrecord.read_records(records / "test.record-00000-of-00001"))
        assert examples == folds[number - 1].num_images == list(fold_of.values()).count(number)
        settings = json.loads((records / "dataset_report.json").read_text())["settings"]
        assert (settings["split_by"], settings["test_fraction"]) == ("patient", None)
    annotations = [(FoldFolder(tmp_path, n).records_dir / "annotations.csv").read_bytes() for n in (1, 2)]
    assert annotations[0] == annotations[1]


def test_leave_one_laboratory_out(images_dir, tmp_path):
    folds = write(images_dir, tmp_path, split_by=LABORATORY, laboratory_pattern=PATTERN)
    assert {fold.laboratories: fold.patients for fold in folds} == {
        ("HH",): ("HH-1", "HH-2"),
        ("KI",): ("KI-1", "KI-2"),
        ("UL",): ("UL-1",),
    }
    assert sorted((fold.num_images, fold.num_cells) for fold in folds) == [(3, 3), (4, 4), (4, 5)]
    rows = csv_tables.read_rows(tmp_path / "folds.csv")
    assert {(row["patient"], row["laboratory"]) for row in rows} == {(name, name[:2]) for name in STUDY}
    with pytest.raises(SplitError, match="does not fit 3 images"):
        write(images_dir, tmp_path / "other", split_by=LABORATORY, laboratory_pattern="^(?P<laboratory>HH|KI)")


def test_problems_of_one_fold_are_not_those_of_another(images_dir, tmp_path):
    write(images_dir, tmp_path, split_by=LABORATORY, laboratory_pattern=PATTERN)
    found = {}
    for number in (1, 2, 3):
        rows = csv_tables.read_rows(FoldFolder(tmp_path, number).records_dir / "problems.csv")
        [laboratory] = {
            row["laboratory"] for row in csv_tables.read_rows(tmp_path / "folds.csv") if row["fold"] == str(number)
        }
        found[laboratory] = [row["reason"] for row in rows]
    assert found == {
        "HH": ["no neutrophil on the test side"],
        "KI": ["no neutrophil on the train side"],
        "UL": ["no monocyte on the test side", "no neutrophil on the test side"],
    }
    assert csv_tables.read_rows(tmp_path / "problems.csv") == []


def test_a_fold_in_words():
    assert Fold(2, ("a", "b"), ("HH",), 4, 1).text() == "fold 2 tests on 2 patients of HH: 4 images, 1 cell"
    assert Fold(1, ("a",), (), 1, 0).text() == "fold 1 tests on 1 patient: 1 image, 0 cells"

"""Label maps are compared with the classes that a run kept."""

import json

import pytest

from tfod_csf.errors import UserError
from tfod_csf.label_map import LabelMap, LabelMapItem, label_map_from_names
from tfod_csf.training import training_record
from tfod_csf.training.checkpoints import trained_classes

TRAINED = label_map_from_names(["lymphocyte", "monocyte"])
SWAPPED = label_map_from_names(["monocyte", "lymphocyte"])


def _run(folder, label_map=TRAINED):
    folder.mkdir(exist_ok=True)
    training_record.TrainingRecord(classes=trained_classes.by_id(label_map)).save(folder)
    (folder / "best").mkdir()
    return folder


def test_names_by_id_are_those_that_cells_are_counted_by():
    assert trained_classes.by_id(None) == {}
    label_map = LabelMap([LabelMapItem(1, "lym", "lymphocyte"), LabelMapItem(3, "unknown"), LabelMapItem(3, "other")])
    assert trained_classes.by_id(label_map) == {"1": "lymphocyte", "3": "unknown"}


def test_swapped_classes_are_refused_in_every_place_of_a_run(tmp_path):
    run = _run(tmp_path / "run")
    (run / "best" / "best.json").write_text(json.dumps({"classes": trained_classes.by_id(SWAPPED)}), encoding="utf-8")
    for checkpoints in (run, run / "ckpt-3", run / "best", run / "best" / "ckpt-3"):
        trained_classes.check_same(checkpoints, TRAINED, "map.pbtxt")
        with pytest.raises(
            UserError, match=r"map\.pbtxt calls class id 1 'monocyte', but .*'lymphocyte'.*training\.json"
        ):
            trained_classes.check_same(checkpoints, SWAPPED, "map.pbtxt")


def test_swapped_display_names_are_refused(tmp_path):
    items = [("a", "lymphocyte"), ("b", "monocyte")]
    shown, swapped = (
        LabelMap([LabelMapItem(1, "a", one), LabelMapItem(2, "b", other)])
        for one, other in ((items[0][1], items[1][1]), (items[1][1], items[0][1]))
    )
    run = _run(tmp_path / "run", shown)
    trained_classes.check_same(run, TRAINED, "map.pbtxt")  # the same classes without display names
    with pytest.raises(UserError, match="calls class id 1 'monocyte'"):
        trained_classes.check_same(run, swapped, "map.pbtxt")


@pytest.mark.parametrize(
    "items",
    [
        [LabelMapItem(1, "Lymphocyte"), LabelMapItem(2, " monocyte")],
        [LabelMapItem(1, "lym", "lymphocyte"), LabelMapItem(2, "monocyte")],
        [LabelMapItem(1, "lym"), LabelMapItem(1, "lymphocyte"), LabelMapItem(2, "monocyte")],
        [LabelMapItem(1, "lymphocyte"), LabelMapItem(2, "id 2"), LabelMapItem(3, "neutrophil")],
    ],
    ids=["capitals", "display name", "synonym", "no name"],
)
def test_the_same_classes_written_otherwise_are_taken(tmp_path, items):
    trained_classes.check_same(_run(tmp_path / "run"), LabelMap(items), "map.pbtxt")


def test_a_folder_best_that_was_copied_elsewhere_knows_its_classes(tmp_path):
    about = {"classes": trained_classes.by_id(TRAINED)}
    (tmp_path / "best.json").write_text(json.dumps(about), encoding="utf-8")
    with pytest.raises(UserError, match=r"best\.json"):
        trained_classes.check_same(tmp_path, SWAPPED, "map.pbtxt")


def test_what_is_not_known_is_not_compared(tmp_path):
    trained_classes.check_same(tmp_path, SWAPPED, "map.pbtxt")  # a run of TFOD
    run = _run(tmp_path / "run", None)  # records with class numbers alone
    trained_classes.check_same(run, SWAPPED, "map.pbtxt")
    (run / "best" / "best.json").write_text('{"metric": "of an earlier version"}', encoding="utf-8")
    trained_classes.check_same(run / "best", SWAPPED, "map.pbtxt")
    trained_classes.check_same(_run(tmp_path / "other"), None, "")
    trained_classes.check_same(tmp_path / "other", label_map_from_names(["lymphocyte"]), "map.pbtxt")


@pytest.mark.parametrize(
    ("name", "text"), [("training.json", '{"classes": null}'), ("best.json", "[1]"), ("best.json", "{")]
)
def test_damaged_files_are_one_sentence(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=rf"{name}: .*restore"):
        trained_classes.check_same(tmp_path, TRAINED, "map.pbtxt")

"""Which checkpoint is the best so far, and how it gets into `best/`."""

import json
import math
import os

import pytest

from tfod_csf.errors import UserError
from tfod_csf.training.checkpoints import best_checkpoint

PASCAL, COCO = "PascalBoxes_Precision/mAP@0.5IOU", "DetectionBoxes_Precision/mAP@.50IOU"


def _write(folder, number):
    for suffix in (".index", ".data-00000-of-00001"):
        (folder / f"ckpt-{number}{suffix}").write_text(f"state {number}")
    return str(folder / f"ckpt-{number}")


def test_best_metric_prefers_pascal_and_needs_ground_truth():
    assert best_checkpoint.best_metric({COCO: 0.7, PASCAL: 0.4}) == (PASCAL, 0.4)
    assert best_checkpoint.best_metric({COCO: 0.7, PASCAL: math.nan}) == (COCO, 0.7)
    assert best_checkpoint.best_metric({COCO: -1.0}) is None
    assert best_checkpoint.best_metric({}) is None
    assert best_checkpoint.best_text({PASCAL: 0.81234}) == f"{PASCAL} 0.8123"
    assert best_checkpoint.best_text({}) == "no metric"


def test_better_is_strictly_better_by_the_same_metric(tmp_path):
    assert not best_checkpoint.is_better({}, tmp_path, {})
    assert best_checkpoint.is_better({COCO: 0.0}, tmp_path, {})  # there is none yet
    best_checkpoint.keep_best(_write(tmp_path, 1), 10, {COCO: 0.5}, tmp_path, {})
    assert not best_checkpoint.is_better({COCO: 0.5}, tmp_path, {})
    assert best_checkpoint.is_better({COCO: 0.51}, tmp_path, {})
    assert best_checkpoint.is_better({PASCAL: 0.1}, tmp_path, {})  # values of two metrics cannot be compared
    assert not best_checkpoint.is_better({COCO: math.nan}, tmp_path, {})


def test_a_value_on_other_images_is_not_compared_and_what_was_best_on_them_is_kept(tmp_path, caplog):
    first = {"run": "eval", "input_path": ["a.record"], "images": "0a, 1 of 1"}
    best_checkpoint.keep_best(_write(tmp_path, 1), 10, {PASCAL: 0.9}, tmp_path, first)
    assert best_checkpoint.read_best(tmp_path).items() >= first.items()
    assert not best_checkpoint.is_better({PASCAL: 0.8}, tmp_path, first | {"input_path": ["moved/a.record"]})
    for number, other in enumerate([{"images": "0a, 1 of 10"}, first, {"images": "0b, 1 of 1"}, first], start=2):
        assert not best_checkpoint.is_better({PASCAL: math.nan}, tmp_path, other)
        assert best_checkpoint.is_better({PASCAL: 0.8}, tmp_path, other)
        best_checkpoint.keep_best(_write(tmp_path, number), 10, {PASCAL: 0.8}, tmp_path, other)
        assert best_checkpoint.read_best(tmp_path)["checkpoint"] == f"ckpt-{number}"
    kept = [tmp_path / f"best_of_other_images_10{suffix}" for suffix in ("", "_2", "_3", "_4")]
    assert [(folder / f"ckpt-{number}.index").is_file() for number, folder in enumerate(kept, start=1)] == [True] * 4
    assert f"is not compared with theirs; the best checkpoint is chosen again, and the one before is in {kept[0]}" in (
        caplog.text
    )


def test_a_best_checkpoint_of_an_earlier_version_is_compared(tmp_path):
    best_checkpoint.keep_best(_write(tmp_path, 1), 10, {PASCAL: 0.9}, tmp_path, {})
    assert not best_checkpoint.is_better({PASCAL: 0.8}, tmp_path, {"images": "0a, 1 of 1"})


def test_the_best_replaces_the_one_before(tmp_path):
    best_checkpoint.keep_best(_write(tmp_path, 1), 10, {PASCAL: 0.5}, tmp_path, {})
    best_checkpoint.keep_best(_write(tmp_path, 12), 20, {PASCAL: 0.7, COCO: math.nan}, tmp_path, {})
    folder = tmp_path / "best"
    assert sorted(path.name for path in folder.iterdir()) == [
        "best.json",
        "checkpoint",
        "ckpt-12.data-00000-of-00001",
        "ckpt-12.index",
    ]
    assert (folder / "ckpt-12.index").read_text() == "state 12"
    assert (folder / "checkpoint").read_text().splitlines()[0] == 'model_checkpoint_path: "ckpt-12"'
    assert best_checkpoint.read_best(tmp_path) == {
        "metric": PASCAL,
        "value": 0.7,
        "step": 20,
        "checkpoint": "ckpt-12",
        "metrics": {PASCAL: 0.7, COCO: None},
    }


def test_files_are_linked_where_that_is_possible_and_copied_elsewhere(tmp_path, monkeypatch):
    path = _write(tmp_path, 1)
    best_checkpoint.keep_best(path, 10, {PASCAL: 0.5}, tmp_path, {})
    assert os.path.samefile(f"{path}.index", tmp_path / "best" / "ckpt-1.index")

    def refuse(source, target):
        raise OSError("cross-device link")

    monkeypatch.setattr(best_checkpoint.os, "link", refuse)
    best_checkpoint.keep_best(path, 10, {PASCAL: 0.5}, tmp_path, {})
    assert not os.path.samefile(f"{path}.index", tmp_path / "best" / "ckpt-1.index")
    assert (tmp_path / "best" / "ckpt-1.index").read_text() == "state 1"


def test_a_checkpoint_that_is_gone_leaves_the_best_as_it_is(tmp_path):
    best_checkpoint.keep_best(_write(tmp_path, 1), 10, {PASCAL: 0.5}, tmp_path, {})
    with pytest.raises(FileNotFoundError):
        best_checkpoint.keep_best(str(tmp_path / "ckpt-2"), 20, {PASCAL: 0.7}, tmp_path, {})
    assert best_checkpoint.read_best(tmp_path)["step"] == 10
    assert (tmp_path / "best" / "ckpt-1.index").is_file()


def test_a_file_that_is_not_json(tmp_path):
    assert best_checkpoint.read_best(tmp_path) is None
    (tmp_path / "best").mkdir()
    (tmp_path / "best" / "best.json").write_text(json.dumps({"value": 1})[:-1])
    with pytest.raises(UserError, match=r"best\.json: is not JSON .*restore it, or move it away"):
        best_checkpoint.read_best(tmp_path)


def test_a_file_of_somebody_else_stays(tmp_path):
    best_checkpoint.keep_best(_write(tmp_path, 1), 10, {PASCAL: 0.5}, tmp_path, {})
    (tmp_path / "best" / "notes").mkdir()
    (tmp_path / "best" / "notes" / "mine.txt").write_text("mine")
    best_checkpoint.keep_best(_write(tmp_path, 2), 20, {PASCAL: 0.7}, tmp_path, {})
    assert (tmp_path / "best" / "notes" / "mine.txt").read_text() == "mine"
    assert not (tmp_path / "best" / "ckpt-1.index").exists()


def test_killed_before_it_is_in_place_the_old_one_stays_whole(tmp_path, monkeypatch):
    best_checkpoint.keep_best(_write(tmp_path, 1), 10, {PASCAL: 0.5}, tmp_path, {})
    before = {path.name: path.read_text() for path in (tmp_path / "best").iterdir()}

    def killed(*arguments):
        raise KeyboardInterrupt

    for function in ("write_json", "write_text", "put_in_place"):
        with monkeypatch.context() as context:
            context.setattr(best_checkpoint.atomic_write, function, killed)
            with pytest.raises(KeyboardInterrupt):
                best_checkpoint.keep_best(_write(tmp_path, 2), 20, {PASCAL: 0.7}, tmp_path, {})
        assert {path.name: path.read_text() for path in (tmp_path / "best").iterdir()} == before

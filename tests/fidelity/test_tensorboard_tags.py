"""Event files of model_main_tf2 against the tags TFOD writes (tensorboard_tags*.json)."""

import json

import pytest

from tests.support import tiny_training

# TFOD's names of its fixture's three classes, and ours of the tiny records.
_CLASS_TAG = "PascalBoxes_PerformanceByCategory/"


def _plugins(tags: dict) -> dict[str, str]:
    return {
        tag: entry["plugin"] if isinstance(entry, dict) else entry[0]
        for tag, entry in tags.items()
        if tag != "__files__" and not tag.startswith((_CLASS_TAG, "eval_side_by_side_"))
    }


@pytest.mark.recorded("tensorboard_tags*.json")
def test_train_tags_and_their_order(recorded, trained_run):
    expected = _plugins(json.loads(recorded.read_text(encoding="utf-8"))["train"]["tags"])
    written = _plugins(tiny_training.read_tags(trained_run["model_dir"] / "train"))
    assert written == expected
    assert list(written) == list(expected)


@pytest.mark.recorded("tensorboard_tags*.json")
def test_train_steps(recorded, trained_run):
    """Scalars have the step after their block, images the step before it; TFOD's 110 steps in blocks of 100 end at 200.

    Here 5 steps in blocks of 2 end at 5: scalars at 2, 4, 5 (TFOD: 100, 200), images at 0, 2, 4 (TFOD: 0, 100).
    """
    recorded_tags = json.loads(recorded.read_text(encoding="utf-8"))["train"]["tags"]
    assert recorded_tags["learning_rate"]["steps"] == [100, 200]
    assert recorded_tags["train_input_images"]["steps"] == [0, 100]
    written = tiny_training.read_tags(trained_run["model_dir"] / "train")
    assert written.pop("train_input_images")[1] == [0, 2, 4]
    assert {tuple(steps) for _, steps in written.values()} == {(2, 4, 5)}


@pytest.mark.recorded("tensorboard_tags*.json")
def test_eval_tags_and_their_order(recorded, trained_run):
    tags = json.loads(recorded.read_text(encoding="utf-8"))["eval"]["tags"]
    written = tiny_training.read_tags(trained_run["model_dir"] / "eval")
    assert _plugins(written) == _plugins(tags)
    assert list(_plugins(written)) == list(_plugins(tags))
    pictures = [tag for tag in tags if tag.startswith("eval_side_by_side_")]
    assert [tag for tag in written if tag.startswith("eval_side_by_side_")] == pictures
    assert {written[tag][0] for tag in pictures} == {"images"}
    classes = [tag.rpartition("/")[0] for tag in tags if tag.startswith(_CLASS_TAG)]
    assert {tag.rpartition("/")[0] for tag in written if tag.startswith(_CLASS_TAG)} == set(classes)
    assert {tuple(steps) for _, steps in written.values()} == {(3, 5)}


@pytest.mark.recorded("tensorboard_tags*.json")
def test_console_wording(recorded, trained_run):
    """TFOD's records, each once and in its order."""
    lines = json.loads(recorded.read_text(encoding="utf-8"))["eval"]["console"]
    expected = [line.removeprefix("INFO:tensorflow:") for line in lines if line.startswith("INFO:tensorflow:")]
    names = [line.removeprefix("\t+ ").rpartition(":")[0] for line in expected if line.startswith("\t+ ")]
    (metrics,) = [line for line in trained_run["log"] if line.startswith("Eval metrics at step 5")]
    ours = [line.removeprefix("\t+ ").partition(": ")[0] for line in metrics.splitlines()[1:]]
    assert [name for name in ours if not name.startswith(_CLASS_TAG)] == [
        name for name in names if not name.startswith(_CLASS_TAG)
    ]
    assert trained_run["log"].count("Performing evaluation on 3 images.") == 2

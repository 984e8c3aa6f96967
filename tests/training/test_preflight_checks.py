"""Each check by itself; that the commands run them is in test_preflight.py."""

import collections
import json

import pytest

from tests.support import tiny_training
from tfod_csf.data.records.record_statistics import RecordStatistics
from tfod_csf.label_map import label_map_from_names
from tfod_csf.training import preflight_checks
from tfod_csf.training.preflight_checks import CheckedInput, TrainingSetupError


def _statistics(objects_per_class: dict[str, int]) -> RecordStatistics:
    class_ids = collections.defaultdict(set, {name: {number} for number, name in enumerate(objects_per_class, 1)})
    return RecordStatistics(
        num_examples=1200, max_boxes=41, objects_per_class=collections.Counter(objects_per_class), class_ids=class_ids
    )


def test_what_was_checked_is_described_in_one_line():
    label_map = label_map_from_names(["red", "blue", "green"])
    checked = CheckedInput(label_map, _statistics({"red": 2000, "blue": 30}))
    assert checked.describe() == "1,200 images, 2,030 boxes (blue 30, red 2,000), at most 41 in one"
    assert checked.absent_classes == ["green"]
    assert CheckedInput(None, _statistics({"red": 1})).absent_classes == []


def test_a_model_dir_that_cannot_be_written(tmp_path, monkeypatch):
    preflight_checks.check_model_dir(str(tmp_path / "new" / "model"))
    assert not (tmp_path / "new").exists()
    monkeypatch.setattr(preflight_checks.os, "access", lambda path, mode: False)
    with pytest.raises(TrainingSetupError, match=f"new/model: {tmp_path} cannot be written"):
        preflight_checks.check_model_dir(str(tmp_path / "new" / "model"))


def test_batch_of_several_replicas():
    preflight_checks.check_batch_divides(6, 3, "three GPUs")
    with pytest.raises(TrainingSetupError, match=r"6 is .*by 4 replicas \(four GPUs\); use a multiple of 4\."):
        preflight_checks.check_batch_divides(6, 4, "four GPUs")


@pytest.mark.parametrize("max_train_boxes", [2, 3, None])
def test_only_training_has_a_largest_number_of_boxes(config, max_train_boxes):
    reader = config.train_input_reader
    if max_train_boxes == 2:
        with pytest.raises(TrainingSetupError, match="2 is less than the 3 boxes"):
            preflight_checks.check_input(reader, 2, "train_input_reader", max_train_boxes)
    else:
        checked = preflight_checks.check_input(reader, 2, "train_input_reader", max_train_boxes)
        assert checked.statistics.max_boxes == 3


def test_records_without_a_box_can_be_evaluated_on(config, tmp_path):
    import tensorflow as tf

    reader = config.eval_input_reader[0]
    reader.tf_record_input_reader.input_path[:] = [str(tmp_path / "empty.record")]
    tiny_training.write_records(tmp_path / "empty.record", [tiny_training.make_example(tf, "empty.jpg", [], [], 0)])
    checked = preflight_checks.check_input(reader, 2, "eval_input_reader[0]")
    assert (checked.statistics.num_examples, checked.absent_classes) == (1, ["red", "blue"])
    with pytest.raises(TrainingSetupError, match="none of 1 images has a box"):
        preflight_checks.check_input(reader, 2, "train_input_reader", max_train_boxes=5)


def _tf_config(workers, index=0, job="worker"):
    return json.dumps({"cluster": {"worker": workers}, "task": {"type": job, "index": index}})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "needs the environment variable TF_CONFIG"),
        ("[]", "needs the environment variable TF_CONFIG"),
        ('{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}', "TF_CONFIG lists 1 workers"),
        (_tf_config(["a:1", "b"]), "'b' is not host:port with a port from 1 to 65535"),
        (_tf_config(["a:1", "b:99999"]), "'b:99999' is not host:port"),
        (_tf_config(["a:1", "a:1"]), "lists a:1 twice; give each worker a host and port of its own"),
        (_tf_config(["a:1", "b:1"], index=2), "task is worker 2, but the cluster has worker 0 to 1; give every"),
        (_tf_config(["a:1", "b:1"], index=-1), "task is worker -1"),
        (_tf_config(["a:1", "b:1"], index=None), "task is worker None"),
        (_tf_config(["a:1", "b:1"], job="master"), "task is master 0"),
    ],
)
def test_several_workers_need_tf_config(monkeypatch, text, message):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(TrainingSetupError, match=message):
        preflight_checks.check_tf_config(2)
    preflight_checks.check_tf_config(1)


def test_tf_config_with_a_chief_counts_it(monkeypatch):
    monkeypatch.setenv(
        "TF_CONFIG", '{"cluster": {"chief": ["a:1"], "worker": ["b:1"]}, "task": {"type": "worker", "index": 0}}'
    )
    preflight_checks.check_tf_config(2)


def test_there_is_at_least_one_worker():
    with pytest.raises(TrainingSetupError, match="--num_workers=0: must be at least 1"):
        preflight_checks.check_tf_config(0)

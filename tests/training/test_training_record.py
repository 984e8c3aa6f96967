import pytest

from tfod_csf.errors import UserError
from tfod_csf.training import training_record


def test_record_comes_back(tmp_path):
    record = training_record.TrainingRecord(
        status="saturated", step=7, num_steps=9, rms_prop_rule="tf1", seed=3, reason="so"
    )
    record.save(tmp_path)
    assert training_record.load(tmp_path) == record


def test_no_record_and_a_broken_one(tmp_path):
    assert training_record.load(tmp_path) is None
    for text in ("{", "[]", '{"status": "running"'):
        (tmp_path / "training.json").write_text(text)
        with pytest.raises(UserError, match="not a record of a training run"):
            training_record.load(tmp_path)


def test_fields_of_a_later_version_are_ignored(tmp_path):
    (tmp_path / "training.json").write_text('{"status": "finished", "color": "blue"}')
    assert training_record.load(tmp_path).status == "finished"

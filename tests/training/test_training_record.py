import pytest

from tfod_csf.errors import UserError
from tfod_csf.training import training_record
from tfod_csf.training.loss_history import LossHistory


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


def test_history_of_workers_that_write_nothing():
    history = LossHistory(None, last_step=0)
    history.add(10, 0.5, 0.001, 2.0)
    assert (history.steps, history.losses) == ([10], [0.5])


def test_history_refuses_a_loss_that_is_not_finite(tmp_path):
    with pytest.raises(ValueError, match="step 10 is nan"):
        LossHistory(tmp_path, last_step=0).add(10, float("nan"), 0.001, 2.0)


def test_history_that_was_edited_badly_is_refused(tmp_path):
    (tmp_path / "loss_history.csv").write_text("step,mean_total_loss,learning_rate,steps_per_second\n10,low,0.1,1\n")
    with pytest.raises(UserError, match=r"loss_history\.csv: could not convert string to float: 'low'"):
        LossHistory(tmp_path, last_step=20)

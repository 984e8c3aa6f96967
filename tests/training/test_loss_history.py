import pytest

from tfod_csf.errors import UserError
from tfod_csf.training.loss_history import LossHistory

HEADER = "step,mean_total_loss,learning_rate,steps_per_second\n"


def test_history_is_kept_on_disk_and_read_back_by_a_restart(tmp_path):
    history = LossHistory(tmp_path, last_step=0)
    history.add(10, 0.5, 0.001, 2.0)
    history.add(20, 0.25, 1e-7, 2.0)
    text = "10,0.5000000,0.001000000000,2.0000\n20,0.2500000,0.000000100000,2.0000\n"
    assert (tmp_path / "loss_history.csv").read_text(encoding="utf-8") == HEADER + text
    again = LossHistory(tmp_path, last_step=20)
    assert (again.steps, again.losses) == ([10, 20], [0.5, 0.25])
    assert all(type(step) is int for step in again.steps)


def test_history_after_the_last_step_belongs_to_steps_that_are_repeated(tmp_path):
    (tmp_path / "loss_history.csv").write_text(HEADER + "10,0.5,0.1,1\n20,0.4,0.1,1\n", encoding="utf-8")
    history = LossHistory(tmp_path, last_step=15)
    history.add(18, 0.45, 0.1, 1.0)
    assert (history.steps, history.losses) == ([10, 18], [0.5, 0.45])
    assert LossHistory(tmp_path, last_step=18).steps == [10, 18]


def test_history_without_a_row_yet(tmp_path):
    (tmp_path / "loss_history.csv").write_text(HEADER, encoding="utf-8")
    assert LossHistory(tmp_path, last_step=15).steps == []


def test_history_of_workers_that_write_nothing():
    history = LossHistory(None, last_step=0)
    history.add(10, 0.5, 0.001, 2.0)
    assert (history.steps, history.losses) == ([10], [0.5])


def test_history_refuses_a_loss_that_is_not_finite(tmp_path):
    with pytest.raises(ValueError, match="step 10 is nan"):
        LossHistory(tmp_path, last_step=0).add(10, float("nan"), 0.001, 2.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEADER + "10,low,0.1,1\n", "line 2: mean_total_loss is 'low'; expected a number"),
        (HEADER + "10,0.5,0.1,1\n20,nan,0.1,1\n", "line 3: mean_total_loss is 'nan'; expected a number"),
        (HEADER + "10,0.5,0.1\n", "line 2: steps_per_second is empty"),
        ("step,mean_total_loss\n10,0.5\n", "column 'learning_rate' is missing"),
    ],
)
def test_history_that_was_edited_badly_is_refused(tmp_path, text, message):
    (tmp_path / "loss_history.csv").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=rf"loss_history\.csv.*{message}.*\. Restore the file, or delete it\."):
        LossHistory(tmp_path, last_step=20)

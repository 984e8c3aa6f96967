from typing import ClassVar

import pytest

from tfod_csf.errors import UserError
from tfod_csf.training import training_record
from tfod_csf.training.checkpoints import best_checkpoint
from tfod_csf.training.evaluation.continuous_evaluation import evaluate_continuously, wait_for_checkpoint


class Clock:
    """Time that passes only in sleep; `events` are (time, function) to be called when their time has come."""

    def __init__(self, *events):
        self.now = 0.0
        self.events = list(events)

    def sleep(self, seconds):
        self.now += seconds
        while self.events and self.events[0][0] <= self.now:
            self.events.pop(0)[1]()

    def __call__(self):
        return self.now


def _write_checkpoint(folder, number):
    for suffix in (".index", ".data-00000-of-00001"):
        (folder / f"ckpt-{number}{suffix}").write_text(f"state {number}")
    (folder / "checkpoint").write_text(f'model_checkpoint_path: "ckpt-{number}"\n')


class Evaluation:
    about: ClassVar = {"run": "eval"}

    def __init__(self, folder, metrics, after=lambda step: None):
        self.folder, self.metrics, self.after, self.steps = folder, metrics, after, []

    def run(self, step):
        self.steps.append(step)
        self.after(step)
        return {"PascalBoxes_Precision/mAP@0.5IOU": self.metrics[len(self.steps) - 1]}


def _evaluate(tmp_path, evaluation, **settings):
    arguments = {"num_steps": 1000, "timeout_seconds": 0, **settings}
    return evaluate_continuously(
        lambda path: int(path.rpartition("-")[2]) * 100, [evaluation], str(tmp_path), str(tmp_path), **arguments
    )


def test_waits_for_the_next_checkpoint(tmp_path):
    _write_checkpoint(tmp_path, 1)
    clock = Clock((7, lambda: _write_checkpoint(tmp_path, 2)))
    first = wait_for_checkpoint(str(tmp_path), None, 60, clock.sleep, clock)
    assert (first, clock.now) == (str(tmp_path / "ckpt-1"), 0)
    assert wait_for_checkpoint(str(tmp_path), first, 60, clock.sleep, clock) == str(tmp_path / "ckpt-2")
    assert clock.now == 7


def test_gives_up_at_the_timeout_or_when_the_training_has_ended(tmp_path):
    clock = Clock()
    assert wait_for_checkpoint(str(tmp_path), None, 30, clock.sleep, clock) is None
    assert clock.now == 30
    clock = Clock((5, lambda: training_record.TrainingRecord(status="saturated").save(tmp_path)))
    assert wait_for_checkpoint(str(tmp_path), None, 3600, clock.sleep, clock) is None
    assert clock.now == 5


def test_a_run_that_was_stopped_is_waited_for(tmp_path):
    training_record.TrainingRecord(status="stopped").save(tmp_path)
    clock = Clock()
    assert wait_for_checkpoint(str(tmp_path), None, 10, clock.sleep, clock) is None
    assert clock.now == 10


def test_evaluates_each_checkpoint_and_keeps_the_best(tmp_path):
    _write_checkpoint(tmp_path, 1)

    def after(step):
        if step < 300:
            _write_checkpoint(tmp_path, step // 100 + 1)

    evaluation = Evaluation(tmp_path, [0.2, 0.6, 0.5], after)
    metrics = _evaluate(tmp_path, evaluation)
    assert evaluation.steps == [100, 200, 300]
    assert metrics == {"PascalBoxes_Precision/mAP@0.5IOU": 0.5}
    assert (tmp_path / "best" / "ckpt-2.index").read_text() == "state 2"
    assert best_checkpoint.read_best(tmp_path)["step"] == 200


def test_ends_at_num_steps_even_if_it_was_jumped_over_and_eval_once_leaves_best_alone(tmp_path):
    _write_checkpoint(tmp_path, 2)
    for settings, best_step in (({"eval_once": True}, None), ({"num_steps": 150}, 200)):
        evaluation = Evaluation(tmp_path, [0.2])
        _evaluate(tmp_path, evaluation, timeout_seconds=3600, **settings)
        assert evaluation.steps == [200]
        assert (best_checkpoint.read_best(tmp_path) or {}).get("step") == best_step


def test_a_best_checkpoint_that_training_deleted_meanwhile_is_not_kept(tmp_path, caplog):
    _write_checkpoint(tmp_path, 1)

    def delete(step):
        for path in tmp_path.glob("ckpt-1.*"):
            path.unlink()

    _evaluate(tmp_path, Evaluation(tmp_path, [0.5], delete))
    assert "training has deleted it meanwhile" in caplog.text
    assert best_checkpoint.read_best(tmp_path) is None


def test_no_checkpoint_at_all(tmp_path):
    with pytest.raises(UserError, match=r"no checkpoint appeared within 0 s \(--eval_timeout\)"):
        _evaluate(tmp_path, Evaluation(tmp_path, []))
    with pytest.raises(UserError, match="no checkpoint appeared;"):
        _evaluate(tmp_path, Evaluation(tmp_path, []), eval_once=True)

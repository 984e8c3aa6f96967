"""Which `ckpt-N` a run writes and when it refuses to."""

import math

import pytest
import tensorflow as tf

from tfod_csf.errors import UserError
from tfod_csf.training.checkpoints.checkpoint_keeper import CheckpointKeeper, NonFiniteWeightsError


class State:
    """A step, a weight, and the keeper of both."""

    def __init__(self, folder, weight=1.0):
        self.step = tf.Variable(0, dtype=tf.int64)
        self.weight = tf.Variable(weight)
        checkpoint = tf.train.Checkpoint(step=self.step, weight=self.weight)
        self.keeper = CheckpointKeeper(checkpoint, folder, self.step, [self.weight])

    def save_at(self, step):
        self.step.assign(step)
        return self.keeper.save()


def _numbers(folder):
    return sorted(int(path.stem.removeprefix("ckpt-")) for path in folder.glob("*.index"))


def test_the_number_counts_saves_and_a_step_is_saved_once(tmp_path):
    state = State(tmp_path)
    assert state.keeper.latest is None
    assert [state.save_at(step) for step in (0, 500, 500, 700)] == [
        str(tmp_path / f"ckpt-{number}") for number in (1, 2, 2, 3)
    ]
    assert _numbers(tmp_path) == [1, 2, 3]
    assert state.keeper.latest == str(tmp_path / "ckpt-3")


def test_seven_are_kept(tmp_path):
    state = State(tmp_path)
    for step in range(9):
        state.save_at(step)
    assert _numbers(tmp_path) == [3, 4, 5, 6, 7, 8, 9]


def test_a_restored_run_counts_on_and_does_not_save_its_first_step_again(tmp_path):
    State(tmp_path, weight=3.0).save_at(10)
    state = State(tmp_path)
    state.keeper.restore(str(tmp_path / "ckpt-1"))
    assert (int(state.step), float(state.weight)) == (10, 3.0)
    assert state.keeper.save() == str(tmp_path / "ckpt-1")
    assert state.save_at(11) == str(tmp_path / "ckpt-2")


def test_a_worker_restores_from_another_folder_than_its_own(tmp_path):
    path = State(tmp_path / "model", weight=3.0).save_at(10)
    state = State(tmp_path / "scratch")
    state.keeper.restore(path)
    assert state.keeper.latest == path
    assert float(state.weight) == 3.0


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    other = tf.train.Checkpoint(step=tf.Variable(5, dtype=tf.int64), weight=tf.Variable([1.0, 2.0]))
    tf.train.CheckpointManager(other, str(tmp_path), max_to_keep=7).save()
    with pytest.raises(UserError, match=r"ckpt-1: cannot resume from this checkpoint .*use an empty --model_dir"):
        State(tmp_path).keeper.restore(str(tmp_path / "ckpt-1"))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_not_finite_are_not_saved(tmp_path, value):
    state = State(tmp_path)
    state.save_at(0)
    state.weight.assign(value)
    with pytest.raises(NonFiniteWeightsError, match=r"step 7: .*ckpt-1; lower the learning rate"):
        state.save_at(7)
    assert _numbers(tmp_path) == [1]

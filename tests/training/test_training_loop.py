"""The outer loop, driven by a trainer whose losses are written down beforehand."""

import math
import os
import signal
from typing import ClassVar

import numpy as np
import pytest

from tfod_csf.errors import UserError
from tfod_csf.training import training_record
from tfod_csf.training.checkpoints.checkpoint_keeper import CheckpointKeeper, NonFiniteWeightsError
from tfod_csf.training.training_loop import (
    ExplodedLossError,
    LoopSettings,
    NonFiniteLossError,
    StoppedError,
    TrainingLoop,
)


class ScriptedTrainer:
    """Stands in for FasterRcnnTrainer: the loss of step n (from 0) is `loss_of(n)`."""

    def __init__(self, tf, loss_of, first_step=0):
        from tfod_csf.network_input import image_normalizer

        self.image_normalizer = image_normalizer.of_extractor("faster_rcnn_resnet50_keras")
        self.tf = tf
        self.loss_of = loss_of
        self.strategy = tf.distribute.get_strategy()
        self.global_step = tf.Variable(first_step, dtype=tf.int64)
        self.weight = tf.Variable(1.0)
        self.blocks = []
        self.gradient_is_finite = True

    def steps(self, num_steps):
        self.blocks.append(num_steps)
        for _ in range(num_steps):
            loss = self.tf.constant(self.loss_of(int(self.global_step.numpy())), self.tf.float32)
            self.global_step.assign_add(1)
            yield {
                "losses": {"Loss/RPNLoss/objectness_loss": loss, "Loss/total_loss": loss},
                "gradient_is_finite": self.tf.constant(self.gradient_is_finite),
                "images": self.tf.zeros([1, 4, 4, 3]),
                "source_ids": self.tf.constant([f"image_{int(self.global_step.numpy())}.jpg"]),
            }


class ScriptedEvaluation:
    about: ClassVar = {"run": "eval"}

    def __init__(self, metric_of):
        self.metric_of = metric_of
        self.steps = []

    def run(self, step, say, after_batch):
        self.steps.append(step)
        after_batch(1)
        return {"PascalBoxes_Precision/mAP@0.5IOU": self.metric_of(step)}


@pytest.fixture
def make_loop(tmp_path):
    import tensorflow as tf

    def make(loss_of, evaluations=(), first_step=0, record=None, **settings):
        trainer = ScriptedTrainer(tf, loss_of, first_step)
        checkpoint = tf.train.Checkpoint(step=trainer.global_step, weight=trainer.weight)
        keeper = CheckpointKeeper(checkpoint, tmp_path, trainer.global_step, [trainer.weight])
        loop = TrainingLoop(
            trainer,
            keeper,
            evaluations,
            LoopSettings(**settings),
            lambda step: 0.1,
            record or training_record.TrainingRecord(),
            str(tmp_path),
        )
        return loop, trainer

    return make


def _steps_of_checkpoints(folder):
    import tensorflow as tf

    prefixes = tf.train.get_checkpoint_state(str(folder)).all_model_checkpoint_paths
    return [int(tf.train.load_variable(prefix, "step/.ATTRIBUTES/VARIABLE_VALUE")) for prefix in prefixes]


def test_blocks_end_where_something_is_due_and_the_last_step_is_saved(make_loop, tmp_path):
    evaluation = ScriptedEvaluation(lambda step: 0.5)
    loop, trainer = make_loop(
        lambda step: 1.0, [evaluation], num_steps=23, log_every_n=10, checkpoint_every_n=10, eval_every_n=15
    )
    record = loop.run()
    assert trainer.blocks == [10, 5, 5, 3]
    assert evaluation.steps == [15, 23]
    # 0: TFOD's ckpt-1; 10, 20: every ten; 15: the best so far; 23: the last
    assert _steps_of_checkpoints(tmp_path) == [0, 10, 15, 20, 23]
    assert (record.status, record.step) == ("finished", 23)
    assert training_record.load(tmp_path) == record


def test_history_holds_block_means_and_survives_a_restart(make_loop, tmp_path):
    loop, _ = make_loop(lambda step: float(step), num_steps=6, log_every_n=2)
    loop.run()
    loop, _ = make_loop(lambda step: 100.0, first_step=4, num_steps=6, log_every_n=2)
    loop.run()
    rows = (tmp_path / "loss_history.csv").read_text().splitlines()
    # blocks of losses 0 1 and 2 3; the third block was taken again after the restart at step 4
    assert [row.split(",")[:2] for row in rows[1:]] == [
        ["2", "0.5000000"],
        ["4", "2.5000000"],
        ["6", "100.0000000"],
    ]


def test_a_loss_that_is_not_finite_names_step_and_images_and_keeps_the_last_good_checkpoint(make_loop, tmp_path):
    loop, _ = make_loop(
        lambda step: math.nan if step == 12 else 1.0, num_steps=20, log_every_n=5, checkpoint_every_n=10
    )
    with pytest.raises(NonFiniteLossError, match=r"step 13: Loss/RPNLoss/objectness_loss .* images image_13\.jpg;"):
        loop.run()
    assert _steps_of_checkpoints(tmp_path) == [0, 10]
    record = training_record.load(tmp_path)
    assert (record.status, record.step) == ("failed", 12)


def test_weights_that_are_not_finite_are_not_saved(make_loop, tmp_path):
    def loss_of(step):
        trainer.weight.assign(np.inf if step == 12 else 1.0)
        return 1.0

    loop, trainer = make_loop(loss_of, num_steps=13)
    with pytest.raises(NonFiniteWeightsError, match="step 13: the last update made the weights non-finite"):
        loop.run()
    assert _steps_of_checkpoints(tmp_path) == [0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_a_checkpoint_after_the_step_at_hand(make_loop, tmp_path, number):
    def loss_of(step):
        if step == 6:
            os.kill(os.getpid(), number)
        return 1.0

    before = signal.getsignal(number)
    loop, _ = make_loop(loss_of, num_steps=20)
    with pytest.raises(StoppedError, match=r"at step 7; the last checkpoint is .*ckpt-2; the same command resumes"):
        loop.run()
    assert _steps_of_checkpoints(tmp_path) == [0, 7]
    assert training_record.load(tmp_path).status == "stopped"
    assert signal.getsignal(number) == before


def test_a_signal_during_an_evaluation_ends_the_run_too(make_loop, tmp_path):
    def metric_of(step):
        raise AssertionError("not reached")

    class Evaluation(ScriptedEvaluation):
        def run(self, step, say, after_batch):
            os.kill(os.getpid(), signal.SIGTERM)
            return super().run(step, say, after_batch)

    loop, _ = make_loop(lambda step: 1.0, [Evaluation(metric_of)], num_steps=20, eval_every_n=5)
    with pytest.raises(StoppedError, match="SIGTERM at step 5"):
        loop.run()
    assert _steps_of_checkpoints(tmp_path) == [0, 5]


def test_saturation_ends_the_run_with_checkpoint_evaluation_and_reason(make_loop, tmp_path):
    evaluation = ScriptedEvaluation(lambda step: 0.5)
    loop, _ = make_loop(
        lambda step: 1.0,
        [evaluation],
        num_steps=1000,
        log_every_n=1,
        eval_every_n=500,
        stop_when_saturated=True,
        saturation_min_steps=20,
    )
    record = loop.run()
    assert record.status == "saturated"
    # From step 20 on the last quarter has five blocks; the rule must hold at five checks in a row.
    assert record.step == 24
    assert "stopped at step 24: the smoothed loss fell by 0.0 %" in record.reason
    assert evaluation.steps == [24]
    assert _steps_of_checkpoints(tmp_path) == [0, 24]


def test_the_best_checkpoint_is_kept_separately(make_loop, tmp_path):
    evaluation = ScriptedEvaluation({2: 0.3, 4: 0.7, 6: 0.7, 8: math.nan}.get)
    loop, _ = make_loop(lambda step: 1.0, [evaluation], num_steps=8, eval_every_n=2)
    loop.run()
    assert sorted(path.name for path in (tmp_path / "best").iterdir()) == [
        "best.json",
        "checkpoint",
        "ckpt-3.data-00000-of-00001",
        "ckpt-3.index",
    ]
    assert _steps_of_checkpoints(tmp_path / "best") == [4]
    assert _steps_of_checkpoints(tmp_path) == [0, 2, 4, 8]


def test_a_finished_run_that_is_started_again_does_nothing(make_loop, tmp_path):
    loop, trainer = make_loop(lambda step: 1.0, first_step=5, num_steps=5)
    assert loop.run().status == "finished"
    assert trainer.blocks == []


def test_a_record_that_cannot_be_decoded_costs_no_steps(make_loop, tmp_path):
    import tensorflow as tf

    def loss_of(step):
        if step == 6:
            raise tf.errors.InvalidArgumentError(None, None, "Unknown image file format.")
        return 1.0

    loop, _ = make_loop(loss_of, num_steps=20)
    with pytest.raises(tf.errors.InvalidArgumentError):
        loop.run()
    assert _steps_of_checkpoints(tmp_path) == [0, 6]
    record = training_record.load(tmp_path)
    assert (record.status, record.step, record.reason) == ("failed", 6, "Unknown image file format.")


@pytest.mark.parametrize(
    ("num_batches", "message"),
    [
        (0, "step 0: the training records yielded no batch"),
        (3, r"step 3: the training records ended after train_input_reader\.num_epochs epochs"),
    ],
)
def test_records_that_end_are_an_error(make_loop, num_batches, message):
    loop, trainer = make_loop(lambda step: 1.0, num_steps=5)
    all_steps = trainer.steps
    trainer.steps = lambda num_steps: all_steps(min(num_steps, num_batches))
    with pytest.raises(UserError, match=message):
        loop.run()


@pytest.mark.parametrize(
    ("step", "evaluated_step", "evaluated"),
    [(4, 2, [4, 6, 8]), (4, 4, [6, 8]), (4, None, [4, 6, 8]), (5, 4, [6, 8]), (8, 6, [8]), (8, 8, [])],
)
def test_an_evaluation_that_a_killed_run_missed_comes_first(make_loop, tmp_path, step, evaluated_step, evaluated):
    evaluation = ScriptedEvaluation({4: 0.7, 6: 0.3, 8: 0.5}.get)
    record = training_record.TrainingRecord(evaluated_step=evaluated_step)
    loop, _ = make_loop(lambda step: 1.0, [evaluation], first_step=step, record=record, num_steps=8, eval_every_n=2)
    assert loop.run().evaluated_step == 8
    assert evaluation.steps == evaluated
    if 4 in evaluated:
        assert _steps_of_checkpoints(tmp_path / "best") == [4]


def test_a_killed_evaluation_is_not_on_record(make_loop, tmp_path):
    class Evaluation(ScriptedEvaluation):
        def run(self, step, say, after_batch):
            raise KeyboardInterrupt

    loop, _ = make_loop(lambda step: 1.0, [Evaluation(None)], num_steps=8, eval_every_n=2)
    with pytest.raises(KeyboardInterrupt):
        loop.run()
    record = training_record.load(tmp_path)
    assert (record.status, record.step, record.evaluated_step) == ("stopped", 2, None)


def test_a_gradient_that_is_not_finite_ends_the_run(make_loop, tmp_path):
    def loss_of(step):
        trainer.gradient_is_finite = step != 7
        return 1.0

    loop, trainer = make_loop(loss_of, num_steps=20, checkpoint_every_n=5)
    with pytest.raises(NonFiniteLossError, match=r"step 8: the gradient .*loss of 1\) is not finite .* image_8\.jpg"):
        loop.run()
    assert _steps_of_checkpoints(tmp_path) == [0, 5]


def test_a_loss_that_stays_far_too_high_ends_the_run_and_keeps_the_good_checkpoints(make_loop, tmp_path):
    loop, _ = make_loop(lambda step: 2.0 if step < 12 else 201.0, num_steps=1000, checkpoint_every_n=5)
    words = r"step 112: the total loss is 201, for 100 steps in a row more than 200 .*ckpt-3; lower"
    with pytest.raises(ExplodedLossError, match=words):
        loop.run()
    assert _steps_of_checkpoints(tmp_path) == [0, 5, 10]
    record = training_record.load(tmp_path)
    assert (record.status, record.first_loss) == ("failed", 2.0)


def test_a_run_whose_loss_has_exploded_at_its_end_has_not_finished(make_loop, tmp_path):
    loop, _ = make_loop(lambda step: 2.0 if step == 0 else 5.7e11, num_steps=20)
    with pytest.raises(ExplodedLossError, match=r"step 20: the total loss is 5\.7e\+11, for 19 steps in a row"):
        loop.run()
    assert _steps_of_checkpoints(tmp_path) == [0]


def test_a_high_loss_that_comes_down_again_only_puts_a_checkpoint_off(make_loop, tmp_path):
    loop, _ = make_loop(lambda step: 1e4 if 5 <= step < 60 else 1.0, num_steps=80, checkpoint_every_n=10)
    assert loop.run().status == "finished"
    assert _steps_of_checkpoints(tmp_path) == [0, 70, 80]

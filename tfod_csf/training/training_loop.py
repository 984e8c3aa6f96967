"""The loop of a run: blocks of steps, and between them log lines, checkpoints, evaluations and the decision to stop.

orbit's Controller is not used, because it has its own names for checkpoints and tags (`ckpt-<step>`,
`steps_per_second`), and TFOD's users and their scripts know TFOD's. orbit runs the evaluations (evaluator.py).

TFOD runs blocks of 100 steps: 110 steps become 200, and steps after the last checkpoint are lost. Here a block ends
at the next step at which something is due (log, checkpoint, evaluation, end), and the last step is always saved.
"""

import dataclasses
import logging
import math
import pathlib
import signal
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from tfod_csf.errors import UserError
from tfod_csf.training import loss_saturation, strategies, summaries, training_record
from tfod_csf.training.checkpoints.best_checkpoint import best_text, is_better, keep_best
from tfod_csf.training.checkpoints.checkpoint_keeper import CheckpointKeeper
from tfod_csf.training.divergence import LossWatch
from tfod_csf.training.evaluation.evaluation_run import EvaluationRun
from tfod_csf.training.loss_history import LossHistory
from tfod_csf.training.progress import Progress
from tfod_csf.training.stop_requests import StopRequests
from tfod_csf.training.trainer import TOTAL_LOSS, FasterRcnnTrainer

_log = logging.getLogger("tfod_csf")


class NonFiniteLossError(UserError):
    """The loss became infinite or NaN."""


class ExplodedLossError(UserError):
    """The loss is finite, but far too high to come back."""


class StoppedError(UserError):
    """Ctrl-C or SIGTERM ended the run after a checkpoint was saved.

    Attributes:
      signal_number: which of the two.
    """

    def __init__(self, message: str, signal_number: int):
        super().__init__(message)
        self.signal_number = signal_number


class _StopRequested(Exception):
    """Ends a block of steps or an evaluation; its text is the signal's name.

    Attributes:
      number: the signal's.
    """

    def __init__(self, name: str, number: int):
        super().__init__(name)
        self.number = number


@dataclasses.dataclass(frozen=True)
class LoopSettings:
    """What happens at which steps; steps count from 0 over all restarts.

    Attributes:
      num_steps: the last step.
      checkpoint_every_n: steps between checkpoints.
      eval_every_n: steps between evaluations; 0: none.
      log_every_n: steps between log lines and summaries.
      record_summaries: write train_input_images (TFOD's flag; scalars are always written).
      stop_when_saturated: end when the smoothed loss has saturated.
      saturation_min_relative_fall, saturation_min_steps: see `loss_saturation.why_saturated`.
    """

    num_steps: int
    checkpoint_every_n: int = 1000
    eval_every_n: int = 0
    log_every_n: int = 100
    record_summaries: bool = True
    stop_when_saturated: bool = False
    saturation_min_relative_fall: float = loss_saturation.MIN_RELATIVE_FALL
    saturation_min_steps: int = loss_saturation.MIN_STEPS


class TrainingLoop:
    """Runs a trainer to its last step.

    Args:
      trainer: takes the steps.
      keeper: saves checkpoints.
      evaluations: what to evaluate; the first decides which checkpoint is best.
      settings: what happens at which steps.
      learning_rate_at: step to learning rate.
      record: kept up to date in model_dir; of a resumed run, with what it had noted.
      model_dir: folder of the run.
    """

    def __init__(
        self,
        trainer: FasterRcnnTrainer,
        keeper: CheckpointKeeper,
        evaluations: Sequence[EvaluationRun],
        settings: LoopSettings,
        learning_rate_at: Callable[[int], float],
        record: training_record.TrainingRecord,
        model_dir: str,
    ):
        self._trainer = trainer
        self._keeper = keeper
        self._evaluations = evaluations
        self._settings = settings
        self._learning_rate_at = learning_rate_at
        self._record = record
        self._model_dir = model_dir
        self._workers = strategies.Workers(trainer.strategy)
        is_chief = self._workers.is_chief
        self._step = int(trainer.global_step.numpy())
        self._summaries = summaries.Summaries(pathlib.Path(model_dir) / "train" if is_chief else None)
        self._history = LossHistory(model_dir if is_chief else None, last_step=self._step)
        self._progress = Progress(self._step, settings.num_steps, quiet=not is_chief)
        self._stop = StopRequests()
        self._watch = LossWatch(record.first_loss)
        self._block: list[float] = []
        self._losses: dict[str, float] = {}

    def run(self) -> training_record.TrainingRecord:
        """Trains, and returns how the run ended.

        Raises:
          NonFiniteLossError, ExplodedLossError: naming step and images.
          StoppedError: after Ctrl-C or SIGTERM; a checkpoint was saved.
        """
        self._note(training_record.RUNNING, "")
        try:
            with self._stop:
                self._run_to_the_end()
        except _StopRequested as stop:
            self._save_what_was_done()
            reason = f"{stop} at step {self._step}; the last checkpoint is {self._keeper.latest}"
            self._note(training_record.STOPPED, reason)
            raise StoppedError(f"{reason}; the same command resumes from there.", stop.number) from None
        except KeyboardInterrupt as error:
            # Before the first step, or a second signal: nothing is saved, and what was saved before counts.
            self._note(training_record.STOPPED, f"{error or 'Ctrl-C'} at step {self._step}")
            raise
        except tf.errors.OpError as error:
            if self._workers.are_several:  # they could save only together
                self._note(training_record.FAILED, strategies.reason_of_loss(error))
            else:
                # A record that cannot be decoded: the weights are those after a whole step and worth keeping.
                self._note(training_record.FAILED, error.message.strip().partition("\n")[0])
                self._save_what_was_done()
            raise
        except BaseException as error:
            self._note(training_record.FAILED, str(error) or type(error).__name__)
            raise
        finally:
            self._progress.close()
            self._summaries.close()
        return self._record

    def _run_to_the_end(self) -> None:
        settings = self._settings
        self._keeper.save()
        why = self._why_saturated()
        if self._step > 0 and self._record.evaluated_step != self._step:
            # Killed between a checkpoint and its evaluation: an undisturbed run has both.
            self._evaluate_if_due(self._step >= settings.num_steps or bool(why))
        if self._step < settings.num_steps and not why:
            self._progress.say("The first step takes up to some minutes, in which TensorFlow builds its graph.")
        while self._step < settings.num_steps and not why:
            self._run_block()
            is_last = self._step >= settings.num_steps
            if is_last or self._step % settings.log_every_n == 0:
                self._report()
                why = self._why_saturated()
            is_last = is_last or bool(why)
            if is_last or self._step % settings.checkpoint_every_n == 0:
                self._save(is_last)
            self._evaluate_if_due(is_last)
        if why:
            self._note(training_record.SATURATED, f"stopped at step {self._step:,}: {why}")
        else:
            self._note(training_record.FINISHED, f"all {settings.num_steps} steps done")
        self._progress.say(f"Training ended: {self._record.reason}.")

    # Steps

    def _run_block(self) -> None:
        """Takes the steps up to the next one at which something is due."""
        settings = self._settings
        ends = [settings.num_steps]
        for interval in (settings.log_every_n, settings.checkpoint_every_n, settings.eval_every_n):
            if interval:
                ends.append((self._step // interval + 1) * interval)
        start = self._step
        self._progress.restart_clock()
        for outputs in self._trainer.steps(min(ends) - start):
            self._after_step(outputs)
        self._progress.stop_clock(self._step)
        if self._step == start:
            raise UserError(
                f"step {start}: the training records yielded no batch: too few images for one batch, or "
                "train_input_reader.num_epochs exhausted them; remove num_epochs."
            )
        if self._step < min(ends):
            raise UserError(
                f"step {self._step}: the training records ended after train_input_reader.num_epochs epochs; remove "
                "that field or set train_config.num_steps to the steps they are enough for."
            )

    def _after_step(self, outputs: Mapping[str, Any]) -> None:
        """Checks, counts and shows the losses of one step; the place where a requested stop takes effect.

        Args:
          outputs: of `FasterRcnnTrainer.train_step`.

        Raises:
          NonFiniteLossError, ExplodedLossError, _StopRequested.
        """
        self._stop.start()
        self._losses = {name: float(loss.numpy()) for name, loss in outputs["losses"].items()}
        total = self._losses[TOTAL_LOSS]
        if not (math.isfinite(total) and bool(outputs["gradient_is_finite"].numpy())):
            raise NonFiniteLossError(self._describe_non_finite(outputs["source_ids"]))
        self._watch.add(total)
        self._record.first_loss = self._watch.first_loss
        if self._watch.has_exploded:
            raise ExplodedLossError(self._describe_exploded(self._step + 1))
        if self._settings.record_summaries and not self._block:
            # The block's first batch, with the step before the update, as in TFOD.
            images = self._first_replica(outputs["images"])
            pictures = summaries.visible_images(images.numpy(), self._trainer.image_normalizer)
            self._summaries.images("train_input_images", pictures, self._step)
        self._step += 1
        self._block.append(total)
        self._progress.step(total)
        self._stop_if_any_worker_is_asked_to()

    def _stop_if_any_worker_is_asked_to(self) -> None:
        if not self._workers.are_several:
            self._raise_if_stopped()
            return
        numbers = (signal.SIGINT, signal.SIGTERM)
        asked = self._workers.sum([self._stop.number == number for number in numbers])
        self._raise_if_stopped()
        for number, count in zip(numbers, asked):
            if count:
                raise _StopRequested(f"{signal.Signals(number).name} to another worker", number)

    def _first_replica(self, value: Any) -> tf.Tensor:
        return self._trainer.strategy.experimental_local_results(value)[0]

    def _describe_non_finite(self, source_ids: Any) -> str:
        replicas = self._trainer.strategy.experimental_local_results(source_ids)
        images = [name.decode("utf-8", "replace") for ids in replicas for name in ids.numpy().tolist()]
        bad = [name for name, value in self._losses.items() if not math.isfinite(value) and name != TOTAL_LOSS]
        if math.isfinite(self._losses[TOTAL_LOSS]):
            bad = [f"the gradient (at a total loss of {self._losses[TOTAL_LOSS]:.4g})"]
        return (
            f"step {self._step + 1}: {', '.join(bad) or TOTAL_LOSS} is not finite on the images {', '.join(images)}; "
            f"the last good checkpoint is {self._keeper.latest}; look at the boxes of these images, lower the learning "
            "rate or set train_config.gradient_clipping_by_norm."
        )

    def _describe_exploded(self, step: int) -> str:
        return (
            f"step {step}: {self._watch}; the weights have run away, most likely because the learning rate "
            f"({self._learning_rate_at(self._step):.3g}) is too high; the last good checkpoint is "
            f"{self._keeper.latest}; lower the rate or set train_config.gradient_clipping_by_norm, and begin in an "
            "empty --model_dir."
        )

    # Between blocks

    def _save(self, is_last: bool) -> None:
        """Saves a checkpoint, unless the loss is so high that the weights are worth nothing."""
        if not self._watch.is_high:
            self._keeper.save()
        elif is_last:
            raise ExplodedLossError(self._describe_exploded(self._step))
        else:
            self._progress.say(f"Step {self._step}: no checkpoint, because {self._watch}.")

    def _save_what_was_done(self) -> None:
        """Saves the steps since the last checkpoint of a run that ends early; all workers do."""
        if not self._watch.is_high:
            self._keeper.save()

    def _report(self) -> None:
        """Writes log lines, scalars with TFOD's tags (losses of the last step), loss history and training record."""
        seconds = self._progress.take_seconds_per_step()
        learning_rate = self._learning_rate_at(self._step)
        self._progress.report(self._step, seconds, self._losses, learning_rate)
        scalars = {"steps_per_sec": 1.0 / seconds, **self._losses, "learning_rate": learning_rate}
        self._summaries.scalars(scalars, self._step)
        self._history.add(self._step, math.fsum(self._block) / len(self._block), learning_rate, 1.0 / seconds)
        self._block = []
        self._note(training_record.RUNNING, "")

    def _why_saturated(self) -> str:
        if not self._settings.stop_when_saturated:
            return ""
        why = ""
        if self._workers.is_chief:  # of a resumed run, only the chief has the whole history
            why = loss_saturation.why_saturated(
                self._history.steps,
                self._history.losses,
                min_relative_fall=self._settings.saturation_min_relative_fall,
                min_steps=self._settings.saturation_min_steps,
            )
        is_saturated = self._workers.sum([bool(why)])[0] > 0
        return why or ("the loss has saturated" if is_saturated else "")

    def _evaluate_if_due(self, is_last: bool) -> None:
        every = self._settings.eval_every_n
        if every and (is_last or self._step % every == 0):
            self._evaluate()
            self._record.evaluated_step = self._step
            self._note(training_record.RUNNING, "")

    def _evaluate(self) -> None:
        for index, evaluation in enumerate(self._evaluations):
            metrics = evaluation.run(self._step, self._progress.say, self._after_batch_of_evaluation)
            if index > 0:
                continue
            is_best = (
                self._workers.is_chief
                and is_better(metrics, self._model_dir, evaluation.about)
                and not self._watch.is_high
            )
            if self._workers.sum([is_best])[0]:  # the chief decides, all save
                self._keeper.save()
                if is_best:
                    about = evaluation.about | {"classes": self._record.classes}
                    keep_best(self._keeper.latest, self._step, metrics, self._model_dir, about)
                    self._progress.say(
                        f"Best checkpoint so far: step {self._step} ({best_text(metrics)}), in {self._model_dir}/best"
                    )

    def _after_batch_of_evaluation(self, num_images: int) -> None:
        del num_images
        if not self._workers.are_several:  # they can stop only together, after the next step
            self._raise_if_stopped()

    def _raise_if_stopped(self) -> None:
        if self._stop.name:
            raise _StopRequested(self._stop.name, self._stop.number)

    def _note(self, status: str, reason: str) -> None:
        self._record.status, self._record.reason, self._record.step = status, reason, self._step
        if self._workers.is_chief:
            self._record.save(self._model_dir)

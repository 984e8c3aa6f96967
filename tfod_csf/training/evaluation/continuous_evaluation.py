"""Evaluation in a second process: `--checkpoint_dir` watches a run's folder and evaluates new checkpoints.

TFOD waits `eval_timeout` seconds (an hour) for each new checkpoint, and ends by itself only when a checkpoint's step
equals num_steps, which blocks of 100 steps may skip. Here it also ends when training.json says that the training has
ended, and it always logs what it is waiting for.
"""

import logging
import pathlib
import time
from collections.abc import Callable, Sequence

from tfod_csf.errors import UserError
from tfod_csf.training import training_record
from tfod_csf.training.checkpoints import run_checkpoints, trained_classes
from tfod_csf.training.checkpoints.best_checkpoint import best_text, is_better, keep_best
from tfod_csf.training.evaluation.evaluation_run import EvaluationRun

_log = logging.getLogger("tfod_csf")
_POLL_SECONDS = 1.0


def wait_for_checkpoint(
    checkpoint_dir: str,
    seen: str | None,
    timeout_seconds: float,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> str | None:
    """The next checkpoint after `seen`, or None when none will come.

    Args:
      checkpoint_dir: folder of a run.
      seen: prefix of the checkpoint evaluated last; None before the first.
      timeout_seconds: how long to wait.
      sleep, clock: waiting and the time in seconds, for tests.
    """
    deadline = clock() + timeout_seconds
    while True:
        has_ended = _has_ended(checkpoint_dir)  # asked first: a checkpoint may appear between the two questions
        newest = run_checkpoints.latest_checkpoint(checkpoint_dir)
        if newest is not None and newest != seen:
            return newest
        if has_ended or clock() >= deadline:
            return None
        sleep(_POLL_SECONDS)


def _has_ended(checkpoint_dir: str) -> bool:
    record = training_record.load(checkpoint_dir)
    return record is not None and record.status in training_record.ENDED_WELL


def evaluate_continuously(
    restore: Callable[[str], int],
    evaluations: Sequence[EvaluationRun],
    checkpoint_dir: str,
    model_dir: str,
    num_steps: int,
    timeout_seconds: float,
    eval_once: bool = False,
) -> dict[str, float]:
    """Evaluates the newest checkpoint, then waits for the next, until the training has ended.

    Args:
      restore: loads the model of a checkpoint prefix and returns its step.
      evaluations: the first decides which checkpoint is best.
      checkpoint_dir: where checkpoints appear.
      model_dir: where `eval` and `best` are written.
      num_steps: a checkpoint at this step or later is the last.
      timeout_seconds: how long to wait for a new checkpoint.
      eval_once: evaluate the newest checkpoint and return. `best` stays as it is, because the records may be others.

    Returns:
      The metrics of the last evaluation (of the first input).

    Raises:
      UserError: no checkpoint was found.
    """
    seen, metrics = None, {}
    while True:
        if not eval_once:
            _log.info("Waiting for new checkpoint at %s (at most %d s)", checkpoint_dir, timeout_seconds)
        path = wait_for_checkpoint(checkpoint_dir, seen, 0 if eval_once else timeout_seconds)
        if path is None:
            break
        _log.info("Found new checkpoint at %s", path)
        step = restore(path)
        all_metrics = [evaluation.run(step) for evaluation in evaluations]
        seen, metrics = path, all_metrics[0]
        about = evaluations[0].about | {"classes": trained_classes.stored(pathlib.Path(path))[1]}
        if not eval_once and is_better(metrics, model_dir, about):
            try:
                keep_best(path, step, metrics, model_dir, about)
                _log.info("Best checkpoint so far: step %d (%s), in %s/best", step, best_text(metrics), model_dir)
            except FileNotFoundError:
                _log.warning("%s is the best so far, but training has deleted it meanwhile; it is not kept.", path)
        if eval_once or step >= num_steps:
            _log.info("Exiting evaluation at step %d", step)
            return metrics
    if seen is None:
        waited = "" if eval_once else f" within {timeout_seconds:g} s (--eval_timeout)"
        raise UserError(
            f"{checkpoint_dir}: no checkpoint appeared{waited}; --checkpoint_dir names a training run's --model_dir."
        )
    ended = "the training has ended" if _has_ended(checkpoint_dir) else f"no new one in {timeout_seconds:g} s"
    _log.info("Exiting evaluation: %s was the last checkpoint (%s)", seen, ended)
    return metrics

"""One evaluation pass: console output in TFOD's wording, event file, images."""

import contextlib
import logging
import os
import pathlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import tensorflow as tf

from tfod_csf.errors import UserError
from tfod_csf.evaluation.metric_text import NO_GROUND_TRUTH, metric_text
from tfod_csf.progress_bar import progress_bar
from tfod_csf.training import summaries
from tfod_csf.training.evaluation.evaluator import FasterRcnnEvaluator

_log = logging.getLogger("tfod_csf")
_LOG_EVERY_N_IMAGES = 100


def metric_lines(metrics: Mapping[str, float], step: int) -> str:
    """TFOD's lines; a metric without ground truth is shown as such (files keep TFOD's NaN or -1)."""
    lines = [f"Eval metrics at step {step}"]
    for name, value in metrics.items():
        text = metric_text(value)
        lines.append(f"\t+ {name}: {text if text == NO_GROUND_TRUTH else f'{value:f}'}")
    return "\n".join(lines)


class EvaluationRun:
    """Evaluates one network on one dataset, as often as `run` is called.

    Args:
      evaluator: the network and the data.
      folder: `<model_dir>/eval`, or its subfolder named after the eval_input_reader; None writes no event file.
      num_images: number of images, for the progress bar; None if unknown.
      weights: makes a context in which the network has the weights to evaluate.
      about: what is evaluated, for best.json: "run" (folder in the model_dir), "input_path" (the records) and "images"
        (a digest of what they hold).
    """

    def __init__(
        self,
        evaluator: FasterRcnnEvaluator,
        folder: str | os.PathLike | None,
        num_images: int | None = None,
        weights: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
        about: Mapping[str, Any] | None = None,
    ):
        self.about = dict(about or {})
        self._evaluator = evaluator
        self._folder = folder
        self._num_images = num_images
        self._weights = weights
        self._summaries: summaries.Summaries | None = None

    def run(
        self,
        step: int,
        say: Callable[[str], None] = lambda text: _log.info("%s", text),
        after_batch: Callable[[int], None] = lambda num_images: None,
    ) -> dict[str, float]:
        """Evaluates and reports.

        Args:
          step: the model's, for the event file and the lines.
          say: prints a line.
          after_batch: called with the number of images so far; it may raise to end the evaluation.

        Returns:
          Metrics by TFOD's names, in the order of metrics_set, then the losses.

        Raises:
          UserError: the evaluation records hold no image.
        """
        bar = progress_bar(unit="image", total=self._num_images, desc="evaluating", leave=False)
        reported = 0

        def count(num_images: int) -> None:
            nonlocal reported
            bar.update(num_images - bar.n)
            if num_images // _LOG_EVERY_N_IMAGES > reported and bar.disable:
                reported = num_images // _LOG_EVERY_N_IMAGES
                say(f"Finished eval step {num_images}")
            after_batch(num_images)

        self._evaluator.after_batch = count
        with contextlib.closing(bar), self._weights():
            metrics = self._evaluator.evaluate(tf.constant(-1))
        if not self._evaluator.num_images:
            raise UserError(
                "the evaluation records yielded no image; check eval_input_reader.tf_record_input_reader.input_path "
                "and sample_1_of_n_examples."
            )
        say(f"Performing evaluation on {self._evaluator.num_images} images.")
        say(metric_lines(metrics, step))
        self._write(metrics, step)
        return metrics

    def _write(self, metrics: Mapping[str, float], step: int) -> None:
        if self._folder is None:
            return
        if self._summaries is None:
            self._summaries = summaries.Summaries(pathlib.Path(self._folder))
        for tag, picture in self._evaluator.pictures.items():
            self._summaries.images(tag, [picture], step)
        self._summaries.scalars(metrics, step)

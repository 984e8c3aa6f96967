"""What a person sees while a network trains: a progress bar on a terminal, TFOD's lines in a log.

Every 100 steps TFOD prints `Step 100 per-step time 1.027s` and the losses as a sorted dictionary, each of them twice
(by TensorFlow's logger and by absl's). Here each appears once; the first also tells the steps and the time left.
"""

import logging
import pprint
import sys
import time
from collections.abc import Mapping

import numpy as np

from tfod_csf.progress_bar import progress_bar

_log = logging.getLogger("tfod_csf")
_BAR_FORMAT = "step {n_fmt}/{total_fmt} |{bar}| {rate_noinv_fmt}, {remaining} left{postfix}"


def format_losses(losses: Mapping[str, float], learning_rate: float) -> str:
    """The losses as TFOD prints them: sorted, one per line, float32 in the shortest exact form."""
    values = {**losses, "learning_rate": learning_rate}
    return pprint.pformat({name: float(str(np.float32(value))) for name, value in values.items()}, width=40)


def format_seconds(seconds: float) -> str:
    """3725.2 -> "1:02:05"."""
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"


class Progress:
    """Bar and lines of one training run.

    Args:
      first_step: the step from which the run starts (0, or that of the restored checkpoint).
      num_steps: the step at which it ends.
      quiet: print nothing (workers other than the chief).
    """

    def __init__(self, first_step: int, num_steps: int, quiet: bool = False):
        self._num_steps = num_steps
        self._quiet = quiet
        self._bar = progress_bar(
            unit="step",
            total=num_steps,
            quiet=quiet,
            initial=first_step,
            bar_format=_BAR_FORMAT,
            dynamic_ncols=True,
        )
        self._last_step = first_step
        self._clock_start = time.perf_counter()
        self._seconds = 0.0
        self._steps = 0
        self._first_step_seconds: float | None = None
        self._typical_seconds = 0.0

    def step(self, total_loss: float) -> None:
        """Advances the bar by one step."""
        if self._first_step_seconds is None:
            # It traces the graph: part of the time per step, as in TFOD, but it says nothing about the steps to come.
            self._first_step_seconds = time.perf_counter() - self._clock_start
            self._bar.unpause()
        if not self._bar.disable:
            self._bar.set_postfix_str(f"loss {total_loss:.4f}", refresh=False)
            self._bar.update(1)

    def restart_clock(self) -> None:
        """Starts the clock: evaluations and checkpoints between blocks do not count as time per step."""
        self._clock_start = time.perf_counter()
        self._bar.unpause()

    def stop_clock(self, step: int) -> None:
        """Stops the clock at this step."""
        self._seconds += time.perf_counter() - self._clock_start
        self._steps += step - self._last_step
        self._last_step = step

    def take_seconds_per_step(self) -> float:
        """Mean seconds per step since the last call; 0 if there was none."""
        seconds = self._seconds / max(self._steps, 1)
        self._typical_seconds = seconds
        if self._first_step_seconds and self._steps > 1:
            self._typical_seconds = (self._seconds - self._first_step_seconds) / (self._steps - 1)
        self._seconds, self._steps, self._first_step_seconds = 0.0, 0, 0.0
        return seconds

    def report(self, step: int, seconds_per_step: float, losses: Mapping[str, float], learning_rate: float) -> None:
        """TFOD's two records at the end of a block."""
        left = self._num_steps - step
        to_go = f"; {left:,} steps to go, about {format_seconds(left * self._typical_seconds)}" if left else ""
        self.say(f"Step {step} per-step time {seconds_per_step:.3f}s{to_go}")
        self.say(format_losses(losses, learning_rate))

    def say(self, text: str) -> None:
        """Logs text without breaking the bar."""
        if self._quiet:
            return
        with self._bar.external_write_mode(file=sys.stderr):
            _log.info("%s", text)

    def close(self) -> None:
        """Closes the bar and leaves it visible."""
        self._bar.close()

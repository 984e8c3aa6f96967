"""Ctrl-C and SIGTERM (how a cluster ends a job) end a run after the current step instead of in the middle of it."""

import signal
import threading
import time
from types import FrameType

_NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}
_DOUBLE = 1.0  # s: `timeout` and terminals may send one signal to a process and once more to its group


class StopRequests:
    """Context manager: after `start` the first signal is only noted; one that comes later acts as usual.

    Before `start` every signal acts as usual: there is nothing yet that would be lost. Outside the main thread Python
    cannot catch signals, and none is noted.

    Attributes:
      name: "Ctrl-C" or "SIGTERM" once there was such a signal, else "".
      number: the signal's, else 0.
    """

    def __init__(self):
        self.name = ""
        self.number = 0
        self._came = 0.0
        self._previous = {}

    def __enter__(self) -> "StopRequests":
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

    def start(self) -> None:
        """Notes signals from now on."""
        if self._previous or threading.current_thread() is not threading.main_thread():
            return
        for number in _NAMES:
            if signal.getsignal(number) != signal.SIG_IGN:
                self._previous[number] = signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if not self.number:
            self.name, self.number, self._came = _NAMES[signal.Signals(number)], number, time.monotonic()
        elif time.monotonic() - self._came > _DOUBLE:
            previous = self._previous[number]
            self.__exit__()
            if callable(previous):
                previous(number, frame)
            else:
                signal.raise_signal(number)

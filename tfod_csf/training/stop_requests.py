"""Ctrl-C and SIGTERM (how a cluster ends a job) end a run after the current step instead of in the middle of it."""

import signal
import threading
from types import FrameType

_NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}


class StopRequests:
    """Context manager: inside it the first signal is only noted in `name`; a second one acts as usual.

    Outside the main thread Python cannot catch signals, and none is noted.

    Attributes:
      name: "Ctrl-C" or "SIGTERM" once there was such a signal, else "".
    """

    def __init__(self):
        self.name = ""
        self._previous = {}

    def __enter__(self) -> "StopRequests":
        if threading.current_thread() is threading.main_thread():
            for number in _NAMES:
                self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exception: object) -> None:
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.name = _NAMES[signal.Signals(number)]
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

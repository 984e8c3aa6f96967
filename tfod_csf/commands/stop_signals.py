"""Ctrl-C, SIGTERM (how a cluster or a machine that is switched off ends a job) and SIGHUP end a command in order."""

import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP
_LONGEST_END = 9.0  # s: what has not ended then is ended
_DOUBLE = 1.0  # s: `timeout` and terminals may send one signal to a process and once more to its group


class Stopped(KeyboardInterrupt):
    """Raised where the main thread is when the signal comes; no `except Exception` keeps it.

    Attributes:
      number: the signal's.
    """

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.number = number


class _Handlers:
    """The handlers of all signals that the caller does not ignore, replaced by one; only the main thread can."""

    def __init__(self, handler: Callable[[int, FrameType | None], None]):
        self._handler = handler
        self._previous: dict[int, object] = {}

    def install(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in (getattr(signal, name) for name in _NAMES if hasattr(signal, name)):
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._previous[number] = signal.signal(number, self._handler)

    def restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]


class StopSignals:
    """Context manager: inside it the first signal raises `Stopped`, a later one ends the process at once.

    A process that has not ended 9 s after the first signal is ended: something kept the exception, or a thread waits.
    Signals that the caller ignores (nohup) stay ignored. Outside the main thread Python cannot catch signals.

    Attributes:
      number: of the signal that came, or 0.
    """

    def __init__(self, ends_process: bool):
        """ends_process: the process ends after the block, and has 9 s for that too."""
        self.number = 0
        self._ends_process = ends_process
        self._came = 0.0
        self._timer: threading.Timer | None = None
        self._handlers = _Handlers(self._note)

    def __enter__(self) -> "StopSignals":
        self._handlers.install()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._timer is not None and not self._ends_process:
            self._timer.cancel()
        if self.number and self._ends_process:
            return  # a further signal still ends the process at once
        self._handlers.restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.number:
            if time.monotonic() - self._came > _DOUBLE:
                _end_now(number, "a further signal came before the command had ended")
            return
        self.number, self._came = number, time.monotonic()
        why = f"the command had not ended {_LONGEST_END:g} s after it"
        self._timer = threading.Timer(_LONGEST_END, _end_now, (number, why))
        self._timer.daemon = True
        self._timer.start()
        raise Stopped(number)


def _end_now(number: int, why: str) -> None:
    """Ends the process without any more of its code, and says so: nothing else will."""
    name = signal.Signals(number).name
    os.write(2, f"\nended at once by {name}: {why}. What had been saved is kept.\n".encode())
    os._exit(128 + number)


class PassedOn:
    """Context manager: inside it signals go to another process; at its end the first one raises `Stopped` here.

    For a command that waits for another one, which may need longer to save than `StopSignals` gives.
    """

    def __init__(self) -> None:
        self._send: Callable[[int], object] | None = None
        self._number = 0
        self._handlers = _Handlers(self._note)

    def __enter__(self) -> "PassedOn":
        self._handlers.install()
        return self

    def __exit__(self, *exception: object) -> None:
        self._handlers.restore()
        if self._number:
            raise Stopped(self._number)

    def to(self, send: Callable[[int], object]) -> None:
        """Names the other process, and passes on what came while it was being started.

        Args:
          send: sends it a signal, by its number.
        """
        self._send = send
        if self._number:
            send(self._number)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._number = self._number or number
        if self._send is not None:
            self._send(number)


class EndOnInterrupt:
    """Context manager: inside it the first Ctrl-C is a wish to end that is noted, and later ones do what they did.

    For a command that has no end of its own and finishes its work when the user has had enough. Before the command
    first asks (`wait`) there is nothing to finish, and a Ctrl-C does what it did.
    """

    def __init__(self) -> None:
        self._event = threading.Event()
        self._came = 0.0
        self._previous: object = None

    def __enter__(self) -> "EndOnInterrupt":
        return self

    def __exit__(self, *exception: object) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)  # type: ignore[arg-type]

    def wait(self, seconds: float) -> bool:
        """Whether the user wants to end; waits so long for it."""
        is_main = threading.current_thread() is threading.main_thread()
        if self._previous is None and is_main and signal.getsignal(signal.SIGINT) is not None:
            self._previous = signal.signal(signal.SIGINT, self._note)
        return self._event.wait(seconds)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if not self._event.is_set():
            self._came = time.monotonic()
            self._event.set()
        elif time.monotonic() - self._came > _DOUBLE and callable(self._previous):
            self._previous(number, frame)

"""Work over many items on several processes: results in order, a bounded number under way."""

import collections
import concurrent.futures
import contextlib
import itertools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from typing import TypeVar

from tfod_csf.errors import UserError

_AHEAD = 4  # items under way for each process: enough to keep it busy, few enough to hold in memory
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class WorkerPoolError(UserError):
    """A worker process died."""


def available_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def ordered_map(function: Callable[[_Item], _Result], items: Iterable[_Item], num_processes: int) -> Iterator[_Result]:
    """Yields function(item) in the order of items, whatever the number of processes.

    Args:
      function: picklable; its module is imported by each process, so it should be a light one.
      num_processes: 1 works in this process.

    Raises:
      WorkerPoolError: a worker was killed, usually for lack of memory.
    """
    if num_processes <= 1:
        yield from map(function, items)
        return
    items = iter(items)
    # Fresh interpreters instead of copies of this one: TensorFlow's threads, if it is loaded, do not survive a fork.
    context = multiprocessing.get_context("spawn")
    lifeline, own_end = context.Pipe(duplex=False)
    executor = concurrent.futures.ProcessPoolExecutor(
        num_processes, mp_context=context, initializer=_end_with_parent, initargs=(lifeline,)
    )

    def submit(count: int) -> Iterator[concurrent.futures.Future[_Result]]:
        for item in itertools.islice(items, count):
            with _signals_held_back():  # a worker is started here
                future = executor.submit(function, item)
            yield future

    try:
        futures = collections.deque(submit(num_processes * _AHEAD))
        while futures:
            result = futures.popleft().result()
            futures.extend(submit(1))
            yield result
    except BrokenProcessPool as error:
        raise WorkerPoolError(
            "a worker process ended unexpectedly, most likely for lack of memory; run again with --num_processes=1."
        ) from error
    except (KeyboardInterrupt, GeneratorExit):  # the latter when the caller's own code was interrupted, or failed
        own_end.close()  # does not wait for the items under way
        raise
    finally:
        executor.shutdown(cancel_futures=True)
        own_end.close()
        lifeline.close()


def _end_with_parent(lifeline: Connection) -> None:
    """In a worker: ends it when the parent closes its end of a pipe, or is killed, which closes that too."""

    def wait() -> None:
        with contextlib.suppress(EOFError, OSError):
            lifeline.recv()
        os._exit(1)

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the parent ends its workers
    threading.Thread(target=wait, daemon=True).start()


@contextlib.contextmanager
def _signals_held_back() -> Iterator[None]:
    """A process started inside never gets Ctrl-C, SIGTERM and SIGHUP; this one gets them when the block ends."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

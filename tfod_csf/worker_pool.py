"""Work over many items on several processes: results in order, a bounded number under way."""

import collections
import concurrent.futures
import itertools
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
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
    ignore_interrupt = (signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; this one ends the others
    executor = concurrent.futures.ProcessPoolExecutor(
        num_processes, mp_context=context, initializer=signal.signal, initargs=ignore_interrupt
    )
    try:
        futures = collections.deque(
            executor.submit(function, item) for item in itertools.islice(items, num_processes * _AHEAD)
        )
        while futures:
            result = futures.popleft().result()
            futures.extend(executor.submit(function, item) for item in itertools.islice(items, 1))
            yield result
    except BrokenProcessPool as error:
        raise WorkerPoolError(
            "a worker process ended unexpectedly, most likely for lack of memory; run again with --num_processes=1."
        ) from error
    finally:
        executor.shutdown(cancel_futures=True)

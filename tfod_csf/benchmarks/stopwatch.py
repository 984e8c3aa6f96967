"""Times a piece of work beside float32 matrix products, so that its speed is known as a share of the machine's.

How it works: after the warm-up calls, every repeat runs the matrix product and then the work, each for about
`SECONDS_PER_REPEAT`. A share is computed within each repeat, and the result is the median of the shares: other programs
and changes of the clock then affect both sides of the ratio. Shares by elapsed time say how well the work uses all
cores; shares by CPU time do not count waiting and are steady even on a busy machine.
"""

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

from tfod_csf.benchmarks import machine

SECONDS_PER_REPEAT = 0.5
_MATRIX_SIZE = 3072  # the speed is the same at 4096 and 3 to 10 % lower at 2048 and 1024


class Timed(NamedTuple):
    """One or several calls: elapsed and CPU time of all threads, each in seconds per call."""

    seconds: float
    cpu_seconds: float


class Measurement(NamedTuple):
    """Medians over the repeats, per call; speeds in 10^9 operations per second."""

    seconds: float
    fastest_seconds: float
    slowest_seconds: float
    cpu_seconds: float
    first_call_seconds: float
    num_repeats: int
    calls_per_repeat: int
    matmul_gflops: float  # of elapsed time
    share_of_matmul: float  # 1 is the speed of the matrix product
    cpu_share_of_matmul: float
    peak_memory_mb: float  # of the process after the warm-up, before there were matrices


def timed(work: Callable[[], object], num_calls: int = 1) -> Timed:
    """Runs the work, which returns only when it is done."""
    begin, cpu_begin = time.perf_counter(), time.process_time()
    for _ in range(num_calls):
        work()
    return Timed((time.perf_counter() - begin) / num_calls, (time.process_time() - cpu_begin) / num_calls)


def measure(
    work: Callable[[], object], flops: float, num_repeats: int, warm_up_calls: int, matrix_size: int = _MATRIX_SIZE
) -> Measurement:
    """Measures `work`.

    Args:
      work: returns when its result is computed, not when the computation is under way.
      flops: operations of one call; see `flops.count`.
      num_repeats: at least 1.
      warm_up_calls: at least 1 call before the repeats; the first one includes tracing and TensorFlow's preparations.
      matrix_size: rows and columns of the matrices.
    """
    first = timed(work)
    warm = [first] + [timed(work) for _ in range(warm_up_calls - 1)]
    peak_memory_mb = machine.peak_memory_mb()
    matmul, matmul_flops = matrix_product(matrix_size), 2.0 * matrix_size**3
    matmul()
    num_calls, num_matmuls = _calls_to_fill(warm[-1]), _calls_to_fill(timed(matmul))
    references, works = [], []
    for _ in range(num_repeats):
        references.append(timed(matmul, num_matmuls))
        works.append(timed(work, num_calls))
    seconds = [one.seconds for one in works]
    # A clock that has not ticked during a tiny work must not divide by zero.
    shares = [
        [flops / max(work_time, 1e-9) / matmul_flops * matmul_time for matmul_time, work_time in zip(reference, one)]
        for reference, one in zip(references, works)
    ]
    return Measurement(
        seconds=statistics.median(seconds),
        fastest_seconds=min(seconds),
        slowest_seconds=max(seconds),
        cpu_seconds=statistics.median(one.cpu_seconds for one in works),
        first_call_seconds=first.seconds,
        num_repeats=num_repeats,
        calls_per_repeat=num_calls,
        matmul_gflops=matmul_flops / statistics.median(one.seconds for one in references) / 1e9,
        share_of_matmul=statistics.median(share for share, _ in shares),
        cpu_share_of_matmul=statistics.median(cpu_share for _, cpu_share in shares),
        peak_memory_mb=peak_memory_mb,
    )


def _calls_to_fill(one: Timed) -> int:
    return max(1, round(SECONDS_PER_REPEAT / max(*one, 1e-3)))


def matrix_product(size: int) -> Callable[[], object]:
    """A float32 matrix product of that size on TensorFlow's default device; returns when it is done."""
    import tensorflow as tf

    left, right = tf.random.normal([size, size]), tf.random.normal([size, size])

    @tf.function
    def multiply() -> tf.Tensor:
        return tf.linalg.matmul(left, right)[0, 0]  # one number, so that fetching it costs nothing

    return lambda: multiply().numpy()

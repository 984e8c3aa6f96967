"""Arithmetic of the stopwatch; how fast anything is, is not tested."""

import time

import pytest

from tfod_csf.benchmarks import stopwatch


def test_calls_and_medians(monkeypatch):
    monkeypatch.setattr(stopwatch, "SECONDS_PER_REPEAT", 0.01)
    calls = []
    measured = stopwatch.measure(lambda: calls.append(0), flops=1e6, num_repeats=3, warm_up_calls=2, matrix_size=8)
    assert len(calls) == 2 + 3 * measured.calls_per_repeat
    assert measured.calls_per_repeat == 10  # a call is taken for at least a millisecond
    assert measured.num_repeats == 3
    assert 0 < measured.fastest_seconds <= measured.seconds <= measured.slowest_seconds
    assert measured.share_of_matmul > 0


def test_a_share_is_speed_over_speed(monkeypatch):
    """Work and matrix product at the same 2 * 4^3 = 128 operations; the work takes twice as long."""
    times = iter([stopwatch.Timed(0.8, 0.4)] * 2 + [stopwatch.Timed(0.1, 0.05)])
    repeats = iter([stopwatch.Timed(0.2, 0.1), stopwatch.Timed(0.4, 0.1)] * 3)
    monkeypatch.setattr(stopwatch, "timed", lambda work, calls=None: next(times if calls is None else repeats))
    measured = stopwatch.measure(lambda: None, flops=128, num_repeats=3, warm_up_calls=2, matrix_size=4)
    assert measured.first_call_seconds == 0.8
    assert (measured.share_of_matmul, measured.cpu_share_of_matmul) == pytest.approx((0.5, 1.0))
    assert (measured.seconds, measured.cpu_seconds) == (0.4, 0.1)
    assert measured.matmul_gflops == pytest.approx(128 / 0.2 / 1e9)


def test_waiting_takes_time_but_no_cpu():
    timed = stopwatch.timed(lambda: time.sleep(0.05), num_calls=2)
    assert timed.seconds >= 0.05
    assert timed.cpu_seconds < timed.seconds

import numpy as np
import pytest

from tfod_csf.benchmarks.robustness import command_usage


def test_the_memory_of_whoever_measures_is_not_the_commands():
    own = np.ones(40_000_000)  # 320 MB
    small = command_usage.measure(["-S", "-c", "pass"])
    large = command_usage.measure(["-S", "-c", "held = bytearray(b'x') * 200_000_000"])
    assert own.nbytes == 320_000_000
    assert 1 < small.memory_mb < 100
    assert 190 < large.memory_mb < 300  # 200 million bytes are 191 MB


def test_processor_time_is_the_commands():
    used = command_usage.measure(["-S", "-c", "import time\nwhile time.process_time() < 0.3: pass"])
    assert used.cpu_seconds >= 0.3
    assert used.seconds >= 0.3 * 0.9


def test_a_command_that_fails_is_an_error():
    with pytest.raises(RuntimeError, match="-S -c raise SystemExit\\(3\\) failed"):
        command_usage.measure(["-S", "-c", "raise SystemExit(3)"])

import multiprocessing

import numpy as np
import pytest

from tfod_csf import provenance
from tfod_csf.benchmarks import machine


def test_this_machine():
    found = machine.describe()
    assert found.cpu
    assert found.cores >= 1
    assert not found.memory_gb <= 0.1


@pytest.mark.parametrize(("flags", "has"), [("fpu avx512_bf16 sse", True), ("fpu avx2", False), (None, None)])
def test_bfloat16_is_read_from_the_processors_flags(tmp_path, monkeypatch, flags, has):
    path = tmp_path / "cpuinfo"
    path.write_text("processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\n" + (f"flags\t\t: {flags}\n" if flags else ""))
    monkeypatch.setattr(provenance, "_CPUINFO", path)
    assert machine.describe().has_bfloat16 is has
    assert machine.describe().cpu == "Some CPU @ 2 GHz"


def _peaks_around_100_mb() -> tuple[float, float]:
    before = machine.peak_memory_mb()
    np.ones(100 * 2**20, np.uint8)
    return before, machine.peak_memory_mb()


def test_peak_memory_is_that_of_this_process_alone():
    ballast = np.ones(300 * 2**20, np.uint8)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        before, after = pool.apply(_peaks_around_100_mb)
    assert before < 300 <= ballast.nbytes / 2**20
    assert after - before == pytest.approx(100, abs=20)


def test_cpu_seconds_grow_with_work():
    before = machine.cpu_seconds()
    while machine.cpu_seconds() == before:
        sum(range(10_000))
    assert machine.cpu_seconds() > before

import os
import sys

import pytest

from tfod_csf.benchmarks import archive_overhead
from tfod_csf.problems import ProblemLog
from tfod_csf.study import patients


def test_tiny_patients_are_different_pictures(tmp_path):
    archive_overhead.make_patients(tmp_path, 300)
    images = patients.find_images(tmp_path, ProblemLog())
    assert len({image.patient_id for image in images}) == len({image.path.read_bytes() for image in images}) == 300


@pytest.mark.skipif(not os.path.exists("/proc/self/smaps_rollup"), reason="needs Linux's /proc")
def test_the_memory_of_what_runs_under_a_name(monkeypatch):
    # This test's own process stands for the command.
    monkeypatch.setattr(archive_overhead, "_PARTS", {os.path.basename(sys.executable): "command", "no such": "workers"})
    found = archive_overhead._megabytes(os.getpid())
    assert found["command"] > 10
    assert found["workers"] == 0

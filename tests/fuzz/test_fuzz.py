"""Inputs that once failed, and a few seconds of fuzzing; longer: python -m tests.fuzz.run_fuzzer TARGET SECONDS DIR."""

import importlib.util
import json
import pathlib
import subprocess
import sys

import pytest

from tests.fuzz import seeds, targets

FINDINGS = pathlib.Path(__file__).parent / "findings"
REPOSITORY = pathlib.Path(__file__).parent.parent.parent
SECONDS = 3


@pytest.mark.parametrize("name", targets.TARGETS)
def test_seeds_are_whole_files(name):
    assert all(targets.run(name, seed) for seed in seeds.seeds(name) if seed != seeds.EMPTY_RECORD)


@pytest.mark.parametrize("path", sorted(FINDINGS.glob("*.bin")), ids=lambda path: path.stem)
def test_an_input_that_once_failed(path):
    name = next(name for name in targets.TARGETS if path.name.startswith(f"{name}-"))
    targets.run(name, path.read_bytes())


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is not installed (Linux, x86-64 only)")
@pytest.mark.parametrize("name", targets.TARGETS)
def test_a_few_seconds_of_fuzzing_find_nothing(name, tmp_path):
    command = [sys.executable, "-m", "tests.fuzz.run_fuzzer", name, str(SECONDS), str(tmp_path)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-4000:]
    counts = json.loads((tmp_path / "counts.json").read_text())
    assert counts["past_first_check"] > 0
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(("crash-", "timeout-", "oom-"))]

"""run_study.sh: what it starts from, told from the flags that its commands get."""

import os
import pathlib
import subprocess

import pytest

SCRIPT = pathlib.Path(__file__).parent.parent / "run_study.sh"
# Stands in for tfod_csf: writes its arguments down and does nothing.
STAND_IN = '#!/bin/sh\nprintf "%s\\n" "$*" >> "$CALLS"\n'


@pytest.fixture
def study(tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "tfod_csf").write_text(STAND_IN)
    (tmp_path / "bin" / "tfod_csf").chmod(0o755)
    (tmp_path / "slides").mkdir()
    calls = tmp_path / "calls"

    def run(**variables):
        calls.write_text("")
        inherited = {name: os.environ[name] for name in ("HOME",) if name in os.environ}
        done = subprocess.run(
            ["bash", SCRIPT, "slides", "out"],
            cwd=tmp_path,
            env={**inherited, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "CALLS": str(calls), **variables},
            capture_output=True,
            text=True,
            timeout=60,
        )
        words = [line.split() for line in calls.read_text().splitlines()]
        return done, {call[0]: call[1:] for call in words}

    return run


def test_a_study_starts_from_the_model_that_ships(study):
    done, calls = study()
    assert done.returncode == 0, done.stderr
    assert "--fine_tune_from=csf_small" in calls["generate_pipeline_config"]
    assert "--num_steps=5000" in calls["generate_pipeline_config"]
    assert not any(flag.startswith("--feature_extractor") for flag in calls["generate_pipeline_config"])
    assert "--stop_when_saturated" in calls["model_main_tf2"]
    assert list(calls)[1:] == [
        "create_csf_tf_record",
        "generate_pipeline_config",
        "model_main_tf2",
        "exporter_main_v2",
        "evaluate",
        "batch_infer",
        "report",
    ]


def test_coco_on_request_has_the_papers_steps(study):
    _, calls = study(FEATURE_EXTRACTOR="resnet50", EVALUATE_FLAGS="--min_score=0.4 --store")
    flags = calls["generate_pipeline_config"]
    assert "--feature_extractor=resnet50" in flags
    assert "--num_steps=32000" in flags
    assert not any(flag.startswith("--fine_tune") for flag in flags)
    assert calls["evaluate"][-2:] == ["--min_score=0.4", "--store"]


def test_a_model_of_ones_own_is_found_from_where_the_line_was_typed(study, tmp_path):
    (tmp_path / "own").mkdir()
    _, calls = study(FINE_TUNE_FROM="own", NUM_STEPS="7")
    assert f"--fine_tune_from={tmp_path / 'own'}" in calls["generate_pipeline_config"]
    assert "--num_steps=7" in calls["generate_pipeline_config"]


def test_two_starts_are_refused_before_anything_is_made(study):
    done, calls = study(FINE_TUNE_FROM="csf_small", FEATURE_EXTRACTOR="resnet50")
    assert done.returncode == 1
    assert "FEATURE_EXTRACTOR (here resnet50), not both" in done.stderr
    assert not calls

"""What only whole runs show: restarts, seeds, two processes, memory. Minutes of computing.

Processes are started only where a test is about processes; the first of them, `stopped_run`, serves three tests.
"""

import json
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.support import tiny_training

pytestmark = pytest.mark.slow
REPOSITORY = pathlib.Path(__file__).resolve().parents[2]


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "tfod_csf", "model_main_tf2", *arguments]


def _run(*arguments: str) -> None:
    status, _ = tiny_training.run_command(*arguments)
    assert status == 0


def _step(folder: pathlib.Path) -> int:
    import tensorflow as tf

    return int(tf.train.load_variable(tf.train.latest_checkpoint(str(folder)), "step/.ATTRIBUTES/VARIABLE_VALUE"))


def _variables(folder: pathlib.Path) -> dict[str, np.ndarray]:
    """All of the newest checkpoint: weights, statistics, slots, step; not the number of saves."""
    import tensorflow as tf

    reader = tf.train.load_checkpoint(tf.train.latest_checkpoint(str(folder)))
    keys = set(reader.get_variable_to_shape_map()) - {"_CHECKPOINTABLE_OBJECT_GRAPH"}
    return {key: reader.get_tensor(key) for key in keys if not key.startswith("save_counter/")}


def _loss_curve(folder: pathlib.Path) -> list[str]:
    """Rows of loss_history.csv without the speed."""
    return [line.rpartition(",")[0] for line in (folder / "loss_history.csv").read_text().splitlines()]


@pytest.fixture(scope="module")
def seeded_run(records_dir, tmp_path_factory) -> pathlib.Path:
    """Nine steps with --seed=4: images in random order, augmented, minibatches sampled; evaluated at steps 5 and 9."""
    return _seeded_run(records_dir, tmp_path_factory.mktemp("seeded"))


def _seeded_run(records_dir: pathlib.Path, folder: pathlib.Path, *more: str) -> pathlib.Path:
    (folder / "pipeline.config").write_text(tiny_training.config_text(records_dir))
    flags = ["--num_train_steps=9", "--checkpoint_every_n=5", "--eval_every_n=5", "--log_every_n=1"]
    both = [f"--pipeline_config_path={folder / 'pipeline.config'}", f"--model_dir={folder / 'model'}"]
    _run(*both, *flags, *(more or ["--seed=4"]))
    return folder / "model"


def test_a_seeded_run_repeats_its_loss_curve_and_its_weights_to_the_bit(seeded_run, records_dir, tmp_path):
    again = _seeded_run(records_dir, tmp_path)
    assert len(_loss_curve(again)) == 1 + 9
    assert _loss_curve(again) == _loss_curve(seeded_run)
    expected, found = _variables(seeded_run), _variables(again)
    assert set(expected) == set(found)
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value, err_msg=key)


def test_a_run_killed_after_a_checkpoint_ends_as_an_undisturbed_one(seeded_run, records_dir, tmp_path):
    """Killed before the evaluation of step 5, whose checkpoint is there: weights, slots, losses and best are equal.

    The seed is not given again: training.json has it.
    """
    resumed = tmp_path / "model"
    resumed.mkdir()
    for path in seeded_run.glob("ckpt-2.*"):
        shutil.copy(path, resumed)
    state = 'model_checkpoint_path: "ckpt-2"\nall_model_checkpoint_paths: "ckpt-2"\n'
    (resumed / "checkpoint").write_text(state)
    record = json.loads((seeded_run / "training.json").read_text())
    record |= {"status": "running", "step": 5, "evaluated_step": None, "reason": ""}
    (resumed / "training.json").write_text(json.dumps(record))
    shutil.copy(seeded_run / "loss_history.csv", resumed)  # as if later steps had been logged: they are taken again
    assert _step(resumed) == 5
    _seeded_run(records_dir, tmp_path, "--record_summaries=false")
    assert _step(resumed) == 9
    assert _loss_curve(resumed) == _loss_curve(seeded_run)
    expected, found = _variables(seeded_run), _variables(resumed)
    assert set(expected) == set(found)
    assert any("OPTIMIZER_SLOT" in key for key in expected)
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value, err_msg=key)
    best = [json.loads((folder / "best" / "best.json").read_text()) for folder in (seeded_run, resumed)]
    assert best[0] == best[1]
    assert tiny_training.read_tags(resumed / "eval")["Loss/total_loss"][1] == [5, 9]


@pytest.fixture(scope="module")
def stopped_run(records_dir, tmp_path_factory) -> dict:
    """A training in a process of its own that evaluates every 50 steps and gets SIGTERM after step 450.

    Returns:
      config_path and model_dir; exit status (status) and standard error (log) of the process; its resident memory by
      step (megabytes).
    """
    folder = tmp_path_factory.mktemp("stopped")
    path, model_dir = folder / "pipeline.config", folder / "model"
    path.write_text(tiny_training.config_text(records_dir))
    flags = "--num_train_steps=100000 --log_every_n=50 --eval_every_n=50"
    process = subprocess.Popen(
        _command(f"--pipeline_config_path={path}", f"--model_dir={model_dir}", *flags.split()),
        cwd=REPOSITORY,
        stderr=subprocess.PIPE,
        text=True,
    )
    log, megabytes = [], {}
    for line in process.stderr:
        log.append(line)
        step = re.search(r"Eval metrics at step (\d+)", line)
        if step:
            status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
            megabytes[int(step[1])] = int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024
        if 450 in megabytes:
            break
    process.send_signal(signal.SIGTERM)
    _, rest = process.communicate(timeout=300)
    return {
        "config_path": path,
        "model_dir": model_dir,
        "status": process.returncode,
        "log": "".join(log) + rest,
        "megabytes": megabytes,
    }


def test_sigterm_saves_and_ends_the_run(stopped_run):
    assert stopped_run["status"] == 143, stopped_run["log"][-2000:]
    assert "Traceback" not in stopped_run["log"]
    record = json.loads((stopped_run["model_dir"] / "training.json").read_text())
    assert record["status"] == "stopped"
    assert _step(stopped_run["model_dir"]) == record["step"] >= 450


def test_memory_stays_flat(stopped_run):
    """Resident memory after 150 steps and after 450: at most 40 MB more."""
    megabytes = stopped_run["megabytes"]
    assert megabytes[450] - megabytes[150] < 40, megabytes


def test_the_command_resumes_after_sigterm_and_kill_while_a_second_process_evaluates(stopped_run, tmp_path):
    """kill -9 at any moment: the `checkpoint` file names a whole checkpoint, and the run resumes from it.

    The second process evaluates what the killed run left, waits, and ends after the checkpoint of the last run's end.
    """
    model_dir = tmp_path / "model"
    shutil.copytree(stopped_run["model_dir"], model_dir)
    stopped_at = _step(model_dir)
    both = [f"--pipeline_config_path={stopped_run['config_path']}", f"--model_dir={model_dir}"]
    often = ["--checkpoint_every_n=2", "--log_every_n=2"]
    process = subprocess.Popen(
        _command(*both, *often, "--num_train_steps=100000"), cwd=REPOSITORY, stderr=subprocess.PIPE, text=True
    )
    log, logged = "", []
    for line in process.stderr:
        log += line
        logged += [int(step) for step in re.findall(r"Step (\d+) per-step time", line)]
        if len(logged) == 3:
            break
    time.sleep(0.3)
    process.kill()
    process.communicate()
    assert len(logged) == 3, log[-2000:]
    assert f"(step {stopped_at})." in log  # Resuming from ...
    saved = _step(model_dir)
    assert saved >= logged[-1] - 2 > stopped_at

    evaluating = subprocess.Popen(
        # Far more steps than the training will have: only training.json can tell that it has ended.
        _command(*both, f"--checkpoint_dir={model_dir}", "--num_train_steps=1000000", "--eval_timeout=600"),
        cwd=REPOSITORY,
        stderr=subprocess.PIPE,
        text=True,
    )
    log = ""
    for line in evaluating.stderr:
        log += line
        if f"Eval metrics at step {saved}" in line:
            break
    _run(*both, *often, f"--num_train_steps={saved + 1}")
    assert _step(model_dir) == saved + 1
    log += evaluating.communicate(timeout=300)[1]
    assert evaluating.returncode == 0, log[-2000:]
    assert f"Eval metrics at step {saved + 1}" in log
    assert "(the training has ended)" in log
    steps = tiny_training.read_tags(model_dir / "eval")["PascalBoxes_Precision/mAP@0.5IOU"][1]
    assert steps[-2:] == [saved, saved + 1]
    assert (model_dir / "best" / "best.json").is_file()

"""What only whole runs show: restarts, seeds, two processes, two machines, memory. Minutes of computing.

Processes are started only where a test is about processes; the first of them, `stopped_run`, serves three tests.
"""

import json
import os
import pathlib
import re
import shutil
import signal
import socket
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


def _weights(folder: pathlib.Path) -> dict[str, np.ndarray]:
    import tensorflow as tf

    reader = tf.train.load_checkpoint(tf.train.latest_checkpoint(str(folder)))
    return {key: reader.get_tensor(key) for key in reader.get_variable_to_shape_map() if key.startswith("model/")}


def _step(folder: pathlib.Path) -> int:
    import tensorflow as tf

    return int(tf.train.load_variable(tf.train.latest_checkpoint(str(folder)), "step/.ATTRIBUTES/VARIABLE_VALUE"))


@pytest.fixture
def deterministic_kernels():
    """TensorFlow's kernels with a fixed order of summation.

    Without it the gradient of crop_and_resize adds in the order in which its threads finish. Usually that changes the
    last bit; on a busy machine two equal runs were a percent apart after eight steps.
    """
    import tensorflow as tf
    from tensorflow.python.framework import config

    tf.config.experimental.enable_op_determinism()
    yield
    config.disable_op_determinism()


@pytest.fixture
def constant_batch_path(records_dir, tmp_path) -> pathlib.Path:
    """A config whose every batch is the same three images: no shuffling, no augmentation, sampling of everything."""
    text = tiny_training.config_text(records_dir, batch_norm_trainable=True)
    text = text.replace("batch_size: 2", "batch_size: 3").replace(
        "data_augmentation_options { random_horizontal_flip { } }", ""
    )
    text = text.replace("train.record-?????-of-00002", "train.record-00000-of-00002")
    text = text.replace("train_input_reader {", "train_input_reader { shuffle: false")
    text = text.replace("second_stage_batch_size: 8", "second_stage_batch_size: 8 second_stage_balance_fraction: 1.0")
    text = text.replace("initial_crop_size", "first_stage_positive_balance_fraction: 1.0 initial_crop_size")
    path = tmp_path / "pipeline.config"
    path.write_text(text)
    return path


def test_a_resumed_run_ends_where_an_uninterrupted_one_does(constant_batch_path, tmp_path, deterministic_kernels):
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    arguments = [f"--pipeline_config_path={constant_batch_path}", "--num_train_steps=6", "--checkpoint_every_n=3"]
    _run(*arguments, f"--model_dir={whole}", "--seed=1")
    resumed.mkdir()
    for path in whole.glob("ckpt-2.*"):
        shutil.copy(path, resumed)
    (resumed / "checkpoint").write_text('model_checkpoint_path: "ckpt-2"\nall_model_checkpoint_paths: "ckpt-2"\n')
    assert _step(resumed) == 3
    _run(*arguments, f"--model_dir={resumed}")
    assert _step(resumed) == 6
    expected, found = _weights(whole), _weights(resumed)
    assert set(expected) == set(found)
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, rtol=1e-4, atol=1e-6 + 1e-4 * np.abs(value).max(), err_msg=key)


def test_a_seeded_run_is_repeatable(records_dir, tmp_path, deterministic_kernels):
    path = tmp_path / "pipeline.config"
    path.write_text(tiny_training.config_text(records_dir))
    for name in ("first", "second"):
        _run(f"--pipeline_config_path={path}", f"--model_dir={tmp_path / name}", "--num_train_steps=8", "--seed=4")
    first, second = _weights(tmp_path / "first"), _weights(tmp_path / "second")
    for key, value in first.items():
        np.testing.assert_array_equal(second[key], value, err_msg=key)


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


def test_two_machines_train_together_and_one_writes(records_dir, tmp_path):
    """Two processes on this machine, with batch norm trained, whose statistics live on both."""
    path, model_dir = tmp_path / "pipeline.config", tmp_path / "model"
    path.write_text(tiny_training.config_text(records_dir))
    ports = []
    for _ in range(2):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            ports.append(free.getsockname()[1])
    workers = [f"127.0.0.1:{port}" for port in ports]
    processes = []
    for index in range(2):
        cluster = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
        flags = "--num_workers=2 --num_train_steps=5 --checkpoint_every_n=4 --eval_every_n=3 --log_every_n=2 --seed=1"
        processes.append(
            subprocess.Popen(
                _command(f"--pipeline_config_path={path}", f"--model_dir={model_dir}", *flags.split()),
                cwd=REPOSITORY,
                env={**os.environ, "TF_CONFIG": json.dumps(cluster)},
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    logs = [process.communicate(timeout=580)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], logs[0][-2000:] + logs[1][-2000:]
    assert "Training on 2 replicas" in logs[0]
    assert "Step 4 per-step time" in logs[0]
    assert "Step 4 per-step time" not in logs[1]
    assert len(list((model_dir / "train").iterdir())) == len(list((model_dir / "eval").iterdir())) == 1
    assert tiny_training.read_tags(model_dir / "eval")["Loss/total_loss"][1] == [3, 5]
    # saved at 0, 3 (evaluation: several machines save together), 4 and 5
    assert sorted(file.name for file in model_dir.glob("*.index")) == [
        f"ckpt-{number}.index" for number in (1, 2, 3, 4)
    ]
    assert _step(model_dir) == 5

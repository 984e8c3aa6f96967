"""What only whole runs show: restarts, seeds, two processes, two machines, memory. Minutes of computing."""

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


def test_a_resumed_run_ends_where_an_uninterrupted_one_does(constant_batch_path, tmp_path):
    config = f"--pipeline_config_path={constant_batch_path}"
    _run(config, f"--model_dir={tmp_path / 'whole'}", "--num_train_steps=6", "--seed=1")
    _run(config, f"--model_dir={tmp_path / 'parts'}", "--num_train_steps=3", "--seed=1")
    _run(config, f"--model_dir={tmp_path / 'parts'}", "--num_train_steps=6")
    whole, parts = _weights(tmp_path / "whole"), _weights(tmp_path / "parts")
    assert set(whole) == set(parts)
    for key, value in whole.items():
        np.testing.assert_allclose(parts[key], value, rtol=1e-4, atol=1e-6 + 1e-4 * np.abs(value).max(), err_msg=key)


def test_a_seeded_run_is_repeatable(records_dir, tmp_path):
    path = tmp_path / "pipeline.config"
    path.write_text(tiny_training.config_text(records_dir))
    for name in ("first", "second"):
        _run(f"--pipeline_config_path={path}", f"--model_dir={tmp_path / name}", "--num_train_steps=8", "--seed=4")
    first, second = _weights(tmp_path / "first"), _weights(tmp_path / "second")
    for key, value in first.items():
        np.testing.assert_allclose(second[key], value, rtol=1e-5, atol=1e-6, err_msg=key)


def test_a_second_process_evaluates_until_training_has_ended(records_dir, tmp_path):
    path, model_dir = tmp_path / "pipeline.config", tmp_path / "model"
    path.write_text(tiny_training.config_text(records_dir))
    model_dir.mkdir()
    both = [f"--pipeline_config_path={path}", f"--model_dir={model_dir}"]
    evaluating = subprocess.Popen(
        # num_steps of the config is 4, of the training run 60: only training.json can tell that it has ended
        _command(*both, f"--checkpoint_dir={model_dir}", "--num_train_steps=1000", "--eval_timeout=600"),
        cwd=REPOSITORY,
        stderr=subprocess.PIPE,
        text=True,
    )
    training = subprocess.run(
        _command(*both, "--num_train_steps=60", "--checkpoint_every_n=20"),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert training.returncode == 0, training.stderr[-2000:]
    _, log = evaluating.communicate(timeout=300)
    assert evaluating.returncode == 0, log[-2000:]
    assert "Found new checkpoint at" in log
    assert "(the training has ended)" in log
    steps = tiny_training.read_tags(model_dir / "eval")["PascalBoxes_Precision/mAP@0.5IOU"][1]
    assert steps[-1] == 60
    assert (model_dir / "best" / "best.json").is_file()


def test_sigterm_saves_and_the_same_command_goes_on(records_dir, tmp_path):
    path, model_dir = tmp_path / "pipeline.config", tmp_path / "model"
    path.write_text(tiny_training.config_text(records_dir))
    arguments = [f"--pipeline_config_path={path}", f"--model_dir={model_dir}", "--log_every_n=5"]
    process = subprocess.Popen(
        _command(*arguments, "--num_train_steps=100000"), cwd=REPOSITORY, stderr=subprocess.PIPE, text=True
    )
    for line in process.stderr:
        if "per-step time" in line:
            break
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=300)
    assert process.returncode == 130
    assert "Traceback" not in log
    record = json.loads((model_dir / "training.json").read_text())
    assert record["status"] == "stopped"
    saved = int(_step(model_dir))
    assert saved == record["step"] > 0
    _run(*arguments, f"--num_train_steps={saved + 2}")
    assert _step(model_dir) == saved + 2


def _step(folder: pathlib.Path) -> int:
    import tensorflow as tf

    return int(tf.train.load_variable(tf.train.latest_checkpoint(str(folder)), "step/.ATTRIBUTES/VARIABLE_VALUE"))


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


def test_memory_stays_flat(records_dir, tmp_path):
    """Resident memory after 150 steps and after 450, in a process of its own: at most 40 MB more."""
    path, model_dir = tmp_path / "pipeline.config", tmp_path / "model"
    path.write_text(tiny_training.config_text(records_dir))
    process = subprocess.Popen(
        _command(
            f"--pipeline_config_path={path}",
            f"--model_dir={model_dir}",
            "--num_train_steps=450",
            "--log_every_n=50",
            "--eval_every_n=50",
        ),
        cwd=REPOSITORY,
        stderr=subprocess.PIPE,
        text=True,
    )
    megabytes = {}
    for line in process.stderr:
        step = re.search(r"Eval metrics at step (\d+)", line)
        if step:
            status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
            megabytes[int(step[1])] = int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024
    assert process.wait() == 0
    assert megabytes[450] - megabytes[150] < 40, megabytes


def test_interrupted_write_leaves_a_model_dir_that_goes_on(records_dir, tmp_path):
    """kill -9 at any moment: the `checkpoint` file names a whole checkpoint, and the run goes on from it."""
    path, model_dir = tmp_path / "pipeline.config", tmp_path / "model"
    path.write_text(tiny_training.config_text(records_dir))
    arguments = [
        f"--pipeline_config_path={path}",
        f"--model_dir={model_dir}",
        "--checkpoint_every_n=2",
        "--log_every_n=2",
    ]
    process = subprocess.Popen(
        _command(*arguments, "--num_train_steps=100000"), cwd=REPOSITORY, stderr=subprocess.PIPE, text=True
    )
    for line in process.stderr:
        if "Step 6 per-step time" in line:
            break
    time.sleep(0.3)
    process.kill()
    process.communicate()
    copy = tmp_path / "copy"
    shutil.copytree(model_dir, copy)
    saved = _step(copy)
    assert saved >= 4
    _run(*arguments, f"--num_train_steps={saved + 1}")
    assert _step(model_dir) == saved + 1

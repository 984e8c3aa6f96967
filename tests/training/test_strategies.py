"""Several replicas compared with one: two devices of a process, and two processes as on two machines."""

import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.support import tiny_training
from tfod_csf.training import strategies
from tfod_csf.training.preflight_checks import TrainingSetupError

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
FLAGS = "--num_train_steps=6 --checkpoint_every_n=3 --log_every_n=1 --record_summaries=false --seed=1"


@pytest.fixture(scope="module")
def two_replicas(records_dir, tmp_path_factory) -> dict[str, np.ndarray]:
    output = tmp_path_factory.mktemp("replicas") / "arrays.npz"
    command = [sys.executable, "-m", "tests.support.two_replicas", str(records_dir), str(output)]
    run = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-3000:]
    return dict(np.load(output))


def _pairs(arrays: dict[str, np.ndarray], kind: str) -> list[tuple[str, np.ndarray, np.ndarray]]:
    prefix = f"1/{kind}/"
    return [
        (name.removeprefix(prefix), value, arrays["2" + name[1:]])
        for name, value in arrays.items()
        if name.startswith(prefix)
    ]


def test_two_replicas_have_the_losses_of_one(two_replicas):
    pairs = _pairs(two_replicas, "loss")
    assert len(pairs) == 6
    for name, one, two in pairs:
        assert one > 0, name
        np.testing.assert_allclose(two, one, rtol=1e-5, err_msg=name)


def test_two_replicas_have_the_gradients_of_one(two_replicas):
    """Each to 1e-5 of its largest element: other orders of summation are all that differs."""
    pairs = _pairs(two_replicas, "gradient")
    assert len(pairs) > 60
    for name, one, two in pairs:
        largest = np.abs(one).max()
        assert np.abs(two - one).max() <= 1e-5 * largest + 1e-7, (name, largest, np.abs(two - one).max())
    assert sum(np.abs(one).max() > 1e-4 for _, one, _ in pairs) > 50


def test_two_replicas_have_the_weights_of_one(two_replicas):
    """After a step of RMSprop with clipped gradient: the update to 1e-4 of its largest element, or the last bit."""
    for (name, one, two), (_, before, also_before) in zip(
        _pairs(two_replicas, "after"), _pairs(two_replicas, "before")
    ):
        np.testing.assert_array_equal(before, also_before)
        update = np.abs(one - before).max()
        last_bit = np.spacing(np.abs(before).max())
        assert np.abs(two - one).max() <= 1e-4 * update + last_bit, (name, update, np.abs(two - one).max())


def test_there_was_a_gradient_to_clip(two_replicas):
    norm = np.sqrt(sum(np.sum(one.astype(np.float64) ** 2) for _, one, _ in _pairs(two_replicas, "gradient")))
    assert norm > 60  # two_replicas clips to 50


class Pair:
    """The command in two processes on this machine that train together.

    Args:
      folder: holds pipeline.config and model/.
      flags: of the command.
    """

    def __init__(self, folder: pathlib.Path, flags: str):
        ports = []
        for _ in range(2):
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                ports.append(free.getsockname()[1])
        self.workers = [f"127.0.0.1:{port}" for port in ports]
        self.logs = [folder / f"worker{index}.log" for index in range(2)]
        command = [sys.executable, "-m", "tfod_csf", "model_main_tf2", f"--model_dir={folder / 'model'}"]
        command += [f"--pipeline_config_path={folder / 'pipeline.config'}", "--num_workers=2", *flags.split()]
        self.processes = []
        for index, log in enumerate(self.logs):
            cluster = {"cluster": {"worker": self.workers}, "task": {"type": "worker", "index": index}}
            with log.open("w") as output:
                environment = {**os.environ, "TF_CONFIG": json.dumps(cluster)}
                self.processes.append(
                    subprocess.Popen(command, cwd=REPOSITORY, env=environment, stderr=output, stdout=output)
                )

    def wait_for(self, text: str) -> None:
        """Returns when the first worker has logged a text."""
        while not re.search(text, self.logs[0].read_text()):
            assert all(process.poll() is None for process in self.processes), self.output()
            time.sleep(0.1)

    def statuses(self) -> list[int]:
        """Exit statuses, when both have ended."""
        try:
            return [process.wait(timeout=900) for process in self.processes]
        finally:
            for process in self.processes:
                process.kill()

    def output(self) -> str:
        return "\n=====\n".join(log.read_text()[-3000:] for log in self.logs)


def _write_config(folder: pathlib.Path, records_dir: pathlib.Path) -> None:
    """Batch norm is frozen: trained, each replica would normalize with its own images' statistics."""
    folder.mkdir(exist_ok=True)
    text = tiny_training.config_text(records_dir, batch_norm_trainable=False)
    (folder / "pipeline.config").write_text(text.replace("second_stage_batch_size: 8", "second_stage_batch_size: 4"))


def _variables(model_dir: pathlib.Path) -> dict[str, np.ndarray]:
    """All of the newest checkpoint: weights, slots, step; not the number of saves."""
    import tensorflow as tf

    reader = tf.train.load_checkpoint(tf.train.latest_checkpoint(str(model_dir)))
    keys = set(reader.get_variable_to_shape_map()) - {"_CHECKPOINTABLE_OBJECT_GRAPH"}
    return {key: reader.get_tensor(key) for key in keys if not key.startswith("save_counter/")}


def _losses(model_dir: pathlib.Path) -> list[float]:
    lines = (model_dir / "loss_history.csv").read_text().splitlines()[1:]
    return [float(line.split(",")[1]) for line in lines]


@pytest.fixture(scope="module")
def pair_model_dir(records_dir, tmp_path_factory) -> pathlib.Path:
    """Six steps of two processes."""
    folder = tmp_path_factory.mktemp("pair")
    _write_config(folder, records_dir)
    pair = Pair(folder, FLAGS + " --eval_every_n=4")
    assert pair.statuses() == [0, 0], pair.output()
    assert "Training on 2 replicas" in pair.logs[0].read_text()
    assert "Step 4 per-step time" in pair.logs[0].read_text()
    assert "Step 4 per-step time" not in pair.logs[1].read_text()
    return folder / "model"


@pytest.mark.slow
def test_two_processes_train_as_one(pair_model_dir, records_dir, tmp_path):
    """Images in random order, augmented, minibatches sampled: losses of all steps, and weights and slots after them."""
    _write_config(tmp_path, records_dir)
    status, _ = tiny_training.run_command(
        f"--pipeline_config_path={tmp_path / 'pipeline.config'}", f"--model_dir={tmp_path / 'model'}", *FLAGS.split()
    )
    assert status == 0
    one, two = _losses(tmp_path / "model"), _losses(pair_model_dir)
    assert len(one) == 6
    np.testing.assert_allclose(two, one, rtol=1e-4)
    expected, found = _variables(tmp_path / "model"), _variables(pair_model_dir)
    assert set(expected) == set(found)
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, rtol=1e-3, atol=1e-5, err_msg=key)


@pytest.mark.slow
def test_only_the_first_of_two_processes_writes(pair_model_dir):
    assert len(list((pair_model_dir / "train").iterdir())) == len(list((pair_model_dir / "eval").iterdir())) == 1
    assert tiny_training.read_tags(pair_model_dir / "eval")["Loss/total_loss"][1] == [4, 6]
    # Saved at steps 0, 3, 4 (the first evaluation is the best so far) and 6.
    assert sorted(file.name for file in pair_model_dir.glob("*.index")) == [f"ckpt-{n}.index" for n in (1, 2, 3, 4)]


@pytest.mark.slow
def test_a_killed_process_ends_the_other_and_both_started_again_end_as_if_undisturbed(
    pair_model_dir, records_dir, tmp_path
):
    _write_config(tmp_path, records_dir)
    pair = Pair(tmp_path, FLAGS.replace("steps=6", "steps=100000") + " --worker_timeout=3")
    pair.wait_for("Step 4 per-step time")
    pair.processes[1].kill()
    assert pair.statuses() == [75, -9], pair.output()
    log = pair.logs[0].read_text()
    assert "error: another worker has ended or cannot be reached" in log
    assert "Traceback" not in log
    for checkpoint in (tmp_path / "model").glob("ckpt-*"):  # those of later steps than the undisturbed run has
        if int(re.findall(r"\d+", checkpoint.name)[0]) > 2:
            checkpoint.unlink()
    (tmp_path / "model" / "checkpoint").write_text('model_checkpoint_path: "ckpt-2"\n')
    again = Pair(tmp_path, FLAGS.replace(" --seed=1", ""))  # training.json has it
    assert again.statuses() == [0, 0], again.output()
    assert "(step 3)." in again.logs[1].read_text()  # Resuming from ...
    expected, found = _variables(pair_model_dir), _variables(tmp_path / "model")
    assert set(expected) == set(found)
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value, err_msg=key)
    assert _losses(tmp_path / "model") == _losses(pair_model_dir)


@pytest.mark.slow
def test_sigterm_to_one_process_stops_both_with_one_checkpoint(records_dir, tmp_path):
    _write_config(tmp_path, records_dir)
    pair = Pair(tmp_path, FLAGS.replace("steps=6", "steps=100000"))
    pair.wait_for("Step 4 per-step time")
    pair.processes[1].terminate()
    assert pair.statuses() == [143, 143], pair.output()
    record = json.loads((tmp_path / "model" / "training.json").read_text())
    assert record["status"] == "stopped"
    assert record["reason"].startswith("SIGTERM to another worker at step")
    import tensorflow as tf

    latest = tf.train.latest_checkpoint(str(tmp_path / "model"))
    assert tf.train.load_variable(latest, "step/.ATTRIBUTES/VARIABLE_VALUE") == record["step"] >= 4


def test_a_port_that_is_in_use_is_refused(monkeypatch):
    """TensorFlow would share it with the worker that has it, and both would wait forever."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        cluster = {"worker": [f"127.0.0.1:{port}", "127.0.0.1:1"]}
        task = {"type": "worker", "index": 0}
        monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": task}))
        with pytest.raises(TrainingSetupError, match=rf"worker 0 of TF_CONFIG .* port {port} cannot be used on this"):
            strategies.make_strategy(2, batch_size=2)


def test_a_lost_worker_is_told_in_words():
    import tensorflow as tf

    message = (
        "Graph execution error:\n\nDetected at node CollectiveReduceV2\n\nCollective ops is aborted by: Error reported "
        "from /job:worker/task:1: train.record, record 3: is damaged. [type.googleapis.com/tensorflow.Derived='x']\n"
    )
    error = tf.errors.AbortedError(None, None, message)
    assert strategies.reason_of_loss(error) == "worker 1: train.record, record 3: is damaged"
    error = tf.errors.UnavailableError(None, None, "Graph\nCollective ops is aborted by: Socket closed\nAdditional")
    assert strategies.reason_of_loss(error) == "Socket closed"


def test_a_batch_that_does_not_divide_is_refused():
    import tensorflow as tf

    with pytest.raises(TrainingSetupError, match="3 is the global batch and does not divide by 2"):
        strategies.preflight_checks.check_batch_divides(3, 2, "2 replicas")
    strategy = strategies.make_strategy(1, batch_size=3)
    assert isinstance(strategy, tf.distribute.MirroredStrategy)
    assert strategies.describe(strategy).startswith("1 replica: ")


def test_one_process_agrees_with_itself():
    import tensorflow as tf

    workers = strategies.Workers(tf.distribute.get_strategy())
    assert workers.is_chief
    assert not workers.are_several
    assert workers.sum([1, 2.5]) == [1.0, 2.5]
    assert workers.of_chief({"name": None}) == {"name": None}
    with pytest.raises(tf.errors.AbortedError), workers.failing_together():
        raise tf.errors.AbortedError(None, None, "not because of another worker")

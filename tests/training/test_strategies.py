import pathlib
import subprocess
import sys

import numpy as np
import pytest

from tfod_csf.training import strategies

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]


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


def test_a_batch_that_does_not_divide_is_refused():
    import tensorflow as tf

    strategy = strategies.make_strategy(1, batch_size=3)
    assert isinstance(strategy, tf.distribute.MirroredStrategy)
    assert strategies.is_chief(strategy)
    assert not strategies.has_several_workers(strategy)
    assert strategies.describe(strategy).startswith("1 replica: ")

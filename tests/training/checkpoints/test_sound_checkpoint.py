"""Damaged checkpoints are skipped, with a word."""

import math
import re

import numpy as np
import pytest
import tensorflow as tf

from tfod_csf.training.checkpoints import sound_checkpoint
from tfod_csf.training.checkpoints.checkpoint_files import CheckpointError


@pytest.fixture
def folder(tmp_path):
    weights = tf.Variable(np.arange(1000.0, dtype=np.float32))
    manager = tf.train.CheckpointManager(tf.train.Checkpoint(weights=weights), str(tmp_path), max_to_keep=3)
    for _ in range(2):
        manager.save()
    return tmp_path


def _flip(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 0x10
    path.write_bytes(data)


def _cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


DATA, INDEX = "ckpt-2.data-00000-of-00001", "ckpt-2.index"
DAMAGES = {
    "data flipped": lambda folder: _flip(folder / DATA, 2000),
    "data cut": lambda folder: _cut(folder / DATA),
    "data empty": lambda folder: (folder / DATA).write_bytes(b""),
    "data missing": lambda folder: (folder / DATA).unlink(),
    "index flipped": lambda folder: _flip(folder / INDEX, 30),
    "index cut": lambda folder: _cut(folder / INDEX),
    "index empty": lambda folder: (folder / INDEX).write_bytes(b""),
    "index missing": lambda folder: (folder / INDEX).unlink(),
}


def test_a_whole_one_is_taken_without_a_word(folder, caplog):
    assert sound_checkpoint.newest_sound(folder) == str(folder / "ckpt-2")
    assert caplog.text == ""


def test_no_checkpoint(tmp_path):
    assert sound_checkpoint.newest_sound(tmp_path) is None


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_the_one_before_a_damaged_one_is_taken(folder, damage, caplog):
    damage(folder)
    assert sound_checkpoint.newest_sound(folder) == str(folder / "ckpt-1")
    assert re.search(r"ckpt-2 is damaged \(.+\); the checkpoint before is used: .*ckpt-1\.", caplog.text)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_not_finite_are_not_gone_on_with(folder, value, caplog):
    weights = tf.Variable(np.array([1.0, value], np.float32))
    manager = tf.train.CheckpointManager(tf.train.Checkpoint(weights=weights), str(folder), max_to_keep=3)
    manager.save(checkpoint_number=3)
    assert sound_checkpoint.newest_sound(folder) == str(folder / "ckpt-2")
    assert "ckpt-3 holds values that are not finite (weights" in caplog.text


def test_when_all_are_damaged_the_run_does_not_begin_again(folder):
    for number in (1, 2):
        (folder / f"ckpt-{number}.data-00000-of-00001").write_bytes(b"x")
    words = "none of its checkpoints can be used .*ckpt-2 is damaged.*ckpt-1 is damaged"
    with pytest.raises(CheckpointError, match=words):
        sound_checkpoint.newest_sound(folder)

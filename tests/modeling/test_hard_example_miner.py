"""Four proposals, of which 0 and 1 overlap by IoU 0.8, with losses 4, 3, 2, 1."""

import numpy as np
import pytest
import tensorflow as tf

from tfod_csf.modeling.hard_example_miner import HardExampleMiner

BOXES = tf.constant([[[0, 0, 10, 10], [0, 0, 10, 8], [50, 50, 60, 60], [70, 70, 80, 80]]], tf.float32)


def mined(num_valid=4, hardness=(4.0, 3.0, 2.0, 1.0), **fields):
    """Rows that count."""
    is_valid = tf.sequence_mask([num_valid], 4)
    counted = HardExampleMiner(**fields).mine(BOXES, tf.constant([hardness]), is_valid)
    return np.flatnonzero(counted[0].numpy()).tolist()


def test_the_hardest_count_unless_they_overlap_a_harder_one():
    assert mined() == [0, 2, 3]
    assert mined(iou_threshold=0.9) == [0, 1, 2, 3]
    assert mined(hardness=(3.0, 4.0, 2.0, 1.0)) == [1, 2, 3]
    assert mined(hardness=(0.0, 0.0, 0.0, 0.0)) == [0, 2, 3]  # of equal ones the first


def test_limit_and_padding_rows():
    assert mined(num_hard_examples=2) == [0, 2]
    assert mined(num_hard_examples=0) == [0, 2, 3]  # no limit
    assert mined(num_valid=3) == [0, 2]
    assert mined(num_valid=0) == []


@pytest.mark.parametrize(
    ("loss_type", "expected"),
    [("BOTH", [2 * 1 + 3 * 5, 2 * 2 + 3 * 4]), ("LOCALIZATION", [1, 2]), ("CLASSIFICATION", [5, 4])],
)
def test_hardness(loss_type, expected):
    hardness = HardExampleMiner(loss_type=loss_type).hardness(
        tf.constant([[1.0, 2.0]]), tf.constant([[5.0, 4.0]]), 2.0, 3.0
    )
    np.testing.assert_allclose(hardness, [expected])


def test_no_gradient_flows_into_the_choice():
    losses = tf.constant([[4.0, 3.0, 2.0, 1.0]])
    with tf.GradientTape() as tape:
        tape.watch(losses)
        counted = HardExampleMiner().mine(BOXES, losses, tf.sequence_mask([4], 4))
        total = tf.reduce_sum(losses * tf.cast(counted, tf.float32))
    np.testing.assert_array_equal(tape.gradient(total, losses), [[1, 0, 1, 1]])

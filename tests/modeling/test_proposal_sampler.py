import numpy as np
import tensorflow as tf

from tfod_csf.modeling import target_assigner
from tfod_csf.modeling.proposal_sampler import ProposalSampler
from tfod_csf.modeling.rpn import Proposals

BOXES = tf.constant([[[0, 0, 10, 10], [0, 10, 10, 20], [0, 20, 10, 30], [90, 90, 100, 100]]], tf.float32)


def truth(weight):
    """A box of class 1 on the first proposal."""
    return target_assigner.GroundTruth(
        tf.constant([[[0.0, 0.0, 10.0, 10.0]]]), tf.constant([[[0.0, 0.0, 1.0]]]), tf.constant([[weight]])
    )


def sample(num_proposals, **fields):
    """Three of four proposals, of which the first `num_proposals` are valid, half of them positive at most."""
    sampler = ProposalSampler(second_stage_batch_size=3, second_stage_balance_fraction=0.5, **fields)
    return sampler.sample(Proposals(BOXES, tf.constant([num_proposals])), truth(0.5))


def test_sampled_proposals_keep_their_order_and_are_padded_with_zeros():
    # Only 2 of 4 proposals are valid, both are sampled.
    boxes, num_proposals = sample(2)
    np.testing.assert_array_equal(boxes[0], [[0, 0, 10, 10], [0, 10, 10, 20], [0, 0, 0, 0]])
    np.testing.assert_array_equal(num_proposals, [2])


def test_no_valid_proposal_gives_none():
    boxes, num_proposals = sample(0)
    np.testing.assert_array_equal(boxes[0], np.zeros([3, 4]))
    np.testing.assert_array_equal(num_proposals, [0])


def test_static_sampler_always_fills_the_minibatch():
    # The third row comes from the rows that are not valid.
    boxes, num_proposals = sample(2, use_static_balanced_label_sampler=True, use_static_shapes=True)
    np.testing.assert_array_equal(boxes[0], BOXES[0, :3])
    np.testing.assert_array_equal(num_proposals, [3])


def test_static_shapes_without_the_static_sampler_repeat_the_first_proposal():
    boxes, num_proposals = sample(2, use_static_shapes=True)
    np.testing.assert_array_equal(boxes[0], tf.gather(BOXES[0], [0, 1, 0]))
    np.testing.assert_array_equal(num_proposals, [3])


def test_share_of_positives():
    # 8 proposals on the box, 8 background; minibatch 8 with a quarter of positives.
    proposals = Proposals(tf.constant([[[0, 0, 10, 10]] * 8 + [[50, 50, 60, 60]] * 8], tf.float32), tf.constant([16]))
    sampler = ProposalSampler(second_stage_batch_size=8)
    np.testing.assert_array_equal(sampler.sample(proposals, truth(0.5)).proposal_boxes[0, :, 0], [0] * 2 + [50] * 6)
    # A box of weight 0 takes its proposals out of the sample.
    np.testing.assert_array_equal(sampler.sample(proposals, truth(0.0)).proposal_boxes[0, :, 0], [50] * 8)

"""Losses and detections of the second stage on four proposals, worked by hand."""

import numpy as np
import pytest
import tensorflow as tf

from tfod_csf.modeling import losses, target_assigner
from tfod_csf.modeling.box_classifier import BoxClassifier
from tfod_csf.modeling.box_head import BoxHead, SecondStagePredictions
from tfod_csf.modeling.hard_example_miner import HardExampleMiner
from tfod_csf.modeling.layer_hyperparams import LayerHyperparams
from tfod_csf.modeling.post_processing import BatchNonMaxSuppression
from tfod_csf.modeling.proposal_sampler import ProposalSampler
from tfod_csf.modeling.rpn import Proposals

BOXES = tf.constant([[[0, 0, 10, 10], [0, 10, 10, 20], [0, 20, 10, 30], [90, 90, 100, 100]]], tf.float32)
ONE_BOX = target_assigner.GroundTruth(
    tf.constant([[[0.0, 0.0, 10.0, 10.0]]]), tf.constant([[[0.0, 0.0, 1.0]]]), tf.constant([[0.5]])
)
NO_BOX = target_assigner.GroundTruth(tf.zeros([1, 0, 4]), tf.zeros([1, 0, 3]), tf.zeros([1, 0]))


def classifier(**options) -> BoxClassifier:
    options = {"proposal_sampler": ProposalSampler(), "batch_non_max_suppression": BatchNonMaxSuppression()} | options
    return BoxClassifier(BoxHead(2, LayerHyperparams(), share_box_across_classes=True), **options)


def loss_values(encodings, logits, num_proposals, groundtruth=ONE_BOX, boxes=BOXES, **options):
    """(localization, classification) of the four proposals."""
    named = classifier(**options).losses(
        SecondStagePredictions(tf.constant(encodings, tf.float32), tf.constant(logits, tf.float32)),
        Proposals(boxes, tf.constant([num_proposals])),
        groundtruth,
    )
    assert list(named) == [losses.BOX_CLASSIFIER_LOCALIZATION_LOSS, losses.BOX_CLASSIFIER_CLASSIFICATION_LOSS]
    return tuple(float(value) for value in named.values())


def test_by_hand_with_padding_rows_and_per_class_boxes():
    # 3 of 4 proposals are valid. Proposal 0 is class 1 with weight 0.5: ln 3 * 0.5; the two others are background:
    # ln 3 each; all divided by 3 proposals * 1 image. Of the boxes per class the second one is used: error 1 in each
    # of 4 codes, 4 * 0.5 * 0.5 / 3.
    encodings = np.stack([np.full([4, 4], 7.0), np.ones([4, 4])], axis=1)
    localization, classification = loss_values(encodings, np.zeros([4, 3]), 3)
    assert classification == pytest.approx(np.log(3) * 2.5 / 3, rel=1e-6)
    assert localization == pytest.approx(4 * 0.5 * 0.5 / 3, rel=1e-6)


def test_weights_are_factors():
    weights = {"second_stage_localization_loss_weight": 2.0, "second_stage_classification_loss_weight": 3.0}
    localization, classification = loss_values(np.ones([4, 1, 4]), np.zeros([4, 3]), 3, **weights)
    assert classification == pytest.approx(3 * np.log(3) * 2.5 / 3, rel=1e-6)
    assert localization == pytest.approx(2 * 4 * 0.5 * 0.5 / 3, rel=1e-6)


def test_an_image_without_boxes_has_no_localization_loss():
    localization, classification = loss_values(np.ones([4, 2, 4]), np.zeros([4, 3]), 4, NO_BOX)
    assert localization == 0
    assert classification == pytest.approx(np.log(3), rel=1e-6)


def test_no_proposals_give_0_and_not_nan():
    assert loss_values(np.ones([4, 1, 4]), np.zeros([4, 3]), 0, boxes=tf.zeros([1, 4, 4])) == (0, 0)


def test_with_a_miner_training_sees_all_proposals_and_the_hardest_count():
    miner = HardExampleMiner(num_hard_examples=1)
    proposals = Proposals(BOXES, tf.constant([4]))
    sampler = ProposalSampler(second_stage_batch_size=2)
    assert classifier(proposal_sampler=sampler).sample(proposals, ONE_BOX).proposal_boxes.shape == (1, 2, 4)
    assert classifier(proposal_sampler=sampler, hard_example_miner=miner).sample(proposals, ONE_BOX) is proposals
    # Background of logits [0, ln 2, 0] costs ln 4, the others ln 3; of 4 proposals one counts.
    logits = np.zeros([4, 3])
    logits[2, 1] = np.log(2)
    assert loss_values(np.zeros([4, 1, 4]), logits, 4, NO_BOX, hard_example_miner=miner)[1] == pytest.approx(
        np.log(4) / 4, rel=1e-6
    )


def test_detections_are_normalized_and_raw_boxes_are_those_of_the_best_class():
    # A box per class; the second class' is 10 px wider: tw = 5 ln 2, and its center, with tx = 5, is 5 px to the right.
    encodings = np.zeros([1, 2, 4])
    encodings[0, 1] = [0, 5, 0, 5 * np.log(2)]
    detections = classifier(score_converter="SOFTMAX").detections(
        SecondStagePredictions(tf.constant(encodings, tf.float32), tf.constant([[0.0, 0.0, np.log(2)]], tf.float32)),
        Proposals(BOXES[:, :1], tf.constant([1])),
        tf.constant([[20, 40, 3]]),
    )
    assert int(detections["num_detections"][0]) == 2
    np.testing.assert_allclose(detections["detection_scores"][0, :2], [0.5, 0.25], rtol=1e-6)
    np.testing.assert_array_equal(detections["detection_classes"][0, :2], [1, 0])
    np.testing.assert_allclose(
        detections["detection_boxes"][0, :2], [[0, 0, 0.5, 0.5], [0, 0, 0.5, 0.25]], rtol=0, atol=1e-6
    )
    np.testing.assert_allclose(detections["raw_detection_boxes"][0], [[0, 0, 0.5, 0.5]], rtol=0, atol=1e-6)
    np.testing.assert_allclose(detections["raw_detection_scores"][0], [[0.25, 0.25, 0.5]], rtol=1e-6)


def test_padding_proposals_are_not_detected():
    predictions = SecondStagePredictions(tf.zeros([4, 1, 4]), tf.zeros([4, 3]))
    detections = classifier().detections(predictions, Proposals(BOXES, tf.constant([0])), tf.constant([[100, 100, 3]]))
    assert float(detections["num_detections"][0]) == 0
    assert not np.any(detections["detection_boxes"])

"""Losses of single anchors and proposals, worked by hand."""

import numpy as np
import pytest
import tensorflow as tf

from tfod_csf.modeling import losses


def test_localization_is_quadratic_then_linear():
    # 0.5 * 0.5^2 + (3 - 0.5) + 0 + 0.5 * 1^2
    loss = losses.localization_losses(tf.constant([0.5, 3.0, 1.0, -1.0]), tf.constant([0.0, 0.0, 1.0, 0.0]))
    np.testing.assert_allclose(loss, 0.125 + 2.5 + 0.5)


@pytest.mark.parametrize(
    ("name", "fields", "expected"),
    [
        # logits [0, 0, ln 4], truth class 2: softmax 4/6; with scale 2 the logit is ln 2: 2/4.
        ("weighted_softmax", {}, -np.log(4 / 6)),
        ("weighted_softmax", {"logit_scale": 2.0}, -np.log(2 / 4)),
        # sigmoids 1/2, 1/2, 4/5: ln 2 + ln 2 - ln 0.8
        ("weighted_sigmoid", {}, 2 * np.log(2) - np.log(0.8)),
        ("weighted_sigmoid_focal", {"gamma": 2.0}, 2 * 0.25 * np.log(2) - 0.04 * np.log(0.8)),
        ("weighted_sigmoid_focal", {"gamma": 0.0, "alpha": 0.75}, 2 * 0.25 * np.log(2) - 0.75 * np.log(0.8)),
        # targets softmax([0, 0, 1]) = [1, 1, e] / (2 + e)
        (
            "weighted_logits_softmax",
            {},
            -(2 * np.log(1 / 6) + np.e * np.log(4 / 6)) / (2 + np.e),
        ),
    ],
)
def test_classification_losses(name, fields, expected):
    loss = losses.classification_loss(name, **fields)(tf.constant([0.0, 0.0, np.log(4)]), tf.constant([0.0, 0.0, 1.0]))
    np.testing.assert_allclose(loss, expected, rtol=1e-6)


def test_no_proposals_have_no_losses():
    assert losses.localization_losses(tf.zeros([0, 4]), tf.zeros([0, 4])).shape == (0,)
    for name in losses.CLASSIFICATION_LOSSES:
        assert losses.classification_loss(name)(tf.zeros([2, 0, 3]), tf.zeros([2, 0, 3])).shape == (2, 0)


@pytest.mark.parametrize("name", ["bootstrapped_sigmoid", "penalty_reduced_logistic_focal_loss"])
def test_other_classification_losses_are_refused_by_name(name):
    with pytest.raises(losses.LossError, match=name):
        losses.classification_loss(name)

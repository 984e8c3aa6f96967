"""From config field to loss: each field of the losses acts through model_builder, on hand-made predictions.

Anchors and proposals: 8 on the one groundtruth box (class 1, nearly: one pixel off each), 8 far away. All logits are 0
but one, so that every cross entropy is ln 2 or ln 3, and every wrong box costs the same.
"""

import types

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format

from tfod_csf.config.protos import model_pb2
from tfod_csf.modeling import losses, model_builder, target_assigner
from tfod_csf.modeling.rpn import Proposals

BASE = """
  num_classes: 2
  image_resizer { fixed_shape_resizer { height: 100 width: 100 } }
  feature_extractor { type: "faster_rcnn_resnet18_keras" }
  first_stage_anchor_generator { grid_anchor_generator { scales: 1.0 aspect_ratios: 1.0 } }
  first_stage_max_proposals: 16
  second_stage_batch_size: 16
  initial_crop_size: 14 maxpool_kernel_size: 2 maxpool_stride: 2
  second_stage_box_predictor { mask_rcnn_box_predictor { share_box_across_classes: true } }
"""
ON_THE_BOX, FAR = [10.0, 10.0, 50.0, 51.0], [60.0, 60.0, 100.0, 100.0]
BOXES = tf.constant([ON_THE_BOX] * 8 + [FAR] * 8)
GROUNDTRUTH = {
    "boxes": tf.constant([[[0.1, 0.1, 0.5, 0.5]]]),
    "classes": tf.constant([[[0.0, 1.0]]]),
    "weights": tf.constant([[1.0]]),
}
PROPOSALS = Proposals(BOXES[tf.newaxis], tf.constant([16]))
IN_PIXELS = target_assigner.groundtruth_in_pixels(GROUNDTRUTH, 100, 100)
NAMES = {
    "rpn box": losses.RPN_LOCALIZATION_LOSS,
    "rpn class": losses.RPN_OBJECTNESS_LOSS,
    "box": losses.BOX_CLASSIFIER_LOCALIZATION_LOSS,
    "class": losses.BOX_CLASSIFIER_CLASSIFICATION_LOSS,
}


@pytest.fixture
def build(monkeypatch):
    """From fields to the network; without backbone, which the losses do not see."""
    extractor = types.SimpleNamespace(crop_subsampling=1)
    monkeypatch.setattr(model_builder.extractor_builder, "build", lambda **fields: extractor)

    def build_model(fields):
        # Later fields win, so a test's fields override those of BASE.
        config = text_format.Parse(f"faster_rcnn {{ {BASE} }}", model_pb2.DetectionModel())
        config.MergeFrom(text_format.Parse(f"faster_rcnn {{ {fields} }}", model_pb2.DetectionModel()))
        return model_builder.build(config, is_training=True)

    return build_model


def loss_of(model, num_proposals=16):
    first_logits = np.zeros([1, 16, 2], np.float32)
    first_logits[0, 0] = [100.0, 0.0]  # the first anchor is said to be background: cross entropy 100
    class_logits = np.zeros([16, 3], np.float32)
    class_logits[0] = [np.log(4), 0.0, 0.0]
    predictions = {
        "image_shape": tf.constant([1, 100, 100, 3]),
        "rpn_box_predictor_features": tf.zeros([1, 4, 4, 512]),
        "anchors": BOXES,
        "rpn_box_encodings": tf.zeros([1, 16, 4]),
        "rpn_objectness_predictions_with_background": tf.constant(first_logits),
        "proposal_boxes": BOXES[tf.newaxis],
        "num_proposals": tf.constant([num_proposals]),
        "refined_box_encodings": tf.zeros([16, 1, 4]),
        "class_predictions_with_background": tf.constant(class_logits),
    }
    named = model.loss(predictions, tf.constant([[100, 100, 3]]), GROUNDTRUTH)
    return {short: float(named[name]) for short, name in NAMES.items() if name in named}


# One pixel in width: tx = -0.5 / 41 * 10, tw = ln(40 / 41) * 5, both below 1, so 0.5 * square.
BOX_LOSS = 0.5 * (0.5 / 41 * 10) ** 2 + 0.5 * (5 * np.log(40 / 41)) ** 2
LN2, LN3 = np.log(2), np.log(3)
FIRST_PROPOSAL = np.log(6)  # softmax of the truth: 1 / (4 + 1 + 1)


def test_without_further_fields(build):
    # 16 anchors and 16 proposals, all sampled; 8 of them have a box to learn.
    computed = loss_of(build("first_stage_positive_balance_fraction: 1.0"))
    assert computed["rpn class"] == pytest.approx((100 + 15 * LN2) / 16, rel=1e-5)
    assert computed["rpn box"] == pytest.approx(BOX_LOSS / 2, rel=1e-4)
    assert computed["class"] == pytest.approx((FIRST_PROPOSAL + 15 * LN3) / 16, rel=1e-5)
    assert computed["box"] == pytest.approx(BOX_LOSS / 2, rel=1e-4)


def test_loss_weights(build):
    computed = loss_of(
        build(
            "first_stage_localization_loss_weight: 2 first_stage_objectness_loss_weight: 3 "
            "second_stage_localization_loss_weight: 4 second_stage_classification_loss_weight: 5"
        )
    )
    plain = loss_of(build(""))
    ratios = {name: computed[name] / plain[name] for name in NAMES}
    assert ratios == pytest.approx({"rpn box": 2, "rpn class": 3, "box": 4, "class": 5}, rel=1e-5)


def test_one_stage_has_two_losses(build):
    assert set(loss_of(build("number_of_stages: 1"))) == {"rpn box", "rpn class"}


def test_first_stage_minibatch_and_its_share_of_positives(build):
    # Of 4 anchors int(0.25 * 4) = 1 positive: a quarter of the loss of a box. With share 1 all 4 are positives.
    quarter = loss_of(build("first_stage_minibatch_size: 4 first_stage_positive_balance_fraction: 0.25"))
    assert quarter["rpn box"] == pytest.approx(BOX_LOSS / 4, rel=1e-4)
    whole = loss_of(build("first_stage_minibatch_size: 4 first_stage_positive_balance_fraction: 1.0"))
    assert whole["rpn box"] == pytest.approx(BOX_LOSS, rel=1e-4)


@pytest.mark.parametrize("static", ["", "use_static_shapes: true use_static_balanced_label_sampler: true"])
def test_second_stage_batch_size_and_its_share_of_positives(build, static):
    model = build(f"second_stage_batch_size: 4 second_stage_balance_fraction: 0.5 {static}")
    boxes, num_proposals = model.box_classifier.sample(PROPOSALS, IN_PIXELS)
    np.testing.assert_array_equal(boxes[0], [ON_THE_BOX] * 2 + [FAR] * 2)
    np.testing.assert_array_equal(num_proposals, [4])


def test_static_shapes_count_the_first_proposal_in_place_of_those_that_are_missing(build):
    # Of 2 valid proposals, both positive, int(0.25 * 4) = 1 is sampled for a minibatch of 4.
    two_proposals = PROPOSALS._replace(num_proposals=tf.constant([2]))
    plain, static = (
        build(f"second_stage_batch_size: 4 {text}").box_classifier.sample(two_proposals, IN_PIXELS)
        for text in ("", "use_static_shapes: true")
    )
    np.testing.assert_array_equal(plain.proposal_boxes[0], [ON_THE_BOX] + [[0.0] * 4] * 3)
    np.testing.assert_array_equal(plain.num_proposals, [1])
    np.testing.assert_array_equal(static.proposal_boxes[0], [ON_THE_BOX] * 4)
    np.testing.assert_array_equal(static.num_proposals, [4])


def test_static_sampler_needs_static_shapes(build):
    # 2 valid proposals for a minibatch of 4: the static sampler fills up.
    two_proposals = PROPOSALS._replace(num_proposals=tf.constant([2]))
    numbers = []
    for static in ("", "use_static_shapes: true"):
        model = build(f"second_stage_batch_size: 4 use_static_balanced_label_sampler: true {static}")
        numbers.append(int(model.box_classifier.sample(two_proposals, IN_PIXELS).num_proposals[0]))
    assert numbers == [1, 4]  # one of the two positives: int(0.25 * 4)


@pytest.mark.parametrize(
    ("loss", "first", "others"),
    [
        # Two logits of 0 and the first proposal's ln 4 (sigmoid 0.8 for background, which is wrong).
        ("weighted_softmax {}", FIRST_PROPOSAL, LN3),
        ("weighted_softmax { logit_scale: 2 }", np.log(4), LN3),
        ("weighted_sigmoid {}", np.log(5) + 2 * LN2, 3 * LN2),
        ("weighted_sigmoid_focal { gamma: 1 }", 0.8 * np.log(5) + 0.5 * 2 * LN2, 0.5 * 3 * LN2),
    ],
)
def test_second_stage_classification_loss(build, loss, first, others):
    computed = loss_of(build(f"second_stage_classification_loss {{ {loss} }}"))
    assert computed["class"] == pytest.approx((first + 15 * others) / 16, rel=1e-5)


def test_other_classification_losses_are_refused(build):
    with pytest.raises(losses.LossError, match="bootstrapped_sigmoid"):
        build("second_stage_classification_loss { bootstrapped_sigmoid { alpha: 0.5 } }")


def test_hard_example_miner(build):
    # The 8 proposals on the box overlap: the hardest remains, and one of the far ones; both are divided by 16.
    mined = loss_of(build("hard_example_miner {}"))
    assert mined["class"] == pytest.approx((FIRST_PROPOSAL + LN3) / 16, rel=1e-5)
    assert mined["box"] == pytest.approx(BOX_LOSS / 16, rel=1e-4)
    one = loss_of(build("hard_example_miner { num_hard_examples: 1 }"))
    assert one["class"] == pytest.approx(FIRST_PROPOSAL / 16, rel=1e-5)
    nothing_suppressed = loss_of(build("hard_example_miner { iou_threshold: 1.0 }"))
    assert nothing_suppressed["class"] == pytest.approx((FIRST_PROPOSAL + 15 * LN3) / 16, rel=1e-5)
    # By localization alone a proposal on the box comes first; by classification the one of ln 6.
    by_box = loss_of(build("hard_example_miner { num_hard_examples: 1 loss_type: LOCALIZATION }"))
    assert by_box["box"] == pytest.approx(BOX_LOSS / 16, rel=1e-4)
    by_class = loss_of(build("hard_example_miner { num_hard_examples: 1 loss_type: CLASSIFICATION }"))
    assert by_class["class"] == pytest.approx(FIRST_PROPOSAL / 16, rel=1e-5)


def test_hard_example_miner_sees_all_proposals(build):
    sampled = build("second_stage_batch_size: 4").box_classifier.sample(PROPOSALS, IN_PIXELS)
    assert sampled.proposal_boxes.shape == (1, 4, 4)
    mined = build("second_stage_batch_size: 4 hard_example_miner {}").box_classifier.sample(PROPOSALS, IN_PIXELS)
    np.testing.assert_array_equal(mined.proposal_boxes, PROPOSALS.proposal_boxes)
    np.testing.assert_array_equal(mined.num_proposals, [16])

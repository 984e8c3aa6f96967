"""Targets, losses and gradients against TFOD's recorded ones."""

import types

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format

from tfod_csf.config.protos import pipeline_pb2
from tfod_csf.modeling import losses, target_assigner

LOSS_RTOL = 1e-6  # losses from stored predictions and targets


def recorded_case(path):
    """Arrays, FasterRcnn config and padded groundtruth of a loss fixture."""
    with np.load(path) as archive:
        arrays = {key: archive[key] for key in archive}
    config = text_format.Parse(path.with_suffix(".config").read_text(), pipeline_pb2.TrainEvalPipelineConfig())
    num_images, height, width, _ = arrays["pred/image_shape"]
    groundtruth = padded_groundtruth(arrays, num_images)
    return types.SimpleNamespace(
        arrays=arrays,
        config=config.model.faster_rcnn,
        num_images=num_images,
        groundtruth=groundtruth,
        in_pixels=target_assigner.groundtruth_in_pixels(groundtruth, height, width),
    )


def padded_groundtruth(arrays, num_images):
    """The groundtruth of all images as the input pipeline gives it: padded to one number of boxes, weight 0."""
    rows = max(len(arrays[f"gt/weights_{i}"]) for i in range(num_images))

    def padded(name):
        images = [arrays[f"gt/{name}_{i}"] for i in range(num_images)]
        return tf.constant(
            np.stack([np.pad(a, [(0, rows - len(a))] + [(0, 0)] * (a.ndim - 1)) for a in images]), tf.float32
        )

    return {
        "boxes": padded("boxes"),
        "classes": padded("classes_onehot"),
        "weights": padded("weights"),
        "num_boxes": tf.constant([len(arrays[f"gt/weights_{i}"]) for i in range(num_images)]),
    }


@pytest.mark.recorded("loss_*.npz")
def test_targets_are_exact(recorded):
    case = recorded_case(recorded)
    anchors = tf.constant(case.arrays["pred/anchors"])
    proposals = tf.constant(case.arrays["pred/proposal_boxes"])
    rpn = target_assigner.batch_assign_first_stage_targets(anchors, case.in_pixels)
    det = target_assigner.batch_assign_second_stage_targets(proposals, case.in_pixels)
    for prefix, targets in (("rpn", rpn), ("det", det)):
        for field, computed in targets._asdict().items():
            expected = case.arrays[f"tgt/{prefix}_{field}"]
            if expected.ndim > computed.shape.ndims:  # TFOD tiles the weights (and scalar labels) over the classes
                computed = np.broadcast_to(computed[..., np.newaxis], expected.shape)
            np.testing.assert_array_equal(computed, expected, err_msg=f"{prefix}_{field}")


@pytest.mark.recorded("loss_*.npz")
def test_losses_from_stored_predictions(recorded):
    case = recorded_case(recorded)
    pred = {key.removeprefix("pred/"): tf.constant(a) for key, a in case.arrays.items() if key.startswith("pred/")}
    is_static = case.config.use_static_balanced_label_sampler and case.config.use_static_shapes
    computed = losses.first_stage_losses(
        pred["rpn_box_encodings"],
        pred["rpn_objectness_predictions_with_background"],
        pred["anchors"],
        case.in_pixels,
        first_stage_minibatch_size=case.config.first_stage_minibatch_size,
        first_stage_positive_balance_fraction=case.config.first_stage_positive_balance_fraction,
        first_stage_localization_loss_weight=case.config.first_stage_localization_loss_weight,
        first_stage_objectness_loss_weight=case.config.first_stage_objectness_loss_weight,
        use_static_balanced_label_sampler=is_static,
    ) | losses.second_stage_losses(
        pred["refined_box_encodings"],
        pred["class_predictions_with_background"],
        pred["proposal_boxes"],
        pred["num_proposals"],
        case.in_pixels,
        second_stage_localization_loss_weight=case.config.second_stage_localization_loss_weight,
        second_stage_classification_loss_weight=case.config.second_stage_classification_loss_weight,
    )
    for name, value in computed.items():
        expected = case.arrays["loss/" + name.replace("/", "|")]
        np.testing.assert_allclose(value, expected, rtol=LOSS_RTOL, err_msg=name)

"""Targets, losses, gradients and batch norm statistics against TFOD's recorded ones.

The whole step runs eagerly, as the recorded one did. As a tf.function it differs by rounding (a graph multiplies where
Python divides), which moves a proposal of loss_3_edge by 4e-6 px: enough to carry an activation across a kink, so that
one entry of a gradient changes by 3e-3 of the largest.
"""

import types

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format

from tfod_csf.config.protos import pipeline_pb2
from tfod_csf.modeling import box_head, model_builder, rpn, target_assigner

LOSS_FROM_STORED_RTOL = 1e-6
# Batch norm frozen and trained. Norms are relative to max(norm, 1e-3 * largest norm).
LOSS_RTOL = {False: 1e-5, True: 3e-3}
PREDICTOR_GRADIENT = {False: 1e-4, True: 5e-2}  # of the max, kernels and biases of the predictors
OTHER_GRADIENT = 1e-4  # of the max, besides 10 * the deviation of the second recorded sample
FROZEN_NORM, TRAINED_NORM, TRAINED_NORM_MEDIAN = 1e-3, 5e-2, 5e-3
BATCH_NORM_STATISTICS = {"rtol": 1e-4, "atol": 1e-4}
ANCHORS_PX, PROPOSALS_PX = 1e-4, 2e-3
# TensorFlow 1's graph reorders additions around constants, (ymin + h / 2) - ya to (ymin - ya) + h / 2, so its targets
# are rounded otherwise: by up to 1.7e-6, where float64 is as far from them as it is from ours.
GRAPH_REGRESSION_TARGETS = 3e-6
# A ReLU whose argument is 0 to the last digits (3e-6 of a range of 9.4): other kernels round it to the other side,
# which moves one entry of a gradient by 9e-4 of the largest. An offset raised by 1e-5 puts it on the recorded side,
# however it is rounded. {fixture: (variable, entry, what is added)}
KINKS = {
    "loss_6_tf1_inception_v2": (
        "SecondStageFeatureExtractor/InceptionV2/Mixed_5a/Branch_1/Conv2d_0b_3x3/BatchNorm/beta",
        79,
        1e-5,
    )
}


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


@pytest.mark.recorded("loss_*.npz", "tf1/loss_*.npz")
def test_targets_are_exact(recorded):
    case = recorded_case(recorded)
    anchors = tf.constant(case.arrays["pred/anchors"])
    proposals = tf.constant(case.arrays["pred/proposal_boxes"])
    first_stage = target_assigner.batch_assign_first_stage_targets(anchors, case.in_pixels)
    second_stage = target_assigner.batch_assign_second_stage_targets(proposals, case.in_pixels)
    for prefix, targets in (("rpn", first_stage), ("det", second_stage)):
        for field, computed in targets._asdict().items():
            expected = case.arrays[f"tgt/{prefix}_{field}"]
            if expected.ndim > computed.shape.ndims:  # TFOD tiles the weights (and scalar labels) over the classes
                computed = np.broadcast_to(computed[..., np.newaxis], expected.shape)
            is_rounded = field == "reg_targets" and "_tf1_" in recorded.name
            atol = GRAPH_REGRESSION_TARGETS if is_rounded else 0.0
            np.testing.assert_allclose(computed, expected, rtol=0.0, atol=atol, err_msg=f"{prefix}_{field}")


@pytest.mark.recorded("loss_*.npz", "tf1/loss_*.npz")
def test_losses_from_stored_predictions(recorded):
    case = recorded_case(recorded)
    pred = {key.removeprefix("pred/"): tf.constant(a) for key, a in case.arrays.items() if key.startswith("pred/")}
    first_stage = rpn.FirstStagePredictions(
        rpn_box_predictor_features=None,  # no loss looks at them
        rpn_box_encodings=pred["rpn_box_encodings"],
        rpn_objectness_predictions_with_background=pred["rpn_objectness_predictions_with_background"],
        anchors=pred["anchors"],
    )
    second_stage = box_head.SecondStagePredictions(
        pred["refined_box_encodings"], pred["class_predictions_with_background"]
    )
    proposals = rpn.Proposals(pred["proposal_boxes"], pred["num_proposals"])
    computed = model_builder.build_region_proposal_network(case.config, is_training=True).losses(
        first_stage, case.in_pixels
    ) | model_builder.build_box_classifier(case.config).losses(second_stage, proposals, case.in_pixels)
    for name, value in computed.items():
        expected = case.arrays["loss/" + name.replace("/", "|")]
        np.testing.assert_allclose(value, expected, rtol=LOSS_FROM_STORED_RTOL, err_msg=name)


@pytest.mark.recorded("loss_*.npz", "tf1/loss_*.npz")
def test_training_step(recorded, build_recorded_model, variables_as_recorded, record_property):
    """Preprocess, predict, loss and gradients of the sum of all losses, by the network of the config."""
    case = recorded_case(recorded)
    model, arrays = build_recorded_model(recorded, is_training=True)
    variables = variables_as_recorded(model)
    before = {key: variables[key].numpy() for key in arrays.get("bn/keys", ())}
    if recorded.stem in KINKS:
        name, entry, offset = KINKS[recorded.stem]
        variables[name].assign_add(tf.one_hot(entry, variables[name].shape[0], offset, 0.0))
    predictions, named_losses, gradients = training_step(model, case, [variables[key] for key in arrays["grad/keys"]])

    is_trained = case.config.feature_extractor.batch_norm_trainable
    ratios = {
        "anchors": deviation(predictions["anchors"], arrays["pred/anchors"]) / ANCHORS_PX,
        "proposals": deviation(*proposals_of(predictions, arrays)) / PROPOSALS_PX,
        **{name: value / LOSS_RTOL[is_trained] for name, value in loss_deviations(named_losses, arrays).items()},
        **norm_ratios(gradients, arrays, is_trained),
        **full_gradient_ratios(gradients, arrays, is_trained),
        **batch_norm_ratios(variables, before, arrays),
    }
    for name, ratio in ratios.items():
        record_property(name, f"{ratio:.2g} of the tolerance")
    np.testing.assert_array_equal(predictions["num_proposals"], arrays["pred/num_proposals"])
    assert set(arrays["grad/keys"]) == {
        key for key, variable in variables.items() if any(variable is other for other in model.trainable_variables)
    }
    exceeded = {name: f"{ratio:.3g}" for name, ratio in ratios.items() if not ratio <= 1}
    assert not exceeded, f"deviation over tolerance: {exceeded}"


@pytest.mark.slow
@pytest.mark.recorded("loss_*.npz", "tf1/loss_*.npz")
def test_losses_as_a_graph(recorded, build_recorded_model):
    """What the trainer runs: the same losses from a tf.function."""
    case = recorded_case(recorded)
    model, arrays = build_recorded_model(recorded, is_training=True)

    @tf.function
    def step(images):
        preprocessed, true_image_shapes = model.preprocess(images)
        predictions = model.predict(preprocessed, true_image_shapes, case.groundtruth, training=True)
        return model.loss(predictions, true_image_shapes, case.groundtruth)

    is_trained = case.config.feature_extractor.batch_norm_trainable
    for name, value in step(tf.constant(arrays["in/images"])).items():
        expected = arrays["loss/" + name.replace("/", "|")]
        np.testing.assert_allclose(value, expected, rtol=LOSS_RTOL[is_trained], err_msg=name)


def training_step(model, case, variables):
    """Predictions, all losses by TFOD's names, and gradients as {index: array}, of one eager training step."""
    images, true_image_shapes = model.preprocess(tf.constant(case.arrays["in/images"]))
    np.testing.assert_allclose(images, case.arrays["pre/preprocessed_inputs"], atol=1e-4)
    np.testing.assert_array_equal(true_image_shapes, case.arrays["pre/true_image_shapes"])
    with tf.GradientTape() as tape:
        predictions = model.predict(images, true_image_shapes, case.groundtruth, training=True)
        named_losses = model.loss(predictions, true_image_shapes, case.groundtruth)
        named_losses["Loss/regularization_loss"] = tf.add_n(model.regularization_losses() or [tf.constant(0.0)])
        named_losses["Loss/total_loss"] = tf.add_n(list(named_losses.values()))
    gradients = tape.gradient(named_losses["Loss/total_loss"], variables)
    return predictions, named_losses, [gradient.numpy().astype(np.float64) for gradient in gradients]


def deviation(computed, expected):
    return np.abs(np.asarray(computed, np.float64) - expected).max(initial=0.0)


def proposals_of(predictions, arrays):
    """Computed and recorded proposals. Where equal scores decide their order, both are sorted by their corners."""
    both = [np.asarray(predictions["proposal_boxes"]), arrays["pred/proposal_boxes"]]
    if arrays.get("alt/same_proposal_order", True):
        return both
    return [np.stack([boxes[np.lexsort(np.rint(boxes).T)] for boxes in images]) for images in both]


def loss_deviations(named_losses, arrays):
    """{name: relative deviation} of every recorded loss; a recorded 0 wants 0."""
    deviations = {}
    for key in arrays:
        if key.startswith("loss/"):
            name, expected = key.removeprefix("loss/").replace("|", "/"), float(arrays[key])
            deviations[name] = abs(float(named_losses[name]) - expected) / max(abs(expected), 1e-9)
    return deviations


def norm_ratios(gradients, arrays, is_trained):
    """Deviations of the gradient norms over their tolerances: the largest, and with batch norm trained the median."""
    norms, expected = np.array([np.linalg.norm(gradient) for gradient in gradients]), arrays["grad/norms"]
    scale = np.maximum(expected, 1e-3 * expected.max())
    relative = np.abs(norms - expected) / scale
    if is_trained:
        return {"norms": relative.max() / TRAINED_NORM, "median norm": np.median(relative) / TRAINED_NORM_MEDIAN}
    noise = np.abs(arrays["alt/grad_norms"] - expected) / scale
    return {"norms": (relative / np.maximum(FROZEN_NORM, 10 * noise)).max()}


def full_gradient_ratios(gradients, arrays, is_trained):
    """Largest deviation over tolerance of the gradients that are recorded in full, predictors and others."""
    ratios = {"predictor gradients": 0.0, "other gradients": 0.0}
    for key, gradient in zip(arrays["grad/keys"], gradients):
        stored = key.replace("/", "|")
        if f"grad/full|{stored}" not in arrays:
            continue
        expected = arrays[f"grad/full|{stored}"]
        largest = np.abs(expected).max()
        if "box_predictor/" in key or "BoxPredictor/" in key:
            kind, tolerance = "predictor gradients", PREDICTOR_GRADIENT[is_trained] * largest
        else:
            kind, tolerance = "other gradients", 10 * arrays[f"alt/max_abs_dev|{stored}"] + OTHER_GRADIENT * largest
        ratios[kind] = max(ratios[kind], deviation(gradient, expected) / tolerance)
    return ratios


def batch_norm_ratios(variables, before, arrays):
    """Moving statistics after the step: where recorded, their values; everywhere, how far they moved."""
    ratios = {"batch norm": 0.0}
    for key, moved in zip(arrays.get("bn/keys", ()), arrays.get("bn/max_abs_change", ())):
        now = variables[key].numpy()
        expected = arrays.get("bn/after|" + key.replace("/", "|"))
        tolerance = BATCH_NORM_STATISTICS["atol"] + BATCH_NORM_STATISTICS["rtol"] * np.abs(moved)
        ratio = abs(deviation(now, before[key]) - moved) / tolerance
        if expected is not None:
            limits = BATCH_NORM_STATISTICS["atol"] + BATCH_NORM_STATISTICS["rtol"] * np.abs(expected)
            ratio = max(ratio, (np.abs(now - expected) / limits).max())
        ratios["batch norm"] = max(ratios["batch norm"], ratio)
    return ratios

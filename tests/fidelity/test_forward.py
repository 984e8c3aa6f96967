"""Inference against TFOD's: preprocess, predict and postprocess of every forward_* fixture."""

import re

import numpy as np
import pytest
import tensorflow as tf

# Absolute tolerances; of the maximum of the recorded array where "of the max".
ABSOLUTE = {
    "pre/preprocessed_inputs": 1e-4,
    "pred/anchors": 1e-4,
    "pred/rpn_box_encodings": 3e-4,
    "pred/rpn_objectness_predictions_with_background": 3e-4,
    "pred/refined_box_encodings": 3e-4,
    "pred/class_predictions_with_background": 3e-4,
    "pred/proposal_boxes": 2e-3,
    "pred/proposal_boxes_normalized": 3e-5,
    "pred/final_anchors": 3e-5,
    "det/detection_boxes": 3e-5,
    "det/raw_detection_boxes": 3e-5,
    "det/detection_scores": 2e-5,
    "det/detection_multiclass_scores": 2e-5,
    "det/raw_detection_scores": 2e-5,
}
OF_THE_MAX = {
    "pred/rpn_features_to_crop": 2e-5,
    "pred/rpn_box_predictor_features": 2e-5,
    "pred/box_classifier_features_mean_hw": 2e-5,
}
# Rows of proposals that the native crop's float rounding decides at the far edge.
ROWS_OF_PROPOSALS = {
    "pred/refined_box_encodings",
    "pred/class_predictions_with_background",
    "pred/box_classifier_features_mean_hw",
    "det/raw_detection_boxes",
    "det/raw_detection_scores",
}
PLATFORM_RECORDS = ("in/", "meta/", "end/")  # end/: statistics of layers inside, to find the first that differs


@pytest.mark.recorded("forward_*.npz", "later/forward_*.npz", "tf1/forward_*.npz")
def test_forward(recorded, build_recorded_model, record_property):
    model, arrays = build_recorded_model(recorded, is_training=False)
    computed = _forward(model, arrays["in/images"])
    is_native_crop = "use_matmul_crop_and_resize: true" not in recorded.with_suffix(".config").read_text()
    far_edge = arrays["meta/far_edge_proposals"].reshape(-1) & is_native_crop
    failures = []
    for name, expected in arrays.items():
        if name.startswith(PLATFORM_RECORDS):
            continue
        actual, expected = _comparable(computed, name, expected)
        assert actual.shape == expected.shape, name
        if name in ROWS_OF_PROPOSALS:
            rows = [array.reshape(far_edge.size, -1)[~far_edge] for array in (actual, expected)]
            actual, expected = rows
        tolerance = ABSOLUTE.get(name, OF_THE_MAX.get(_tensor(name), 0.0) * np.abs(expected).max(initial=0.0))
        difference = np.abs(actual.astype(np.float64) - expected).max(initial=0.0)
        record_property(name, f"{difference:.2e} of {tolerance:.2e}")
        if not difference <= tolerance:
            failures.append(f"{name}: {difference:.3g} > {tolerance:.3g}")
    assert not failures, "; ".join(failures)


def _tensor(name: str) -> str:
    """The tensor that a recorded array is part of: without the level of a feature pyramid, `_every8` and `_shape`."""
    return re.sub(r"(_\d)?(_every8)?$", "", name)


def _forward(model, images: np.ndarray) -> dict[str, np.ndarray]:
    """Everything a fixture may hold, by its key there."""

    @tf.function
    def run(images):
        preprocessed, true_image_shapes = model.preprocess(images)
        predictions = model.predict(preprocessed, true_image_shapes)
        detections = model.postprocess(predictions, true_image_shapes)
        return preprocessed, true_image_shapes, predictions, detections

    preprocessed, true_image_shapes, predictions, detections = run(tf.constant(images))
    features = predictions["box_classifier_features"].numpy()
    return {
        "pre/preprocessed_inputs": preprocessed.numpy(),
        "pre/true_image_shapes": true_image_shapes.numpy(),
        **{f"pred/{name}": value.numpy() for name, value in _single_tensors(predictions)},
        "pred/box_classifier_features_mean_hw": features.mean(axis=(1, 2)),
        "pred/box_classifier_features_shape": np.array(features.shape),
        **{f"det/{name}": value.numpy() for name, value in detections.items()},
    }


def _single_tensors(predictions: dict) -> list[tuple[str, tf.Tensor]]:
    """Names and tensors; of a list, one feature map per level, as NAME_0, NAME_1 and so on."""
    return [
        (f"{name}_{level}" if isinstance(value, list) else name, tensor)
        for name, value in predictions.items()
        for level, tensor in enumerate(value if isinstance(value, list) else [value])
    ]


def _comparable(computed: dict[str, np.ndarray], name: str, expected: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The computed array for a recorded one, which may hold every 8th channel or only the shape of a large tensor."""
    if name.endswith("_every8"):
        return computed[name.removesuffix("_every8")][..., ::8], expected
    if name.endswith("_shape") and name not in computed:
        return np.array(computed[name.removesuffix("_shape")].shape), expected
    return computed[name], expected

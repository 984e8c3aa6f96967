"""The network as a whole on a tiny config; its numbers are compared with TFOD's in tests/fidelity."""

import numpy as np
import pytest
import tensorflow as tf

from tfod_csf.modeling import losses, model_builder
from tfod_csf.network_input import image_normalizer


@pytest.fixture(scope="module")
def model(tiny_config):
    model = model_builder.build(tiny_config(), is_training=True)
    model.build_variables(32, 32)
    return model


@pytest.fixture(scope="module")
def one_stage_model(tiny_config):
    model = model_builder.build(tiny_config("number_of_stages: 1"), is_training=True)
    model.build_variables(32, 32)
    return model


def test_preprocess_pads_then_subtracts_the_means(model, tiny_images):
    preprocessed, true_image_shapes = model.preprocess(tiny_images)
    assert preprocessed.shape == (2, 64, 64, 3)
    np.testing.assert_array_equal(true_image_shapes, [[48, 64, 3]] * 2)
    np.testing.assert_allclose(preprocessed[:, :48], tiny_images - image_normalizer.CHANNEL_MEANS, atol=1e-4)
    np.testing.assert_allclose(preprocessed[1, 63, 0], -np.array(image_normalizer.CHANNEL_MEANS), atol=1e-4)


def test_variables_exist_once_and_are_made_by_build_variables(model, tiny_images):
    before = [id(variable) for variable in model.variables]
    assert len(set(before)) == len(before)
    model.predict(*model.preprocess(tiny_images))
    assert [id(variable) for variable in model.variables] == before
    assert len(model.trainable_variables) == 3 * (1 + 12 + 3) + 6 + 3 * (4 + 1) + 4


def test_inference_is_repeatable_and_in_range(model, tiny_images):
    preprocessed, true_image_shapes = model.preprocess(tiny_images)
    predictions = model.predict(preprocessed, true_image_shapes)
    detections = model.postprocess(predictions, true_image_shapes)
    assert predictions["anchors"].shape == (4 * 4 * 2, 4)
    assert predictions["proposal_boxes"].shape == (2, 12, 4)
    assert predictions["refined_box_encodings"].shape == (24, 1, 4)
    assert detections["detection_boxes"].shape == (2, 7, 4)
    assert detections["detection_multiclass_scores"].shape == (2, 7, 3)
    assert detections["raw_detection_boxes"].shape == (2, 12, 4)
    assert np.all(predictions["proposal_boxes"][..., 2] <= 48)  # the true image, not the padded one
    boxes, count = detections["detection_boxes"].numpy(), detections["num_detections"].numpy()
    assert boxes.min() >= 0
    assert boxes.max() <= 1
    assert count.dtype == np.float32
    for image in range(2):
        rows = np.arange(7) >= count[image]
        for name in ("detection_boxes", "detection_scores", "detection_classes", "detection_multiclass_scores"):
            assert not np.any(detections[name].numpy()[image][rows]), name
    again = model.postprocess(model.predict(preprocessed, true_image_shapes), true_image_shapes)
    np.testing.assert_array_equal(detections["detection_scores"], again["detection_scores"])


def test_images_of_a_batch_do_not_touch_each_other(model, tiny_images):
    preprocessed, true_image_shapes = model.preprocess(tiny_images)
    together = model.postprocess(model.predict(preprocessed, true_image_shapes), true_image_shapes)
    alone = model.postprocess(model.predict(preprocessed[1:], true_image_shapes[1:]), true_image_shapes[1:])
    np.testing.assert_allclose(together["detection_scores"][1:], alone["detection_scores"], atol=1e-4)


def test_training_samples_proposals_and_gives_all_losses(model, tiny_images, tiny_groundtruth):
    preprocessed, true_image_shapes = model.preprocess(tiny_images)
    with tf.GradientTape() as tape:
        predictions = model.predict(preprocessed, true_image_shapes, tiny_groundtruth, training=True)
        named = model.loss(predictions, true_image_shapes, tiny_groundtruth)
        total = tf.add_n([*named.values(), *model.regularization_losses()])
    assert predictions["proposal_boxes"].shape == (2, 6, 4)
    assert predictions["anchors"].shape[0] < 32  # those that cross the border are gone
    assert set(named) == {
        losses.RPN_LOCALIZATION_LOSS,
        losses.RPN_OBJECTNESS_LOSS,
        losses.BOX_CLASSIFIER_LOCALIZATION_LOSS,
        losses.BOX_CLASSIFIER_CLASSIFICATION_LOSS,
    }
    assert all(np.isfinite(value) for value in named.values())
    assert None not in tape.gradient(total, model.trainable_variables)


def test_evaluation_losses_use_all_proposals_and_anchors(model, tiny_images, tiny_groundtruth):
    preprocessed, true_image_shapes = model.preprocess(tiny_images)
    predictions = model.predict(preprocessed, true_image_shapes, tiny_groundtruth, training=False)
    assert predictions["proposal_boxes"].shape == (2, 12, 4)
    assert predictions["anchors"].shape == (32, 4)
    assert all(np.isfinite(v) for v in model.loss(predictions, true_image_shapes, tiny_groundtruth).values())


def test_regularized_are_the_three_kernels_of_the_first_stage(model):
    head = model.rpn.head
    kernels = [head.first_conv.layers[0].kernel, head.box_encodings[0].kernel, head.class_predictions[0].kernel]
    expected = [0.5 * 0.1 * np.sum(kernel.numpy() ** 2) for kernel in kernels]
    np.testing.assert_allclose(model.regularization_losses(), expected, rtol=1e-5)


def test_one_stage_detects_proposals(one_stage_model, tiny_images, tiny_groundtruth):
    preprocessed, true_image_shapes = one_stage_model.preprocess(tiny_images)
    predictions = one_stage_model.predict(preprocessed, true_image_shapes, tiny_groundtruth, training=True)
    named = one_stage_model.loss(predictions, true_image_shapes, tiny_groundtruth)
    assert set(named) == {losses.RPN_LOCALIZATION_LOSS, losses.RPN_OBJECTNESS_LOSS}
    detections = one_stage_model.postprocess(
        one_stage_model.predict(preprocessed, true_image_shapes), true_image_shapes
    )
    assert detections["detection_boxes"].shape == (2, 12, 4)
    assert detections["detection_multiclass_scores"].shape == (2, 12, 2)
    assert detections["raw_detection_boxes"].shape == (2, 32, 4)
    assert "detection_classes" not in detections
    np.testing.assert_allclose(
        detections["detection_scores"], detections["detection_multiclass_scores"][..., 1], atol=1e-6
    )
    assert len(one_stage_model.trainable_variables) == 3 * (1 + 12 + 3) + 6


def test_any_number_of_images_of_any_size_in_one_graph(model):
    """What an exported model needs: batch and size unknown, TensorFlow's own operations only."""

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8)])
    def detect(images):
        preprocessed, true_image_shapes = model.preprocess(images)
        return model.postprocess(model.predict(preprocessed, true_image_shapes), true_image_shapes)

    preprocess = tf.function(model.preprocess).get_concrete_function(detect.input_signature[0])
    assert preprocess.output_shapes[0].as_list() == [None, 64, 64, 3]
    graph = detect.get_concrete_function().graph
    assert not {operation.type for operation in graph.get_operations()} & {"PyFunc", "EagerPyFunc"}
    for shape in ([1, 30, 50, 3], [3, 80, 20, 3]):
        assert detect(tf.zeros(shape, tf.uint8))["detection_boxes"].shape == (shape[0], 7, 4)


def test_bfloat16_computes_in_half_the_bits_and_answers_in_float32(tiny_config, model, tiny_images):
    half = model_builder.build(tiny_config(), is_training=False, compute_dtype="bfloat16")
    half.build_variables(32, 32)
    for variable, value in zip(half.variables, model.variables):
        assert variable.dtype == tf.float32
        variable.assign(value)
    preprocessed, true_image_shapes = model.preprocess(tiny_images)
    predictions = [network.predict(preprocessed, true_image_shapes) for network in (model, half)]
    for name in ("rpn_features_to_crop", "rpn_box_encodings", "class_predictions_with_background"):
        assert predictions[1][name].dtype == tf.float32
    exact, rough = (value["rpn_features_to_crop"].numpy() for value in predictions)
    assert 0 < np.abs(rough - exact).max() < 0.05 * np.abs(exact).max()

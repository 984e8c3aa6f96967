"""Feature pyramids on a backbone of a few weights; tests/fidelity holds the numbers of the whole network."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tfod_csf.modeling import model_builder
from tfod_csf.modeling.feature_extractors import extractor_builder, feature_extractor, fpn_resnet_v1
from tfod_csf.modeling.layer_hyperparams import LayerHyperparams

PYRAMID = """
  feature_extractor {
    type: "faster_rcnn_resnet50_fpn_keras" batch_norm_trainable: true
    fpn { min_level: 2 max_level: 6 additional_layer_depth: 3 }
    conv_hyperparams { activation: RELU_6 regularizer { l2_regularizer { weight: 0.5 } } batch_norm { epsilon: 0.25 } }
    override_base_feature_extractor_hyperparams: true
  }
  first_stage_anchor_generator {
    multiscale_anchor_generator {
      min_level: 2 max_level: 6 anchor_scale: 2.0 aspect_ratios: 1.0 scales_per_octave: 1 normalize_coordinates: false
    }
  }
  first_stage_minibatch_size: 1000
"""


@pytest.fixture
def backbones(monkeypatch):
    """(depth, hyperparams) of every backbone that was asked for; each is one convolution with means of its cells."""
    asked = []

    def build(depth, hyperparams):
        asked.append((depth, hyperparams))
        image = tf_keras.Input([None, None, 3])
        x = tf_keras.layers.Conv2D(2, 1)(image)
        return tf_keras.Model(image, [tf_keras.layers.AveragePooling2D(2**level)(x) for level in (2, 3, 4, 5)])

    monkeypatch.setattr(fpn_resnet_v1.resnet_v1, "build_backbone", build)
    return asked


def test_a_coarser_level_is_enlarged_and_added_to_the_projected_stage():
    pathway = fpn_resnet_v1.TopDownPathway(2, 1, LayerHyperparams(activation="RELU_6"))
    stages = [tf.constant([[0.5, 1.0], [2.0, -4.0]])[None, :, :, None], tf.constant([[[[3.0]]]])]
    pathway(stages)
    pathway.top_layers[0].set_weights([np.full([1, 1, 1, 1], 2.0), np.ones(1)])
    pathway.residual_blocks[0][0].set_weights([np.ones([1, 1, 1, 1]), -np.ones(1)])
    middle_only = np.zeros([3, 3, 1, 1])
    middle_only[1, 1] = 1.0
    pathway.conv_layers[0][0].set_weights([middle_only, np.zeros(1)])
    fine, coarse = pathway(stages)
    np.testing.assert_allclose(coarse[0, :, :, 0], [[2 * 3 + 1]])  # the coarsest level is a projection alone
    # 7 in every cell, plus the stage - 1; then relu6.
    np.testing.assert_allclose(fine[0, :, :, 0], [[6, 6], [6, 2]])


def test_levels_sizes_and_padding(backbones):
    fields = fpn_resnet_v1.PyramidFields(LayerHyperparams(), min_level=3, max_level=7, additional_layer_depth=4)
    pyramid, box_classifier_features, crop_subsampling = fpn_resnet_v1.build(101, fields)
    # 70 x 96 px are padded to 96 x 96: levels 3 to 7 have 96 / 8 = 12, 6, 3 cells, then half, rounded up.
    sizes = [tuple(level.shape) for level in pyramid(tf.zeros([2, 70, 96, 3]))]
    assert sizes == [(2, size, size, 4) for size in (12, 6, 3, 2, 1)]
    assert box_classifier_features(tf.zeros([5, 7, 7, 4])).shape == (5, 1, 1, 1024)
    assert crop_subsampling == 1
    assert len(pyramid.coarse_feature_layers) == 2
    ((depth, hyperparams),) = backbones
    assert depth == 101
    assert hyperparams is fpn_resnet_v1.resnet_v1.HYPERPARAMS


def test_padding_is_of_zeros_below_and_right(backbones):
    fields = fpn_resnet_v1.PyramidFields(LayerHyperparams(), min_level=2, max_level=5, additional_layer_depth=1)
    pyramid, _, _ = fpn_resnet_v1.build(50, fields)
    image = tf.random.stateless_normal([1, 33, 64, 3], seed=[0, 1])
    padded = tf.pad(image, [[0, 0], [0, 31], [0, 0], [0, 0]])
    for level, expected in zip(pyramid(image), pyramid(padded), strict=True):
        np.testing.assert_array_equal(level, expected)


def test_a_pyramid_learns_with_all_its_variables(backbones, tiny_config, tiny_images, tiny_groundtruth):
    """One step of the whole network: losses over the anchors of all levels, gradients of all trainable variables."""
    model = model_builder.build(tiny_config(PYRAMID), is_training=True)
    preprocessed, true_image_shapes = model.preprocess(tiny_images)
    with tf.GradientTape() as tape:
        predictions = model.predict(preprocessed, true_image_shapes, tiny_groundtruth, training=True)
        losses = model.loss(predictions, true_image_shapes, tiny_groundtruth)
        total = tf.add_n([*losses.values(), *model.regularization_losses()])
    # 64 px: 16 x 16, 8 x 8, 4 x 4, 2 x 2 and 1 x 1 cells with one anchor each, of which some cross the border.
    maps = predictions["rpn_features_to_crop"]
    assert [level.shape[1] for level in maps] == [16, 8, 4, 2, 1]
    assert [level.shape[-1] for level in predictions["rpn_box_predictor_features"]] == [8] * 5
    assert 0 < predictions["anchors"].shape[0] < 341
    assert len(losses) == 4
    assert all(np.isfinite(value) for value in losses.values())
    gradients = tape.gradient(total, model.trainable_variables)
    assert all(gradient is not None and np.all(np.isfinite(gradient)) for gradient in gradients)
    # The backbone's and every level's own layers are among them.
    names = [layer.name for layer in model.keras_layers()]
    assert names.count("BoxEncodingPredictor") == names.count("ClassPredictor") == 5


def test_conv_hyperparams_act_in_the_added_layers_and_where_asked_in_the_backbone(backbones, tiny_config):
    model = model_builder.build(tiny_config(PYRAMID), is_training=True)
    model.build_variables()
    pyramid = model.feature_extractor.proposal_features
    conv, batch_norm, activation = pyramid.coarse_feature_layers[0]
    assert not conv.use_bias
    assert batch_norm.epsilon == 0.25
    np.testing.assert_array_equal(activation(tf.constant([-1.0, 7.0])), [0, 6])
    # Regularized: projections and smoothing of 4 levels, one coarse level; RPN's convolution and 2 * 5 predictors.
    assert len(model.regularization_losses()) == 4 + 3 + 1 + 1 + 2 * 5
    ((_, hyperparams),) = backbones
    assert hyperparams.activation == "RELU_6"
    second_half = model.feature_extractor.box_classifier_features.layers
    assert [type(layer).__name__ for layer in second_half] == [
        "Flatten",
        "Dense",
        "BatchNormalization",
        "Dense",
        "Reshape",
    ]


def test_a_pyramid_detects_in_images_of_any_number_and_size(backbones, tiny_config):
    """What an exported model needs: one graph for all, with TFOD's outputs."""
    model = model_builder.build(tiny_config(PYRAMID), is_training=False)
    model.build_variables()

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8)])
    def detect(images):
        preprocessed, true_image_shapes = model.preprocess(images)
        return model.postprocess(model.predict(preprocessed, true_image_shapes), true_image_shapes)

    for shape in ([1, 40, 64, 3], [2, 64, 50, 3]):
        detections = detect(tf.zeros(shape, tf.uint8))
        assert detections["detection_boxes"].shape == (shape[0], 7, 4)
        assert detections["detection_anchor_indices"].shape == (shape[0], 7)
        assert detections["raw_detection_boxes"].shape == (shape[0], 12, 4)


def test_a_pyramid_of_one_stage_detects_proposals_of_all_levels(backbones, tiny_config, tiny_images):
    model = model_builder.build(
        tiny_config(f"{PYRAMID} number_of_stages: 1"), is_training=False, compute_dtype="bfloat16"
    )
    preprocessed, true_image_shapes = model.preprocess(tiny_images)
    predictions = model.predict(preprocessed, true_image_shapes)
    assert {level.dtype for level in predictions["rpn_features_to_crop"]} == {tf.float32}
    detections = model.postprocess(predictions, true_image_shapes)
    assert detections["raw_detection_boxes"].shape == (2, 16 * 16 + 8 * 8 + 4 * 4 + 2 * 2 + 1, 4)


@pytest.mark.parametrize("depth", [50, 101, 152])
def test_each_type_has_the_depth_in_its_name(backbones, depth):
    fields = fpn_resnet_v1.PyramidFields(LayerHyperparams())
    extractor = extractor_builder.build(f"faster_rcnn_resnet{depth}_fpn_keras", pyramid_fields=fields)
    assert backbones[0][0] == depth
    # Images as for a ResNet without a pyramid: ImageNet's means are subtracted.
    np.testing.assert_allclose(
        extractor.image_normalizer.normalize(tf.zeros([1, 1, 1, 3]))[0, 0, 0], [-123.68, -116.779, -103.939]
    )
    with pytest.raises(feature_extractor.FeatureExtractorError, match="needs conv_hyperparams"):
        extractor_builder.build(f"faster_rcnn_resnet{depth}_fpn_keras")

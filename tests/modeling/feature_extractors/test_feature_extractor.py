"""Shapes, strides and training modes of the backbones; their numbers are held in tests/fidelity."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tfod_csf.modeling.feature_extractors import extractor_builder, feature_extractor


@pytest.fixture(scope="module")
def small():
    return extractor_builder.build("faster_rcnn_resnet18_keras", batch_norm_trainable=True)


@pytest.mark.parametrize(("stride", "channels", "deeper_channels"), [(16, 128, 256), (8, 64, 128)])
def test_small_backbone_has_the_stride_asked_for(stride, channels, deeper_channels):
    extractor = extractor_builder.build("faster_rcnn_resnet18_keras", first_stage_features_stride=stride)
    (features,) = extractor.extract_proposal_features(tf.zeros([1, 64, 96, 3]), training=False)
    assert features.shape == (1, 64 // stride, 96 // stride, channels)
    crops = tf.zeros([5, 7, 7, channels])
    assert extractor.extract_box_classifier_features(crops, training=False).shape == (5, 4, 4, deeper_channels)


def test_the_halves_share_no_variables_and_lose_none(small):
    first, second = small.proposal_features.variables, small.box_classifier_features.variables
    assert not {id(variable) for variable in first} & {id(variable) for variable in second}
    # Each convolution has a kernel, gamma, beta, mean and variance: the stem, 6 blocks of 2, 3 shortcuts; 2 blocks, 1.
    assert (len(first), len(second)) == (5 * (1 + 12 + 3), 5 * (4 + 1))


def test_frozen_batch_norm_keeps_its_statistics_and_trains_gamma_and_beta():
    images = tf.random.stateless_normal([2, 32, 32, 3], seed=[1, 2]) * 50.0
    for batch_norm_trainable in (False, True):
        extractor = extractor_builder.build("faster_rcnn_resnet18_keras", batch_norm_trainable=batch_norm_trainable)
        before = [value.numpy() for value in extractor.proposal_features.non_trainable_variables]
        (in_training,) = extractor.extract_proposal_features(images, training=True)
        after = [value.numpy() for value in extractor.proposal_features.non_trainable_variables]
        changed = any(np.any(a != b) for a, b in zip(before, after))
        assert changed == batch_norm_trainable
        names = [variable.name for variable in extractor.proposal_features.trainable_variables]
        assert sum("gamma" in name or "beta" in name for name in names) == 2 * (1 + 12 + 3)
        if not batch_norm_trainable:
            (outside,) = extractor.extract_proposal_features(images, training=False)
            np.testing.assert_array_equal(in_training, outside)


_INSTANCE_NORM = "faster_rcnn_resnet18_instance_norm_keras"


@pytest.mark.parametrize("stride", [8, 16])
def test_instance_norm_is_batch_norm_of_one_image(stride, tmp_path):
    batch_norm = extractor_builder.build("faster_rcnn_resnet18_keras", stride)
    instance_norm = extractor_builder.build(_INSTANCE_NORM, stride)
    # A checkpoint of the one starts the other: the names are the same, all but batch norm's statistics.
    for half in ("proposal_features", "box_classifier_features"):
        prefix = tf.train.Checkpoint(model=getattr(batch_norm, half)).write(str(tmp_path / half))
        status = tf.train.Checkpoint(model=getattr(instance_norm, half)).read(prefix)
        status.assert_existing_objects_matched().expect_partial()
    image = tf.random.stateless_normal([1, 64, 96, 3], seed=[1, 2]) * 50.0
    alone = instance_norm.proposal_features(image)
    np.testing.assert_allclose(alone, batch_norm.proposal_features(image, training=True), atol=1e-4)
    # An image beside it changes nothing, in training or not.
    beside = tf.concat([image, tf.random.stateless_normal([1, 64, 96, 3], seed=[3, 4]) * 5.0], 0)
    for training in (False, True):
        np.testing.assert_allclose(instance_norm.proposal_features(beside, training=training)[:1], alone, atol=1e-4)


def test_instance_norm_takes_no_notice_of_a_paler_stain_and_survives_an_empty_picture():
    extractor = extractor_builder.build(_INSTANCE_NORM)
    image = tf.random.stateless_normal([1, 64, 64, 3], seed=[1, 2]) * 50.0
    (features,) = extractor.extract_proposal_features(image, training=False)
    (paler,) = extractor.extract_proposal_features(image * 0.5, training=False)
    # Equal but for epsilon, which weighs four times as much in an image of half the contrast.
    np.testing.assert_allclose(paler, features, atol=0.02 * np.abs(features).max())
    (empty,) = extractor.extract_proposal_features(tf.zeros([1, 64, 64, 3]), training=False)
    np.testing.assert_array_equal(empty, 0)


def test_slim_types_refuse_small_images_and_inception_v2_keeps_its_stride():
    extractor = extractor_builder.build("faster_rcnn_inception_v2", first_stage_features_stride=8)
    with pytest.raises(tf.errors.InvalidArgumentError, match="at least 33 px in both height and width"):
        extractor.extract_proposal_features(tf.zeros([1, 64, 32, 3]), training=False)
    (features,) = extractor.extract_proposal_features(tf.zeros([1, 64, 33, 3]), training=False)
    assert features.shape == (1, 4, 3, 576)


def test_layers_computing_in_bfloat16_keep_float32_variables():
    with feature_extractor.layers_computing_in("bfloat16"):
        layer = tf_keras.layers.Dense(2)
    assert layer(tf.ones([1, 3])).dtype == tf.bfloat16
    assert layer.kernel.dtype == tf.float32
    assert tf_keras.mixed_precision.global_policy().name == "float32"


@pytest.mark.parametrize(
    ("extractor_type", "stride", "words"),
    [
        ("faster_rcnn_nasnet", 16, ["faster_rcnn_nasnet", "faster_rcnn_resnet50_keras"]),
        ("faster_rcnn_resnet50_keras", 8, ["first_stage_features_stride: 8", "use 16"]),
    ],
)
def test_refused(extractor_type, stride, words):
    with pytest.raises(feature_extractor.FeatureExtractorError) as error:
        extractor_builder.build(extractor_type, first_stage_features_stride=stride)
    assert all(word in str(error.value) for word in words)

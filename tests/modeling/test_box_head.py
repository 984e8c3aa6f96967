import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tfod_csf.modeling.box_head import BoxHead
from tfod_csf.modeling.layer_hyperparams import LayerHyperparams


@pytest.mark.parametrize(("share", "boxes"), [(True, 1), (False, 3)])
def test_shapes(share, boxes):
    head = BoxHead(3, LayerHyperparams(), share_box_across_classes=share)
    out = head(tf.zeros([5, 2, 2, 7]))
    assert out.refined_box_encodings.shape == (5, boxes, 4)
    assert out.class_predictions_with_background.shape == (5, 4)
    assert head(tf.zeros([0, 2, 2, 7])).refined_box_encodings.shape == (0, boxes, 4)


def test_predictions_are_of_the_mean_over_the_cells():
    head = BoxHead(1, LayerHyperparams(), share_box_across_classes=True)
    features = tf.random.stateless_uniform([2, 3, 3, 4], seed=[1, 2])
    out = head(features)
    kernel, bias = head.class_predictor_layers[-1].get_weights()
    expected = features.numpy().mean(axis=(1, 2)) @ kernel + bias
    np.testing.assert_allclose(out.class_predictions_with_background, expected, atol=1e-5)


def test_dropout_acts_in_training_and_moves_the_dense_layers_key():
    head = BoxHead(2, LayerHyperparams(), use_dropout=True, dropout_keep_probability=0.5)
    features = tf.ones([1, 1, 1, 64])
    assert isinstance(head.class_predictor_layers[2], tf_keras.layers.Dense)
    assert isinstance(head.box_encoder_layers[2], tf_keras.layers.Dense)
    quiet = [head(features).class_predictions_with_background.numpy() for _ in range(2)]
    np.testing.assert_array_equal(*quiet)
    noisy = [head(features, training=True).class_predictions_with_background.numpy() for _ in range(2)]
    assert np.any(noisy[0] != noisy[1])


def test_initializer_and_regularizer_are_used():
    hyperparams = LayerHyperparams(
        kernel_initializer=tf_keras.initializers.Constant(0.5), kernel_regularizer=tf_keras.regularizers.L2(1.0)
    )
    head = BoxHead(2, hyperparams)
    head(tf.ones([1, 1, 1, 3]))
    np.testing.assert_array_equal(head.class_predictor_layers[-1].kernel, np.full([3, 3], 0.5))
    # Kernels of 0.5: 3 rows for 2 * 4 box encodings and 3 classes; biases are not regularized.
    losses = [float(loss) for layer in head.keras_layers() for loss in layer.losses]
    assert losses == [3 * 8 * 0.25, 3 * 3 * 0.25]

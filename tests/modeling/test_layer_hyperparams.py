import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tfod_csf.modeling.layer_hyperparams import LayerHyperparams


@pytest.mark.parametrize(
    ("batch_norm", "force_use_bias", "expected"),
    [
        (None, False, True),
        ({"center": True}, False, False),  # beta takes the bias' place
        ({}, False, False),  # Keras' default is to center
        ({"center": False}, False, True),
        ({"center": True}, True, True),
    ],
)
def test_a_convolution_has_a_bias_unless_batch_norm_adds_one(batch_norm, force_use_bias, expected):
    hyperparams = LayerHyperparams(batch_norm=batch_norm, force_use_bias=force_use_bias)
    assert hyperparams.conv_arguments()["use_bias"] == expected
    assert hyperparams.conv_arguments(use_bias=False)["use_bias"] is False


def test_each_layer_has_an_initializer_of_its_own():
    initializer = tf_keras.initializers.TruncatedNormal(stddev=0.25)
    hyperparams = LayerHyperparams(kernel_initializer=initializer)
    first, second = (hyperparams.conv_arguments()["kernel_initializer"] for _ in range(2))
    assert first is not second
    assert first.get_config()["stddev"] == 0.25
    assert "kernel_initializer" not in LayerHyperparams().conv_arguments()


@pytest.mark.parametrize(
    ("activation", "expected"),
    [("NONE", [-1, 2, 7]), ("RELU", [0, 2, 7]), ("RELU_6", [0, 2, 6])],
)
def test_activations(activation, expected):
    layer = LayerHyperparams(activation=activation).activation_layer()
    np.testing.assert_array_equal(layer(tf.constant([-1.0, 2.0, 7.0])), expected)


def test_swish_is_x_times_its_sigmoid():
    layer = LayerHyperparams(activation="SWISH").activation_layer()
    np.testing.assert_allclose(layer(tf.constant([2.0])), [2 / (1 + np.exp(-2))], rtol=1e-6)


def test_batch_norm_is_a_layer_or_none():
    assert LayerHyperparams().batch_norm_layers("name") == []
    (layer,) = LayerHyperparams(batch_norm={"epsilon": 0.5, "momentum": 0.75}).batch_norm_layers("name")
    assert (layer.name, layer.epsilon, layer.momentum) == ("name", 0.5, 0.75)

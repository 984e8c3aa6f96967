from tfod_csf import legacy_keras  # noqa: F401  isort: skip

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tfod_csf.modeling.layers.sparse_gradient_conv import SparseGradientConv2D


def _both_layers(dilation_rate, max_cells):
    """Keras' own layer and ours with the same weights, built for 3 channels."""
    arguments = {"filters": 4, "kernel_size": 3, "dilation_rate": dilation_rate, "bias_initializer": "normal"}
    keras = tf_keras.layers.Conv2D(padding="same", **arguments)
    sparse = SparseGradientConv2D(max_cells_with_gradient=max_cells, **arguments)
    for layer in (keras, sparse):
        layer.build([None, None, None, 3])
    sparse.set_weights(keras.get_weights())
    return keras, sparse


def _gradients(layer, images, cells, training):
    """Outputs, and gradients of a loss of these (image, row, column) cells to the images and the layer's variables."""
    with tf.GradientTape() as tape:
        tape.watch(images)
        outputs = layer(images, training=training) if training else layer(images)
        loss = tf.reduce_sum(tf.sin(tf.gather_nd(outputs, cells)))
    return outputs, tape.gradient(loss, [images, *layer.trainable_variables])


@pytest.mark.parametrize("dilation_rate", [1, 2])
@pytest.mark.parametrize(("height", "width"), [(6, 9), (None, None)])
def test_gradients_are_those_of_keras(dilation_rate, height, width):
    """Corners and neighbors among the cells; the second image has fewer cells with a gradient than the first."""
    images = tf.constant(np.random.default_rng(1).normal(size=[2, 6, 9, 3]), tf.float32)
    cells = [(0, 0, 0), (0, 5, 8), (0, 2, 3), (0, 2, 4), (0, 3, 3), (1, 0, 8), (1, 5, 0)]
    keras, sparse = _both_layers(dilation_rate, max_cells=5)
    expected_outputs, expected = _gradients(keras, images, cells, training=False)
    signature = [tf.TensorSpec([None if height is None else 2, height, width, 3])]
    outputs, found = tf.function(lambda i: _gradients(sparse, i, cells, True), input_signature=signature)(images)
    np.testing.assert_array_equal(outputs, expected_outputs)
    assert len(found) == len(expected) == 3
    for one, other in zip(found, expected):
        assert np.abs(other).max() > 0.1
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_a_gradient_that_is_not_finite_is_kept():
    _, sparse = _both_layers(1, max_cells=2)
    images = tf.ones([1, 6, 9, 3])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(sparse(images, training=True)[0, 4, 4] * np.nan)
    assert np.isnan(tape.gradient(loss, sparse.kernel)).all()


def test_weights_that_are_not_finite_give_a_gradient_that_is_not():
    """Then every cell has a gradient; the training's own sentence says so, which looks at the gradient."""
    _, sparse = _both_layers(1, max_cells=2)
    sparse.kernel.assign(sparse.kernel * np.nan)
    images = tf.ones([1, 6, 9, 3])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(sparse(images, training=True) ** 2)
    assert np.isnan(tape.gradient(loss, sparse.kernel)).any()


def test_a_gradient_in_more_cells_is_refused():
    _, sparse = _both_layers(1, max_cells=2)
    images = tf.ones([1, 6, 9, 3])
    with pytest.raises(tf.errors.InvalidArgumentError, match="more cells have a gradient than"):
        _gradients(sparse, images, [(0, 0, 0), (0, 1, 1), (0, 5, 5)], training=True)
    assert _gradients(sparse, images, [(0, 0, 0), (0, 1, 1)], training=True)


def test_a_small_map_has_the_gradient_of_keras_to_the_bit():
    """With 54 cells and room for 30, gathering would not pay; any number of cells may then have a gradient."""
    images = tf.constant(np.random.default_rng(2).normal(size=[1, 6, 9, 3]), tf.float32)
    cells = [(0, row, column) for row in range(6) for column in range(9)]
    keras, sparse = _both_layers(1, max_cells=30)
    for one, other in zip(_gradients(sparse, images, cells, True)[1], _gradients(keras, images, cells, False)[1]):
        np.testing.assert_array_equal(one, other)

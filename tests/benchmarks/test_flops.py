"""Operations counted by hand: 2 for each multiplication with its addition."""

import pytest
import tensorflow as tf

from tfod_csf.benchmarks import flops


def _concrete(function, *shapes):
    return tf.function(function).get_concrete_function(*(tf.TensorSpec(shape, tf.float32) for shape in shapes))


def test_matrix_product():
    # 3 x 5 outputs, each a sum of 4 products
    assert flops.count(_concrete(tf.linalg.matmul, [3, 4], [4, 5])) == 2 * 3 * 5 * 4


def test_convolution():
    def convolve(images, filters):
        return tf.nn.conv2d(images, filters, strides=2, padding="SAME")

    # 2 images, 4 x 4 positions, 8 outputs, each a sum of 3 x 3 x 6 products
    assert flops.count(_concrete(convolve, [2, 8, 8, 6], [3, 3, 6, 8])) == 2 * 2 * 4 * 4 * 8 * 3 * 3 * 6


def test_separable_convolution():
    def convolve(images, depthwise, pointwise):
        return tf.nn.separable_conv2d(images, depthwise, pointwise, [1, 2, 2, 1], "SAME")

    # 4 x 4 positions of 3 * 2 channels, each a sum of 5 x 5 products; 7 outputs, each a sum of 6
    expected = 2 * 4 * 4 * (6 * 5 * 5 + 7 * 6)
    assert flops.count(_concrete(convolve, [1, 8, 8, 3], [5, 5, 3, 2], [1, 1, 6, 7])) == expected


def test_what_has_no_products_counts_nothing():
    assert flops.count(_concrete(tf.nn.relu, [7])) == 0


def test_a_size_that_is_not_known_is_refused():
    with pytest.raises(flops.UnknownShapeError):
        flops.count(_concrete(tf.linalg.matmul, [None, 4], [4, 5]))


def test_gradients_of_a_layer_cost_as_much_as_the_layer_each():
    def gradients(images, filters):
        outputs = tf.nn.conv2d(images, filters, strides=1, padding="VALID")
        return tf.gradients(tf.reduce_sum(outputs * outputs), [images, filters])

    # 4 x 4 positions, 3 outputs, each a sum of 3 x 3 x 2 products
    once = 2 * 4 * 4 * 3 * 3 * 3 * 2
    assert flops.count(_concrete(gradients, [1, 6, 6, 2], [3, 3, 2, 3])) == 3 * once


def test_products_of_a_called_function_count_at_every_call():
    inner = tf.function(lambda x: tf.linalg.matmul(x, x))
    outer = _concrete(lambda x: inner(x) + inner(2.0 * x), [3, 3])
    assert flops.count(outer) == 2 * (2 * 3 * 3 * 3)


def test_products_in_a_loop_are_refused():
    def loop(x):
        return tf.while_loop(lambda y: tf.reduce_sum(y) < 9.0, lambda y: [tf.linalg.matmul(y, y)], [x])

    with pytest.raises(flops.UnknownShapeError, match="unknown number of times"):
        flops.count(_concrete(loop, [3, 3]))


def test_a_loop_without_products_is_no_obstacle():
    def loop(x):
        doubled = tf.map_fn(lambda row: row * 2.0, x)
        return tf.linalg.matmul(doubled, x)

    assert flops.count(_concrete(loop, [3, 3])) == 2 * 27

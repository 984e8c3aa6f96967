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


def test_what_has_no_products_counts_nothing():
    assert flops.count(_concrete(tf.nn.relu, [7])) == 0


def test_a_size_that_is_not_known_is_refused():
    with pytest.raises(flops.UnknownShapeError):
        flops.count(_concrete(tf.linalg.matmul, [None, 4], [4, 5]))

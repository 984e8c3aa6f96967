"""Layers of slim's networks as Keras layers, named as the scopes of their TensorFlow 1 variables.

A layer is called by its scope inside the network, "Mixed_3b/Branch_0/Conv2d_0a_1x1", and its batch norm by
".../BatchNorm" below it, so that modeling.slim_variable_names finds a variable of a TensorFlow 1 checkpoint by name.
"""

import dataclasses
from collections.abc import Sequence

import tensorflow as tf
import tf_keras

# He et al. 2015, as slim's ResNets draw their kernels; the Inceptions draw most of theirs as Glorot and Bengio 2010.
HE_NORMAL = tf_keras.initializers.VarianceScaling(2.0, "fan_in", "truncated_normal")
GLOROT_UNIFORM = tf_keras.initializers.GlorotUniform()


@dataclasses.dataclass(frozen=True)
class BatchNormConstants:
    """Batch norm of a network.

    Attributes:
      decay: of the moving statistics, per step.
      epsilon: added to the variance.
      scale: whether there is a gamma.
    """

    decay: float
    epsilon: float
    scale: bool = True


@dataclasses.dataclass(frozen=True)
class SlimLayers:
    """Makes the convolutions of one network.

    Attributes:
      batch_norm: of all its convolutions.
      initializer: of kernels that name none.
    """

    batch_norm: BatchNormConstants
    initializer: tf_keras.initializers.Initializer

    def conv(
        self,
        x,
        filters: int,
        kernel_size: int | tuple[int, int],
        name: str,
        stride: int = 1,
        padding: str = "same",
        dilation_rate: int = 1,
        initializer: tf_keras.initializers.Initializer | None = None,
        relu: bool = True,
    ):
        """Convolution without bias, batch norm, and ReLU unless `relu` is false, of x [B, h, w, C]."""
        x = tf_keras.layers.Conv2D(
            filters,
            kernel_size,
            stride,
            padding,
            dilation_rate=dilation_rate,
            use_bias=False,
            kernel_initializer=_copy(initializer or self.initializer),
            name=name,
        )(x)
        return self.normalize(x, name, relu)

    def normalize(self, x, name: str, relu: bool = True):
        """Batch norm, and ReLU unless `relu` is false, of the convolution of that name."""
        constants = self.batch_norm
        x = tf_keras.layers.BatchNormalization(
            momentum=constants.decay, epsilon=constants.epsilon, scale=constants.scale, name=f"{name}/BatchNorm"
        )(x)
        return tf_keras.layers.ReLU(name=f"{name}/Relu")(x) if relu else x

    def convs(self, x, specifications: Sequence[tuple[str, int]], scope: str, **arguments):
        """One `conv` after another; a specification is (name, filters).

        The name ends with the kernel's size, "Conv2d_0b_1x7"; names with _1a_ have the stride and padding in
        `arguments`, the others stride 1 and padding "same".
        """
        for name, filters in specifications:
            kernel_size = tuple(int(side) for side in name.rsplit("_", 1)[-1].split("x"))
            given = arguments if "_1a_" in name else {k: v for k, v in arguments.items() if k == "dilation_rate"}
            x = self.conv(x, filters, kernel_size, f"{scope}/{name}", **given)
        return x


def max_pool(x, size: int, stride: int, name: str, padding: str = "same"):
    return tf_keras.layers.MaxPooling2D(size, stride, padding, name=name)(x)


def average_pool(x, size: int, name: str):
    """Stride 1; cells beyond the border are not counted."""
    return tf_keras.layers.AveragePooling2D(size, 1, "same", name=name)(x)


def concatenate(branches: Sequence, scope: str):
    return tf_keras.layers.Concatenate(name=f"{scope}/concat")(list(branches))


class ScaledResidual(tf_keras.layers.Layer):
    """[x, residual], both [B, h, w, C], to x + scale * residual."""

    def __init__(self, scale: float, name: str):
        super().__init__(name=name)
        self.scale = scale

    def call(self, inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        x, residual = inputs
        return x + self.scale * residual


def _copy(initializer: tf_keras.initializers.Initializer) -> tf_keras.initializers.Initializer:
    """A fresh copy for each layer: Keras warns when an unseeded initializer object is used twice."""
    return type(initializer).from_config(initializer.get_config())

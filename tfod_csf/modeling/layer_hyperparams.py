"""How layers are initialized, regularized, normalized and activated: `Hyperparams` as plain values."""

import dataclasses
from typing import Any

import tensorflow as tf
import tf_keras

_ACTIVATIONS = {"NONE": tf.identity, "RELU": tf.nn.relu, "RELU_6": tf.nn.relu6, "SWISH": tf.nn.swish}


@dataclasses.dataclass(frozen=True)
class LayerHyperparams:
    """Arguments for Keras layers.

    Attributes:
      kernel_initializer: None for Keras' default (Glorot uniform).
      kernel_regularizer: None for none. Biases are not regularized.
      batch_norm: arguments of BatchNormalization, or None for no normalization.
      force_use_bias: a bias even where batch norm follows.
      activation: NONE, RELU, RELU_6 or SWISH. Of the layers of the heads TFOD fixes it by the place.
    """

    kernel_initializer: tf_keras.initializers.Initializer | None = None
    kernel_regularizer: tf_keras.regularizers.Regularizer | None = None
    batch_norm: dict[str, Any] | None = None
    force_use_bias: bool = False
    activation: str = "RELU"

    def conv_arguments(self, use_bias: bool | None = None) -> dict[str, Any]:
        """Keyword arguments of a Conv2D or Dense layer. A layer before batch norm, which adds beta, has no bias."""
        if use_bias is None:
            adds_beta = self.batch_norm is not None and self.batch_norm.get("center", True)
            use_bias = not adds_beta or self.force_use_bias
        arguments = {"use_bias": use_bias, "kernel_regularizer": self.kernel_regularizer}
        if self.kernel_initializer is not None:
            # A fresh copy for each layer: Keras warns when an unseeded initializer object is used twice.
            config = self.kernel_initializer.get_config()
            arguments["kernel_initializer"] = type(self.kernel_initializer).from_config(config)
        return arguments

    def batch_norm_layers(self, name: str | None = None) -> list[tf_keras.layers.Layer]:
        """One layer, or none without batch norm."""
        if self.batch_norm is None:
            return []
        return [tf_keras.layers.BatchNormalization(name=name, **self.batch_norm)]

    def activation_layer(self, name: str | None = None) -> tf_keras.layers.Layer:
        """The activation, a layer without variables."""
        return tf_keras.layers.Activation(_ACTIVATIONS[self.activation], name=name)

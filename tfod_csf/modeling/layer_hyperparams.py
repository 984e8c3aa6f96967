"""How the layers of the heads are initialized, regularized and normalized: `Hyperparams` as plain values."""

import dataclasses
from typing import Any

import tf_keras


@dataclasses.dataclass(frozen=True)
class LayerHyperparams:
    """Arguments for Keras layers.

    Attributes:
      kernel_initializer: None for Keras' default (Glorot uniform).
      kernel_regularizer: None for none. Biases are not regularized.
      batch_norm: arguments of BatchNormalization, or None for no normalization.
      force_use_bias: a bias even where batch norm follows.
    """

    kernel_initializer: tf_keras.initializers.Initializer | None = None
    kernel_regularizer: tf_keras.regularizers.Regularizer | None = None
    batch_norm: dict[str, Any] | None = None
    force_use_bias: bool = False

    def conv_arguments(self, use_bias: bool | None = None) -> dict[str, Any]:
        """Keyword arguments of a Conv2D or Dense layer. A layer before batch norm has no bias of its own."""
        if use_bias is None:
            use_bias = self.batch_norm is None or self.force_use_bias
        arguments = {"use_bias": use_bias, "kernel_regularizer": self.kernel_regularizer}
        if self.kernel_initializer is not None:
            # A fresh copy for each layer: Keras warns when an unseeded initializer object is used twice.
            config = self.kernel_initializer.get_config()
            arguments["kernel_initializer"] = type(self.kernel_initializer).from_config(config)
        return arguments

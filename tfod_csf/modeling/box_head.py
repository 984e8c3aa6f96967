"""The layers of the second stage: class and refined box of each proposal.

Shape shorthand in this module:

  P: proposals of the whole batch; s, D: cells per side and channels of their features
  K: classes without background
  Q: boxes per proposal: 1 if share_box_across_classes, else K
"""

from typing import NamedTuple

import tensorflow as tf
import tf_keras

from tfod_csf.modeling import box_coder
from tfod_csf.modeling.layer_hyperparams import LayerHyperparams


class SecondStagePredictions(NamedTuple):
    """Raw outputs of the head."""

    refined_box_encodings: tf.Tensor  # [P, Q, 4], relative to the proposals
    class_predictions_with_background: tf.Tensor  # [P, K + 1] logits, background first


class BoxHead(tf.Module):
    """`mask_rcnn_box_predictor` without masks; arguments have the fields' names.

    Args:
      num_classes: K.
      hyperparams: `fc_hyperparams`: its initializer and regularizer.
      share_box_across_classes: one box per proposal instead of one per class.
      use_dropout, dropout_keep_probability: dropout before both Dense layers, in training.
    """

    def __init__(
        self,
        num_classes: int,
        hyperparams: LayerHyperparams,
        share_box_across_classes: bool = False,
        use_dropout: bool = False,
        dropout_keep_probability: float = 0.5,
    ):
        super().__init__(name="second_stage_head")
        self.num_classes = num_classes
        self.share_box_across_classes = share_box_across_classes
        self.boxes_per_proposal = 1 if share_box_across_classes else num_classes
        self._use_dropout = use_dropout
        self._dropout_keep_probability = dropout_keep_probability
        self.box_encoder_layers = self._layers(
            self.boxes_per_proposal * box_coder.CODE_SIZE, "BoxEncodingPredictor", hyperparams
        )
        self.class_predictor_layers = self._layers(num_classes + 1, "ClassPredictor", hyperparams)

    def _layers(self, units: int, name: str, hyperparams: LayerHyperparams) -> list[tf_keras.layers.Layer]:
        """Flatten, Dropout if used, Dense. The position in the list is part of the Dense layer's checkpoint key."""
        arguments = hyperparams.conv_arguments(use_bias=True)
        layers = [tf_keras.layers.Flatten(name=f"{name}_flatten")]
        if self._use_dropout:
            layers.append(tf_keras.layers.Dropout(1.0 - self._dropout_keep_probability, name=f"{name}_dropout"))
        layers.append(tf_keras.layers.Dense(units, name=f"{name}_dense", **arguments))
        return layers

    def __call__(self, box_classifier_features: tf.Tensor, training: bool = False) -> SecondStagePredictions:
        """Predictions from features [P, s, s, D], averaged over their cells."""
        pooled = tf.reduce_mean(box_classifier_features, axis=[1, 2])
        encodings, class_predictions = pooled, pooled
        for layer in self.box_encoder_layers:
            encodings = layer(encodings, training=training)
        for layer in self.class_predictor_layers:
            class_predictions = layer(class_predictions, training=training)
        encodings = tf.reshape(encodings, [-1, self.boxes_per_proposal, box_coder.CODE_SIZE])
        return SecondStagePredictions(tf.cast(encodings, tf.float32), tf.cast(class_predictions, tf.float32))

    def keras_layers(self) -> list[tf_keras.layers.Layer]:
        return [*self.box_encoder_layers, *self.class_predictor_layers]

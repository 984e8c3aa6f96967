"""First stage: which anchors hold an object, and the proposals made from them.

Shape shorthand in this module:

  B: images; N: anchors of an image, h * w * A; A: anchors per cell
  P: proposals of an image, first_stage_max_proposals, padded with zeros
  h, w, C: feature map

Boxes are [ymin, xmin, ymax, xmax] in pixels of the padded network input. Objectness has two classes: 0 is background,
1 is object.
"""

from typing import NamedTuple

import tensorflow as tf
import tf_keras

from tfod_csf.modeling import box_coder, post_processing
from tfod_csf.modeling.layer_hyperparams import LayerHyperparams


class FirstStagePredictions(NamedTuple):
    """Raw outputs of the head."""

    rpn_box_predictor_features: tf.Tensor  # [B, h, w, first_stage_box_predictor_depth]
    rpn_box_encodings: tf.Tensor  # [B, N, 4]
    rpn_objectness_predictions_with_background: tf.Tensor  # [B, N, 2] logits


class RegionProposalHead(tf.Module):
    """A convolution with ReLU6, then two 1x1 convolutions; arguments have the fields' names.

    Args:
      num_anchors_per_location: A.
      hyperparams: `first_stage_box_predictor_conv_hyperparams`. Its activation is not used, as in TFOD.
      first_stage_box_predictor_depth, first_stage_box_predictor_kernel_size: of the convolution.
      first_stage_atrous_rate: its dilation.
    """

    def __init__(
        self,
        num_anchors_per_location: int,
        hyperparams: LayerHyperparams,
        first_stage_box_predictor_depth: int = 512,
        first_stage_box_predictor_kernel_size: int = 3,
        first_stage_atrous_rate: int = 1,
    ):
        super().__init__(name="first_stage_head")
        layers = [
            tf_keras.layers.Conv2D(
                first_stage_box_predictor_depth,
                first_stage_box_predictor_kernel_size,
                dilation_rate=first_stage_atrous_rate,
                padding="same",
                name="RPNConv",
                **hyperparams.conv_arguments(),
            )
        ]
        if hyperparams.batch_norm is not None:
            layers.append(tf_keras.layers.BatchNormalization(name="RPNBatchNorm", **hyperparams.batch_norm))
        layers.append(tf_keras.layers.ReLU(6.0, name="RPNActivation"))
        self.first_conv = tf_keras.Sequential(layers, name="FirstStageRPNFeatures")
        self.box_encodings = tf_keras.layers.Conv2D(
            num_anchors_per_location * box_coder.CODE_SIZE,
            1,
            name="BoxEncodingPredictor",
            **hyperparams.conv_arguments(use_bias=True),
        )
        self.class_predictions = tf_keras.layers.Conv2D(
            num_anchors_per_location * 2, 1, name="ClassPredictor", **hyperparams.conv_arguments(use_bias=True)
        )

    def __call__(self, features: tf.Tensor, training: bool = False) -> FirstStagePredictions:
        """Predictions from the feature map [B, h, w, C]."""
        hidden = self.first_conv(features, training=training)
        batch_size = features.shape[0] or tf.shape(features)[0]
        encodings = tf.cast(self.box_encodings(hidden), tf.float32)
        objectness = tf.cast(self.class_predictions(hidden), tf.float32)
        return FirstStagePredictions(
            rpn_box_predictor_features=tf.cast(hidden, tf.float32),
            rpn_box_encodings=_per_anchor(encodings, batch_size, box_coder.CODE_SIZE),
            rpn_objectness_predictions_with_background=_per_anchor(objectness, batch_size, 2),
        )

    def keras_layers(self) -> list[tf_keras.layers.Layer]:
        return [self.first_conv, self.box_encodings, self.class_predictions]


def _per_anchor(outputs: tf.Tensor, batch_size: int | tf.Tensor, size: int) -> tf.Tensor:
    """[B, h, w, A * size] to [B, N, size]."""
    cells = outputs.shape[1:4].num_elements()
    return tf.reshape(outputs, [batch_size, cells // size if cells else -1, size])


def clip_anchors(anchors: tf.Tensor, height: int | tf.Tensor, width: int | tf.Tensor) -> tf.Tensor:
    """Anchors [N, 4] cut at the border of the padded network input of that size in pixels."""
    height, width = tf.cast(height, tf.float32), tf.cast(width, tf.float32)
    return tf.clip_by_value(anchors, 0.0, tf.stack([height, width, height, width]))


def is_inside_image(anchors: tf.Tensor, height: int | tf.Tensor, width: int | tf.Tensor) -> tf.Tensor:
    """bool [N]: anchors [N, 4] that do not cross the border. Training drops the others unless clip_anchors_to_image."""
    height, width = tf.cast(height, tf.float32), tf.cast(width, tf.float32)
    ymin, xmin, ymax, xmax = tf.unstack(anchors, axis=-1)
    return (ymin >= 0.0) & (xmin >= 0.0) & (ymax <= height) & (xmax <= width)


def propose(
    rpn_box_encodings: tf.Tensor,
    rpn_objectness_predictions_with_background: tf.Tensor,
    anchors: tf.Tensor,
    true_image_shapes: tf.Tensor,
    first_stage_nms_score_threshold: float = 0.0,
    first_stage_nms_iou_threshold: float = 0.7,
    first_stage_max_proposals: int = 300,
    use_static_shapes: bool = False,
) -> post_processing.NmsResult:
    """The best boxes of the first stage after non-maximum suppression, clipped to the true images.

    Args:
      rpn_box_encodings: [B, N, 4].
      rpn_objectness_predictions_with_background: [B, N, 2] logits.
      anchors: [N, 4].
      true_image_shapes: int32 [B, 3], image without padding, px.
      first_stage_nms_score_threshold: a proposal's objectness is greater than this.
      first_stage_nms_iou_threshold: IoU greater than this with a better proposal removes a box.
      first_stage_max_proposals: P.
      use_static_shapes: see post_processing.batch_multiclass_non_max_suppression.

    Returns:
      P boxes of each image, best first; `scores` are the objectness probabilities, `classes` 0, `indices` anchors.
    """
    boxes = box_coder.decode(rpn_box_encodings, anchors)
    objectness = tf.nn.softmax(rpn_objectness_predictions_with_background)[:, :, 1:]
    return post_processing.batch_multiclass_non_max_suppression(
        boxes[:, :, tf.newaxis],
        objectness,
        clip_window=post_processing.clip_window_of(true_image_shapes),
        score_threshold=first_stage_nms_score_threshold,
        iou_threshold=first_stage_nms_iou_threshold,
        max_detections_per_class=first_stage_max_proposals,
        max_total_detections=first_stage_max_proposals,
        use_static_shapes=use_static_shapes,
    )

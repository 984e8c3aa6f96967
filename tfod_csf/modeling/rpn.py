"""First stage, the region proposal network: which anchors hold an object, and the proposals made from them.

Shape shorthand in this module:

  B: images; N: anchors of an image, h * w * A, less where training drops those that cross the border; of a feature
     pyramid those of all levels, the finest first
  A: anchors per cell; h, w, C: feature map; depth: first_stage_box_predictor_depth
  P: proposals of an image, first_stage_max_proposals, padded with zeros
  M: groundtruth boxes of an image, padded

Boxes are [ymin, xmin, ymax, xmax] in pixels of the padded network input. Objectness has two classes: 0 is background,
1 is object.

Source: Ren et al. 2015 (Faster R-CNN), section 3.1; TFOD's meta_architectures/faster_rcnn_meta_arch.py.
"""

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf
import tf_keras
from official.modeling import tf_utils

from tfod_csf.modeling import balanced_sampler, box_coder, losses, post_processing, target_assigner
from tfod_csf.modeling.anchor_generator import GridAnchorGenerator
from tfod_csf.modeling.feature_extractors.feature_extractor import one_or_list
from tfod_csf.modeling.layer_hyperparams import LayerHyperparams
from tfod_csf.modeling.layers.sparse_gradient_conv import SparseGradientConv2D


class FirstStagePredictions(NamedTuple):
    """Raw outputs of the first stage; the names are TFOD's keys."""

    rpn_box_predictor_features: tf.Tensor | list[tf.Tensor]  # [B, h, w, depth], of a pyramid one per level
    rpn_box_encodings: tf.Tensor  # [B, N, 4], relative to the anchors
    rpn_objectness_predictions_with_background: tf.Tensor  # [B, N, 2] logits
    anchors: tf.Tensor  # [N, 4], the same for all images


class Proposals(NamedTuple):
    """What the first stage hands to the second; the names are TFOD's keys."""

    proposal_boxes: tf.Tensor  # [B, P, 4], best first; zeros in padding rows
    num_proposals: tf.Tensor  # int32 [B], leading rows that are not padding


class RegionProposalHead(tf.Module):
    """A convolution with ReLU6, then two 1x1 convolutions; arguments have the fields' names.

    The levels of a feature pyramid share the first convolution; each has 1x1 convolutions of its own, as in TFOD.

    Args:
      num_anchors_per_location: A.
      hyperparams: `first_stage_box_predictor_conv_hyperparams`. Its activation is not used, as in TFOD.
      first_stage_box_predictor_depth, first_stage_box_predictor_kernel_size: of the convolution.
      first_stage_atrous_rate: its dilation.
      num_levels: feature maps.
      max_anchors_with_loss: the most anchors of an image that a loss counts (`first_stage_minibatch_size`); the
          convolution's gradient is computed in their cells alone. None: everywhere.
    """

    def __init__(
        self,
        num_anchors_per_location: int,
        hyperparams: LayerHyperparams,
        first_stage_box_predictor_depth: int = 512,
        first_stage_box_predictor_kernel_size: int = 3,
        first_stage_atrous_rate: int = 1,
        num_levels: int = 1,
        max_anchors_with_loss: int | None = None,
    ):
        super().__init__(name="first_stage_head")
        size = first_stage_box_predictor_kernel_size
        arguments = {"dilation_rate": first_stage_atrous_rate, "name": "RPNConv", **hyperparams.conv_arguments()}
        if max_anchors_with_loss is None or hyperparams.batch_norm is not None or size % 2 == 0:
            # Behind a convolution, batch norm gives every cell a gradient.
            conv = tf_keras.layers.Conv2D(first_stage_box_predictor_depth, size, padding="same", **arguments)
        else:
            conv = SparseGradientConv2D(
                first_stage_box_predictor_depth, size, max_cells_with_gradient=max_anchors_with_loss, **arguments
            )
        layers = [conv]
        layers += hyperparams.batch_norm_layers("RPNBatchNorm")
        layers.append(tf_keras.layers.ReLU(6.0, name="RPNActivation"))
        self.first_conv = tf_keras.Sequential(layers, name="FirstStageRPNFeatures")
        sizes = {"BoxEncodingPredictor": box_coder.CODE_SIZE, "ClassPredictor": 2}
        self.box_encodings, self.class_predictions = (
            [
                tf_keras.layers.Conv2D(
                    num_anchors_per_location * size, 1, name=name, **hyperparams.conv_arguments(use_bias=True)
                )
                for _ in range(num_levels)
            ]
            for name, size in sizes.items()
        )

    def __call__(
        self, feature_maps: Sequence[tf.Tensor], training: bool = False
    ) -> tuple[list[tf.Tensor], tf.Tensor, tf.Tensor]:
        """Predictions for every anchor, from the maps [B, h, w, C] of all levels.

        Returns:
          float32 [B, h, w, depth] output of the convolution for each map, [B, N, 4] box encodings and [B, N, 2]
          objectness logits.
        """
        hidden = [self.first_conv(feature_map, training=training) for feature_map in feature_maps]
        batch_size = tf_utils.get_shape_list(feature_maps[0])[0]
        return (
            [tf.cast(level, tf.float32) for level in hidden],
            _per_anchor(self.box_encodings, hidden, batch_size, box_coder.CODE_SIZE),
            _per_anchor(self.class_predictions, hidden, batch_size, 2),
        )

    def keras_layers(self) -> list[tf_keras.layers.Layer]:
        return [self.first_conv, *self.box_encodings, *self.class_predictions]


def _per_anchor(
    layers: Sequence[tf_keras.layers.Layer], hidden: Sequence[tf.Tensor], batch_size: int | tf.Tensor, size: int
) -> tf.Tensor:
    """Each level's layer on its map, [B, h, w, A * size], as [B, N, size] of all levels."""
    levels = []
    for layer, level in zip(layers, hidden, strict=True):
        outputs = tf.cast(layer(level), tf.float32)
        values = outputs.shape[1:4].num_elements()
        levels.append(tf.reshape(outputs, [batch_size, values // size if values else -1, size]))
    return tf.concat(levels, axis=1)


class RegionProposalNetwork(tf.Module):
    """The first stage with its numbers; arguments have the names of `faster_rcnn`'s fields.

    Args:
      head: the convolutions.
      anchor_generators: the boxes that the first stage starts from, for each feature map.
      clip_anchors_to_image: in training too, clip anchors to the padded network input instead of dropping those that
          cross its border.
      first_stage_nms_score_threshold: a proposal's objectness is greater than this.
      first_stage_nms_iou_threshold: IoU greater than this with a better proposal removes a box.
      first_stage_max_proposals: P.
      use_static_shapes: see post_processing.batch_multiclass_non_max_suppression.
      first_stage_minibatch_size: anchors of an image that the losses count.
      first_stage_positive_balance_fraction: upper limit of the positive ones' share among them.
      use_static_balanced_label_sampler: see balanced_sampler.
      first_stage_localization_loss_weight, first_stage_objectness_loss_weight: factors of the losses.
    """

    def __init__(
        self,
        head: RegionProposalHead,
        anchor_generators: Sequence[GridAnchorGenerator],
        clip_anchors_to_image: bool = False,
        first_stage_nms_score_threshold: float = 0.0,
        first_stage_nms_iou_threshold: float = 0.7,
        first_stage_max_proposals: int = 300,
        use_static_shapes: bool = False,
        first_stage_minibatch_size: int = 256,
        first_stage_positive_balance_fraction: float = 0.5,
        use_static_balanced_label_sampler: bool = False,
        first_stage_localization_loss_weight: float = 1.0,
        first_stage_objectness_loss_weight: float = 1.0,
    ):
        super().__init__(name="region_proposal_network")
        self.head = head
        self.anchor_generators = tuple(anchor_generators)
        self.clip_anchors_to_image = clip_anchors_to_image
        self.first_stage_nms_score_threshold = first_stage_nms_score_threshold
        self.first_stage_nms_iou_threshold = first_stage_nms_iou_threshold
        self.first_stage_max_proposals = first_stage_max_proposals
        self.use_static_shapes = use_static_shapes
        self.first_stage_minibatch_size = first_stage_minibatch_size
        self.first_stage_positive_balance_fraction = first_stage_positive_balance_fraction
        self.use_static_balanced_label_sampler = use_static_balanced_label_sampler
        self.first_stage_localization_loss_weight = first_stage_localization_loss_weight
        self.first_stage_objectness_loss_weight = first_stage_objectness_loss_weight

    def predict(
        self, feature_maps: Sequence[tf.Tensor], image_shape: tf.Tensor, training: bool = False
    ) -> FirstStagePredictions:
        """Raw predictions.

        Args:
          feature_maps: [B, h, w, C], as many as there are anchor generators.
          image_shape: int32 [4] of the padded network input [B, H, W, 3], px.
          training: batch norm as in training; anchors that cross the border are dropped, unless clip_anchors_to_image.
        """
        hidden, encodings, objectness = self.head(feature_maps, training)
        sizes = [tf_utils.get_shape_list(feature_map)[1:3] for feature_map in feature_maps]
        anchors = tf.concat(
            [generator.generate(*size) for generator, size in zip(self.anchor_generators, sizes, strict=True)], axis=0
        )
        if training and not self.clip_anchors_to_image:
            inside = tf.where(is_inside_image(anchors, image_shape[1], image_shape[2]))[:, 0]
            anchors = tf.gather(anchors, inside)
            encodings, objectness = tf.gather(encodings, inside, axis=1), tf.gather(objectness, inside, axis=1)
        else:
            anchors = clip_anchors(anchors, image_shape[1], image_shape[2])
        return FirstStagePredictions(one_or_list(hidden), encodings, objectness, anchors)

    def propose(self, predictions: FirstStagePredictions, true_image_shapes: tf.Tensor) -> Proposals:
        """The best boxes of the first stage, clipped to the true images of int32 [B, 3] (height, width, channels).

        No gradient flows back through them: the second stage does not train the first one's boxes.
        """
        kept = self._non_max_suppression(predictions, true_image_shapes)
        return Proposals(tf.stop_gradient(kept.boxes), kept.num_detections)

    def detections(self, predictions: FirstStagePredictions, true_image_shapes: tf.Tensor) -> dict[str, tf.Tensor]:
        """The proposals as the detections of a network with number_of_stages 1, see FasterRCNN.postprocess."""
        kept = self._non_max_suppression(predictions, true_image_shapes)
        scores = tf.nn.softmax(predictions.rpn_objectness_predictions_with_background)
        raw_boxes = box_coder.decode(predictions.rpn_box_encodings, predictions.anchors)
        return {
            **post_processing.detections(kept, scores, true_image_shapes),
            "raw_detection_boxes": post_processing.normalize_boxes(raw_boxes, true_image_shapes),
            "raw_detection_scores": scores,
        }

    def losses(
        self, predictions: FirstStagePredictions, groundtruth: target_assigner.GroundTruth
    ) -> dict[str, tf.Tensor]:
        """Localization and objectness loss, scalars, each with its weight.

        Of every image a balanced minibatch of anchors counts: the sum over them is divided by their number, and the
        mean over the images is taken. Objectness is softmax cross entropy of [background, object], each sampled anchor
        counts alike; localization is Huber loss times the weight of the matched box.
        """
        targets = target_assigner.batch_assign_first_stage_targets(predictions.anchors, groundtruth)
        sampled = balanced_sampler.subsample(
            targets.cls_weights != 0,
            self.first_stage_minibatch_size,
            targets.cls_targets > 0,
            positive_fraction=self.first_stage_positive_balance_fraction,
            is_static=self.use_static_balanced_label_sampler,
        )
        sampled = tf.cast(sampled, tf.float32)  # [B, N]
        num_sampled = tf.maximum(tf.reduce_sum(sampled, axis=1), 1.0)  # [B]

        localization = losses.localization_losses(predictions.rpn_box_encodings, targets.reg_targets)
        localization *= targets.reg_weights
        objectness = losses.softmax_losses(
            predictions.rpn_objectness_predictions_with_background,
            tf.one_hot(tf.cast(targets.cls_targets, tf.int32), 2),
        )
        return {
            losses.RPN_LOCALIZATION_LOSS: self.first_stage_localization_loss_weight
            * tf.reduce_mean(tf.reduce_sum(localization * sampled, axis=1) / num_sampled),
            losses.RPN_OBJECTNESS_LOSS: self.first_stage_objectness_loss_weight
            * tf.reduce_mean(tf.reduce_sum(objectness * sampled, axis=1) / num_sampled),
        }

    def _non_max_suppression(
        self, predictions: FirstStagePredictions, true_image_shapes: tf.Tensor
    ) -> post_processing.NmsResult:
        """P boxes of each image, best first; scores are objectness probabilities, indices rows of the anchors."""
        boxes = box_coder.decode(predictions.rpn_box_encodings, predictions.anchors)
        objectness = tf.nn.softmax(predictions.rpn_objectness_predictions_with_background)[:, :, 1:]
        return post_processing.batch_multiclass_non_max_suppression(
            boxes[:, :, tf.newaxis],
            objectness,
            post_processing.clip_window_of(true_image_shapes),
            post_processing.BatchNonMaxSuppression(
                score_threshold=self.first_stage_nms_score_threshold,
                iou_threshold=self.first_stage_nms_iou_threshold,
                max_detections_per_class=self.first_stage_max_proposals,
                max_total_detections=self.first_stage_max_proposals,
            ),
            use_static_shapes=self.use_static_shapes,
        )


def clip_anchors(anchors: tf.Tensor, height: int | tf.Tensor, width: int | tf.Tensor) -> tf.Tensor:
    """Anchors [N, 4] clipped to the padded network input of that size in pixels."""
    height, width = tf.cast(height, tf.float32), tf.cast(width, tf.float32)
    return tf.clip_by_value(anchors, 0.0, tf.stack([height, width, height, width]))


def is_inside_image(anchors: tf.Tensor, height: int | tf.Tensor, width: int | tf.Tensor) -> tf.Tensor:
    """bool [N]: anchors [N, 4] that do not cross the border. Training drops the others unless clip_anchors_to_image."""
    height, width = tf.cast(height, tf.float32), tf.cast(width, tf.float32)
    ymin, xmin, ymax, xmax = tf.unstack(anchors, axis=-1)
    return (ymin >= 0.0) & (xmin >= 0.0) & (ymax <= height) & (xmax <= width)

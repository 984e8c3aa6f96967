"""Faster R-CNN: image, feature map, proposals, crops, detections.

Shape shorthand in this module:

  B: images; H, W: padded network input, px
  h, w, C: feature map; N: anchors; P: proposals of an image (first_stage_max_proposals; second_stage_batch_size when
     training with groundtruth), padded with zeros
  K: classes without background; Q: boxes per proposal, 1 or K; T: max_total_detections
  M: groundtruth boxes of an image, padded

Frames: boxes are [ymin, xmin, ymax, xmax], in pixels of the padded network input while inside the network
("proposal_boxes", "anchors"), normalised to that padded input for cropping ("..._normalized"), and normalised to the
true image, without padding, in detections.

Nothing is remembered between calls: predict, postprocess and loss take everything they need as arguments.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from tfod_csf.modeling import box_coder, post_processing, rpn, target_assigner
from tfod_csf.modeling.anchor_generator import GridAnchorGenerator
from tfod_csf.modeling.box_head import BoxHead
from tfod_csf.modeling.feature_extractor import FeatureExtractor
from tfod_csf.network_input import image_normalizer, image_resizer

TensorDict = dict[str, tf.Tensor]


@dataclasses.dataclass(frozen=True)
class FirstStageSettings:
    """Fields of `faster_rcnn` that shape the first stage."""

    clip_anchors_to_image: bool
    propose: Callable[..., post_processing.NmsResult]  # rpn.propose with its thresholds
    losses: Callable[..., TensorDict]  # losses.first_stage_losses with its weights


@dataclasses.dataclass(frozen=True)
class SecondStageSettings:
    """Fields of `faster_rcnn` that shape the second stage."""

    crop_and_pool: Callable[..., tf.Tensor]  # roi_crop.crop_and_pool with its sizes
    convert_scores: Callable[[tf.Tensor], tf.Tensor]  # post_processing.convert_scores with its converter
    non_max_suppression: Callable[..., post_processing.NmsResult]
    sample: Callable[..., tuple[tf.Tensor, tf.Tensor]]  # losses.sample_second_stage with its sizes
    losses: Callable[..., TensorDict]  # losses.second_stage_losses with its weights
    samples_proposals: bool = True  # false with a hard example miner, which sees all proposals


class FasterRCNN(tf.Module):
    """TFOD's meta-architecture of that name, from parts that `model_builder.build` makes.

    Args:
      num_classes: K.
      number_of_stages: 1 stops at the proposals; 2 classifies and refines them.
      image_resizer: one image [h, w, 3] to (resized and padded image, true_image_shape); see data.image_resizer.
      feature_extractor: both halves of the backbone.
      anchor_generator: the anchors of the first stage.
      rpn_head: the first stage's predictor.
      box_head: the second stage's predictor.
      first_stage, second_stage: settings.
    """

    def __init__(
        self,
        num_classes: int,
        number_of_stages: int,
        image_resizer: image_resizer.ImageResizer,
        feature_extractor: FeatureExtractor,
        anchor_generator: GridAnchorGenerator,
        rpn_head: rpn.RegionProposalHead,
        box_head: BoxHead,
        first_stage: FirstStageSettings,
        second_stage: SecondStageSettings,
    ):
        super().__init__(name="faster_rcnn")
        self.num_classes = num_classes
        self.number_of_stages = number_of_stages
        self.feature_extractor = feature_extractor
        self.rpn_head = rpn_head
        self.box_head = box_head
        self._image_resizer = image_resizer
        self._input_shape = _shape_resized_to(image_resizer)
        self._anchor_generator = anchor_generator
        self._first_stage = first_stage
        self._second_stage = second_stage

    # Variables

    def keras_layers(self) -> list[Any]:
        """Every Keras model and layer that holds variables, in the order of the data's way through them."""
        layers = [self.feature_extractor.proposal_features, *self.rpn_head.keras_layers()]
        if self.number_of_stages == 2:
            layers += [self.feature_extractor.box_classifier_features, *self.box_head.keras_layers()]
        return layers

    @property
    def trainable_variables(self) -> list[tf.Variable]:
        """Batch norm's gamma and beta are among them even when batch_norm_trainable is false, as in TFOD."""
        return [variable for layer in self.keras_layers() for variable in layer.trainable_variables]

    @property
    def variables(self) -> list[tf.Variable]:
        return [variable for layer in self.keras_layers() for variable in layer.variables]

    def build_variables(self, height: int = 64, width: int = 64) -> None:
        """Makes all variables, by predicting one grey image of that size (px). Their shapes do not depend on it."""
        image = tf.zeros([1, height, width, 3])
        self.predict(image, tf.constant([[height, width, 3]], tf.int32))

    def regularization_losses(self) -> list[tf.Tensor]:
        """One scalar per regularised kernel: RPN convolution and RPN heads. Nothing else is regularised, as in TFOD."""
        return [loss for layer in self.keras_layers() for loss in layer.losses]

    # The forward pass

    def preprocess(self, inputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Resizes, pads and normalises images.

        Args:
          inputs: [B, height, width, 3] RGB, 0..255, any numeric type.

        Returns:
          preprocessed_inputs: float32 [B, H, W, 3].
          true_image_shapes: int32 [B, 3], size without padding, px, and channels.
        """
        images = tf.cast(inputs, tf.float32)
        resized, true_image_shapes = tf.map_fn(
            self._image_resizer,
            images,
            fn_output_signature=(tf.TensorSpec(self._input_shape, tf.float32), tf.TensorSpec([3], tf.int32)),
        )
        return image_normalizer.subtract_channel_means(resized), true_image_shapes

    def predict(
        self,
        preprocessed_inputs: tf.Tensor,
        true_image_shapes: tf.Tensor,
        groundtruth: Mapping[str, tf.Tensor] | None = None,
        training: bool = False,
    ) -> TensorDict:
        """Raw predictions of both stages.

        Args:
          preprocessed_inputs: float32 [B, H, W, 3].
          true_image_shapes: int32 [B, 3].
          groundtruth: see `loss`. In training the second stage sees a balanced sample of proposals, for which the
              groundtruth is needed; without it, and outside training, it sees all proposals.
          training: batch norm and dropout as in training; anchors that cross the border are removed instead of
              clipped, unless clip_anchors_to_image.

        Returns:
          TFOD's prediction dict: image_shape [4], rpn_features_to_crop [B, h, w, C], rpn_box_predictor_features
          [B, h, w, depth], rpn_box_encodings [B, N, 4], rpn_objectness_predictions_with_background [B, N, 2],
          anchors [N, 4]; and with two stages proposal_boxes, proposal_boxes_normalized and final_anchors [B, P, 4],
          num_proposals [B], box_classifier_features [B*P, s, s, D], refined_box_encodings [B*P, Q, 4],
          class_predictions_with_background [B*P, K + 1].
        """
        predictions = self._predict_first_stage(preprocessed_inputs, training)
        if self.number_of_stages == 1:
            return predictions
        proposals, num_proposals = self._proposals(predictions, true_image_shapes, groundtruth, training)
        predictions.update(self._predict_second_stage(predictions, proposals, training))
        predictions["num_proposals"] = num_proposals
        return predictions

    def _predict_first_stage(self, preprocessed_inputs: tf.Tensor, training: bool) -> TensorDict:
        image_shape = tf.shape(preprocessed_inputs)
        features = self.feature_extractor.extract_proposal_features(preprocessed_inputs, training)
        first_stage = self.rpn_head(features, training)
        height, width = features.shape[1] or tf.shape(features)[1], features.shape[2] or tf.shape(features)[2]
        anchors = self._anchor_generator.generate(height, width)
        if training and not self._first_stage.clip_anchors_to_image:
            rows = tf.where(rpn.is_inside_image(anchors, image_shape[1], image_shape[2]))[:, 0]
            anchors = tf.gather(anchors, rows)
            first_stage = first_stage._replace(
                rpn_box_encodings=tf.gather(first_stage.rpn_box_encodings, rows, axis=1),
                rpn_objectness_predictions_with_background=tf.gather(
                    first_stage.rpn_objectness_predictions_with_background, rows, axis=1
                ),
            )
        else:
            anchors = rpn.clip_anchors(anchors, image_shape[1], image_shape[2])
        return {
            "image_shape": image_shape,
            "rpn_features_to_crop": features,
            "anchors": anchors,
            **first_stage._asdict(),
        }

    def _proposals(
        self,
        predictions: TensorDict,
        true_image_shapes: tf.Tensor,
        groundtruth: Mapping[str, tf.Tensor] | None,
        training: bool,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Boxes [B, P, 4] in pixels of the padded input and their number [B]; no gradient flows through them."""
        result = self._propose(predictions, true_image_shapes)
        boxes, num_proposals = tf.stop_gradient(result.boxes), result.num_detections
        if training and groundtruth is not None and self._second_stage.samples_proposals:
            boxes, num_proposals = self._second_stage.sample(
                boxes, num_proposals, _in_pixels(groundtruth, predictions["image_shape"])
            )
        return boxes, num_proposals

    def _propose(self, predictions: TensorDict, true_image_shapes: tf.Tensor) -> post_processing.NmsResult:
        return self._first_stage.propose(
            predictions["rpn_box_encodings"],
            predictions["rpn_objectness_predictions_with_background"],
            predictions["anchors"],
            true_image_shapes,
        )

    def _predict_second_stage(self, predictions: TensorDict, proposals: tf.Tensor, training: bool) -> TensorDict:
        features_to_crop, image_shape = predictions["rpn_features_to_crop"], predictions["image_shape"]
        normalized = proposals / _box_scale(image_shape)
        crops = self._second_stage.crop_and_pool(features_to_crop, normalized)
        features = self.feature_extractor.extract_box_classifier_features(crops, training)
        absolute = normalized * _box_scale(image_shape)
        return {
            "proposal_boxes": absolute,
            "proposal_boxes_normalized": normalized,
            "final_anchors": normalized,
            "box_classifier_features": features,
            **self.box_head(features, training)._asdict(),
        }

    # From predictions to detections

    def postprocess(self, prediction_dict: Mapping[str, tf.Tensor], true_image_shapes: tf.Tensor) -> TensorDict:
        """Detections of `predict`'s output.

        Returns:
          detection_boxes [B, T, 4] normalised to the true image, detection_scores [B, T], num_detections float32 [B],
          detection_multiclass_scores [B, T, K + 1] with background first, raw_detection_boxes and raw_detection_scores
          (before suppression); with two stages also detection_classes float32 [B, T], zero-based without background,
          and detection_anchor_indices int32 [B, T], the row of the proposal. Padding rows are zeros.
          With one stage K is 1, and detections are the proposals.
        """
        if self.number_of_stages == 1:
            return self._postprocess_proposals(prediction_dict, true_image_shapes)
        proposals = prediction_dict["proposal_boxes"]
        batch_size, num_proposals = tf.shape(proposals)[0], proposals.shape[1] or tf.shape(proposals)[1]
        encodings = prediction_dict["refined_box_encodings"]
        encodings = tf.reshape(encodings, [batch_size, num_proposals, encodings.shape[1], box_coder.CODE_SIZE])
        logits = tf.reshape(
            prediction_dict["class_predictions_with_background"], [batch_size, num_proposals, self.num_classes + 1]
        )
        boxes = box_coder.decode(encodings, proposals[:, :, tf.newaxis])
        scores = self._second_stage.convert_scores(logits)
        result = self._second_stage.non_max_suppression(
            boxes,
            scores[:, :, 1:],
            clip_window=post_processing.clip_window_of(true_image_shapes),
            num_valid_boxes=prediction_dict["num_proposals"],
        )
        if boxes.shape[2] > 1:
            boxes = post_processing.box_of_class(boxes, tf.argmax(logits[:, :, 1:], axis=-1, output_type=tf.int32))
        else:
            boxes = boxes[:, :, 0]
        raw_boxes = post_processing.normalize_boxes(boxes, true_image_shapes)
        return {
            **_detections(result, scores, true_image_shapes),
            "detection_classes": tf.cast(result.classes, tf.float32),
            "detection_anchor_indices": result.indices,
            "raw_detection_boxes": tf.clip_by_value(raw_boxes, 0.0, 1.0),
            "raw_detection_scores": scores,
        }

    def _postprocess_proposals(
        self, prediction_dict: Mapping[str, tf.Tensor], true_image_shapes: tf.Tensor
    ) -> TensorDict:
        result = self._propose(dict(prediction_dict), true_image_shapes)
        scores = tf.nn.softmax(prediction_dict["rpn_objectness_predictions_with_background"])
        raw_boxes = box_coder.decode(prediction_dict["rpn_box_encodings"], prediction_dict["anchors"])
        return {
            **_detections(result, scores, true_image_shapes),
            "raw_detection_boxes": post_processing.normalize_boxes(raw_boxes, true_image_shapes),
            "raw_detection_scores": scores,
        }

    # Losses

    def loss(
        self,
        prediction_dict: Mapping[str, tf.Tensor],
        true_image_shapes: tf.Tensor,
        groundtruth: Mapping[str, tf.Tensor],
    ) -> TensorDict:
        """TFOD's named losses, scalars that hold the configured weights; regularisation is apart.

        Args:
          prediction_dict: output of `predict`, in training or not.
          true_image_shapes: int32 [B, 3].
          groundtruth: boxes [B, M, 4] normalised to the padded network input, classes [B, M, K] one-hot, zero-based
              without background, weights [B, M], 0 in padding rows, num_boxes [B] (may be left out; saves time).
        """
        del true_image_shapes  # groundtruth is relative to the padded input; kept for TFOD's signature
        in_pixels = _in_pixels(groundtruth, prediction_dict["image_shape"])
        named_losses = self._first_stage.losses(
            prediction_dict["rpn_box_encodings"],
            prediction_dict["rpn_objectness_predictions_with_background"],
            prediction_dict["anchors"],
            in_pixels,
        )
        if self.number_of_stages == 2:
            named_losses |= self._second_stage.losses(
                prediction_dict["refined_box_encodings"],
                prediction_dict["class_predictions_with_background"],
                prediction_dict["proposal_boxes"],
                prediction_dict["num_proposals"],
                in_pixels,
            )
        return named_losses


def _shape_resized_to(resizer: image_resizer.ImageResizer) -> tf.TensorShape:
    """[H, W, 3] as far as the resizer determines it; known shapes make faster graphs than those found at run time."""
    image = tf.TensorSpec([None, None, 3], tf.float32)
    return tf.function(resizer).get_concrete_function(image).output_shapes[0]


def _box_scale(image_shape: tf.Tensor) -> tf.Tensor:
    """[H, W, H, W] float32 of image_shape [4]."""
    size = tf.cast(image_shape[1:3], tf.float32)
    return tf.concat([size, size], axis=0)


def _in_pixels(groundtruth: Mapping[str, tf.Tensor], image_shape: tf.Tensor) -> target_assigner.GroundTruth:
    return target_assigner.groundtruth_in_pixels(groundtruth, image_shape[1], image_shape[2])


def _detections(result: post_processing.NmsResult, scores: tf.Tensor, true_image_shapes: tf.Tensor) -> TensorDict:
    """The entries both numbers of stages share; scores [B, P, K + 1] of the boxes before suppression."""
    is_detection = tf.sequence_mask(result.num_detections, result.scores.shape[1], tf.float32)
    multiclass_scores = post_processing.gather_rows(scores, result.indices) * is_detection[..., tf.newaxis]
    return {
        "detection_boxes": post_processing.normalize_boxes(result.boxes, true_image_shapes),
        "detection_scores": result.scores,
        "detection_multiclass_scores": multiclass_scores,
        "num_detections": tf.cast(result.num_detections, tf.float32),
    }

"""Faster R-CNN: image, feature map, proposals, crops, detections.

Shape shorthand in this module:

  B: images; H, W: padded network input, px
  h, w, C: feature map; N: anchors; depth: first_stage_box_predictor_depth
  P: proposals of an image (first_stage_max_proposals; second_stage_batch_size when training with groundtruth), padded
     with zeros; s, D: cells per side and channels of a proposal's features
  K: classes without background; Q: boxes per proposal, 1 or K; T: max_total_detections
  M: groundtruth boxes of an image, padded

Frames: boxes are [ymin, xmin, ymax, xmax], in pixels of the padded network input while inside the network
("proposal_boxes", "anchors"), normalized to that padded input for cropping ("..._normalized"), and normalized to the
true image, without padding, in detections.

Nothing is remembered between calls: predict, postprocess and loss take everything they need as arguments.

Source: Ren et al. 2015 (Faster R-CNN); TFOD's meta_architectures/faster_rcnn_meta_arch.py.
"""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from tfod_csf.modeling import roi_crop, target_assigner
from tfod_csf.modeling.box_classifier import BoxClassifier
from tfod_csf.modeling.box_head import SecondStagePredictions
from tfod_csf.modeling.feature_extractors.feature_extractor import FeatureExtractor, one_or_list
from tfod_csf.modeling.rpn import FirstStagePredictions, Proposals, RegionProposalNetwork
from tfod_csf.network_input import image_resizer

TensorDict = dict[str, tf.Tensor]


class FasterRCNN(tf.Module):
    """TFOD's meta-architecture of that name, from parts that `model_builder.build` makes.

    Args:
      num_classes: K.
      image_resizer: one image [h, w, 3] to (resized and padded image, true_image_shape); see network_input.
      feature_extractor: both halves of the backbone.
      rpn: the first stage.
      box_classifier: the second stage; None with number_of_stages 1, which stops at the proposals.
      initial_crop_size, maxpool_kernel_size, maxpool_stride, use_matmul_crop_and_resize: see roi_crop; not used where
          there is no second stage.
    """

    def __init__(
        self,
        num_classes: int,
        image_resizer: image_resizer.ImageResizer,
        feature_extractor: FeatureExtractor,
        rpn: RegionProposalNetwork,
        box_classifier: BoxClassifier | None,
        initial_crop_size: int = 14,
        maxpool_kernel_size: int = 2,
        maxpool_stride: int = 2,
        use_matmul_crop_and_resize: bool = False,
    ):
        super().__init__(name="faster_rcnn")
        self.num_classes = num_classes
        self.feature_extractor = feature_extractor
        self.rpn = rpn
        self.box_classifier = box_classifier
        self.initial_crop_size = initial_crop_size
        self.maxpool_kernel_size = maxpool_kernel_size
        self.maxpool_stride = maxpool_stride
        self.use_matmul_crop_and_resize = use_matmul_crop_and_resize
        self._image_resizer = image_resizer
        self._input_shape = _shape_resized_to(image_resizer)

    # Variables

    def keras_layers(self) -> list[Any]:
        """Every Keras model and layer that holds variables, in forward order."""
        layers = [self.feature_extractor.proposal_features, *self.rpn.head.keras_layers()]
        if self.box_classifier is not None:
            layers += [self.feature_extractor.box_classifier_features, *self.box_classifier.head.keras_layers()]
        return layers

    @property
    def trainable_variables(self) -> list[tf.Variable]:
        """Batch norm's gamma and beta are among them even when batch_norm_trainable is false, as in TFOD."""
        return [variable for layer in self.keras_layers() for variable in layer.trainable_variables]

    @property
    def variables(self) -> list[tf.Variable]:
        return [variable for layer in self.keras_layers() for variable in layer.variables]

    def build_variables(self, height: int = 64, width: int = 64) -> None:
        """Makes all variables, by predicting one gray image of that size (px). Their shapes do not depend on it."""
        image = tf.zeros([1, height, width, 3])
        self.predict(image, tf.constant([[height, width, 3]], tf.int32))

    def regularization_losses(self) -> list[tf.Tensor]:
        """One scalar per regularized kernel, as in TFOD.

        Those are the kernels of the first stage, of a feature pyramid and, with slim types, of the dense layers.
        """
        return [loss for layer in self.keras_layers() for loss in layer.losses]

    # The forward pass

    def preprocess(self, inputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Resizes, pads and normalizes images.

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
        return self.feature_extractor.image_normalizer.normalize(resized), true_image_shapes

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
          class_predictions_with_background [B*P, K + 1]. Of a feature pyramid, rpn_features_to_crop and
          rpn_box_predictor_features are lists with a map for each level.
        """
        image_shape = tf.shape(preprocessed_inputs)
        feature_maps = self.feature_extractor.extract_proposal_features(preprocessed_inputs, training)
        first_stage = self.rpn.predict(feature_maps, image_shape, training)
        predictions = {
            "image_shape": image_shape,
            "rpn_features_to_crop": one_or_list(feature_maps),
            **first_stage._asdict(),
        }
        if self.box_classifier is None:
            return predictions

        proposals = self.rpn.propose(first_stage, true_image_shapes)
        if training and groundtruth is not None:
            proposals = self.box_classifier.sample(proposals, _in_pixels(groundtruth, image_shape))

        normalized = proposals.proposal_boxes / _box_scale(image_shape)
        # Not the boxes from before the division: TFOD keeps the normalized ones and scales them back, and float32
        # rounds on the way. Targets and detections are computed from what it gets.
        proposals = proposals._replace(proposal_boxes=normalized * _box_scale(image_shape))
        box_classifier_features = self._box_classifier_features(feature_maps, normalized, image_shape, training)
        second_stage = self.box_classifier.predict(box_classifier_features, training)
        return {
            **predictions,
            **proposals._asdict(),
            "proposal_boxes_normalized": normalized,
            "final_anchors": normalized,
            "box_classifier_features": box_classifier_features,
            **second_stage._asdict(),
        }

    def _box_classifier_features(
        self, feature_maps: list[tf.Tensor], boxes_normalized: tf.Tensor, image_shape: tf.Tensor, training: bool
    ) -> tf.Tensor:
        """[B*P, s, s, D]: what the backbone's second half makes of the crops of boxes [B, P, 4]."""
        crops = roi_crop.multilevel_crop_and_pool(
            feature_maps,
            boxes_normalized,
            image_shape,
            initial_crop_size=self.initial_crop_size,
            maxpool_kernel_size=self.maxpool_kernel_size,
            maxpool_stride=self.maxpool_stride,
            use_matmul_crop_and_resize=self.use_matmul_crop_and_resize,
            subsampling=self.feature_extractor.crop_subsampling,
        )
        return self.feature_extractor.extract_box_classifier_features(crops, training)

    # From predictions to detections

    def postprocess(self, prediction_dict: Mapping[str, tf.Tensor], true_image_shapes: tf.Tensor) -> TensorDict:
        """Detections of `predict`'s output.

        Returns:
          detection_boxes [B, T, 4] normalized to the true image, detection_scores [B, T], num_detections float32 [B],
          detection_multiclass_scores [B, T, K + 1] with background first, raw_detection_boxes and raw_detection_scores
          (before suppression); with two stages also detection_classes float32 [B, T], zero-based without background,
          and detection_anchor_indices int32 [B, T], the row of the proposal. Padding rows are zeros.
          With one stage K is 1, and detections are the proposals.
        """
        if self.box_classifier is None:
            return self.rpn.detections(_read(FirstStagePredictions, prediction_dict), true_image_shapes)
        return self.box_classifier.detections(
            _read(SecondStagePredictions, prediction_dict), _read(Proposals, prediction_dict), true_image_shapes
        )

    # Losses

    def loss(
        self,
        prediction_dict: Mapping[str, tf.Tensor],
        true_image_shapes: tf.Tensor,
        groundtruth: Mapping[str, tf.Tensor],
    ) -> TensorDict:
        """TFOD's named losses, scalars that hold the configured weights; regularization is separate.

        Args:
          prediction_dict: output of `predict`, in training or not.
          true_image_shapes: int32 [B, 3].
          groundtruth: boxes [B, M, 4] normalized to the padded network input, classes [B, M, K] one-hot, zero-based
              without background, weights [B, M], 0 in padding rows, num_boxes [B] (optional; saves time).

        Returns:
          The losses of one replica, by their tags; the trainer divides by the number of replicas.
        """
        del true_image_shapes  # groundtruth is relative to the padded input; kept for TFOD's signature
        in_pixels = _in_pixels(groundtruth, prediction_dict["image_shape"])
        named_losses = self.rpn.losses(_read(FirstStagePredictions, prediction_dict), in_pixels)
        if self.box_classifier is not None:
            second_stage, proposals = _read(SecondStagePredictions, prediction_dict), _read(Proposals, prediction_dict)
            named_losses |= self.box_classifier.losses(second_stage, proposals, in_pixels)
        return named_losses


def _read(kind, prediction_dict: Mapping[str, tf.Tensor]):
    """A NamedTuple of that kind from TFOD's prediction dict, whose keys are the names of its fields."""
    return kind(**{name: prediction_dict[name] for name in kind._fields})


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

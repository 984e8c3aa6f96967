"""Backbones, split in two where Faster R-CNN crops its proposals.

Shape shorthand in this module:

  B: images; P: proposals of an image
  H, W: size of the network input, px; h, w, C: the feature map that is cropped
  s: size of a cropped proposal in cells; D: channels of the second stage

The first half turns preprocessed images [B, H, W, 3] into the map [B, h, w, C] that the first stage reads and that
proposals are cropped from; h is H / 16, or H / 8 if the network can have that first_stage_features_stride. A feature
pyramid has several maps, of strides 4, 8, 16 and so on. The second half turns cropped proposals [B*P, s, s, C] into
features [B*P, s', s', D] for the box head.
"""

import contextlib
import dataclasses

import tensorflow as tf
import tf_keras

from tfod_csf.config import extractor_types
from tfod_csf.errors import UserError
from tfod_csf.network_input.image_normalizer import ImageNormalizer

# proposal_features, box_classifier_features and crop_subsampling of a FeatureExtractor.
Halves = tuple[tf_keras.Model, tf_keras.Model, int]


class FeatureExtractorError(UserError):
    """`feature_extractor` of a config cannot be built."""


@dataclasses.dataclass(frozen=True)
class FeatureExtractor:
    """The two halves of a backbone.

    Attributes:
      proposal_features: Keras model, preprocessed images [B, H, W, 3] to [B, h, w, C] or a list of such maps.
      box_classifier_features: Keras model, cropped proposals [B*P, s, s, C] to [B*P, s', s', D].
      first_stage_features_stride: input pixels per cell of the first half's output; says nothing of a pyramid.
      crop_subsampling: the second half wants every crop_subsampling-th cell, in both directions, of a pooled proposal.
          2 for ResNet v1: its conv5 starts with 1x1 convolutions of stride 2, which read no other cells, so the others
          need not be computed. The numbers are those of the strided convolutions.
      image_normalizer: the pixel values that the first half expects.
      batch_norm_trainable: whether training normalizes with, and updates, batch statistics. If not, moving statistics
          are used and kept; gamma and beta are trained either way.
      slim_scope: name of the network in TensorFlow 1 variable names, see config.extractor_types; None for Keras types.
    """

    proposal_features: tf_keras.Model
    box_classifier_features: tf_keras.Model
    first_stage_features_stride: int
    crop_subsampling: int
    image_normalizer: ImageNormalizer
    batch_norm_trainable: bool
    slim_scope: str | None = None

    def extract_proposal_features(self, preprocessed_inputs: tf.Tensor, training: bool) -> list[tf.Tensor]:
        """[B, H, W, 3] to float32 [B, h, w, C]: one map, or those of a feature pyramid, the finest first.

        Raises:
          tf.errors.InvalidArgumentError: H or W is below SLIM_SMALLEST_SIDE, with a slim type, as in TFOD.
        """
        if self.slim_scope is not None:
            smallest = extractor_types.SLIM_SMALLEST_SIDE
            message = f"image size must be at least {smallest} px in both height and width after resizing"
            sides = tf.shape(preprocessed_inputs)[1:3]
            with tf.control_dependencies([tf.debugging.assert_greater_equal(sides, smallest, message)]):
                preprocessed_inputs = tf.identity(preprocessed_inputs)
        features = self.proposal_features(preprocessed_inputs, training=training and self.batch_norm_trainable)
        return [tf.cast(feature_map, tf.float32) for feature_map in tf.nest.flatten(features)]

    def extract_box_classifier_features(self, cropped_proposals: tf.Tensor, training: bool) -> tf.Tensor:
        """[B*P, s, s, C] to float32 [B*P, s', s', D]."""
        features = self.box_classifier_features(cropped_proposals, training=training and self.batch_norm_trainable)
        return tf.cast(features, tf.float32)


def one_or_list(feature_maps: list[tf.Tensor]) -> tf.Tensor | list[tf.Tensor]:
    """The map, or the maps of a feature pyramid: how TFOD's prediction dict holds them."""
    return feature_maps[0] if len(feature_maps) == 1 else feature_maps


class _HalfWeights(tf_keras.mixed_precision.Policy):
    """A policy that computes as its name says, from float16 variables, which are cast where they are read."""

    @property
    def variable_dtype(self) -> str:
        return "float16"


@contextlib.contextmanager
def layers_computing_in(dtype: str, weights_dtype: str = "float32"):
    """Keras layers made inside compute in `dtype`, "float32" or "bfloat16".

    Their variables are of `weights_dtype`, "float32" or "float16"; batch norm's are float32 in any case.
    """
    before = tf_keras.mixed_precision.global_policy()
    make = _HalfWeights if weights_dtype == "float16" else tf_keras.mixed_precision.Policy
    tf_keras.mixed_precision.set_global_policy(make("mixed_bfloat16" if dtype == "bfloat16" else dtype))
    try:
        yield
    finally:
        tf_keras.mixed_precision.set_global_policy(before)

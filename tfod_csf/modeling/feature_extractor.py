"""Backbones, split in two where Faster R-CNN crops its proposals.

Shape shorthand in this module:

  B: images; P: proposals of an image
  H, W: size of the network input, px; h, w, C: the feature map that is cropped
  s: size of a cropped proposal in cells; D: channels of the second stage

The first half turns preprocessed images [B, H, W, 3] into the map [B, h, w, C] that the first stage reads and that
proposals are cropped from; h is H / 16, or H / 8 for the small backbone if first_stage_features_stride says so. The
second half turns cropped proposals [B*P, s, s, C] into features [B*P, s', s', D] for the box head.
"""

import contextlib
import dataclasses
from collections.abc import Callable

import tensorflow as tf
import tf_keras

from tfod_csf.errors import UserError

# Blocks of conv2, conv3, conv4 and conv5 (He et al. 2016, table 1).
_RESNET_V1_BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
_BATCH_NORM_MOMENTUM = 0.997
_BATCH_NORM_EPSILON = 1e-5

# proposal_features, box_classifier_features and crop_subsampling of a FeatureExtractor.
Halves = tuple[tf_keras.Model, tf_keras.Model, int]


class FeatureExtractorError(UserError):
    """`feature_extractor` of a config cannot be built."""


@dataclasses.dataclass(frozen=True)
class FeatureExtractor:
    """The two halves of a backbone.

    Attributes:
      proposal_features: Keras model, preprocessed images [B, H, W, 3] to [B, h, w, C].
      box_classifier_features: Keras model, cropped proposals [B*P, s, s, C] to [B*P, s', s', D].
      first_stage_features_stride: input pixels per cell of the first half's output.
      crop_subsampling: the second half wants every crop_subsampling-th cell, in both directions, of a pooled proposal.
          2 for ResNet v1: its conv5 starts with 1x1 convolutions of stride 2, which read no other cells, so the others
          need not be computed. The numbers are those of the strided convolutions.
      batch_norm_trainable: whether training normalizes with, and updates, batch statistics. If not, moving statistics
          are used and kept; gamma and beta are trained either way.
    """

    proposal_features: tf_keras.Model
    box_classifier_features: tf_keras.Model
    first_stage_features_stride: int
    crop_subsampling: int
    batch_norm_trainable: bool

    def extract_proposal_features(self, preprocessed_inputs: tf.Tensor, training: bool) -> tf.Tensor:
        """[B, H, W, 3] to float32 [B, h, w, C]."""
        features = self.proposal_features(preprocessed_inputs, training=training and self.batch_norm_trainable)
        return tf.cast(features, tf.float32)

    def extract_box_classifier_features(self, cropped_proposals: tf.Tensor, training: bool) -> tf.Tensor:
        """[B*P, s, s, C] to float32 [B*P, s', s', D]."""
        features = self.box_classifier_features(cropped_proposals, training=training and self.batch_norm_trainable)
        return tf.cast(features, tf.float32)


@contextlib.contextmanager
def layers_computing_in(dtype: str):
    """Keras layers made inside keep float32 variables and compute in `dtype`, "float32" or "bfloat16"."""
    before = tf_keras.mixed_precision.global_policy()
    tf_keras.mixed_precision.set_global_policy("mixed_bfloat16" if dtype == "bfloat16" else dtype)
    try:
        yield
    finally:
        tf_keras.mixed_precision.set_global_policy(before)


def build(
    type: str,  # the field's name
    first_stage_features_stride: int = 16,
    batch_norm_trainable: bool = False,
) -> FeatureExtractor:
    """The backbone of that `type`; arguments have the fields' names.

    Raises:
      FeatureExtractorError: the type is not known, or cannot have that stride.
    """
    if type not in _BUILDERS:
        raise FeatureExtractorError(
            f"model.faster_rcnn.feature_extractor.type: {type} is not supported; use one of {', '.join(_BUILDERS)}."
        )
    build_halves, strides = _BUILDERS[type]
    if first_stage_features_stride not in strides:
        raise FeatureExtractorError(
            f"model.faster_rcnn.feature_extractor.first_stage_features_stride: {first_stage_features_stride} is not "
            f"supported by {type}; use {' or '.join(map(str, strides))}."
        )
    proposal_features, box_classifier_features, crop_subsampling = build_halves(first_stage_features_stride)
    return FeatureExtractor(
        proposal_features=proposal_features,
        box_classifier_features=box_classifier_features,
        first_stage_features_stride=first_stage_features_stride,
        crop_subsampling=crop_subsampling,
        batch_norm_trainable=batch_norm_trainable,
    )


def _conv(filters: int, kernel_size: int, name: str, strides: int = 1, padding: str = "same") -> tf_keras.layers.Layer:
    initializer = tf_keras.initializers.VarianceScaling(1.0, "fan_in", "truncated_normal")
    return tf_keras.layers.Conv2D(
        filters, kernel_size, strides, padding, use_bias=False, kernel_initializer=initializer, name=name
    )


def _batch_norm(name: str) -> tf_keras.layers.Layer:
    return tf_keras.layers.BatchNormalization(momentum=_BATCH_NORM_MOMENTUM, epsilon=_BATCH_NORM_EPSILON, name=name)


def _bottleneck_block(x, filters: int, name: str, stride: int = 1, conv_shortcut: bool = False):
    """1x1, 3x3, 1x1 and the shortcut. Their order numbers the variables of a checkpoint (layer_with_weights-N)."""
    shortcut = x
    if conv_shortcut:
        shortcut = _conv(4 * filters, 1, f"{name}_0_conv", stride)(x)
        shortcut = _batch_norm(f"{name}_0_bn")(shortcut)
    x = _conv(filters, 1, f"{name}_1_conv", stride)(x)
    x = _batch_norm(f"{name}_1_bn")(x)
    x = tf_keras.layers.ReLU(name=f"{name}_1_relu")(x)
    x = _conv(filters, 3, f"{name}_2_conv")(x)
    x = _batch_norm(f"{name}_2_bn")(x)
    x = tf_keras.layers.ReLU(name=f"{name}_2_relu")(x)
    x = _conv(4 * filters, 1, f"{name}_3_conv")(x)
    x = _batch_norm(f"{name}_3_bn")(x)
    x = tf_keras.layers.Add(name=f"{name}_add")([shortcut, x])
    return tf_keras.layers.ReLU(name=f"{name}_out")(x)


def _stack(x, filters: int, blocks: int, name: str, stride: int):
    x = _bottleneck_block(x, filters, f"{name}_block1", stride, conv_shortcut=True)
    for i in range(2, blocks + 1):
        x = _bottleneck_block(x, filters, f"{name}_block{i}")
    return x


def _resnet_v1(depth: int) -> Halves:
    """ResNet v1 with the stride on a stage's first 1x1 convolution, split between conv4 and conv5.

    conv5 starts with stride 1 here, on crops that hold only the cells its stride of 2 would read.
    """
    blocks = _RESNET_V1_BLOCKS[depth]
    image = tf_keras.Input([None, None, 3], name="image")
    x = tf_keras.layers.ZeroPadding2D(3, name="conv1_pad")(image)
    x = _conv(64, 7, "conv1_conv", strides=2, padding="valid")(x)
    x = _batch_norm("conv1_bn")(x)
    x = tf_keras.layers.ReLU(name="conv1_relu")(x)
    x = tf_keras.layers.MaxPooling2D(3, 2, "same", name="pool1_pool")(x)
    x = _stack(x, 64, blocks[0], "conv2", stride=1)
    x = _stack(x, 128, blocks[1], "conv3", stride=2)
    x = _stack(x, 256, blocks[2], "conv4", stride=2)
    proposal_features = tf_keras.Model(image, x, name=f"resnet{depth}_to_conv4")
    crop = tf_keras.Input([None, None, 1024], name="crop")
    x = _stack(crop, 512, blocks[3], "conv5", stride=1)
    return proposal_features, tf_keras.Model(crop, x, name=f"resnet{depth}_conv5"), 2


def _resnet18_half_width(first_stage_features_stride: int) -> Halves:
    """official.vision's ResNet-18 with half the channels: 2.8 million weights, made to be trained on CPUs.

    TFOD has no such network. The first half ends with the last group of the requested stride, the second half is the
    group after it. Batch norm's momentum suits training runs of some thousand steps, not of 100,000.
    """
    # Loading official.vision's backbones takes a second, which the large networks need not spend.
    from official.vision.modeling.backbones import resnet

    backbone = resnet.ResNet(18, depth_multiplier=0.5, norm_momentum=0.97, norm_epsilon=1e-3)
    cut, end = {8: ("3", "4"), 16: ("4", "5")}[first_stage_features_stride]
    feature_maps = backbone.output
    proposal_features = tf_keras.Model(backbone.input, feature_maps[cut], name=f"resnet18_to_conv{cut}")
    box_classifier_features = tf_keras.Model(feature_maps[cut], feature_maps[end], name=f"resnet18_conv{end}")
    return proposal_features, box_classifier_features, 1


# By type: what makes the halves, and the values of first_stage_features_stride it takes.
_BUILDERS: dict[str, tuple[Callable[[int], Halves], tuple[int, ...]]] = {
    "faster_rcnn_resnet50_keras": (lambda stride: _resnet_v1(50), (16,)),
    "faster_rcnn_resnet101_keras": (lambda stride: _resnet_v1(101), (16,)),
    "faster_rcnn_resnet152_keras": (lambda stride: _resnet_v1(152), (16,)),
    "faster_rcnn_resnet18_keras": (_resnet18_half_width, (8, 16)),
}

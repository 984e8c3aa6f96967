"""Feature pyramids (Lin et al. 2017) on Keras ResNet v1, as TFOD's faster_rcnn_resnet*_fpn_keras types have them.

Shape shorthand in this module:

  B: images; H, W: size of the network input, px; D: additional_layer_depth
  P: proposals of the whole batch; s: cells per side of a cropped proposal

Level l has a map of stride 2^l. Levels 2 to 5 come from the network's stages conv2 to conv5: each one's 1x1 projection
is added to the coarser level, enlarged to twice its size. Coarser levels follow by convolutions of stride 2.
"""

import dataclasses

import tensorflow as tf
import tf_keras
from official.modeling import tf_utils

from tfod_csf.modeling.feature_extractors import resnet_v1
from tfod_csf.modeling.feature_extractors.feature_extractor import Halves
from tfod_csf.modeling.layer_hyperparams import LayerHyperparams

# The levels of conv2 and of conv5.
_FINEST_LEVEL, _LAST_STAGE_LEVEL = 2, 5
_BOX_CLASSIFIER_UNITS = 1024


@dataclasses.dataclass(frozen=True)
class PyramidFields:
    """What a config says of a feature pyramid; attributes have the fields' names.

    Attributes:
      conv_hyperparams: of the layers added to the backbone.
      min_level, max_level: finest level, 2 to 5, and coarsest one.
      additional_layer_depth: channels of every level.
      override_base_feature_extractor_hyperparams: conv_hyperparams act in the backbone too.
      pad_to_multiple: zeros are added below and right until both sides are a multiple of it.
    """

    conv_hyperparams: LayerHyperparams
    min_level: int = 2
    max_level: int = 6
    additional_layer_depth: int = 256
    override_base_feature_extractor_hyperparams: bool = False
    pad_to_multiple: int = 32


def build(depth: int, fields: PyramidFields) -> Halves:
    """The pyramid on a ResNet of that depth, and the two dense layers that read a crop of one of its levels."""
    return FeaturePyramid(depth, fields), _build_box_classifier_features(fields.conv_hyperparams), 1


class FeaturePyramid(tf_keras.Model):
    """Images [B, H, W, 3] to the list of maps [B, H / 2^l, W / 2^l, D] of levels min_level to max_level.

    Names of attributes are TFOD's: they are part of the checkpoint's keys.
    """

    def __init__(self, depth: int, fields: PyramidFields):
        super().__init__(name=f"resnet{depth}_fpn")
        hyperparams, channels = fields.conv_hyperparams, fields.additional_layer_depth
        last_stage_level = min(fields.max_level, _LAST_STAGE_LEVEL)
        self._stages = slice(fields.min_level - _FINEST_LEVEL, last_stage_level - _FINEST_LEVEL + 1)
        self._pad_to_multiple = fields.pad_to_multiple
        self.classification_backbone = resnet_v1.build_backbone(
            depth, hyperparams if fields.override_base_feature_extractor_hyperparams else resnet_v1.HYPERPARAMS
        )
        self.fpn_features_generator = TopDownPathway(last_stage_level - fields.min_level + 1, channels, hyperparams)
        self.coarse_feature_layers = [
            _conv_block(channels, hyperparams, f"bottom_up_block{level}", strides=2)
            for level in range(last_stage_level, fields.max_level)
        ]

    def call(self, images: tf.Tensor) -> list[tf.Tensor]:
        stages = self.classification_backbone(_padded_to_multiple(images, self._pad_to_multiple))
        maps = self.fpn_features_generator(stages[self._stages])
        for layers in self.coarse_feature_layers:
            maps.append(_through(layers, maps[-1]))
        return maps


class TopDownPathway(tf_keras.layers.Layer):
    """Maps of the stages, each of half the last one's size, to as many of one depth, which hold the coarser ones' too.

    Layers are listed from the coarsest level on. The coarsest map is a 1x1 projection alone.
    """

    def __init__(self, num_levels: int, channels: int, hyperparams: LayerHyperparams):
        super().__init__(name="top_down")
        self.top_layers = [_projection(channels, hyperparams, num_levels)]
        levels = range(num_levels - 1, 0, -1)
        self.residual_blocks = [[_projection(channels, hyperparams, level)] for level in levels]
        self.conv_layers = [_conv_block(channels, hyperparams, f"smoothing_{level}") for level in levels]
        self._enlarge = tf_keras.layers.UpSampling2D(2, interpolation="nearest")

    def call(self, stages: list[tf.Tensor]) -> list[tf.Tensor]:
        maps = [_through(self.top_layers, stages[-1])]
        for stage, residual_block, layers in zip(reversed(stages[:-1]), self.residual_blocks, self.conv_layers):
            maps.append(_through(layers, self._enlarge(maps[-1]) + _through(residual_block, stage)))
        return maps[::-1]


def _build_box_classifier_features(hyperparams: LayerHyperparams) -> tf_keras.Model:
    """Crops [P, s, s, D] to [P, 1, 1, 1024]."""
    layers = [
        tf_keras.layers.Flatten(),
        tf_keras.layers.Dense(_BOX_CLASSIFIER_UNITS, activation="relu", name="box_classifier_1"),
        *hyperparams.batch_norm_layers("box_classifier_1_batchnorm"),
        tf_keras.layers.Dense(_BOX_CLASSIFIER_UNITS, activation="relu", name="box_classifier_2"),
        tf_keras.layers.Reshape([1, 1, _BOX_CLASSIFIER_UNITS]),
    ]
    return tf_keras.Sequential(layers, name="box_classifier_features")


def _projection(channels: int, hyperparams: LayerHyperparams, level: int) -> tf_keras.layers.Layer:
    arguments = hyperparams.conv_arguments(use_bias=True)
    return tf_keras.layers.Conv2D(channels, 1, name=f"projection_{level}", **arguments)


def _conv_block(
    channels: int, hyperparams: LayerHyperparams, name: str, strides: int = 1
) -> list[tf_keras.layers.Layer]:
    """3x3 convolution, batch norm, activation. Their places in the list are part of the checkpoint's keys."""
    arguments = hyperparams.conv_arguments()
    return [
        tf_keras.layers.Conv2D(channels, 3, strides, "same", name=f"{name}_conv", **arguments),
        *hyperparams.batch_norm_layers(f"{name}_batchnorm"),
        hyperparams.activation_layer(name),
    ]


def _through(layers: list[tf_keras.layers.Layer], x: tf.Tensor) -> tf.Tensor:
    for layer in layers:
        x = layer(x)
    return x


def _padded_to_multiple(images: tf.Tensor, multiple: int) -> tf.Tensor:
    _, height, width, _ = tf_utils.get_shape_list(images)
    return tf.pad(images, [[0, 0], [0, -height % multiple], [0, -width % multiple], [0, 0]])

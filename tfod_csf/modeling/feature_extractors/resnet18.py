"""Small ResNets for CPUs, which TFOD does not have."""

import tf_keras

from tfod_csf.modeling.feature_extractors.feature_extractor import Halves

_CHANNELS = {"2": 32, "3": 64, "4": 128}  # of the first half's groups
_EPSILON = 1e-3


def build(first_stage_features_stride: int) -> Halves:
    """official.vision's ResNet-18 with half the channels, made to be trained on CPUs.

    TFOD has no such network. The first half ends with the last group of the requested stride, the second half is the
    group after it: 0.7 million weights at stride 8, 2.8 at 16, of detectors of five classes with 1.0 and 3.4. Batch
    norm's momentum suits training runs of some thousand steps, not of 100,000.
    """
    # Loading official.vision's backbones takes a second, which the large networks need not spend.
    from official.vision.modeling.backbones import resnet

    cut, end = _cut_and_end(first_stage_features_stride)
    backbone = resnet.ResNet(18, depth_multiplier=0.5, norm_momentum=0.97, norm_epsilon=_EPSILON)
    feature_maps = backbone.output
    proposal_features = tf_keras.Model(backbone.input, feature_maps[cut], name=f"resnet18_to_conv{cut}")
    box_classifier_features = tf_keras.Model(feature_maps[cut], feature_maps[end], name=f"resnet18_conv{end}")
    return proposal_features, box_classifier_features, 1


def build_instance_norm(first_stage_features_stride: int) -> Halves:
    """The same network, whose first half normalizes each channel of each image by that image (instance norm).

    Batch norm takes what it knows of pictures from those of the training; a laboratory whose stain is paler changes
    every channel's mean and spread. The second half, which sees one cell at a time, keeps batch norm: by itself a cell
    could not be compared with others (not tried). Weights have the names that `build` gives them, so that a
    checkpoint of that network starts this one. Source: Pan et al., Two at Once: Enhancing Learning and Generalization
    Capacities via IBN-Net, ECCV 2018, which mixes both norms in the first groups.
    """
    cut, _ = _cut_and_end(first_stage_features_stride)
    _, box_classifier_features, crop_subsampling = build(first_stage_features_stride)
    return _instance_norm_first_half(cut), box_classifier_features, crop_subsampling


def _cut_and_end(first_stage_features_stride: int) -> tuple[str, str]:
    """Numbers of the first half's last group and of the second half's."""
    return {8: ("3", "4"), 16: ("4", "5")}[first_stage_features_stride]


def _instance_norm_first_half(cut: str) -> tf_keras.Model:
    from official.vision.modeling.layers import nn_blocks

    class ResidualBlock(nn_blocks.ResidualBlock):
        def __init__(self, **arguments):
            super().__init__(**arguments)
            self._norm = _instance_norm

    inputs = tf_keras.Input((None, None, 3))
    x = tf_keras.layers.Conv2D(32, 7, 2, "same", use_bias=False, kernel_initializer="VarianceScaling")(inputs)
    x = tf_keras.layers.ReLU()(_instance_norm()(x))
    x = tf_keras.layers.MaxPool2D(3, 2, "same")(x)
    for group, channels in _CHANNELS.items():
        if group > cut:
            break
        x = ResidualBlock(filters=channels, strides=1 if group == "2" else 2, use_projection=True)(x)
        x = ResidualBlock(filters=channels, strides=1)(x)
    return tf_keras.Model(inputs, x, name=f"resnet18_instance_norm_to_conv{cut}")


def _instance_norm(**of_batch_norm) -> tf_keras.layers.Layer:
    """Takes, and takes no notice of, what official.vision gives batch norm."""
    return tf_keras.layers.GroupNormalization(groups=-1, epsilon=_EPSILON)

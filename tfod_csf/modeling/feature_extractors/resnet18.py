"""Small ResNets for CPUs, which TFOD does not have."""

import tf_keras

from tfod_csf.modeling.feature_extractors.feature_extractor import Halves


def build(first_stage_features_stride: int) -> Halves:
    """official.vision's ResNet-18 with half the channels, made to be trained on CPUs.

    TFOD has no such network. The first half ends with the last group of the requested stride, the second half is the
    group after it: 0.7 million weights at stride 8, 2.8 at 16, of detectors of five classes with 1.0 and 3.4. Batch
    norm's momentum suits training runs of some thousand steps, not of 100,000.
    """
    # Loading official.vision's backbones takes a second, which the large networks need not spend.
    from official.vision.modeling.backbones import resnet

    cut, end = {8: ("3", "4"), 16: ("4", "5")}[first_stage_features_stride]
    backbone = resnet.ResNet(18, depth_multiplier=0.5, norm_momentum=0.97, norm_epsilon=1e-3)
    feature_maps = backbone.output
    proposal_features = tf_keras.Model(backbone.input, feature_maps[cut], name=f"resnet18_to_conv{cut}")
    box_classifier_features = tf_keras.Model(feature_maps[cut], feature_maps[end], name=f"resnet18_conv{end}")
    return proposal_features, box_classifier_features, 1

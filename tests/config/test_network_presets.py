"""Presets: the zoo's numbers, and those of the small network, which README and the paper's comparison name."""

import pytest

from tfod_csf.config import extractor_types, network_presets
from tfod_csf.config.network_presets import network_preset
from tfod_csf.config.pipeline_config import ConfigError


def test_a_zoo_network():
    preset = network_preset("faster_rcnn_resnet101_keras", "800x1333")
    assert preset == network_preset("resnet101", "800x1333")
    assert preset.name == "faster_rcnn_resnet101_v1_800x1333"
    assert preset.feature_extractor_type == "faster_rcnn_resnet101_keras"
    assert (preset.min_dimension, preset.max_dimension, preset.is_fixed_shape) == (800, 1333, False)
    # The zoo trained this size on GPUs and the others on TPUs, and named the archives for it.
    folder = "pre-trained-models/faster_rcnn_resnet101_v1_800x1333_coco17_gpu-8"
    assert preset.zoo_checkpoint == f"{folder}/checkpoint/ckpt-0"
    assert (preset.least_detections, preset.first_stage_features_stride) == (300, 16)
    assert preset.aspect_ratios == (0.5, 1.0, 2.0)
    assert (preset.first_stage_minibatch_size, preset.second_stage_batch_size) == (256, 64)
    assert preset.rms_prop_epsilon == 1.0


def test_the_small_network():
    preset = network_preset("resnet18")
    assert (preset.name, preset.min_dimension, preset.max_dimension) == ("faster_rcnn_resnet18_320x320", 320, 320)
    assert preset.zoo_checkpoint == ""
    assert (preset.least_detections, preset.first_stage_features_stride, preset.aspect_ratios) == (100, 8, (1.0,))
    assert (preset.first_stage_minibatch_size, preset.second_stage_batch_size) == (64, 32)
    assert preset.rms_prop_epsilon == 0.01


def test_sizes():
    assert network_preset("resnet50").name == "faster_rcnn_resnet50_v1_640x640"
    assert not network_preset("resnet50").is_fixed_shape
    assert network_preset("resnet50", "1024x1024").is_fixed_shape
    other = network_preset("resnet50", "512x600")
    assert (other.name, other.min_dimension, other.max_dimension) == ("faster_rcnn_resnet50_v1_512x600", 512, 600)
    assert "resnet50_v1_640x640_coco17_tpu-8" in other.zoo_checkpoint  # weights do not depend on the size
    assert network_preset("resnet18", "32x32").min_dimension == 32


@pytest.mark.parametrize("size", ["640", "640x320", "0x0", "axb", "16x640", "31x31", "640x640x3"])
def test_wrong_sizes_are_refused(size):
    with pytest.raises(ConfigError, match=f"input size '{size}' is not MINxMAX"):
        network_preset("resnet50", size)


def test_wrong_feature_extractor_is_refused():
    with pytest.raises(ConfigError, match=r"'vgg16' is not supported; use one of resnet50, "):
        network_preset("vgg16")


def test_committed_presets_have_their_own_names_and_types():
    presets = network_presets.committed_presets()
    names = [preset.name for preset in presets]
    # Three depths at three sizes, three pyramids, Inception ResNet v2 at two sizes, TensorFlow 1's five, two for CPUs.
    assert len(names) == len(set(names)) == 3 * 3 + 3 + 2 + 5 + 2
    assert names[0] == "faster_rcnn_resnet50_v1_640x640"
    assert names[-2:] == ["faster_rcnn_resnet18_320x320", "faster_rcnn_resnet18_instance_norm_320x320"]
    assert {preset.feature_extractor_type for preset in presets} <= set(extractor_types.SUPPORTED)


def test_a_feature_pyramid_starts_from_imagenet():
    preset = network_preset("resnet101_fpn")
    assert preset == network_preset("faster_rcnn_resnet101_fpn_keras", "640x640")
    assert (preset.name, preset.is_feature_pyramid) == ("faster_rcnn_resnet101_v1_fpn_640x640", True)
    assert preset.zoo_checkpoint == "pre-trained-models/resnet101.ckpt-1"
    assert preset.zoo_checkpoint_type == "classification"
    assert not network_preset("resnet101").is_feature_pyramid


def test_inception_resnet_v2_has_the_zoos_crop_and_checkpoints():
    preset = network_preset("inception_resnet_v2_keras", "1024x1024")
    assert preset.name == "faster_rcnn_inception_resnet_v2_1024x1024"
    assert (preset.initial_crop_size, preset.maxpool_kernel_size, preset.is_fixed_shape) == (17, 1, True)
    folder = "pre-trained-models/faster_rcnn_inception_resnet_v2_1024x1024_coco17_tpu-8"
    assert (preset.zoo_checkpoint, preset.zoo_checkpoint_type) == (f"{folder}/checkpoint/ckpt-0", "detection")
    # The zoo has no other size; the weights of the 640x640 one serve.
    assert "_640x640_" in network_preset("inception_resnet_v2_keras", "800x1333").zoo_checkpoint


def test_types_of_tensorflow_1_go_by_their_full_names():
    preset = network_preset("faster_rcnn_resnet101")
    assert (preset.feature_extractor_type, preset.name) == ("faster_rcnn_resnet101", "faster_rcnn_resnet101_600x1024")
    assert preset.zoo_checkpoint == "pre-trained-models/faster_rcnn_resnet101_coco_2018_01_28/model.ckpt"
    assert network_preset("resnet101").feature_extractor_type == "faster_rcnn_resnet101_keras"
    assert network_preset("inception_v2") == network_preset("faster_rcnn_inception_v2", "600x1024")
    with pytest.raises(ConfigError, match=r"inception_resnet_v2_keras, .*faster_rcnn_inception_resnet_v2"):
        network_preset("inception_resnet_v2")


def test_inception_resnet_v2_of_tensorflow_1_is_the_atrous_one():
    preset = network_preset("faster_rcnn_inception_resnet_v2")
    assert (preset.first_stage_features_stride, preset.first_stage_atrous_rate) == (8, 2)
    assert (preset.initial_crop_size, preset.maxpool_kernel_size) == (17, 1)
    assert "inception_resnet_v2_atrous_coco_2018_01_28" in preset.zoo_checkpoint

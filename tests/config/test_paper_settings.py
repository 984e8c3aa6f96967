"""Generated configs: the paper's settings, the arguments that the paper leaves open, and no unsupported field."""

import pytest

from tfod_csf.config import network_presets, supported
from tfod_csf.config.detection_limits import DetectionLimits
from tfod_csf.config.network_presets import network_preset
from tfod_csf.config.paper_settings import Records, Training, generate


def test_the_papers_settings_are_the_defaults():
    config = generate(network_preset("resnet50"))
    train, model = config.train_config, config.model.faster_rcnn
    assert (train.batch_size, train.num_steps, model.num_classes) == (4, 32000, 4)
    schedule = train.optimizer.rms_prop_optimizer.learning_rate.exponential_decay_learning_rate
    assert schedule.initial_learning_rate == pytest.approx(0.001)
    assert (schedule.decay_steps, schedule.decay_factor) == (711, pytest.approx(0.95))
    # After 32,000 steps: 0.95 ^ (32000 / 711) = 0.0994, about a tenth.
    assert 0.95 ** (train.num_steps / schedule.decay_steps) == pytest.approx(0.1, rel=0.02)
    assert model.second_stage_classification_loss.WhichOneof("classification_loss") == "weighted_softmax"
    nms = model.second_stage_post_processing.batch_non_max_suppression
    assert nms.iou_threshold == 0.5
    assert nms.use_class_agnostic_nms
    assert {step.WhichOneof("preprocessing_step") for step in train.data_augmentation_options} == {
        "random_horizontal_flip",
        "random_adjust_brightness",
        "random_adjust_contrast",
        "random_adjust_saturation",
    }
    assert list(config.eval_config.metrics_set) == ["pascal_voc_detection_metrics", "coco_detection_metrics"]
    assert train.fine_tune_checkpoint.endswith("faster_rcnn_resnet50_v1_640x640_coco17_tpu-8/checkpoint/ckpt-0")
    assert train.fine_tune_checkpoint_type == "detection"
    assert not model.feature_extractor.batch_norm_trainable


@pytest.mark.parametrize("network", network_presets.committed_presets(), ids=lambda network: network.name)
def test_every_preset_is_supported_without_notices(network):
    config = generate(network)
    supported.check_supported(config)
    assert supported.notices(config) == []


def test_arguments_reach_their_fields():
    config = generate(
        network_preset("faster_rcnn_resnet101_keras", "800x1333"),
        Records(3, "m.pbtxt", "a.record", "b.record"),
        Training(2, 90, 0.01, None, 0.5, 0.1, "zoo.tar.gz", "full"),
        DetectionLimits(150, 250, 350),
        (0.1, 0.2),
        use_class_agnostic_nms=False,
    )
    model, train = config.model.faster_rcnn, config.train_config
    assert model.feature_extractor.type == "faster_rcnn_resnet101_keras"
    resizer = model.image_resizer.keep_aspect_ratio_resizer
    assert (resizer.min_dimension, resizer.max_dimension, resizer.pad_to_max_dimension) == (800, 1333, True)
    assert (model.num_classes, model.first_stage_max_proposals) == (3, 350)
    nms = model.second_stage_post_processing.batch_non_max_suppression
    assert (nms.max_detections_per_class, nms.max_total_detections, nms.use_class_agnostic_nms) == (250, 250, False)
    assert train.max_number_of_boxes == config.eval_input_reader[0].max_number_of_boxes == 150
    assert list(model.first_stage_anchor_generator.grid_anchor_generator.scales) == pytest.approx([0.1, 0.2])
    rms_prop = train.optimizer.rms_prop_optimizer
    assert rms_prop.epsilon == pytest.approx(0.1)
    assert rms_prop.learning_rate.exponential_decay_learning_rate.decay_steps == 2  # 90 // 45
    assert (train.fine_tune_checkpoint, train.fine_tune_checkpoint_type) == ("zoo.tar.gz", "full")
    assert config.train_input_reader.label_map_path == config.eval_input_reader[0].label_map_path == "m.pbtxt"
    assert list(config.train_input_reader.tf_record_input_reader.input_path) == ["a.record"]
    assert list(config.eval_input_reader[0].tf_record_input_reader.input_path) == ["b.record"]


def test_adam_falls_as_rms_prop_does_and_keeps_no_moving_averages():
    optimizer = generate(
        network_preset("resnet18"), training=Training(num_steps=90, optimizer="adam")
    ).train_config.optimizer
    assert optimizer.WhichOneof("optimizer") == "adam_optimizer"
    schedule = optimizer.adam_optimizer.learning_rate.exponential_decay_learning_rate
    assert (schedule.initial_learning_rate, schedule.decay_factor) == pytest.approx((0.001, 0.95))
    assert schedule.decay_steps == 2  # 90 // 45
    assert optimizer.adam_optimizer.epsilon == pytest.approx(1e-8)  # the schema's default
    assert not optimizer.use_moving_average


def test_from_scratch_trains_batch_norm_and_names_no_checkpoint():
    config = generate(network_preset("resnet50"), training=Training(fine_tune_checkpoint=""))
    assert config.model.faster_rcnn.feature_extractor.batch_norm_trainable
    assert not config.train_config.HasField("fine_tune_checkpoint")
    assert not config.train_config.HasField("fine_tune_checkpoint_type")


def test_a_feature_pyramid_has_the_published_fields_and_anchors_of_its_levels():
    config = generate(network_preset("resnet50_fpn"))
    model = config.model.faster_rcnn
    anchors = model.first_stage_anchor_generator.multiscale_anchor_generator
    assert model.first_stage_anchor_generator.WhichOneof("anchor_generator_oneof") == "multiscale_anchor_generator"
    assert (anchors.min_level, anchors.max_level) == (2, 6)
    assert (model.feature_extractor.fpn.min_level, model.feature_extractor.fpn.max_level) == (2, 6)
    assert list(anchors.aspect_ratios) == [1.0, 2.0, 0.5]
    assert model.feature_extractor.conv_hyperparams.batch_norm.scale
    assert config.train_config.fine_tune_checkpoint_type == "classification"
    assert (model.initial_crop_size, model.maxpool_kernel_size, model.maxpool_stride) == (14, 2, 2)


def test_input_sizes():
    fixed = generate(network_preset("resnet152", "1024x1024")).model.faster_rcnn.image_resizer.fixed_shape_resizer
    assert (fixed.height, fixed.width) == (1024, 1024)
    padded = generate(network_preset("resnet18")).model.faster_rcnn.image_resizer.keep_aspect_ratio_resizer
    assert (padded.min_dimension, padded.max_dimension, padded.pad_to_max_dimension) == (320, 320, True)


def test_networks_of_tensorflow_1_have_one_box_per_class_as_in_their_zoo():
    def predictor(name):
        return generate(network_preset(name)).model.faster_rcnn.second_stage_box_predictor.mask_rcnn_box_predictor

    assert predictor("resnet50").share_box_across_classes
    assert not predictor("inception_v2").share_box_across_classes
    assert generate(network_preset("faster_rcnn_inception_resnet_v2")).model.faster_rcnn.first_stage_atrous_rate == 2

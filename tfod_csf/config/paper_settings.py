"""A complete Faster R-CNN config with the settings of Jiang et al. 2022 (Front Med 8:749146).

The paper gives: weights pre-trained on COCO, four classes, RMSprop, softmax loss, exponential decay from 0.001, 32,000
steps, batch size 4, IoU threshold 0.5, random flips and changes of brightness, contrast and saturation, selection by
the PASCAL VOC metric. It leaves open backbone, input size, anchors, decay steps and factor, RMSprop's other constants;
these are arguments. Everything else is as in TFOD's zoo configs for Faster R-CNN ResNet.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from google.protobuf import text_format

from tfod_csf.config import extractor_types
from tfod_csf.config.detection_limits import ZOO_ANCHOR_SCALES, DetectionLimits, anchor_sides, limits_for
from tfod_csf.config.network_presets import NetworkPreset
from tfod_csf.config.protos import faster_rcnn_pb2, image_resizer_pb2, optimizer_pb2, pipeline_pb2, train_pb2

RMS_PROP, ADAM = OPTIMIZERS = ("rms_prop", "adam")
_FIXED_SETTINGS = """
model {
  faster_rcnn {
    first_stage_box_predictor_conv_hyperparams {
      op: CONV
      regularizer { l2_regularizer { weight: 0.0 } }
      initializer { truncated_normal_initializer { stddev: 0.01 } }
    }
    first_stage_nms_score_threshold: 0.0
    first_stage_nms_iou_threshold: 0.7
    first_stage_localization_loss_weight: 2.0
    first_stage_objectness_loss_weight: 1.0
    second_stage_box_predictor {
      mask_rcnn_box_predictor {
        use_dropout: false
        dropout_keep_probability: 1.0
        fc_hyperparams {
          op: FC
          regularizer { l2_regularizer { weight: 0.0 } }
          initializer { variance_scaling_initializer { factor: 1.0 uniform: true mode: FAN_AVG } }
        }
      }
    }
    second_stage_post_processing {
      batch_non_max_suppression { score_threshold: 0.0 iou_threshold: 0.5 }
      score_converter: SOFTMAX
    }
    second_stage_localization_loss_weight: 2.0
    second_stage_classification_loss_weight: 1.0
    second_stage_classification_loss { weighted_softmax { } }
    clip_anchors_to_image: true
  }
}
train_config {
  optimizer { use_moving_average: false }
  gradient_clipping_by_norm: 10.0
  data_augmentation_options { random_horizontal_flip { } }
  data_augmentation_options { random_adjust_brightness { } }
  data_augmentation_options { random_adjust_contrast { } }
  data_augmentation_options { random_adjust_saturation { } }
}
eval_config {
  metrics_set: "pascal_voc_detection_metrics"
  metrics_set: "coco_detection_metrics"
  use_moving_averages: false
  batch_size: 1
}
eval_input_reader { shuffle: false num_epochs: 1 }
"""


# As in TFOD's published config of a feature pyramid.
_FEATURE_PYRAMID = """
feature_extractor {
  fpn { min_level: 2 max_level: 6 }
  conv_hyperparams {
    activation: RELU_6
    regularizer { l2_regularizer { weight: 0.0004 } }
    initializer { truncated_normal_initializer { stddev: 0.03 mean: 0.0 } }
    batch_norm { scale: true decay: 0.997 epsilon: 0.001 }
  }
  override_base_feature_extractor_hyperparams: true
}
first_stage_anchor_generator {
  multiscale_anchor_generator {
    min_level: 2 max_level: 6 anchor_scale: 4.0 scales_per_octave: 2 normalize_coordinates: false
  }
}
"""


@dataclass(frozen=True)
class Records:
    """Where the data is, and what is in it. Paths are written into the config as they are."""

    num_classes: int = 4
    label_map_path: str = "tfrecords/label_map.pbtxt"
    train_input_path: str = "tfrecords/train.record-?????-of-?????"
    eval_input_path: str = "tfrecords/test.record-?????-of-?????"


@dataclass(frozen=True)
class Training:
    """The optimizer's side of the config.

    Attributes:
      batch_size: images per step, over all replicas.
      num_steps: optimizer steps.
      initial_learning_rate: of the exponential decay.
      decay_steps: steps between two decays; None: num_steps / 45, which with 0.95 ends at a tenth of the first rate.
      decay_factor: of one decay; 0.95 is the schema's default.
      rms_prop_epsilon: added to the mean square before the root; None: the network preset's.
      fine_tune_checkpoint: folder, ckpt prefix or .tar.gz of a COCO model; None: the preset's zoo model; "": none, that
        is, from scratch.
      fine_tune_checkpoint_type: what to restore from it; "detection" restores the two feature extractors; None: what
        the preset's zoo model holds.
      optimizer: of `OPTIMIZERS`; "rms_prop" is the paper's.
    """

    batch_size: int = 4
    num_steps: int = 32000
    initial_learning_rate: float = 0.001
    decay_steps: int | None = None
    decay_factor: float = 0.95
    rms_prop_epsilon: float | None = None
    fine_tune_checkpoint: str | None = None
    fine_tune_checkpoint_type: str | None = None
    optimizer: str = RMS_PROP


def generate(
    network: NetworkPreset,
    records: Records = Records(),
    training: Training = Training(),
    limits: DetectionLimits | None = None,
    anchor_scales: Sequence[float] = ZOO_ANCHOR_SCALES,
    use_class_agnostic_nms: bool = True,
) -> pipeline_pb2.TrainEvalPipelineConfig:
    """Builds the config.

    Args:
      network: feature extractor and input size.
      records: paths and number of classes.
      training: optimizer, schedule, batch, checkpoint.
      limits: detection limits; None: the zoo's 300.
      anchor_scales: sides of the square anchors, in units of 256 pixels of the network's input; those of a feature
        pyramid follow from its levels instead.
      use_class_agnostic_nms: suppress overlapping detections of different classes too, so that a cell counts once.
    """
    config = text_format.Parse(_FIXED_SETTINGS, pipeline_pb2.TrainEvalPipelineConfig())
    _fill_in_model(config.model.faster_rcnn, network, records.num_classes, anchor_scales)
    limits = limits or limits_for(0)
    nms = config.model.faster_rcnn.second_stage_post_processing.batch_non_max_suppression
    nms.max_detections_per_class = limits.max_detections
    nms.max_total_detections = limits.max_detections
    nms.use_class_agnostic_nms = use_class_agnostic_nms
    config.model.faster_rcnn.first_stage_max_proposals = limits.first_stage_max_proposals
    # TFOD pads training images to train_config's number and evaluation images to the reader's.
    config.train_config.max_number_of_boxes = limits.max_number_of_boxes
    config.train_input_reader.max_number_of_boxes = limits.max_number_of_boxes
    config.eval_input_reader[0].max_number_of_boxes = limits.max_number_of_boxes
    _fill_in_training(config, network, training)
    _fill_in_readers(config, records)
    return config


def image_resizer(network: NetworkPreset) -> image_resizer_pb2.ImageResizer:
    """What a generated config does with an image: stretched, or scaled and padded to the same size."""
    resizer = image_resizer_pb2.ImageResizer()
    if network.is_fixed_shape:
        resizer.fixed_shape_resizer.height = network.min_dimension
        resizer.fixed_shape_resizer.width = network.max_dimension
    else:
        kept = resizer.keep_aspect_ratio_resizer
        kept.min_dimension = network.min_dimension
        kept.max_dimension = network.max_dimension
        kept.pad_to_max_dimension = True
    return resizer


def pyramid_anchor_sides() -> tuple[float, float]:
    """Sides of the smallest and of the largest square anchor of a generated feature pyramid, in input pixels."""
    model = text_format.Parse(_FEATURE_PYRAMID, faster_rcnn_pb2.FasterRcnn())
    sides = anchor_sides(model.first_stage_anchor_generator)
    return sides[0], sides[-1]


def decay_steps_for(training: Training) -> int:
    """Steps between two decays of the learning rate."""
    return training.decay_steps or max(1, training.num_steps // 45)


def _fill_in_model(
    model: faster_rcnn_pb2.FasterRcnn, network: NetworkPreset, num_classes: int, anchor_scales: Sequence[float]
) -> None:
    model.num_classes = num_classes
    model.feature_extractor.type = network.feature_extractor_type
    # One box per class in the TensorFlow 1 zoo, one for all classes in that of TensorFlow 2.
    is_tensorflow_1 = extractor_types.is_slim(network.feature_extractor_type)
    model.second_stage_box_predictor.mask_rcnn_box_predictor.share_box_across_classes = not is_tensorflow_1
    model.image_resizer.CopyFrom(image_resizer(network))
    if network.is_feature_pyramid:
        text_format.Merge(_FEATURE_PYRAMID, model)
        model.first_stage_anchor_generator.multiscale_anchor_generator.aspect_ratios.extend(network.aspect_ratios)
    else:
        anchors = model.first_stage_anchor_generator.grid_anchor_generator
        anchors.scales.extend(anchor_scales)
        anchors.aspect_ratios.extend(network.aspect_ratios)
        anchors.height_stride = anchors.width_stride = network.first_stage_features_stride
        model.feature_extractor.first_stage_features_stride = network.first_stage_features_stride
    model.initial_crop_size = network.initial_crop_size
    model.maxpool_kernel_size = model.maxpool_stride = network.maxpool_kernel_size
    if network.first_stage_atrous_rate != 1:
        model.first_stage_atrous_rate = network.first_stage_atrous_rate
    model.first_stage_minibatch_size = network.first_stage_minibatch_size
    model.second_stage_batch_size = network.second_stage_batch_size


def _fill_in_training(config: pipeline_pb2.TrainEvalPipelineConfig, network: NetworkPreset, training: Training) -> None:
    train = config.train_config
    train.batch_size = training.batch_size
    train.num_steps = training.num_steps
    _fill_in_optimizer(train.optimizer, network, training)
    checkpoint = training.fine_tune_checkpoint
    if checkpoint is None:
        checkpoint = network.zoo_checkpoint
    if checkpoint:
        train.fine_tune_checkpoint = checkpoint
        train.fine_tune_checkpoint_type = training.fine_tune_checkpoint_type or network.zoo_checkpoint_type
        train.fine_tune_checkpoint_version = train_pb2.V2
    # Batches of four are too small for batch norm statistics to be better than COCO's; from scratch there are none yet.
    config.model.faster_rcnn.feature_extractor.batch_norm_trainable = not checkpoint


def _fill_in_optimizer(optimizer: optimizer_pb2.Optimizer, network: NetworkPreset, training: Training) -> None:
    is_adam = training.optimizer == ADAM
    chosen = optimizer.adam_optimizer if is_adam else optimizer.rms_prop_optimizer
    schedule = chosen.learning_rate.exponential_decay_learning_rate
    schedule.initial_learning_rate = training.initial_learning_rate
    schedule.decay_steps = decay_steps_for(training)
    schedule.decay_factor = training.decay_factor
    if not is_adam:
        chosen.momentum_optimizer_value = 0.9
        chosen.decay = 0.9
        chosen.epsilon = network.rms_prop_epsilon if training.rms_prop_epsilon is None else training.rms_prop_epsilon


def _fill_in_readers(config: pipeline_pb2.TrainEvalPipelineConfig, records: Records) -> None:
    for reader, input_path in (
        (config.train_input_reader, records.train_input_path),
        (config.eval_input_reader[0], records.eval_input_path),
    ):
        reader.label_map_path = records.label_map_path
        reader.tf_record_input_reader.input_path.append(input_path)

"""Write a complete pipeline.config with the paper's settings.

The number of classes, detection limits and anchors follow from the records that create_csf_tf_record wrote; what the
paper leaves open is a flag. --config_override changes any other field.

--fine_tune_from=NAME starts from a model that ships with this package, or from the folder of your own one.

Example: tfod_csf generate_pipeline_config --feature_extractor=resnet50 --output_path=pipeline.config
"""

import dataclasses
import pathlib
import sys
from typing import TYPE_CHECKING, TypeAlias

from absl import flags

from tfod_csf.commands import command_line, common_flags, config_flags
from tfod_csf.files import atomic_write, record_set

if TYPE_CHECKING:
    from tfod_csf.config.box_statistics import BoxStatistics
    from tfod_csf.config.network_presets import NetworkPreset
    from tfod_csf.config.paper_settings import Records, Training
    from tfod_csf.config.protos.pipeline_pb2 import TrainEvalPipelineConfig

# The config, its network, and remarks, of which the first is about the anchors.
_Generated: TypeAlias = "tuple[TrainEvalPipelineConfig, NetworkPreset, list[str]]"
# Flags of what --fine_tune_from decides.
_OF_THE_MODEL = (
    "feature_extractor",
    "input_size",
    "anchor_scales",
    "fine_tune_checkpoint",
    "fine_tune_checkpoint_type",
)

FLAGS = flags.FlagValues()
flags.DEFINE_string("records_dir", "tfrecords", "Folder that create_csf_tf_record wrote.", flag_values=FLAGS)
flags.DEFINE_string("output_path", None, "The pipeline.config to write.", required=True, flag_values=FLAGS)
flags.DEFINE_string(
    "feature_extractor",
    "resnet50",
    "The network: resnet50, resnet101, resnet152, with feature pyramids resnet50_fpn, resnet101_fpn, resnet152_fpn, "
    "inception_resnet_v2_keras, of TensorFlow 1 inception_v2, faster_rcnn_resnet50, faster_rcnn_resnet101, "
    "faster_rcnn_resnet152, faster_rcnn_inception_resnet_v2, or, for CPUs, resnet18 and "
    "resnet18_instance_norm.",
    flag_values=FLAGS,
)
flags.DEFINE_string(
    "input_size",
    "",
    "Input size in pixels, MINxMAX: 640x640, 800x1333 (padded), 1024x1024 (stretched, as in the model zoo) or any "
    "other; default: 640x640, for TensorFlow 1 600x1024, for those for CPUs 320x320.",
    flag_values=FLAGS,
)
flags.DEFINE_string(
    "fine_tune_from",
    None,
    common_flags.model_help("Trained model to start from, instead of a checkpoint: a folder of exporter_main_v2")
    + " Network, input size and anchors are its own; --fine_tune_checkpoint, --feature_extractor, --input_size and "
    "--anchor_scales cannot be given. Classes of the same name are copied, in whatever order.",
    flag_values=FLAGS,
)
flags.DEFINE_string(
    "fine_tune_checkpoint",
    None,
    "Checkpoint to start from: a folder, a prefix (ckpt-0) or a .tar.gz; empty: train from scratch; default: the model "
    "zoo's COCO checkpoint in pre-trained-models/, for feature pyramids and faster_rcnn_resnet152 ImageNet's, for "
    "those for CPUs none.",
    flag_values=FLAGS,
)
flags.DEFINE_string(
    "fine_tune_checkpoint_type",
    None,
    "What to restore from the checkpoint: detection, full or classification; default: detection, for feature pyramids "
    "and faster_rcnn_resnet152 classification.",
    flag_values=FLAGS,
)
flags.DEFINE_integer("batch_size", 4, "Images per training step, all GPUs together.", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_integer("num_steps", 32000, "Training steps.", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_enum(
    "optimizer",
    "rms_prop",
    ["rms_prop", "adam"],
    "The paper's RMSprop, or Adam, which was better where a small network is trained from scratch.",
    flag_values=FLAGS,
)
flags.DEFINE_float(
    "initial_learning_rate", 0.001, "Learning rate of the first steps.", lower_bound=0.0, flag_values=FLAGS
)
flags.DEFINE_integer(
    "decay_steps",
    None,
    "Steps between two decays of the learning rate; default: a 45th of --num_steps.",
    lower_bound=1,
    flag_values=FLAGS,
)
flags.DEFINE_float(
    "decay_factor",
    0.95,
    "Factor by which each decay multiplies the learning rate.",
    lower_bound=0.0,
    upper_bound=1.0,
    flag_values=FLAGS,
)
flags.DEFINE_float(
    "rms_prop_epsilon",
    None,
    "Epsilon of RMSprop; default: 1.0, for those for CPUs 0.01.",
    lower_bound=0.0,
    flag_values=FLAGS,
)
common_flags.define_numbers(
    FLAGS,
    "anchor_scales",
    None,
    "Sides of the anchors in units of 256 pixels, for example 0.1,0.2; default: from the sizes of the cells. Those of "
    "feature pyramids follow from their levels.",
)
flags.DEFINE_integer(
    "max_boxes_per_image",
    None,
    "Cells in the most crowded image; default: counted in the records.",
    lower_bound=1,
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "max_detections",
    None,
    "Detections per image; default: from --max_boxes_per_image.",
    lower_bound=1,
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "first_stage_max_proposals",
    None,
    "Proposals per image; default: from --max_detections.",
    lower_bound=1,
    flag_values=FLAGS,
)
flags.DEFINE_bool("use_class_agnostic_nms", True, "Give one detection per cell, whatever its class.", flag_values=FLAGS)
config_flags.define_config_override(FLAGS)


def main() -> None:
    """Looks at the records, generates, writes, and says what was decided from what."""
    from tfod_csf.config import from_records, supported
    from tfod_csf.shipped_models import by_name

    generated = _from_model if FLAGS.fine_tune_from else _from_preset
    _check_flags()
    records_dir = pathlib.Path(FLAGS.records_dir)
    records = from_records.find_records(records_dir)
    statistics = from_records.statistics_of(records_dir)
    if statistics is None:
        from tfod_csf.config.box_statistics import from_boxes
        from tfod_csf.data.records.record_statistics import boxes_in_pixels

        statistics = from_boxes(boxes_in_pixels([records.train_input_path, records.eval_input_path]))
    before, network, remarks = generated(records, statistics)
    config = config_flags.overridden(before, FLAGS)
    supported.check_supported(config)
    anchor_remark = from_records.overridden_anchor_remark(config, before, statistics) or remarks[0]
    remarks = [*from_records.remarks_on(config, network, statistics, anchor_remark), *remarks[1:]]
    atomic_write.write_text(FLAGS.output_path, from_records.text_with_remarks(config, remarks))
    print("\n".join([*remarks, f"Wrote {FLAGS.output_path}."]))
    checkpoint = config.train_config.fine_tune_checkpoint
    is_there = any(pathlib.Path(checkpoint + suffix).exists() for suffix in ("", ".index"))
    if checkpoint and not is_there and not by_name.is_name(checkpoint):
        print(f"{checkpoint} is not there yet; docs/CHECKPOINTS.md says where it comes from.")


def _check_flags() -> None:
    """Refuses flags that contradict each other, before records are read."""
    from tfod_csf.config.network_presets import network_preset
    from tfod_csf.config.pipeline_config import ConfigError

    if FLAGS.optimizer == "adam" and FLAGS.rms_prop_epsilon is not None:
        raise ConfigError("--rms_prop_epsilon: is of RMSprop, and --optimizer is adam; leave one of the two out.")
    if FLAGS.fine_tune_from:
        given = [name for name in _OF_THE_MODEL if FLAGS[name].present]
        if given:
            raise ConfigError(
                f"--{given[0]}: with --fine_tune_from this follows from the model; leave one of the two out, or change "
                "single fields with --config_override."
            )
        return
    if FLAGS.anchor_scales and network_preset(FLAGS.feature_extractor, FLAGS.input_size).is_feature_pyramid:
        raise ConfigError(
            f"--anchor_scales: the anchors of {FLAGS.feature_extractor} follow from the levels of its feature pyramid; "
            "leave it out, or change model.faster_rcnn.first_stage_anchor_generator with --config_override."
        )


def _training() -> "Training":
    from tfod_csf.config import paper_settings

    names = [field.name for field in dataclasses.fields(paper_settings.Training)]
    return paper_settings.Training(**{name: FLAGS[name].value for name in names})


def _what_limits_hold(statistics: "BoxStatistics") -> tuple[int, int | None, int | None, int]:
    """Arguments of `choose_limits`: cells of the most crowded image, limits as given, most boxes of an Example."""
    most_boxes = 0 if FLAGS.max_boxes_per_image else record_set.most_boxes(pathlib.Path(FLAGS.records_dir))
    boxes = FLAGS.max_boxes_per_image or statistics.max_boxes_per_image
    return boxes, FLAGS.max_detections, FLAGS.first_stage_max_proposals, most_boxes


def _from_preset(records: "Records", statistics: "BoxStatistics") -> _Generated:
    """The config of --feature_extractor."""
    from tfod_csf.config import from_records, paper_settings
    from tfod_csf.config.network_presets import network_preset

    network = network_preset(FLAGS.feature_extractor, FLAGS.input_size)
    scales, anchor_remark = from_records.choose_anchor_scales(network, statistics)
    if FLAGS.anchor_scales:
        scales, anchor_remark = FLAGS.anchor_scales, "anchors: scales as given"
    limits = from_records.choose_limits(network, *_what_limits_hold(statistics))
    config = paper_settings.generate(network, records, _training(), limits, scales, FLAGS.use_class_agnostic_nms)
    return config, network, [anchor_remark]


def _from_model(records: "Records", statistics: "BoxStatistics") -> _Generated:
    """The config of --fine_tune_from."""
    from tfod_csf.config import from_model

    start = from_model.StartingModel.open(FLAGS.fine_tune_from)
    limits = from_model.choose_limits(start, *_what_limits_hold(statistics))
    agnostic = FLAGS.use_class_agnostic_nms if FLAGS["use_class_agnostic_nms"].present else None
    config = from_model.generate(start, records, _training(), limits, agnostic)
    return config, start.preset, from_model.remarks(start, records, statistics)


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "generate_pipeline_config"))

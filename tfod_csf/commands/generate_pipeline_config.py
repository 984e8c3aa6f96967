"""Write a complete Faster R-CNN pipeline.config with the paper's settings.

Number of classes, detection limits and anchors follow from the records that create_csf_tf_record wrote; what the paper
leaves open is a flag. --config_override changes any other field.
"""

import dataclasses
import pathlib
import sys

from absl import flags

from tfod_csf.commands import command_line
from tfod_csf.errors import UserError
from tfod_csf.files import atomic_write

FLAGS = flags.FlagValues()
flags.DEFINE_string("records_dir", "tfrecords", "Folder written by create_csf_tf_record.", flag_values=FLAGS)
flags.DEFINE_string("output_path", None, "The pipeline.config to write.", required=True, flag_values=FLAGS)
flags.DEFINE_string(
    "feature_extractor", "resnet50", "resnet50, resnet101, resnet152 or, for CPUs, resnet18.", flag_values=FLAGS
)
flags.DEFINE_string(
    "input_size",
    "",
    "Pixels, MINxMAX: 640x640, 800x1333 (padded), 1024x1024 (stretched, as in the zoo) or any other; default 640x640, "
    "320x320 for resnet18.",
    flag_values=FLAGS,
)
flags.DEFINE_string(
    "fine_tune_checkpoint",
    None,
    "COCO checkpoint: folder, ckpt prefix or .tar.gz; empty: train from scratch; default: the zoo's model under "
    "pre-trained-models/, none for resnet18.",
    flag_values=FLAGS,
)
flags.DEFINE_string(
    "fine_tune_checkpoint_type", "detection", "What to restore: detection, full or classification.", flag_values=FLAGS
)
flags.DEFINE_integer("batch_size", 4, "Images per step over all replicas.", 1, flag_values=FLAGS)
flags.DEFINE_integer("num_steps", 32000, "Training steps.", 1, flag_values=FLAGS)
flags.DEFINE_float("initial_learning_rate", 0.001, "First learning rate.", 0.0, flag_values=FLAGS)
flags.DEFINE_integer(
    "decay_steps", None, "Steps between two decays of the learning rate; default num_steps/45.", 1, flag_values=FLAGS
)
flags.DEFINE_float("decay_factor", 0.95, "Factor of one decay.", 0.0, 1.0, flag_values=FLAGS)
flags.DEFINE_float("rms_prop_epsilon", None, "RMSprop's epsilon; default 1.0.", 0.0, flag_values=FLAGS)
flags.DEFINE_list(
    "anchor_scales", None, "Anchor sides in units of 256 pixels; default: from the cells' sizes.", flag_values=FLAGS
)
flags.DEFINE_integer(
    "max_boxes_per_image",
    None,
    "Cells in the most crowded image; default: counted in the records.",
    1,
    flag_values=FLAGS,
)
flags.DEFINE_integer("max_detections", None, "Detections per image; default from the count.", 1, flag_values=FLAGS)
flags.DEFINE_integer("first_stage_max_proposals", None, "Proposals per image; default from it.", 1, flag_values=FLAGS)
flags.DEFINE_bool("use_class_agnostic_nms", True, "One detection per cell whatever its class.", flag_values=FLAGS)
flags.DEFINE_string("config_override", "", "Config text merged over the result.", flag_values=FLAGS)


def main() -> None:
    """Looks at the records, generates, writes, and says what was decided from what."""
    from tfod_csf.config import from_records, paper_settings, pipeline_config, supported
    from tfod_csf.config.network_presets import network_preset

    network = network_preset(FLAGS.feature_extractor, FLAGS.input_size)
    records_dir = pathlib.Path(FLAGS.records_dir)
    records = from_records.find_records(records_dir)
    statistics = from_records.statistics_of(records_dir)
    if statistics is None:
        from tfod_csf.config.box_statistics import from_boxes
        from tfod_csf.data.records.record_statistics import boxes_in_pixels

        statistics = from_boxes(boxes_in_pixels([records.train_input_path, records.eval_input_path]))
    scales, anchor_remark = from_records.choose_anchor_scales(network, statistics)
    if FLAGS.anchor_scales:
        scales, anchor_remark = _numbers(FLAGS.anchor_scales), "anchors: scales as given"
    config = paper_settings.generate(
        network,
        records,
        paper_settings.Training(
            **{field.name: FLAGS[field.name].value for field in dataclasses.fields(paper_settings.Training)}
        ),
        from_records.choose_limits(
            network,
            FLAGS.max_boxes_per_image or statistics.max_boxes_per_image,
            FLAGS.max_detections,
            FLAGS.first_stage_max_proposals,
        ),
        scales,
        FLAGS.use_class_agnostic_nms,
    )
    if FLAGS.config_override:
        config = pipeline_config.override(config, FLAGS.config_override)
    supported.check_supported(config)
    remarks = from_records.remarks_on(config, network, statistics, anchor_remark)
    atomic_write.write_text(FLAGS.output_path, from_records.text_with_remarks(config, remarks))
    print("\n".join([*remarks, f"Wrote {FLAGS.output_path}."]))
    checkpoint = config.train_config.fine_tune_checkpoint
    if checkpoint and not any(pathlib.Path(checkpoint + suffix).exists() for suffix in ("", ".index")):
        print(f"{checkpoint} is not there yet; docs/CHECKPOINTS.md says where it comes from.")


def _numbers(texts: list[str]) -> list[float]:
    try:
        return [float(text) for text in texts]
    except ValueError as error:
        raise UserError(f"--anchor_scales={','.join(texts)} must be numbers with commas between them.") from error


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "generate_pipeline_config"))

"""A config for the records of a folder that create_csf_tf_record wrote, with the reasons for its values."""

import pathlib
import re
from collections.abc import Sequence

from tfod_csf import label_map
from tfod_csf.config import box_statistics, detection_limits, paper_settings
from tfod_csf.config.network_presets import NetworkPreset
from tfod_csf.config.pipeline_config import ConfigError, config_text
from tfod_csf.config.protos import optimizer_pb2, pipeline_pb2
from tfod_csf.files import record_set

_SHARD = re.compile(r"-\d{5}-of-(\d{5})$")


def find_records(records_dir: pathlib.Path) -> paper_settings.Records:
    """Label map, training and test records of the folder; shards are named by one pattern, train.record-?????-of-00002.

    Raises:
      TFRecordError: create_csf_tf_record did not finish.
      ConfigError: a part is missing.
      LabelMapError: the label map cannot be used.
    """
    record_set.check_finished(records_dir)
    label_map_path = records_dir / "label_map.pbtxt"
    if not label_map_path.is_file():
        raise ConfigError(f"{label_map_path}: there is no such file; run create_csf_tf_record first (--records_dir).")
    classes = label_map.load_label_map(label_map_path)
    return paper_settings.Records(
        num_classes=classes.max_id,
        label_map_path=str(label_map_path),
        train_input_path=_input_path(records_dir, "train"),
        eval_input_path=_input_path(records_dir, "test"),
    )


def statistics_of(records_dir: pathlib.Path) -> box_statistics.BoxStatistics | None:
    """Statistics of the folder's annotations.csv; None when there is no such file."""
    path = records_dir / "annotations.csv"
    return box_statistics.from_annotations_csv(path) if path.is_file() else None


def _input_path(records_dir: pathlib.Path, side: str) -> str:
    names = sorted(path.name for path in records_dir.glob(f"{side}.record*"))
    if not names:
        raise ConfigError(f"{records_dir}: holds no {side}.record file; run create_csf_tf_record first.")
    shard = _SHARD.search(names[0])
    return str(records_dir / (_SHARD.sub(r"-?????-of-\1", names[0]) if shard else names[0]))


def choose_limits(
    network: NetworkPreset,
    max_boxes_per_image: int,
    max_detections: int | None = None,
    first_stage_max_proposals: int | None = None,
    most_boxes: int = 0,
) -> detection_limits.DetectionLimits:
    """Limits that follow from the most crowded image, unless they are given.

    A first_stage_max_proposals that is not given is at least max_detections.

    Args:
      most_boxes: of one Example, those of objects without a class included (`record_set.most_boxes`): training has to
        hold them too, but none of them becomes a detection.
    """
    limits = detection_limits.limits_for(max_boxes_per_image, network.least_detections)
    held = detection_limits.limits_for(most_boxes, network.least_detections)
    return detection_limits.DetectionLimits(
        max(limits.max_number_of_boxes, held.max_number_of_boxes),
        max_detections or limits.max_detections,
        first_stage_max_proposals or max(limits.first_stage_max_proposals, max_detections or 0),
    )


def choose_anchor_scales(
    network: NetworkPreset, statistics: box_statistics.BoxStatistics | None
) -> tuple[Sequence[float], str]:
    """(anchor scales, the sentence that says where they come from)."""
    if network.is_feature_pyramid:
        return (), _pyramid_remark(network, statistics)
    if statistics is None or not statistics.box_sizes:
        return detection_limits.ZOO_ANCHOR_SCALES, "anchors: the zoo's scales, because no box sizes are known"
    cells = detection_limits.box_sides(statistics, paper_settings.image_resizer(network))
    scales = detection_limits.anchor_scales_for(cells.small_px, cells.large_px)
    sides = ", ".join(f"{scale * detection_limits.ANCHOR_BASE_PX:.0f}" for scale in scales)
    remark = f"anchors: {detection_limits.sizes_text(cells)}, so anchors have sides of {sides} px"
    if cells.small_px < network.first_stage_features_stride:
        remark += (
            f"; small cells are below the anchors' spacing of {network.first_stage_features_stride} px, a larger "
            "--input_size helps"
        )
    return scales, remark


def _pyramid_remark(network: NetworkPreset, statistics: box_statistics.BoxStatistics | None) -> str:
    """The sides of a feature pyramid's anchors, and whether the cells are among them."""
    smallest, largest = paper_settings.pyramid_anchor_sides()
    remark = f"anchors: those of the feature pyramid, sides of {smallest:.0f} to {largest:.0f} px in steps of 1.41"
    if statistics is None or not statistics.box_sizes:
        return remark
    cells = detection_limits.box_sides(statistics, paper_settings.image_resizer(network))
    remark += f"; {detection_limits.sizes_text(cells)}"
    # A box whose side differs by a factor of 1.2 from an anchor's has an IoU of 0.7 with it.
    if cells.small_px < smallest / 1.2:
        remark += "; small cells are below the smallest anchors, a larger --input_size helps"
    if cells.large_px > largest * 1.2:
        remark += "; large cells are above the largest anchors, a smaller --input_size helps"
    return remark


def overridden_anchor_remark(
    config: pipeline_pb2.TrainEvalPipelineConfig,
    generated: pipeline_pb2.TrainEvalPipelineConfig,
    statistics: box_statistics.BoxStatistics | None,
) -> str:
    """What is to be said about anchors instead of what was said of the generated config; "" where that is still true.

    Args:
      config: the generated one with the user's fields merged over it.
      generated: as it was before.
      statistics: of the cells; None where they are not known.
    """
    network, before = config.model.faster_rcnn, generated.model.faster_rcnn
    is_same = (network.image_resizer, network.first_stage_anchor_generator) == (
        before.image_resizer,
        before.first_stage_anchor_generator,
    )
    if is_same:
        return ""
    remedy = "change their scales or the input size"
    return detection_limits.anchor_remark(network, statistics, "with --config_override", remedy)


def remarks_on(
    config: pipeline_pb2.TrainEvalPipelineConfig,
    network: NetworkPreset,
    statistics: box_statistics.BoxStatistics | None,
    anchor_remark: str,
) -> list[str]:
    """The config's values and their reasons, one sentence per group of settings."""
    train, model = config.train_config, config.model.faster_rcnn
    nms = model.second_stage_post_processing.batch_non_max_suppression
    counted = (
        f"{statistics.images} images with {statistics.boxes} cells, up to {statistics.max_boxes_per_image} in one"
        if statistics
        else "no counts of cells are known"
    )
    start = (
        f"starts from {train.fine_tune_checkpoint} ({train.fine_tune_checkpoint_type})"
        if train.fine_tune_checkpoint
        else "starts from scratch, batch norm is trained"
    )
    return [
        f"network: {_network_name(config, network)}, {model.num_classes} classes; the paper names neither backbone nor "
        "input size",
        f"training: {train.num_steps} steps of {train.batch_size} images, {start}",
        _optimizer_remark(train.optimizer),
        f"limits: {counted}; {train.max_number_of_boxes} boxes, {nms.max_total_detections} detections, "
        f"{model.first_stage_max_proposals} proposals per image",
        anchor_remark,
    ]


def _network_name(config: pipeline_pb2.TrainEvalPipelineConfig, network: NetworkPreset) -> str:
    """The network's name, which says its type and mostly its input size, with the type if that is another one."""
    kind = config.model.faster_rcnn.feature_extractor.type
    return network.name if kind == network.feature_extractor_type else f"{network.name} changed to {kind}"


def _optimizer_remark(optimizer: optimizer_pb2.Optimizer) -> str:
    kind = optimizer.WhichOneof("optimizer")
    learning_rate = getattr(optimizer, kind).learning_rate
    is_exponential = learning_rate.WhichOneof("learning_rate") == "exponential_decay_learning_rate"
    if not is_exponential or kind == "momentum_optimizer":
        return f"optimizer: {kind}; the paper's is RMSprop with exponential decay from 0.001"
    schedule = learning_rate.exponential_decay_learning_rate
    rate = f"{schedule.initial_learning_rate:.3g}"
    decay = (
        f"learning rate: {rate} (the paper's{'' if rate == '0.001' else ' is 0.001'}), times "
        f"{schedule.decay_factor:.3g} every {schedule.decay_steps} steps (not given in the paper)"
    )
    if kind == "adam_optimizer":
        return f"{decay}; Adam (the paper's is RMSprop)"
    rms_prop = optimizer.rms_prop_optimizer
    return (
        f"{decay}; RMSprop momentum {rms_prop.momentum_optimizer_value:.3g}, decay {rms_prop.decay:.3g}, epsilon "
        f"{rms_prop.epsilon:.3g} (not given in the paper)"
    )


def text_with_remarks(config: pipeline_pb2.TrainEvalPipelineConfig, remarks: Sequence[str]) -> str:
    """The config's text with the remarks as comments above it."""
    head = "# Faster R-CNN for CSF cytology, written by tfod_csf generate_pipeline_config.\n"
    return head + "".join(f"# {remark}.\n" for remark in remarks) + "\n" + config_text(config)

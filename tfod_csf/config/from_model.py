"""A config that starts from a trained model: its network, other classes, trained with the paper's settings.

Everything that decides the shape of weights, and at what size cells are seen, is the model's: feature extractor,
stride, resizer, anchors, crops. Classes, limits, readers and the training follow from the records, as in
`from_records`.
"""

import dataclasses
import os

from tfod_csf import label_map as label_maps
from tfod_csf.config import detection_limits, paper_settings
from tfod_csf.config.box_statistics import BoxStatistics
from tfod_csf.config.detection_limits import DetectionLimits
from tfod_csf.config.network_presets import NetworkPreset, network_preset
from tfod_csf.config.pipeline_config import ConfigError, load_pipeline_config
from tfod_csf.config.protos import faster_rcnn_pb2, pipeline_pb2
from tfod_csf.label_map import LabelMap
from tfod_csf.model_folder import CHECKPOINT_DIR, PIPELINE_CONFIG, SAVED_MODEL_DIR, ModelFolder

_LEAST = 100  # boxes of a training image, and detections, whatever the records hold
_CHECKPOINT_TYPE = "full"  # which copies classes of the same name, see training.checkpoints.class_heads


@dataclasses.dataclass(frozen=True)
class StartingModel:
    """The model that a training starts from.

    Attributes:
      given: its folder or its name, as it is written into the config.
      network: `model.faster_rcnn` of its pipeline.config.
      label_map: its classes.
      version: of a model that pack_model wrote.
    """

    given: str
    network: faster_rcnn_pb2.FasterRcnn
    label_map: LabelMap
    version: str | None = None

    @classmethod
    def open(cls, given: str | os.PathLike) -> "StartingModel":
        """The model of a folder or a name.

        Raises:
          ModelFolderError: not a model folder, or one whose files were changed.
          ConfigError: it has no weights that a training can start from, or no pipeline.config.
        """
        folder = ModelFolder.open(given)
        if not folder.pipeline_config_path.is_file():
            raise ConfigError(f"{folder.path}: holds no {PIPELINE_CONFIG}, so its network is not known.")
        if not (folder.checkpoint_dir.is_dir() or (folder.path / SAVED_MODEL_DIR).is_dir()):
            raise ConfigError(
                f"{folder.path}: holds neither {CHECKPOINT_DIR}/ nor {SAVED_MODEL_DIR}/ to start from; give the model "
                "that it was made of."
            )
        network = load_pipeline_config(folder.pipeline_config_path).model.faster_rcnn
        # A model folder's saved_model/ opens the folder as well, but holds no checkpoint.
        return cls(folder.name_or_path, network, folder.label_map, folder.version)

    @property
    def preset(self) -> NetworkPreset:
        """What the paper's settings need to know of its network; `generate` replaces the input size by the model's."""
        base = network_preset(self.network.feature_extractor.type)
        return dataclasses.replace(
            base,
            name=f"{base.name.rpartition('_')[0]} of {self.given}",
            zoo_checkpoint=self.given,
            zoo_checkpoint_type=_CHECKPOINT_TYPE,
            first_stage_features_stride=self.network.feature_extractor.first_stage_features_stride,
        )


def choose_limits(
    start: StartingModel,
    max_boxes_per_image: int,
    max_detections: int | None = None,
    first_stage_max_proposals: int | None = None,
    most_boxes: int = 0,
) -> DetectionLimits:
    """The model's own limits, or what the most crowded image needs where that is more, unless they are given.

    Args:
      most_boxes: see `from_records.choose_limits`.
    """
    nms = start.network.second_stage_post_processing.batch_non_max_suppression
    needed = detection_limits.limits_for(max_boxes_per_image, _LEAST)
    with_others = detection_limits.limits_for(most_boxes, _LEAST).max_number_of_boxes
    detections = max_detections or max(needed.max_detections, nms.max_total_detections)
    proposals = max(needed.first_stage_max_proposals, start.network.first_stage_max_proposals, detections)
    held = max(needed.max_number_of_boxes, with_others)
    return DetectionLimits(held, detections, first_stage_max_proposals or proposals)


def generate(
    start: StartingModel,
    records: paper_settings.Records,
    training: paper_settings.Training,
    limits: DetectionLimits,
    use_class_agnostic_nms: bool | None = None,
) -> pipeline_pb2.TrainEvalPipelineConfig:
    """Builds the config.

    Args:
      start: the model.
      records: paths and number of classes.
      training: optimizer, schedule, batch.
      limits: of detections.
      use_class_agnostic_nms: None: as in the model.
    """
    own = start.network.second_stage_post_processing.batch_non_max_suppression.use_class_agnostic_nms
    agnostic = own if use_class_agnostic_nms is None else use_class_agnostic_nms
    config = paper_settings.generate(start.preset, records, training, limits, (), agnostic)
    generated = config.model.faster_rcnn
    network = faster_rcnn_pb2.FasterRcnn()
    network.CopyFrom(start.network)
    network.num_classes = records.num_classes
    if network.image_resizer.HasField("keep_aspect_ratio_resizer"):
        # A batch is of one size; a model that ships need not pad what it is given one at a time.
        network.image_resizer.keep_aspect_ratio_resizer.pad_to_max_dimension = True
    network.first_stage_max_proposals = limits.first_stage_max_proposals
    nms = network.second_stage_post_processing.batch_non_max_suppression
    nms.max_total_detections = nms.max_detections_per_class = limits.max_detections
    nms.use_class_agnostic_nms = agnostic
    network.feature_extractor.batch_norm_trainable = generated.feature_extractor.batch_norm_trainable
    generated.CopyFrom(network)
    return config


def remarks(start: StartingModel, records: paper_settings.Records, statistics: BoxStatistics | None) -> list[str]:
    """A sentence about the anchors and one about the classes."""
    wanted = label_maps.load_label_map(records.label_map_path).with_all_ids(records.num_classes)
    return [_anchor_remark(start, statistics), _class_remark(start, wanted)]


def _class_remark(start: StartingModel, wanted: LabelMap) -> str:
    known = [name for name in wanted.names if start.label_map.resolve(name) is not None]
    new = [name for name in wanted.names if name not in known]
    version = f" {start.version}" if start.version else ""
    sentence = f"classes: {', '.join(known) or 'none'} known to {start.given}{version}"
    return sentence + (f"; {', '.join(new)} learned from nothing" if new else "")


def _anchor_remark(start: StartingModel, statistics: BoxStatistics | None) -> str:
    """The model's anchors, and whether the cells are among them."""
    remedy = f"{start.given} saw other sizes, so scale the images, or start from another model"
    return detection_limits.anchor_remark(start.network, statistics, f"those of {start.given}", remedy)

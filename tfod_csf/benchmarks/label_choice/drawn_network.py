"""A small Faster R-CNN that learns drawn fields, again and again from the same weights, in one process.

The graph is traced once: a training of a few hundred steps takes no longer for it than it has to.
"""

import pathlib

from tfod_csf import legacy_keras  # noqa: F401  isort: skip

import numpy as np
import tensorflow as tf

from tfod_csf.benchmarks.label_choice.drawn_pool import SETTINGS, Field
from tfod_csf.config import network_presets, paper_settings
from tfod_csf.config.detection_limits import ANCHOR_BASE_PX, DetectionLimits
from tfod_csf.config.protos import pipeline_pb2
from tfod_csf.data import inputs
from tfod_csf.detections import Detections
from tfod_csf.evaluation.pascal_evaluator import PascalDetectionEvaluator
from tfod_csf.export.detection_module import DetectionModule
from tfod_csf.label_map import LabelMap, save_label_map
from tfod_csf.modeling import model_builder
from tfod_csf.study import labelimg
from tfod_csf.training import optimizer as optimizers
from tfod_csf.training.trainer import FasterRcnnTrainer, UpdateSettings

_LIMITS = DetectionLimits(max_number_of_boxes=50, max_detections=40, first_stage_max_proposals=40)
_ANCHOR_SIDES_PX = (13, 19, 28)
_BATCH = 16  # images that are looked at together


class DrawnNetwork:
    """The network with its optimizer.

    Args:
      label_map: classes of the drawn fields.
      num_steps: of one training, over which the learning rate falls to a tenth.
      folder: for records.
      seed: of the first weights.
    """

    def __init__(self, label_map: LabelMap, num_steps: int, folder: pathlib.Path, seed: int):
        tf.keras.utils.set_random_seed(seed)
        self.label_map = label_map
        self._num_steps = num_steps
        self.record = folder / "train.record"
        save_label_map(label_map, folder / "label_map.pbtxt")
        self._config = _config(num_steps, folder, self.record)
        self._model = model_builder.build(self._config.model, is_training=True)
        self._model.build_variables()
        optimizer, _ = optimizers.build(self._config.train_config.optimizer)
        optimizers.create_slots(optimizer, self._model.trainable_variables)
        step = tf.Variable(0, dtype=tf.int64, trainable=False)
        trainer = FasterRcnnTrainer(
            self._model,
            train_dataset=None,
            optimizer=optimizer,
            global_step=step,
            strategy=tf.distribute.get_strategy(),
            update=UpdateSettings(self._config.train_config.gradient_clipping_by_norm),
        )
        self._step = tf.function(trainer.replica_step)
        self._of_optimizer = [step, *optimizer.variables()]
        self._first = [variable.numpy() for variable in self._of_optimizer]
        self._look = DetectionModule(self._model, self._config.model.faster_rcnn, "image_tensor").batch_function()

    @property
    def weights(self) -> list[np.ndarray]:
        """Of all variables, to be set again."""
        return [variable.numpy() for variable in self._model.variables]

    @weights.setter
    def weights(self, values: list[np.ndarray]) -> None:
        for variable, value in zip(self._model.variables, values, strict=True):
            variable.assign(value)

    def train(self, seed: int) -> None:
        """Trains on `record` from the weights as they are, with a new optimizer.

        Args:
          seed: of the order and the augmentation of the images.
        """
        for variable, value in zip(self._of_optimizer, self._first, strict=True):
            variable.assign(value)
        batches = inputs.train_input(
            self._config.train_config, self._config.train_input_reader, self._config.model, seed
        )
        for features, labels in batches.take(self._num_steps):
            self._step(features, labels)

    def detect(self, fields: list[Field]) -> list[Detections]:
        """What the network finds in each field."""
        found = []
        for start in range(0, len(fields), _BATCH):
            some = fields[start : start + _BATCH]
            outputs = self._look(tf.constant(np.stack([one.pixels for one in some])))
            outputs = {name: value.numpy() for name, value in outputs.items()}
            for row, one in enumerate(some):
                found.append(_detections(one, {name: value[row] for name, value in outputs.items()}))
        return found

    def mean_average_precision(self, fields: list[Field]) -> float:
        """PASCAL's mAP at an IoU of 0.5."""
        evaluator = PascalDetectionEvaluator(self.label_map.categories)
        for one, found in zip(fields, self.detect(fields), strict=True):
            truth = {
                "groundtruth_boxes": labelimg.boxes_of(one.objects),
                "groundtruth_classes": np.array([self.label_map.id_of(cell.name) for cell in one.objects], int),
            }
            evaluator.add_single_ground_truth_image_info(one.image, truth)
            names = {"boxes": found.boxes, "scores": found.scores, "classes": found.classes}
            evaluator.add_single_detected_image_info(
                one.image, {f"detection_{name}": values for name, values in names.items()}
            )
        return next(value for name, value in evaluator.evaluate().items() if "/mAP@" in name)


def _config(num_steps: int, folder: pathlib.Path, record: pathlib.Path) -> pipeline_pb2.TrainEvalPipelineConfig:
    width, height = SETTINGS.width_px, SETTINGS.height_px
    config = paper_settings.generate(
        network_presets.network_preset("resnet18", f"{height}x{width}"),
        paper_settings.Records(4, str(folder / "label_map.pbtxt"), str(record), str(record)),
        paper_settings.Training(num_steps=num_steps, fine_tune_checkpoint=""),
        _LIMITS,
        [side / ANCHOR_BASE_PX for side in _ANCHOR_SIDES_PX],
    )
    network = config.model.faster_rcnn
    network.image_resizer.fixed_shape_resizer.height = height
    network.image_resizer.fixed_shape_resizer.width = width
    network.initial_crop_size = 8
    network.second_stage_batch_size = 16
    return config


def _detections(field: Field, outputs: dict[str, np.ndarray]) -> Detections:
    number = int(outputs["num_detections"])
    height, width = field.pixels.shape[:2]
    return Detections(
        image=field.image,
        width=width,
        height=height,
        boxes=outputs["detection_boxes"][:number] * [height, width, height, width],
        classes=outputs["detection_classes"][:number],
        scores=outputs["detection_scores"][:number],
        multiclass_scores=outputs["detection_multiclass_scores"][:number],
    )

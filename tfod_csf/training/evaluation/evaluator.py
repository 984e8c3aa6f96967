"""Runs the network on the evaluation records and computes TFOD's metrics and the validation losses.

Shape shorthand in this module: B images of a batch, T detections of an image (max_total_detections), M groundtruth
boxes of an image (padded), K classes without background, N boxes without padding. Boxes are [.., 4] (ymin, xmin, ymax,
xmax).
"""

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import orbit
import tensorflow as tf

from tfod_csf.config.protos import eval_pb2
from tfod_csf.evaluation.coco_evaluator import CocoDetectionEvaluator
from tfod_csf.evaluation.pascal_evaluator import PascalDetectionEvaluator, WeightedPascalDetectionEvaluator
from tfod_csf.label_map import LabelMap
from tfod_csf.modeling.faster_rcnn import FasterRCNN
from tfod_csf.training import summaries
from tfod_csf.training.evaluation.side_by_side import DrawingSettings, draw_side_by_side
from tfod_csf.training.trainer import TOTAL_LOSS, groundtruth_of, losses_of, total_loss

DEFAULT_METRICS = ("coco_detection_metrics",)


def make_metric_evaluators(eval_config: eval_pb2.EvalConfig, label_map: LabelMap) -> list[Any]:
    """The evaluators of eval_config.metrics_set, in its order; TFOD's default is COCO's metrics.

    Pascal's always give each class; COCO's with include_metrics_per_category.
    """
    made: dict[str, Callable[[list[dict]], Any]] = {
        "pascal_voc_detection_metrics": PascalDetectionEvaluator,
        "weighted_pascal_voc_detection_metrics": WeightedPascalDetectionEvaluator,
        "coco_detection_metrics": functools.partial(
            CocoDetectionEvaluator, include_metrics_per_category=eval_config.include_metrics_per_category
        ),
    }
    return [made[name](label_map.categories) for name in list(eval_config.metrics_set) or DEFAULT_METRICS]


def _to_original_pixels(
    boxes: np.ndarray, frame_size: np.ndarray, part: np.ndarray, original: np.ndarray
) -> np.ndarray:
    """Converts boxes normalized to a frame, whose upper left part the image fills, to pixels of the original image.

    Args:
      boxes: [N, 4].
      frame_size, part, original: (height, width) of the frame, of the image in it, and of the original image, px.
    """
    scale = np.asarray(frame_size, np.float64) / part * original
    return boxes * np.tile(scale, 2)


def images_of_batch(
    features: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray], detections: Mapping
) -> Iterator:
    """Splits a batch into images and removes the padding.

    Args:
      features: image [B, H, W, 3], true_image_shape [B, 3], original_image_spatial_shape [B, 2].
      labels: groundtruth_boxes [B, M, 4] normalized to the padded image, groundtruth_classes [B, M, K] one-hot,
        num_groundtruth_boxes [B], and where the records have them groundtruth_weights, groundtruth_difficult and
        groundtruth_is_crowd [B, M].
      detections: the model's detection_boxes [B, T, 4] normalized to the true image, detection_scores and
        detection_classes [B, T] (from 0), num_detections [B].

    Yields:
      (groundtruth_dict, detections_dict) for the metric evaluators: boxes in pixels of the original image, classes
      from 1.
    """
    for row in range(len(features["true_image_shape"])):
        frame = np.array(features["image"].shape[1:3])
        part = features["true_image_shape"][row, :2]
        original = features["original_image_spatial_shape"][row]
        count = int(labels["num_groundtruth_boxes"][row])
        groundtruth = {
            "groundtruth_boxes": _to_original_pixels(labels["groundtruth_boxes"][row, :count], frame, part, original),
            "groundtruth_classes": labels["groundtruth_classes"][row, :count].argmax(axis=-1) + 1,
        }
        for key in ("groundtruth_weights", "groundtruth_difficult", "groundtruth_is_crowd"):
            if key in labels:
                groundtruth[key] = labels[key][row, :count]
        found = int(detections["num_detections"][row])
        yield (
            groundtruth,
            {
                "detection_boxes": detections["detection_boxes"][row, :found] * np.tile(original, 2),
                "detection_scores": detections["detection_scores"][row, :found],
                "detection_classes": detections["detection_classes"][row, :found].astype(np.int64) + 1,
            },
        )


class FasterRcnnEvaluator(orbit.StandardEvaluator):
    """Evaluates one model on one dataset, from the first image to the last.

    Args:
      model: its variables exist.
      eval_dataset: dataset of (features, labels), see `data.inputs.eval_input`.
      metric_evaluators: TFOD's evaluators, see `make_metric_evaluators`.
      class_names: class id (from 1) to name, for the pictures.
      add_regularization_loss: as in training, so that the losses can be compared.
      num_visualizations: number of batches that are rendered as pictures (TFOD counts batches).
      drawing: which detections they show.
      after_batch: called with the number of images evaluated so far; it may raise to end the evaluation.
    """

    def __init__(
        self,
        model: FasterRCNN,
        eval_dataset: tf.data.Dataset,
        metric_evaluators: Sequence[Any],
        class_names: Mapping[int, str],
        add_regularization_loss: bool = True,
        num_visualizations: int = 10,
        drawing: DrawingSettings | None = None,
        after_batch: Callable[[int], None] | None = None,
    ):
        super().__init__(eval_dataset)
        self.model = model
        self.metric_evaluators = list(metric_evaluators)
        self.class_names = dict(class_names)
        self.add_regularization_loss = add_regularization_loss
        self.num_visualizations = num_visualizations
        self.drawing = drawing or DrawingSettings()
        self.after_batch = after_batch or (lambda num_images: None)
        self.pictures: dict[str, np.ndarray] = {}
        self._losses: dict[str, list[float]] = {}
        self._batch_indices: Iterator[int] = iter(())
        self.num_images = 0

    def eval_begin(self) -> None:
        """Clears what the last evaluation left."""
        for evaluator in self.metric_evaluators:
            evaluator.clear()
        self.pictures, self._losses, self.num_images = {}, {}, 0
        self._batch_indices = itertools.count()

    def eval_step(self, iterator: Any) -> dict[str, Any]:
        """Predictions and losses of one batch; outside training all proposals count and nothing is sampled."""
        features, labels = next(iterator)
        predictions = self.model.predict(
            features["image"], features["true_image_shape"], groundtruth_of(labels), training=False
        )
        losses = losses_of(self.model, predictions, features, labels, self.add_regularization_loss)
        detections = self.model.postprocess(predictions, features["true_image_shape"])
        return {
            "features": features,
            "labels": labels,
            "detections": {key: value for key, value in detections.items() if not key.startswith("raw_")},
            "losses": {**losses, TOTAL_LOSS: total_loss(losses)},
        }

    def eval_reduce(self, state: Any = None, step_outputs: Any = None) -> None:
        """Adds one batch to metrics, losses and pictures, in NumPy."""
        outputs = tf.nest.map_structure(lambda tensor: tensor.numpy(), step_outputs)
        for name, value in outputs["losses"].items():
            self._losses.setdefault(name, []).append(float(value))
        batch = next(self._batch_indices)
        pairs = images_of_batch(outputs["features"], outputs["labels"], outputs["detections"])
        for row, (groundtruth, detections) in enumerate(pairs):
            # The running number is the image's id. TFOD uses a hash of its name, and then ignores an image of the same
            # name from another patient.
            for evaluator in self.metric_evaluators:
                evaluator.add_single_ground_truth_image_info(self.num_images, groundtruth)
                evaluator.add_single_detected_image_info(self.num_images, detections)
            self.num_images += 1
            if batch < self.num_visualizations:
                tag = f"eval_side_by_side_{batch}_{row}"
                self.pictures[tag] = self._draw(outputs["features"], row, groundtruth, detections)
        self.after_batch(self.num_images)

    def _draw(self, features: Mapping, row: int, groundtruth: Mapping, detections: Mapping) -> np.ndarray:
        height, width = features["true_image_shape"][row, :2]
        image = features["image"][row : row + 1, :height, :width]
        pixels = summaries.visible_images(image, self.model.feature_extractor.image_normalizer)[0]
        original = np.tile(features["original_image_spatial_shape"][row], 2)
        # Objects of weight 0 are ignored, as in training and in the metrics.
        counts = groundtruth["groundtruth_weights"] > 0
        return draw_side_by_side(
            pixels,
            {
                "boxes": detections["detection_boxes"] / original,
                "classes": detections["detection_classes"],
                "scores": detections["detection_scores"],
            },
            {
                "boxes": groundtruth["groundtruth_boxes"][counts] / original,
                "classes": groundtruth["groundtruth_classes"][counts],
            },
            self.class_names,
            self.drawing,
        )

    def eval_end(self, *args: Any) -> dict[str, float]:
        """Metrics in the order of metrics_set, then the losses, each the mean over the batches."""
        metrics: dict[str, float] = {}
        for evaluator in self.metric_evaluators:
            metrics.update({name: float(value) for name, value in evaluator.evaluate().items()})
        metrics.update({name: math.fsum(values) / len(values) for name, values in self._losses.items()})
        return metrics

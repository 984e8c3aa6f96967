"""A start for csf_small: its backbone, trained to name white cells that are cut out, before any box is learned.

Crops are squares around a labeled white cell, turned, mirrored and lit at random; the label is its class. What comes
out is a checkpoint for fine_tune_checkpoint_type "detection", which copies both halves of the backbone.
"""

import pathlib
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
import tf_keras
from PIL import Image

from tfod_csf import cell_classes
from tfod_csf.benchmarks.csf_small.source_images import SourceImage
from tfod_csf.config.pipeline_config import load_pipeline_config
from tfod_csf.modeling import model_builder
from tfod_csf.modeling.faster_rcnn import FasterRCNN
from tfod_csf.training.checkpoints import checkpoint_view

CROP_PX = 112
_NAMES = (*cell_classes.WHITE_CELLS, cell_classes.UNKNOWN)
_MARGIN = 0.15  # of the cell's longer side, on either side
_BATCH_SIZE = 64
_LEARNING_RATE = 1e-3


def train(images: Sequence[SourceImage], config: pathlib.Path, steps: int, out: pathlib.Path) -> str:
    """Trains and writes the checkpoint; returns its prefix.

    Args:
      images: whose white cells are learned.
      config: pipeline.config of the detector that is to start from it.
      steps: of 64 crops.
      out: folder of the checkpoint.
    """
    tf_keras.utils.set_random_seed(1)
    detector = model_builder.build(load_pipeline_config(config).model, is_training=True)
    detector.build_variables()
    classifier = _classifier(detector)
    optimizer = tf_keras.optimizers.Adam(tf_keras.optimizers.schedules.CosineDecay(_LEARNING_RATE, steps))
    classifier.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    crops, labels = white_cells(images)
    classifier.fit(_batches(crops, labels), steps_per_epoch=steps, epochs=1, verbose=2)
    out.mkdir(parents=True, exist_ok=True)
    return tf.train.Checkpoint(model=checkpoint_view.checkpoint_view(detector)).write(str(out / "ckpt-0"))


def white_cells(images: Sequence[SourceImage]) -> tuple[np.ndarray, np.ndarray]:
    """uint8 [N, 112, 112, 3], int64 [N]: crops of the labeled white cells, and places of their names in `_NAMES`."""
    crops, labels = [], []
    for image in images:
        with Image.open(image.path) as opened:
            pixels = opened.convert("RGB")
        for one in image.objects:
            if one.name in _NAMES:
                half = (0.5 + _MARGIN) * max(one.xmax - one.xmin, one.ymax - one.ymin)
                x, y = (one.xmin + one.xmax) / 2, (one.ymin + one.ymax) / 2
                box = (x - half, y - half, x + half, y + half)
                size, kind = (CROP_PX, CROP_PX), Image.Transform.EXTENT
                crops.append(np.asarray(pixels.transform(size, kind, box, Image.Resampling.BILINEAR)))
                labels.append(_NAMES.index(one.name))
    return np.stack(crops), np.array(labels, np.int64)


def _classifier(detector: FasterRCNN) -> tf_keras.Model:
    """From crops of gray levels: both halves of the detector's backbone with a dense layer on top."""
    extractor = detector.feature_extractor
    crops = tf_keras.Input((CROP_PX, CROP_PX, 3))
    normalized = extractor.image_normalizer.normalize(crops)
    features = extractor.box_classifier_features(extractor.proposal_features(normalized))
    pooled = tf_keras.layers.GlobalAveragePooling2D()(features)
    return tf_keras.Model(crops, tf_keras.layers.Dense(len(_NAMES), activation="softmax")(pooled))


def _batches(crops: np.ndarray, labels: np.ndarray) -> tf.data.Dataset:
    """Endless; every class as often, turned, mirrored, lighter or darker."""
    by_class = [
        tf.data.Dataset.from_tensor_slices((crops[labels == label], labels[labels == label]))
        .shuffle(4096, seed=1)
        .repeat()
        for label in np.unique(labels)
    ]
    return tf.data.Dataset.sample_from_datasets(by_class, seed=1).map(_changed).batch(_BATCH_SIZE).prefetch(2)


def _changed(crop: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    crop = tf.image.rot90(crop, tf.random.uniform([], 0, 4, tf.int32))
    crop = tf.image.random_flip_left_right(crop)
    crop = tf.image.random_hue(tf.image.random_saturation(crop, 0.8, 1.25), 0.02)
    crop = tf.image.random_brightness(tf.image.random_contrast(crop, 0.8, 1.25), 0.2)
    return tf.cast(crop, tf.float32), label

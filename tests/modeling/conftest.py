"""A network small enough to be built by several test modules."""

from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format

from tfod_csf.config.protos import model_pb2

TINY = """
  faster_rcnn {
    num_classes: 2
    image_resizer { keep_aspect_ratio_resizer { min_dimension: 64 max_dimension: 64 pad_to_max_dimension: true } }
    feature_extractor { type: "faster_rcnn_resnet18_keras" batch_norm_trainable: true }
    first_stage_anchor_generator {
      grid_anchor_generator { scales: [0.0625, 0.125] aspect_ratios: 1.0 height_stride: 16 width_stride: 16 }
    }
    first_stage_box_predictor_conv_hyperparams { regularizer { l2_regularizer { weight: 0.1 } } }
    first_stage_box_predictor_depth: 8
    first_stage_max_proposals: 12
    initial_crop_size: 4
    maxpool_kernel_size: 1
    maxpool_stride: 1
    second_stage_batch_size: 6
    second_stage_box_predictor { mask_rcnn_box_predictor { share_box_across_classes: true } }
    second_stage_post_processing {
      batch_non_max_suppression { max_detections_per_class: 5 max_total_detections: 7 }
      score_converter: SOFTMAX
    }
  }
"""


@pytest.fixture(scope="session")
def tiny_config() -> Callable[..., model_pb2.DetectionModel]:
    """The tiny network's config with config text merged over it."""

    def config(changes: str = "") -> model_pb2.DetectionModel:
        merged = text_format.Parse(TINY, model_pb2.DetectionModel())
        return text_format.Merge(f"faster_rcnn {{ {changes} }}", merged)

    return config


@pytest.fixture(scope="session")
def tiny_images() -> tf.Tensor:
    """[2, 48, 64, 3] in 0..255: not the network's shape, so that it is padded."""
    return tf.constant(np.random.RandomState(3).uniform(0, 255, [2, 48, 64, 3]), tf.float32)


@pytest.fixture(scope="session")
def tiny_groundtruth() -> dict[str, tf.Tensor]:
    """One image with two boxes, one with none (all rows padding)."""
    return {
        "boxes": tf.constant([[[0.0, 0.0, 0.25, 0.25], [0.25, 0.5, 0.5, 0.75]], [[0.0] * 4] * 2]),
        "classes": tf.constant([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 0.0]] * 2]),
        "weights": tf.constant([[1.0, 1.0], [0.0, 0.0]]),
    }

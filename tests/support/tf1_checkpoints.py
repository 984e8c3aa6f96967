"""Checkpoints as TensorFlow 1 wrote them: values by name, without the graph of objects that TensorFlow 2 stores."""

import pathlib
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

# The network of `model { ... }` that is built fastest among those of TensorFlow 1.
TINY_MODEL = """
  faster_rcnn {
    num_classes: 2
    image_resizer { fixed_shape_resizer { height: 64 width: 64 } }
    feature_extractor { type: "faster_rcnn_inception_v2" }
    first_stage_anchor_generator { grid_anchor_generator { scales: 0.25 aspect_ratios: 1.0 } }
    first_stage_box_predictor_depth: 8
    first_stage_max_proposals: 4
    initial_crop_size: 4
    maxpool_kernel_size: 1
    maxpool_stride: 1
    second_stage_box_predictor { mask_rcnn_box_predictor { } }
  }
"""


def save(prefix: pathlib.Path, values: Mapping[str, np.ndarray]) -> pathlib.Path:
    """Writes PREFIX.index and PREFIX.data-00000-of-00001; returns the prefix."""
    prefix.parent.mkdir(parents=True, exist_ok=True)
    names = list(values)
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=[tf.constant(values[name]) for name in names],
    )
    return prefix


def save_v1(path: pathlib.Path, values: Mapping[str, np.ndarray]) -> pathlib.Path:
    """Writes one file in TensorFlow's first format, as slim's classifiers have it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    names = list(values)
    tf.raw_ops.Save(filename=str(path), tensor_names=names, data=[tf.constant(values[name]) for name in names])
    return path

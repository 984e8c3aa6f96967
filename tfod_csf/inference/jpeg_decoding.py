"""JPEG files as the network saw them in training: decoded by TensorFlow.

Its decoder differs from Pillow's by up to about 14 gray levels (another inverse cosine transform), and a model should
see the pixels it was trained on (docs/decisions/jpeg_decoder.md).
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf


def decode(jpeg: bytes) -> np.ndarray | None:
    """uint8 [H, W, 3] RGB as in training, not to be written to; None when TensorFlow cannot read the file."""
    try:
        decoded = tf.io.decode_jpeg(jpeg, channels=3)
    except tf.errors.OpError:
        return None
    return np.asarray(memoryview(decoded))  # the tensor's own memory: a copy of five megapixels takes milliseconds

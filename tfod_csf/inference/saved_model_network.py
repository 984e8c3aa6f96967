"""A SavedModel, run by TensorFlow through its signature serving_default.

The signature is called by TFOD's names, so models exported by TFOD itself work too.
"""

import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf

from tfod_csf.inference.image_detector import DetectionFailedError
from tfod_csf.inference.network import DetectorError, OutputSpec, first_line

_TF_EXAMPLE = "tf_example"
_BATCH_SIGNATURE = "serving_batch"  # of exporter_main_v2 --max_batch


class SavedModelNetwork:
    """See `network.Network`.

    Args:
      path: folder with saved_model.pb.
      input_type: image_tensor, float_image_tensor, encoded_image_string_tensor or tf_example; None looks at the
        signature, which does not distinguish the last two, and assumes encoded_image_string_tensor.

    Raises:
      DetectorError: it cannot be loaded, or has no signature of one image.
    """

    def __init__(self, path: pathlib.Path, input_type: str | None = None):
        self.path = path
        self._input_type = input_type
        try:
            self._loaded = tf.saved_model.load(str(path))  # kept: it owns the signature's variables
        except Exception as error:  # of a damaged graph TensorFlow raises KeyError, IndexError, TypeError and others
            raise DetectorError(
                f"{path}: the SavedModel cannot be loaded ({first_line(error)}); export the model again with "
                "exporter_main_v2."
            ) from error
        self._signature = self._serving_default()
        ((self._input_name, self._input_spec),) = self._signature.structured_input_signature[1].items()
        self.outputs: Mapping[str, OutputSpec] = {
            name: _output_spec(spec) for name, spec in self._signature.structured_outputs.items()
        }

    @property
    def takes_batches(self) -> bool:
        """See `network.BatchNetwork`."""
        return _BATCH_SIGNATURE in self._loaded.signatures

    def run_batch(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        """See `network.BatchNetwork`."""
        return _outputs_of(self._loaded.signatures[_BATCH_SIGNATURE], self._input_name, lambda: tf.constant(pixels))

    def _serving_default(self) -> Any:
        signature = self._loaded.signatures.get("serving_default")
        if signature is None:
            raise DetectorError(
                f"{self.path}: no signature serving_default (found: "
                f"{', '.join(self._loaded.signatures) or 'none'}); export the model with exporter_main_v2."
            )
        if len(signature.structured_input_signature[1]) != 1:
            raise DetectorError(
                f"{self.path}: the signature takes {len(signature.structured_input_signature[1])} inputs; expected one "
                "image, as in TFOD's detection signature, which exporter_main_v2 writes."
            )
        return signature

    def run(self, pixels: np.ndarray, jpeg: bytes | None = None) -> dict[str, np.ndarray]:
        """See `network.Network`."""
        return _outputs_of(self._signature, self._input_name, lambda: self._input(pixels, jpeg))

    def _input(self, pixels: np.ndarray, jpeg: bytes | None) -> tf.Tensor:
        if self._input_spec.dtype != tf.string:
            return tf.cast(tf.constant(pixels)[tf.newaxis], self._input_spec.dtype)
        encoded = jpeg or tf.io.encode_png(pixels, compression=1).numpy()
        if self._input_type == _TF_EXAMPLE:
            feature = {"image/encoded": tf.train.Feature(bytes_list=tf.train.BytesList(value=[encoded]))}
            feature["image/format"] = tf.train.Feature(
                bytes_list=tf.train.BytesList(value=[b"jpeg" if jpeg else b"png"])
            )
            encoded = tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()
        return tf.constant([encoded])


def _outputs_of(signature: Any, input_name: str, make_input: Callable[[], tf.Tensor]) -> dict[str, np.ndarray]:
    try:
        outputs = signature(**{input_name: make_input()})
    except (tf.errors.OpError, ValueError, TypeError) as error:  # the last two: not an image of the model's size
        raise DetectionFailedError(first_line(error)) from error
    return {name: value.numpy() for name, value in outputs.items()}


def _output_spec(spec: tf.TensorSpec) -> OutputSpec:
    shape = None if spec.shape.rank is None else tuple(spec.shape.as_list())
    return OutputSpec(spec.dtype.name, spec.dtype.is_floating or spec.dtype.is_integer, shape)

"""Does the exported SavedModel compute what the checkpoint computes?

The SavedModel runs in a fresh process that imports only TensorFlow (`run_saved_model.py`). In this process, while it
runs, the network is rebuilt from the exported pipeline.config, restored from the exported checkpoint, and run on the
same images. Both run on the CPU, so the outputs should be equal to the bit; the tolerances allow for rounding.
"""

import contextlib
import dataclasses
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
import tensorflow as tf

from tfod_csf.errors import UserError
from tfod_csf.export import run_saved_model

# Float32 outputs of one graph on one machine; measured: 0. bfloat16 keeps 8 bits, and fusing changes the last of them.
TOLERANCE = {"float32": 1e-4, "bfloat16": 2e-2}
_BATCH_SIGNATURE = "serving_batch"


class Reference(Protocol):
    """What the SavedModel is compared with, for example a DetectionModule restored from the exported checkpoint."""

    def __call__(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """The outputs for an input of the exported type, by TFOD's names."""

    def batch_function(self) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
        """The same for any number of uint8 images of one size, [B, h, w, 3]."""


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What `compare` has found.

    Attributes:
      differences: largest difference of each output, over all images.
      outputs: the SavedModel's outputs for each image, a batch of it alone, by TFOD's names.
    """

    differences: dict[str, float]
    outputs: list[dict[str, np.ndarray]]


class ParityError(UserError):
    """The exported SavedModel and its checkpoint give different detections."""


def compare(
    saved_model_dir: pathlib.Path,
    make_reference: Callable[[], Reference],
    input_type: str,
    images: Sequence[np.ndarray],
    compute_dtype: str = "float32",
    has_batch_signature: bool = False,
    source: str = "the checkpoint",
) -> Comparison:
    """Runs the SavedModel and the reference, and compares every output.

    Args:
      saved_model_dir: what was exported.
      make_reference: makes what was exported, as it computes without the SavedModel.
      input_type: of the export.
      images: uint8 [h, w, 3] each.
      compute_dtype: of the export; decides the tolerance.
      has_batch_signature: whether serving_batch was exported and has to agree too.
      source: what the reference is, for the message.

    Raises:
      ParityError: an output differs by more than TOLERANCE.
    """
    calls = [("serving_default", encode(image, input_type)) for image in images]
    calls.append(("", calls[0][1]))
    if has_batch_signature:
        calls.append((_BATCH_SIGNATURE, np.stack([images[0], images[0][::-1]])))
    with _in_fresh_process(saved_model_dir, calls) as result:
        all_expected = _outputs_of(make_reference(), calls)
        found = result()
    differences: dict[str, float] = {}
    outputs = []
    for index, expected in enumerate(all_expected):
        prefix = f"{index:03d}|"
        exported = {key.removeprefix(prefix): array for key, array in found.items() if key.startswith(prefix)}
        _add_differences(differences, expected, exported)
        outputs.append(exported)
    worst = max(differences, key=differences.get)
    if not differences[worst] <= TOLERANCE[compute_dtype]:
        raise ParityError(
            f"{saved_model_dir}: {worst} differs from {source} by {differences[worst]:.3g} (allowed "
            f"{TOLERANCE[compute_dtype]:.0e}), so nothing was exported; report this with the pipeline.config."
        )
    return Comparison(differences, outputs[: len(images)])


def _outputs_of(
    reference: Reference, calls: Sequence[tuple[str, np.ndarray | list[bytes]]]
) -> list[dict[str, np.ndarray]]:
    """The reference's outputs of every call (signature, input), by TFOD's names."""
    has_batches = any(signature == _BATCH_SIGNATURE for signature, _ in calls)
    batch_function = reference.batch_function() if has_batches else None
    outputs = []
    for signature, value in calls:
        function = batch_function if signature == _BATCH_SIGNATURE else reference.__call__
        outputs.append({name: tensor.numpy() for name, tensor in function(tf.constant(value)).items()})
    return outputs


def _add_differences(
    differences: dict[str, float], expected: Mapping[str, np.ndarray], exported: Mapping[str, np.ndarray]
) -> None:
    """Largest differences so far; infinite where outputs are missing, of another shape, or not finite."""
    for name in expected.keys() | exported.keys():
        difference = np.inf
        if name in expected and name in exported and expected[name].shape == exported[name].shape:
            difference = float(np.max(np.abs(expected[name] - exported[name]), initial=0.0))
        differences[name] = max(differences.get(name, 0.0), difference if np.isfinite(difference) else np.inf)


def encode(image: np.ndarray, input_type: str) -> np.ndarray | list[bytes]:
    """A batch of this one image, uint8 [h, w, 3], as the input of that type."""
    if input_type == "image_tensor":
        return image[np.newaxis]
    if input_type == "float_image_tensor":
        return image[np.newaxis].astype(np.float32)
    encoded = tf.io.encode_png(image).numpy()
    if input_type == "tf_example":
        feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[encoded]))
        encoded = tf.train.Example(features=tf.train.Features(feature={"image/encoded": feature})).SerializeToString()
    return [encoded]


@contextlib.contextmanager
def _in_fresh_process(
    saved_model_dir: pathlib.Path, calls: Sequence[tuple[str, np.ndarray | list[bytes]]]
) -> Iterator[Callable[[], dict[str, np.ndarray]]]:
    """Starts the SavedModel on every call (signature, input); at the end of the block its process is gone.

    Yields:
      A function that waits, and returns the outputs by "<number of the call>|<output>".
    """
    arrays = {}
    for index, (signature, value) in enumerate(calls):
        if isinstance(value, np.ndarray):
            arrays[f"{index:03d}|{signature}|tensor"] = value
        else:
            for position, string in enumerate(value):
                arrays[f"{index:03d}|{signature}|{position:03d}"] = np.frombuffer(string, np.uint8)
    environment = {
        name: value for name, value in os.environ.items() if name not in ("TF_USE_LEGACY_KERAS", "PYTHONPATH")
    }
    with tempfile.TemporaryDirectory() as folder:
        inputs, outputs, said = (pathlib.Path(folder, name) for name in ("inputs.npz", "outputs.npz", "said.txt"))
        np.savez(inputs, **arrays)
        command = [sys.executable, run_saved_model.__file__, str(saved_model_dir), str(inputs), str(outputs)]
        with said.open("wb") as stream, subprocess.Popen(command, env=environment, stdout=stream, stderr=stream) as run:

            def result() -> dict[str, np.ndarray]:
                if run.wait():
                    lines = said.read_text(errors="replace").strip().splitlines() or ["no message"]
                    raise ParityError(f"{saved_model_dir}: cannot be run by TensorFlow alone ({lines[-1]}).")
                with np.load(outputs) as stored:
                    return dict(stored)

            try:
                yield result
            finally:
                run.kill()

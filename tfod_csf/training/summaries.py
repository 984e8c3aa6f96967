"""Event files for TensorBoard with TFOD's tags: `<model_dir>/train` and `<model_dir>/eval`."""

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import tensorflow as tf
from tensorboard.plugins.image import metadata as image_metadata

from tfod_csf.errors import UserError
from tfod_csf.network_input.image_normalizer import ImageNormalizer

NUM_TRAIN_INPUT_IMAGES = 3
_JPEG_QUALITY = 92


class Summaries:
    """Writes one event file.

    Args:
      folder: the event file's folder; None writes nothing (workers other than the chief).
    """

    def __init__(self, folder: str | os.PathLike | None):
        self._folder = folder
        with _disk_errors_in_words(folder):
            self._writer = (
                tf.summary.create_file_writer(os.fspath(folder)) if folder else tf.summary.create_noop_writer()
            )

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Writes numbers, and flushes them to disk."""
        with self._writer.as_default(step=step), _disk_errors_in_words(self._folder):
            for name, value in values.items():
                tf.summary.scalar(name, value)
            self._writer.flush()

    def images(self, tag: str, pictures: Iterable[np.ndarray], step: int) -> None:
        """Writes uint8 [H, W, 3] pictures of one size under one tag.

        TFOD writes PNG; JPEG takes a fifth of the space, and a long run writes gigabytes.
        """
        pictures = list(pictures)
        if not pictures:
            return
        height, width = pictures[0].shape[:2]
        encoded = [tf.io.encode_jpeg(picture, quality=_JPEG_QUALITY).numpy() for picture in pictures]
        metadata = image_metadata.create_summary_metadata(display_name=None, description=None)
        with self._writer.as_default(step=step), _disk_errors_in_words(self._folder):
            tf.summary.write(tag, tf.stack([str(width), str(height), *encoded]), metadata=metadata)

    def close(self) -> None:
        """Closes the event file."""
        with _disk_errors_in_words(self._folder):
            self._writer.close()


@contextlib.contextmanager
def _disk_errors_in_words(folder: str | os.PathLike | None) -> Iterator[None]:
    """TensorFlow's errors about a full disk or a folder that cannot be written, as a sentence."""
    try:
        yield
    except tf.errors.OpError as error:
        raise UserError(
            f"{folder}: the event file cannot be written ({error.message.strip().partition(chr(10))[0][:200]}); make "
            "room or give a folder that can be written, and run the same command again."
        ) from error


def visible_images(
    preprocessed_inputs: np.ndarray, normalizer: ImageNormalizer, count: int = NUM_TRAIN_INPUT_IMAGES
) -> list[np.ndarray]:
    """The network's input as pictures that a person can judge.

    TFOD shows the input itself, normalized: clipped to 0 and 1 that is a picture of black and pure colors, in which no
    augmentation can be judged. Here the normalization is undone.

    Args:
      preprocessed_inputs: float32 [B, H, W, 3], normalized.
      normalizer: of the network.
      count: at most so many images, the first of the batch.

    Returns:
      uint8 [H, W, 3] RGB pictures, padding included.
    """
    images = normalizer.restore(np.asarray(preprocessed_inputs[:count]))
    return list(np.clip(np.rint(images), 0, 255).astype(np.uint8))

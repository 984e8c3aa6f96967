"""What running a model over images needs of it: pixels in, `Detections` out."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from tfod_csf.detections import Detections
from tfod_csf.errors import UserError
from tfod_csf.label_map import LabelMap


class DetectionFailedError(UserError):
    """A model could not handle one image (memory, for example); the next image may go well."""


class ImageDetector(Protocol):
    """One model (`detector.Detector`), or several that act as one (`ensemble.CellEnsemble`).

    Attributes:
      name: how results name the model.
      fingerprint: sha256 of what the model computes with.
      label_map: its classes.
      max_detections_per_class: its limit, where known.
      temperature: its scores were made with; 1 for scores as the network gives them.
    """

    name: str
    fingerprint: str
    label_map: LabelMap
    max_detections_per_class: int | None
    temperature: float

    def decode_jpeg(self, jpeg: bytes) -> np.ndarray | None:
        """A JPEG file as `detect` wants its pixels: decoded as in training.

        Returns:
          uint8 [H, W, 3] RGB; None where this decoder cannot read it, so that another has to.
        """

    def detect(self, pixels: np.ndarray, image: str = "", *, jpeg: bytes | None = None) -> Detections:
        """Detections of one image.

        Args:
          pixels: uint8 [H, W, 3] RGB; those of a JPEG by `decode_jpeg`, where it can read it.
          image: name that the detections carry.
          jpeg: the JPEG file that `decode_jpeg` made these pixels of, where there is one; for models that take encoded
            images.

        Raises:
          DetectionFailedError, DetectionsError: the model cannot handle this image, or returned nonsense for it.
        """


@runtime_checkable
class RememberingDetector(ImageDetector, Protocol):
    """A model that gives again what it gave for the same image before.

    Attributes:
      remembered_seconds: the time that all answers from its memory took when they were computed.
    """

    remembered_seconds: float


@runtime_checkable
class BatchDetector(ImageDetector, Protocol):
    """A model that may take several images at a time, which a GPU does in less time than one by one.

    Attributes:
      max_batch: images that it takes at a time; 1: one by one only.
    """

    max_batch: int

    def detect_batch(self, pixels: Sequence[np.ndarray], images: Sequence[str]) -> list[Detections]:
        """Detections of up to max_batch images of one size, the same as of each alone but for rounding.

        Args:
          pixels: as of `detect`.
          images: names that the detections carry.

        Raises:
          DetectionFailedError, DetectionsError: one of them cannot be handled, or all together; alone each may go well.
        """

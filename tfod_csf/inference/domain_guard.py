"""Is an image like those that a model was trained on? Asked of every image it examines; no count is changed."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from tfod_csf.domain.input_scale import input_scale
from tfod_csf.domain.picture_statistics import CellBoxes, measure
from tfod_csf.domain.training_domain import Judgment, TrainingDomain
from tfod_csf.inference.image_detector import ImageDetector
from tfod_csf.model_folder import TRAINING_DOMAIN


@dataclasses.dataclass(frozen=True)
class DomainGuard:
    """Compares images with a model's training images.

    Attributes:
      domain: the training images.
      input_size: of the model's model.json, by which images are resized before they are measured.
    """

    domain: TrainingDomain
    input_size: Mapping[str, Any]

    @classmethod
    def of(cls, info: Mapping[str, Any], path: str) -> "DomainGuard | None":
        """The guard of a model; None where its model.json describes no training images.

        Args:
          info: contents of model.json.
          path: of that file, for messages.

        Raises:
          TrainingDomainError: the description cannot be read.
        """
        stored = info.get(TRAINING_DOMAIN)
        if stored is None:
            return None
        return cls(TrainingDomain.of_json(stored, path), {"input_size": info.get("input_size") or {}})

    def judge(self, pixels: np.ndarray, cells: CellBoxes) -> Judgment:
        """Compares an image.

        Args:
          pixels: uint8 [H, W, 3] RGB.
          cells: what the model found in it, boxes in its pixels.
        """
        scale = input_scale(self.input_size, pixels.shape[1], pixels.shape[0])
        return self.domain.judge(measure(pixels, cells, scale))

    @property
    def fingerprint(self) -> str:
        """sha256 of what the guard compares with."""
        text = json.dumps([self.domain.as_json(), dict(self.input_size)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


@runtime_checkable
class GuardedDetector(ImageDetector, Protocol):
    """A model, or several as one, that may have guards.

    Attributes:
      guards: of the models that have one.
    """

    guards: Sequence[DomainGuard]


def guards_of(detector: ImageDetector) -> Sequence[DomainGuard]:
    """The guards of a detector; () without any."""
    return detector.guards if isinstance(detector, GuardedDetector) else ()


def fingerprints(detector: ImageDetector) -> list[str]:
    """Those of a detector's guards."""
    return [guard.fingerprint for guard in guards_of(detector)]


def judge(detector: ImageDetector, pixels: np.ndarray, boxes: np.ndarray, names: Sequence[str]) -> Judgment | None:
    """Compares an image with a detector's training images; of several models the one it is farthest from counts.

    Args:
      pixels: uint8 [H, W, 3] RGB.
      boxes: [N, 4] of the cells that the detector found, in pixels of the image.
      names: N names of their classes.

    Returns:
      None where the detector has no guard.
    """
    cells = CellBoxes.of(boxes, names)
    judgments = [guard.judge(pixels, cells) for guard in guards_of(detector)]
    return max(judgments, key=lambda judgment: judgment.distance, default=None)


def in_the_middle(judgments: Sequence[Judgment]) -> Judgment:
    """The upper median by distance: it is out of the domain if at least half of them are.

    >>> in_the_middle([Judgment(0.5), Judgment(3.0), Judgment(1.5), Judgment(0.7)]).distance
    1.5
    """
    return sorted(judgments, key=lambda judgment: judgment.distance)[len(judgments) // 2]

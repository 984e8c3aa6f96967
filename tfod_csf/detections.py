"""Detections of one image: what a detector hands on.

Shape shorthand in this module:
  N: detections.
  K: foreground classes.

Boxes are ymin, xmin, ymax, xmax in pixels of the original image (0..height, 0..width), not of a resized or padded one.
Classes are label-map ids (1-based; background is never one of them). Nothing is padded.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from tfod_csf.errors import UserError

# TFOD's order of a box's sides: the columns of every [N, 4] array of boxes in this package.
BOX_SIDES = ("ymin", "xmin", "ymax", "xmax")


# Rounding of float32 may lead this far out of 0..1.
_ROUNDING = 1e-3


class DetectionsError(UserError):
    """What a model returned is no detections: numbers that are not finite, or scores that are not probabilities."""


@dataclasses.dataclass
class Detections:
    """What a detector found in one image.

    A box or score that is not a finite number, and a score outside 0..1, raises DetectionsError.

    Attributes:
      image: name of the image, unique in its run (for example "patient_07/IMG_0001.jpg").
      width: pixels of the original image.
      height: pixels of the original image.
      boxes: float32 [N, 4].
      classes: int32 [N].
      scores: float32 [N], 0..1.
      multiclass_scores: float32 [N, K + 1], background at 0, or None.
      raw_multiclass_scores: the same before a temperature was applied (`score_temperature`); None where none was.
      num_at_limit: the detector returned as many objects as it can; further cells may be missing.
      full_from: of detections that a detector's limits do not tell any more, such as those of several models as one:
        the highest raw score of which a list was full; cells of that score or less may be missing. None: of none.
    """

    image: str
    width: int
    height: int
    boxes: np.ndarray
    classes: np.ndarray
    scores: np.ndarray
    multiclass_scores: np.ndarray | None = None
    num_at_limit: bool = False
    raw_multiclass_scores: np.ndarray | None = None
    full_from: float | None = None

    def __post_init__(self):
        self.boxes = np.asarray(self.boxes, dtype=np.float32).reshape(-1, 4)
        self.classes = np.asarray(self.classes, dtype=np.int32).reshape(-1)
        self.scores = np.asarray(self.scores, dtype=np.float32).reshape(-1)
        lengths = {"boxes": len(self.boxes), "classes": len(self.classes), "scores": len(self.scores)}
        for name in ("multiclass_scores", "raw_multiclass_scores"):
            if getattr(self, name) is None:
                continue
            scores = np.asarray(getattr(self, name), dtype=np.float32)
            if scores.ndim != 2:
                raise ValueError(f"{self.image}: {name} has shape {scores.shape}, not [N, K+1]")
            setattr(self, name, scores)
            lengths[name] = len(scores)
        if len(set(lengths.values())) > 1:
            raise ValueError(f"{self.image}: detections of different lengths: {lengths}")
        self._check_numbers()

    def _check_numbers(self) -> None:
        if not np.isfinite(self.boxes).all():
            raise DetectionsError("the model gave a box with a side that is not a number")
        for scores in (self.scores, self.multiclass_scores, self.raw_multiclass_scores):
            if scores is None or not scores.size:
                continue
            low, high = scores.min(), scores.max()  # NaN where one of them is
            if not (low >= -_ROUNDING and high <= 1 + _ROUNDING):
                wrong = high if low >= -_ROUNDING else low
                raise DetectionsError(f"the model gave the score {wrong:g}; expected a number from 0 to 1")

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def raw_scores(self) -> np.ndarray:
        """float32 [N] scores of the classes as the network gave them; what decides whether a detection is a cell."""
        if self.raw_multiclass_scores is None:
            return self.scores
        return self.raw_multiclass_scores[np.arange(len(self)), self.classes]

    def select(self, mask_or_indices: np.ndarray | Sequence) -> "Detections":
        """The detections a bool mask [N] keeps, or those at int indices, in that order."""
        chosen = np.asarray(mask_or_indices)
        if chosen.size == 0:
            chosen = chosen.astype(np.int64)
        multiclass_scores, raw = self.multiclass_scores, self.raw_multiclass_scores
        return dataclasses.replace(
            self,
            boxes=self.boxes[chosen],
            classes=self.classes[chosen],
            scores=self.scores[chosen],
            multiclass_scores=None if multiclass_scores is None else multiclass_scores[chosen],
            raw_multiclass_scores=None if raw is None else raw[chosen],
        )

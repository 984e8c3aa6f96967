"""From raw detections to cells: what counts as a cell, each cell once, and which cells a person must look at.

Three rules, in this order:
  1. a detection with score >= min_score is a cell; the score is the network's own, before a temperature, so that a
     temperature changes how sure a cell is and never whether it is there;
  2. of two cells that overlap with IoU >= duplicate_iou only the one with the better score stays, whatever their
     classes (the detector suppresses duplicates within a class only, so one cell may be detected as lymphocyte and as
     monocyte and would be counted twice);
  3. a cell with score (after the temperature) < unknown_below, or predicted to be of the label map's class `unknown`,
     is unknown until a person decides (the paper's 80 %).

Shape shorthand in this module:
  N: detections or cells of one image.
  M: cells that stay.

Boxes are those of `Detections`: [N, 4] ymin, xmin, ymax, xmax in pixels of the original image.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from tfod_csf import np_box_ops
from tfod_csf.cell_classes import APART, AS_PREDICTED, COUNTED, UNKNOWN, canonical_name, counted_as
from tfod_csf.detections import Detections
from tfod_csf.errors import UserError
from tfod_csf.label_map import LabelMap

_PAIRS_AT_ONCE = 50_000  # of boxes that are compared: about 3 MB


class ThresholdError(UserError):
    """A threshold that makes no sense."""


@dataclasses.dataclass(frozen=True)
class ScoreThresholds:
    """The numbers of the three rules; they are written next to every result.

    Attributes:
      min_score: 0..1, detections whose score before a temperature is >= this are cells.
      unknown_below: 0..1, cells whose score after it is < this are unknown.
      count_unknown: "apart" counts them as unknown, "as_predicted" under their predicted class (their status stays
        "unknown"; cells of the class `unknown` stay unknown).
      duplicate_iou: above 0, to 1, overlap from which two cells are one.
    """

    min_score: float = 0.5
    unknown_below: float = 0.8
    count_unknown: str = APART
    duplicate_iou: float = 0.5

    def __post_init__(self):
        for name in ("min_score", "unknown_below", "duplicate_iou"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ThresholdError(f"--{name} is {value:g}; give a number from 0 to 1, for example 0.5.")
        if not self.duplicate_iou:
            raise ThresholdError(
                "--duplicate_iou is 0, with which all cells of an image are one; give a number above 0, or 1 to merge "
                "only boxes that are equal."
            )
        if self.count_unknown not in (APART, AS_PREDICTED):
            raise ThresholdError(f"--count_unknown is {self.count_unknown!r}; give {APART} or {AS_PREDICTED}.")


def common_thresholds(stored: Mapping[str, Mapping[str, Any]], **flags: Any) -> ScoreThresholds:
    """Thresholds of a run: a flag that is not None, else what the models' model.json store, else the study's defaults.

    Args:
      stored: {model: {threshold: value}}.
      **flags: thresholds by name; None where the user gave none.

    Raises:
      ThresholdError: two models store different values and no flag decides.

    >>> common_thresholds({"a": {"min_score": 0.4}}, min_score=None, unknown_below=0.9)
    ScoreThresholds(min_score=0.4, unknown_below=0.9, count_unknown='apart', duplicate_iou=0.5)
    """
    values = {name: value for name, value in flags.items() if value is not None}
    for field in dataclasses.fields(ScoreThresholds):
        found = {model: own[field.name] for model, own in stored.items() if own.get(field.name) is not None}
        if field.name in values or not found:
            continue
        if len(set(found.values())) > 1:
            listed = ", ".join(f"{model}: {value:g}" for model, value in found.items())
            raise ThresholdError(f"the models store different {field.name} ({listed}); give --{field.name}.")
        values[field.name] = next(iter(found.values()))
    return ScoreThresholds(**values)


@dataclasses.dataclass(frozen=True)
class Cells:
    """The cells of one image by one model.

    Attributes:
      detections: the N cells, best score first.
      predicted_class: N names.
      status: N times "counted" or "unknown".
      counted_as: N names under which the differential counts them.
      num_duplicates: detections dropped by rule 2.
      limit_reached: the detector gave as many cells as it can; some cells of the image may be missing.
    """

    detections: Detections
    predicted_class: list[str]
    status: list[str]
    counted_as: list[str]
    num_duplicates: int = 0
    limit_reached: bool = False

    def counts(self) -> dict[str, int]:
        """Cells by the class they are counted under."""
        return {name: self.counted_as.count(name) for name in dict.fromkeys(self.counted_as)}


def best_of_duplicates(boxes: np.ndarray, scores: np.ndarray, duplicate_iou: float) -> np.ndarray:
    """Rows [M] that stay, best score first: class-agnostic non-maximum suppression, IoU >= duplicate_iou suppresses.

    >>> boxes = np.array([[0.0, 0, 10, 10], [0.0, 1, 10, 11], [0.0, 30, 10, 40]])
    >>> best_of_duplicates(boxes, np.array([0.6, 0.9, 0.7]), 0.5).tolist()
    [1, 2]
    """
    order = np.argsort(-np.asarray(scores, dtype=np.float64), kind="stable")
    boxes = boxes[order]
    is_kept = np.ones(len(order), dtype=bool)
    # In blocks: a scan has tens of thousands of cells, and the overlaps of all pairs would not fit into memory.
    rows = max(1, _PAIRS_AT_ONCE // max(1, len(order)))
    for start in range(0, len(order), rows):
        is_another = np_box_ops.iou(boxes[start : start + rows], boxes[start:]) < duplicate_iou
        for row, others in enumerate(is_another):
            if is_kept[start + row]:
                is_kept[start + row + 1 :] &= others[row + 1 :]
    return order[is_kept]


def select_cells(
    detections: Detections,
    label_map: LabelMap,
    thresholds: ScoreThresholds,
    max_detections_per_class: int | None = None,
) -> Cells:
    """Applies the three rules to what a detector gave for one image.

    Args:
      detections: everything the detector gave, low scores included.
      label_map: names of the classes.
      thresholds: the rules' numbers.
      max_detections_per_class: the detector's limit per class, where known; reached by cells, it is flagged.
    """
    found, limit_reached = likely_cells(detections, thresholds, max_detections_per_class)
    return distinct_cells(found, label_map, thresholds, limit_reached)


def likely_cells(
    detections: Detections, thresholds: ScoreThresholds, max_detections_per_class: int | None = None
) -> tuple[Detections, bool]:
    """Rule 1: (the detections that count as cells, whether the detector gave as many as it can).

    Args:
      detections, thresholds, max_detections_per_class: see `select_cells`.
    """
    found = detections.select(detections.raw_scores >= thresholds.min_score)
    full_from = with_full_from(detections, max_detections_per_class).full_from
    # A detector without score threshold always fills its list; the limit matters only if cells, not noise, fill it.
    return found, full_from is not None and bool(np.float32(full_from) >= np.float32(thresholds.min_score))


def with_full_from(detections: Detections, max_detections_per_class: int | None = None) -> Detections:
    """The same detections with the highest raw score of which a list is full, of all classes or of one.

    Args:
      detections: of one detector, or with a `full_from` of their own.
      max_detections_per_class: the detector's limit per class, where known.
    """
    scores, full = detections.raw_scores, [] if detections.full_from is None else [detections.full_from]
    if detections.num_at_limit and len(scores):
        full.append(float(scores.min()))
    if max_detections_per_class:
        for class_id in np.flatnonzero(np.bincount(detections.classes) >= max_detections_per_class):
            of_class = np.sort(scores[detections.classes == class_id])[::-1]
            full.append(float(of_class[max_detections_per_class - 1]))
    return dataclasses.replace(detections, full_from=max(full, default=None))


def distinct_cells(
    found: Detections, label_map: LabelMap, thresholds: ScoreThresholds, limit_reached: bool = False
) -> Cells:
    """Rules 2 and 3 on what `likely_cells` found.

    Args:
      found: detections that count as cells.
      label_map, thresholds: see `select_cells`.
      limit_reached: of the result.
    """
    kept = found.select(best_of_duplicates(found.boxes, found.raw_scores, thresholds.duplicate_iou))
    cells = kept.select(np.argsort(-kept.scores, kind="stable"))
    predicted = [label_map.name_of(int(class_id)) for class_id in cells.classes]
    status, counted = [], []
    for name, score in zip(predicted, cells.scores):
        class_name = counted_as(name, score, thresholds.unknown_below, thresholds.count_unknown)
        is_decided = canonical_name(name) != UNKNOWN and score >= thresholds.unknown_below
        status.append(COUNTED if is_decided else UNKNOWN)
        # The label map's spelling, which names the columns of images.csv too.
        counted.append(UNKNOWN if class_name == UNKNOWN else name)
    return Cells(cells, predicted, status, counted, len(found) - len(cells), limit_reached)

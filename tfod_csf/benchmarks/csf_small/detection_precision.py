"""Average precision of each class at an IoU of 0.5, and of white cells as one class, with intervals over images.

The rule is TFOD's (`matching.label_detections`), which PascalDetectionEvaluator uses. Two readings of cells labeled
`unknown` (white cells that are none of the three classes): ignored, as cells that nobody is sure of always are, so that
a detection on one counts neither way; and counted, so that `unknown` is a class and another class there is wrong.

Shape shorthand in this module:
  D: detections of one class that count, in one image or in all.
  I: images.  U: units.  B: bootstrap samples.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np

from tfod_csf import cell_classes
from tfod_csf.benchmarks.csf_small import held_out
from tfod_csf.benchmarks.csf_small.held_out import ExaminedImage, Figure, HeldOutSet
from tfod_csf.benchmarks.csf_small.source_images import NOT_SURE
from tfod_csf.cell_classes import ERYTHROCYTE, UNKNOWN, WHITE_CELLS, canonical_name
from tfod_csf.cytology.studies.method_comparison import Estimate
from tfod_csf.evaluation import matching
from tfod_csf.evaluation.pascal_evaluator import compute_precision_recall
from tfod_csf.inference.cell_selection import best_of_duplicates
from tfod_csf.label_map import LabelMap
from tfod_csf.study import labelimg

NAME = "average precision"
IGNORED, COUNTED = "unknown ignored", "unknown counted"
WHITE_CELL = "white cell"
ALL_WHITE = (*WHITE_CELLS, UNKNOWN)
IOU = 0.5
_AT_ONCE = 4_000_000  # numbers of a block of bootstrap samples: 32 MB each of a few arrays


class ClassDetections(NamedTuple):
    """One class in one image.

    Attributes:
      scores: float [D], falling.
      is_true_positive: bool [D].
      num_groundtruth: labeled cells that count.
    """

    scores: np.ndarray
    is_true_positive: np.ndarray
    num_groundtruth: int


def class_detections(
    one: ExaminedImage,
    label_map: LabelMap,
    names: Collection[str],
    ignored: Collection[str],
    duplicate_iou: float | None = None,
) -> ClassDetections:
    """The detections of some classes, taken as one, in an image.

    Args:
      names: of the classes.
      ignored: labels at which a detection counts neither way.
      duplicate_iou: of detections of these classes that overlap so far only the best is kept; None keeps all, as TFOD
        does within a class.
    """
    found = one.detections
    class_names = np.array([canonical_name(label_map.name_of(int(i))) for i in found.classes], dtype=object)
    boxes = found.boxes
    has_area = (boxes[:, 0] < boxes[:, 2]) & (boxes[:, 1] < boxes[:, 3])
    rows = np.flatnonzero(np.isin(class_names.astype(str), list(names)) & has_area)
    rows = rows[np.argsort(-found.scores[rows], kind="stable")]
    if duplicate_iou is not None:
        rows = rows[best_of_duplicates(boxes[rows], found.scores[rows], duplicate_iou)]
    labeled = [label for label in one.image.objects if label.name in names or label.name in ignored]
    is_ignored = np.array([label.name not in names for label in labeled], bool)
    is_true_positive, counts_neither_way = matching.label_detections(
        boxes[rows], labelimg.boxes_of(labeled), is_ignored, IOU
    )
    kept = ~counts_neither_way
    return ClassDetections(found.scores[rows][kept], is_true_positive[kept], int((~is_ignored).sum()))


def average_precision(
    images: Sequence[ClassDetections], units: np.ndarray, replicates: int = 1000, seed: int = 0
) -> Estimate:
    """Average precision over images, with an interval that samples units; NaN without a labeled cell.

    Args:
      images: I.
      units: int [I], 0 .. U - 1.
    """
    scores = np.concatenate([np.zeros(0), *(one.scores for one in images)])
    is_true_positive = np.concatenate([np.zeros(0, bool), *(one.is_true_positive for one in images)])
    groundtruth = np.array([one.num_groundtruth for one in images], int)
    value = compute_precision_recall(scores, is_true_positive, int(groundtruth.sum())).average_precision
    if not groundtruth.any():
        return held_out.interval(value, np.zeros(0), 0)
    num_units = int(units.max()) + 1
    order = np.argsort(-scores, kind="stable")
    unit_of = np.repeat(units, [len(one.scores) for one in images])[order]
    per_unit = np.bincount(units, weights=groundtruth, minlength=num_units)
    often = held_out.often_sampled(num_units, replicates, seed)
    block = max(1, _AT_ONCE // max(1, len(order)))
    again = [
        _weighted_average_precisions(is_true_positive[order], unit_of, per_unit, often[start : start + block])
        for start in range(0, replicates, block)
    ]
    return held_out.interval(value, np.concatenate(again), int(np.count_nonzero(per_unit)))


def _weighted_average_precisions(
    is_true_positive: np.ndarray, unit_of: np.ndarray, groundtruth: np.ndarray, often: np.ndarray
) -> np.ndarray:
    """float [B]: average precision where each unit's images are there several times; NaN without a labeled cell.

    How it works: a detection that is there w times moves the curve w times. The area needs precision at true positives
    only, after all of their copies: there it is highest among the copies.

    Args:
      is_true_positive, unit_of: [D] by falling score.
      groundtruth: [U] labeled cells.
      often: int [B, U].
    """
    true_positives = np.flatnonzero(is_true_positive)
    weights = often[:, unit_of]
    kept = np.cumsum(weights, axis=1)[:, true_positives]
    right = np.cumsum(weights[:, true_positives], axis=1)
    precision = np.divide(right, kept, out=np.zeros(right.shape), where=kept > 0)
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    area = (precision * weights[:, true_positives]).sum(axis=1)
    total = often @ groundtruth
    return np.divide(area, total, out=np.full(len(often), np.nan), where=total > 0)


def figures(held: HeldOutSet, replicates: int = 1000, seed: int = 0) -> list[Figure]:
    """Rows of every class in both readings, and of white cells as one class.

    Erythrocytes are of the densely labeled images, everything else of all images, each picture once.
    """
    rows = []
    for reading, ignored in ((IGNORED, {NOT_SURE, UNKNOWN}), (COUNTED, {NOT_SURE})):
        for name in [*cell_classes.STUDY_CLASSES, *([UNKNOWN] if reading == COUNTED else [])]:
            examined = held.dense if name == ERYTHROCYTE else held.distinct
            rows.append(_figure(held, examined, reading, name, {name}, ignored, replicates, seed))
    all_white = _figure(held, held.distinct, WHITE_CELL, WHITE_CELL, set(ALL_WHITE), {NOT_SURE}, replicates, seed)
    return [*rows, all_white]


def _figure(
    held: HeldOutSet,
    examined: Sequence[ExaminedImage],
    reading: str,
    class_name: str,
    names: set[str],
    ignored: set[str],
    replicates: int,
    seed: int,
) -> Figure:
    duplicate_iou = held.thresholds.duplicate_iou if len(names) > 1 else None
    images = [class_detections(one, held.label_map, names, ignored, duplicate_iou) for one in examined]
    units = held_out.units_of(examined)
    cells = sum(one.num_groundtruth for one in images)
    estimate = average_precision(images, units, replicates, seed)
    num_units = len(np.unique(units[np.array([one.num_groundtruth > 0 for one in images], bool)]))
    return Figure(NAME, reading, class_name, estimate, num_units, cells, held_out.note_of(estimate, cells))

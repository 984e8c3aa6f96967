"""Which labels of an image are most likely wrong, by what a model finds in it.

After ObjectLab (Tkachenko, Thyagarajan, Mueller: Automated Diagnosis of Mislabeled Images in Object Detection Data,
2023, which cleanlab has), which looks in each image for overlooked, swapped and badly placed boxes. Here each box has
its own score, because a field holds many cells, and doubled boxes are looked for too.

How it works: labels and detections are paired one to one, best overlap first. A suspicion is as strong as the model is
sure, and weaker the less the boxes contradict it. Scores of different kinds can be compared: all are at most the
detection's score.

Shape shorthand in this module: M labels, N detections of an image. Boxes are [M, 4] ymin, xmin, ymax, xmax in pixels of
the original image.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np

from tfod_csf import np_box_ops
from tfod_csf.evaluation.matching import match_one_to_one

OVERLOOKED, SWAPPED, BADLY_PLACED, DOUBLED = "overlooked", "swapped", "badly placed", "doubled"
KINDS = (OVERLOOKED, SWAPPED, BADLY_PLACED, DOUBLED)
SAME_CELL = 0.5  # IoU from which a label and a detection are of one cell
_NEAR = 0.15  # IoU from which a detection says where a label should be
LEAST_SCORE = 0.3  # detections that are less sure contradict nobody
_WELL_PLACED = 0.7  # IoU from which a box's place is not doubted
_FAR_OFF = 0.4  # IoU up to which a box is as wrong as a missing one


@dataclasses.dataclass(frozen=True)
class Labels:
    """What people labeled in an image.

    Attributes:
      boxes: [M, 4].
      classes: [M] names.
      ignored: [I, 4], boxes of cells that nobody could name; a detection on one contradicts nobody.
    """

    boxes: np.ndarray
    classes: list[str]
    ignored: np.ndarray


@dataclasses.dataclass(frozen=True)
class Found:
    """What a model found in it: boxes [N, 4], class names [N], scores [N] of cells, each cell once."""

    boxes: np.ndarray
    classes: list[str]
    scores: np.ndarray


@dataclasses.dataclass(frozen=True)
class Suspicion:
    """One label, or missing label, that the model contradicts.

    Attributes:
      kind: of KINDS.
      score: 0 .. 1, the larger the more likely.
      label: number of the label; None where it is missing.
      label_class, suggested_class: as labeled ("" where nothing is), as the model says.
      label_box: [4]; None where there is no label.
      suggested_box: [4] of the detection.
      iou: of the two boxes; of a doubled label with the other label; 0 without a label.
    """

    kind: str
    score: float
    label: int | None
    label_class: str
    suggested_class: str
    label_box: tuple[float, ...] | None
    suggested_box: tuple[float, ...]
    iou: float


def suspicions(labels: Labels, found: Found) -> list[Suspicion]:
    """All of an image, the strongest first; a label has at most one, of the kind that is most likely."""
    sure = np.flatnonzero((found.scores >= LEAST_SCORE) & ~_on_ignored(labels, found))
    found = Found(found.boxes[sure], [found.classes[index] for index in sure], found.scores[sure])
    all_found = [*_doubled(labels, found), *_of_pairs(labels, found)]
    best: dict[int, Suspicion] = {}
    others = []
    for one in sorted(all_found, key=lambda suspicion: -suspicion.score):
        if one.label is None:
            others.append(one)
        else:
            best.setdefault(one.label, one)
    return sorted([*best.values(), *others], key=lambda suspicion: -suspicion.score)


def _on_ignored(labels: Labels, found: Found) -> np.ndarray:
    """[N] whether a detection is of an ignored cell: on it, and no label is as near."""
    with_ignored = _iou(labels.ignored, found.boxes).max(axis=0, initial=0.0)
    with_labels = _iou(labels.boxes, found.boxes).max(axis=0, initial=0.0)
    return (with_ignored >= SAME_CELL) & (with_ignored > with_labels)


def _of_pairs(labels: Labels, found: Found) -> Iterator[Suspicion]:
    """Swapped and badly placed labels, and detections that no label is near to."""
    pairs = match_one_to_one(labels.boxes, found.boxes, _NEAR)
    overlap = _iou(labels.boxes, found.boxes)
    for label, detection, iou in zip(pairs.first, pairs.second, pairs.iou, strict=True):
        score = float(found.scores[detection])
        if labels.classes[label] != found.classes[detection] and iou >= SAME_CELL:
            yield _suspicion(SWAPPED, score * min(float(iou) / _WELL_PLACED, 1.0), labels, label, found, detection, iou)
        elif iou < _WELL_PLACED:
            doubt = min((_WELL_PLACED - float(iou)) / (_WELL_PLACED - _FAR_OFF), 1.0)
            yield _suspicion(BADLY_PLACED, score * doubt, labels, label, found, detection, iou)
    with_ignored = _iou(labels.ignored, found.boxes)
    for detection in pairs.unmatched_second:
        nearest = max(_largest(overlap[:, detection]), _largest(with_ignored[:, detection]))
        if nearest < SAME_CELL:
            score = float(found.scores[detection]) * (1 - nearest)
            yield _suspicion(OVERLOOKED, score, labels, None, found, detection, 0.0)


def _doubled(labels: Labels, found: Found) -> Iterator[Suspicion]:
    """The worse one of two labels on what the model finds to be one cell."""
    between, overlap = np.triu(_iou(labels.boxes, labels.boxes), 1), _iou(labels.boxes, found.boxes)
    for pair in np.argwhere(between >= SAME_CELL):
        on_both = np.flatnonzero(overlap[pair].min(axis=0) >= SAME_CELL / 2).tolist()
        if not on_both:
            continue
        detection = max(on_both, key=lambda d: (overlap[pair, d].max(), -d))
        fits = [(labels.classes[label] == found.classes[detection], overlap[label, detection]) for label in pair]
        worse = int(pair[0] if fits[0] < fits[1] else pair[1])
        second = max((float(found.scores[d]) for d in on_both if d != detection), default=0.0)
        iou = float(between[tuple(pair)])
        score = float(found.scores[detection]) * min(iou / _WELL_PLACED, 1.0) * (1 - second)
        yield _suspicion(DOUBLED, score, labels, worse, found, detection, iou)


def _suspicion(
    kind: str, score: float, labels: Labels, label: int | None, found: Found, detection: int, iou: float
) -> Suspicion:
    return Suspicion(
        kind=kind,
        score=score,
        label=None if label is None else int(label),
        label_class="" if label is None else labels.classes[label],
        suggested_class=found.classes[detection],
        label_box=None if label is None else tuple(map(float, labels.boxes[label])),
        suggested_box=tuple(map(float, found.boxes[detection])),
        iou=float(iou),
    )


def _iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """[M, N]; empty where either is."""
    if not len(first) or not len(second):
        return np.zeros([len(first), len(second)])
    return np.asarray(np_box_ops.iou(first, second), np.float64)


def _largest(values: np.ndarray) -> float:
    return float(values.max(initial=0.0))

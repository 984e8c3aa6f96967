"""Several models as one detector: boxes matched by overlap, class scores averaged over all models.

The other way to use several models, averaging each patient's percentages over the models as in the paper, is not done
here: batch_infer runs the models side by side and cytology averages. This way decides cell by cell: a cell that one of
three models sees with 0.9 and the others not at all has the score 0.3, and two models that call it lymphocyte and one
that calls it monocyte give one cell with both scores.

Shape shorthand in this module:
  N: detections of one model.
  C: clusters (cells).
  K: foreground classes.
"""

import dataclasses
import hashlib
from collections.abc import Sequence

import numpy as np

from tfod_csf import np_box_ops
from tfod_csf.detections import Detections
from tfod_csf.inference.cell_selection import best_of_duplicates, with_full_from
from tfod_csf.inference.domain_guard import guards_of
from tfod_csf.inference.image_detector import ImageDetector
from tfod_csf.label_map import LabelMap

# Weaker detections cannot raise a cell above any sensible threshold, and models return hundreds of them.
_MIN_SCORE = 0.05


class CellEnsemble:
    """Looks like one detector to `batch.run`.

    Args:
      detectors: two or more models of the same classes; ids may differ.
      matching_iou_threshold: IoU >= this makes detections of two models one cell.
    """

    def __init__(self, detectors: Sequence[ImageDetector], matching_iou_threshold: float = 0.5):
        self._detectors = list(detectors)
        self._iou_threshold = matching_iou_threshold
        self.name = "+".join(detector.name for detector in detectors)
        members = [
            f"{one.fingerprint} {one.temperature} {one.label_map.ids} {one.label_map.names}" for one in detectors
        ]
        joined = "\0".join([*members, str(matching_iou_threshold)])
        self.fingerprint = hashlib.sha256(joined.encode()).hexdigest()
        self.label_map = detectors[0].label_map
        self.temperature = 1.0  # the members' own are in their scores
        self.guards = tuple(guard for detector in detectors for guard in guards_of(detector))
        self.max_detections_per_class: int | None = None  # the members' own are in their detections

    def decode_jpeg(self, jpeg: bytes) -> np.ndarray | None:
        """As the members, which share one decoder."""
        return self._detectors[0].decode_jpeg(jpeg)

    def detect(self, pixels: np.ndarray, image: str = "", *, jpeg: bytes | None = None) -> Detections:
        """Cells of uint8 [H, W, 3] pixels, best score first."""
        found = [
            with_full_from(detector.detect(pixels, image, jpeg=jpeg), detector.max_detections_per_class)
            for detector in self._detectors
        ]
        maps = [detector.label_map for detector in self._detectors]
        return fuse(found, maps, self._iou_threshold)


def fuse(
    found: Sequence[Detections], label_maps: Sequence[LabelMap], matching_iou_threshold: float = 0.5
) -> Detections:
    """Detections of one image by several models as one.

    How it works: first, of each model's own duplicates only the best stays. Then the detections of all models are
    visited by falling raw score; each joins the cell it overlaps most (IoU >= threshold with the cell's best box)
    unless that cell has a detection of its model already, or else starts a cell. A cell's box is the mean of its boxes,
    weighted by score; its class scores are the sum of its members' divided by the number of models, so that a model
    without a detection there counts as background. Its class is the one with the highest score.

    Args:
      found: one per model, of the same image.
      label_maps: the models' label maps; the result has the ids of the first.

    Returns:
      C detections with multiclass_scores [C, K + 1].
    """
    names = label_maps[0].names
    boxes, scores, multiclass, raw_multiclass, model_of = [], [], [], [], []
    for model, (detections, label_map) in enumerate(zip(found, label_maps, strict=True)):
        strong = detections.select(detections.raw_scores >= _MIN_SCORE)
        own = strong.select(best_of_duplicates(strong.boxes, strong.raw_scores, matching_iou_threshold))
        boxes.append(own.boxes)
        scores.append(own.raw_scores)
        multiclass.append(_class_scores(own, label_map, names))
        raw_multiclass.append(_class_scores(_without_temperature(own), label_map, names))
        model_of += [model] * len(own)
    all_boxes, all_scores = np.concatenate(boxes), np.concatenate(scores)
    clusters = _clusters(all_boxes, all_scores, model_of, matching_iou_threshold)
    fused_boxes = np.zeros([len(clusters), 4], np.float32)
    for row, members in enumerate(clusters):
        fused_boxes[row] = np.average(all_boxes[members], axis=0, weights=all_scores[members])
    fused_scores = _fused_scores(np.concatenate(multiclass), clusters, len(found))
    has_temperature = any(detections.raw_multiclass_scores is not None for detections in found)
    best = fused_scores[:, 1:].argmax(axis=1)
    first = found[0]
    fused = Detections(
        image=first.image,
        width=first.width,
        height=first.height,
        boxes=fused_boxes,
        classes=np.array(label_maps[0].ids, np.int32)[best],
        scores=fused_scores[np.arange(len(clusters)), best + 1],
        multiclass_scores=fused_scores,
        full_from=max((one.full_from for one in found if one.full_from is not None), default=None),
        raw_multiclass_scores=_fused_scores(np.concatenate(raw_multiclass), clusters, len(found))
        if has_temperature
        else None,
    )
    return fused.select(np.argsort(-fused.scores, kind="stable"))


def _without_temperature(detections: Detections) -> Detections:
    """The same detections with the network's own scores."""
    if detections.raw_multiclass_scores is None:
        return detections
    return dataclasses.replace(
        detections, scores=detections.raw_scores, multiclass_scores=detections.raw_multiclass_scores
    )


def _fused_scores(scores: np.ndarray, clusters: Sequence[Sequence[int]], num_models: int) -> np.ndarray:
    """[C, K + 1], background at 0, from the [N, K] class scores of all models' detections."""
    fused = np.zeros([len(clusters), scores.shape[1] + 1], np.float32)
    for row, members in enumerate(clusters):
        fused[row, 1:] = scores[members].sum(axis=0) / num_models
    fused[:, 0] = np.clip(1 - fused[:, 1:].sum(axis=1), 0, 1)
    return fused


def _class_scores(detections: Detections, label_map: LabelMap, names: Sequence[str]) -> np.ndarray:
    """[N, K] scores in the order of `names`; a model that gives one score gives 0 to all other classes."""
    scores = np.zeros([len(detections), len(names)], np.float32)
    for column, name in enumerate(names):
        class_id = label_map.id_of(name)
        if detections.multiclass_scores is not None:
            scores[:, column] = detections.multiclass_scores[:, class_id]
        else:
            scores[:, column] = np.where(detections.classes == class_id, detections.scores, 0)
    return scores


def _clusters(
    boxes: np.ndarray, scores: np.ndarray, model_of: Sequence[int], matching_iou_threshold: float
) -> list[list[int]]:
    """Rows that are one cell; the first row of each is its best."""
    overlaps = np_box_ops.iou(boxes, boxes) if len(boxes) else np.zeros([0, 0])
    clusters: list[list[int]] = []
    for row in np.argsort(-scores, kind="stable"):
        open_to = [c for c in clusters if model_of[row] not in {model_of[member] for member in c}]
        nearest = max(open_to, key=lambda c: overlaps[row, c[0]], default=None)
        if nearest is not None and overlaps[row, nearest[0]] >= matching_iou_threshold:
            nearest.append(int(row))
        else:
            clusters.append([int(row)])
    return clusters

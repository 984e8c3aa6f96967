"""Matching of boxes: which box of one list is the same object as which box of another.

Two questions, two rules:
  * `match_one_to_one` asks "which cell is which": every box has at most one partner, classes play no role. Used for
    confusion matrices and for comparing people with people or with the machine.
  * `label_detections` asks "which detections of this class count as found", by the rule of TFOD's Pascal evaluation.

Shape shorthand in this module:
  N: boxes of the first list, or detections.
  M: boxes of the second list, or groundtruth.
  P: pairs.

Boxes are [N, 4] (ymin, xmin, ymax, xmax) in any frame that is the same for both lists.
"""

import dataclasses

import numpy as np

from tfod_csf import np_box_ops


@dataclasses.dataclass(frozen=True)
class Matching:
    """Result of `match_one_to_one`.

    Attributes:
      first: int64 [P], rows of the first list, in the order of falling IoU.
      second: int64 [P], the partner rows of the second list.
      iou: float [P], overlap of each pair.
      unmatched_first: int64, rows of the first list without a partner, ascending.
      unmatched_second: int64, rows of the second list without a partner, ascending.
    """

    first: np.ndarray
    second: np.ndarray
    iou: np.ndarray
    unmatched_first: np.ndarray
    unmatched_second: np.ndarray


def match_one_to_one(first_boxes: np.ndarray, second_boxes: np.ndarray, iou_threshold: float = 0.5) -> Matching:
    """Pairs boxes with IoU >= iou_threshold, best overlap first; a box has at most one partner.

    Among equal overlaps the earlier row of the first list, then of the second list comes first, so the result is
    deterministic.

    >>> one = np.array([[0.0, 0.0, 10.0, 10.0], [0.0, 20.0, 10.0, 30.0]])
    >>> two = np.array([[0.0, 1.0, 10.0, 11.0]])
    >>> match_one_to_one(one, two).first.tolist(), match_one_to_one(one, two).unmatched_first.tolist()
    ([0], [1])
    """
    num_first, num_second = len(first_boxes), len(second_boxes)
    pairs: list[tuple[int, int]] = []
    overlaps = np.zeros([num_first, num_second])
    if num_first and num_second:
        overlaps = np.asarray(np_box_ops.iou(np.asarray(first_boxes), np.asarray(second_boxes)), dtype=np.float64)
        rows, columns = np.nonzero((overlaps >= iou_threshold) & (overlaps > 0))
        free_first, free_second = np.ones(num_first, bool), np.ones(num_second, bool)
        for candidate in np.argsort(-overlaps[rows, columns], kind="stable"):
            row, column = rows[candidate], columns[candidate]
            if free_first[row] and free_second[column]:
                free_first[row] = free_second[column] = False
                pairs.append((row, column))
    first = np.array([pair[0] for pair in pairs], dtype=np.int64)
    second = np.array([pair[1] for pair in pairs], dtype=np.int64)
    return Matching(
        first=first,
        second=second,
        iou=overlaps[first, second],
        unmatched_first=np.setdiff1d(np.arange(num_first), first),
        unmatched_second=np.setdiff1d(np.arange(num_second), second),
    )


def label_detections(
    detection_boxes: np.ndarray,
    groundtruth_boxes: np.ndarray,
    groundtruth_difficult: np.ndarray,
    matching_iou_threshold: float,
) -> tuple[np.ndarray, np.ndarray]:
    """TFOD's Pascal rule for the detections of one class in one image.

    How it works: each detection, best score first, looks only at the groundtruth box it overlaps most. If that overlap
    is below the threshold, or the box was already found by a better detection, it is a false positive; there is no
    second choice. If the box is difficult the detection counts neither way.

    Args:
      detection_boxes: [N, 4] in the order of falling score.
      groundtruth_boxes: [M, 4] of the same class.
      groundtruth_difficult: bool [M].
      matching_iou_threshold: IoU >= this is a match.

    Returns:
      is_true_positive: bool [N].
      is_ignored: bool [N], matched to a difficult box.
    """
    num_detections = len(detection_boxes)
    is_true_positive = np.zeros(num_detections, dtype=bool)
    is_ignored = np.zeros(num_detections, dtype=bool)
    if not num_detections or not len(groundtruth_boxes):
        return is_true_positive, is_ignored
    overlaps = np_box_ops.iou(detection_boxes, groundtruth_boxes)
    best = np.argmax(overlaps, axis=1)
    is_found = np.zeros(len(groundtruth_boxes), dtype=bool)
    for row in range(num_detections):
        groundtruth = best[row]
        if overlaps[row, groundtruth] < matching_iou_threshold:
            continue
        if groundtruth_difficult[groundtruth]:
            is_ignored[row] = True
        elif not is_found[groundtruth]:
            is_true_positive[row] = is_found[groundtruth] = True
    return is_true_positive, is_ignored

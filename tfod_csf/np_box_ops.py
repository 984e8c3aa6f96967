"""Areas, overlaps and clipping of boxes in NumPy.

Shapes: N, M boxes. Boxes are float [N, 4] as ymin, xmin, ymax, xmax in any one frame (normalized or pixels); a box
without area has area 0, and no pixel is added to a width (1 to 3 is 2 wide).
"""

import numpy as np


def area(boxes: np.ndarray) -> np.ndarray:
    """Areas [N] of boxes [N, 4]."""
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def intersection(boxes1: np.ndarray, boxes2: np.ndarray) -> np.ndarray:
    """Areas [N, M] that each of boxes1 [N, 4] shares with each of boxes2 [M, 4]."""
    top_left = np.maximum(boxes1[:, None, :2], boxes2[None, :, :2])
    bottom_right = np.minimum(boxes1[:, None, 2:], boxes2[None, :, 2:])
    height_width = np.maximum(bottom_right - top_left, 0)
    return height_width[..., 0] * height_width[..., 1]


def _divided(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """numerator / denominator, and 0 where the denominator is 0 (two boxes without area do not overlap)."""
    result = np.zeros(numerator.shape, dtype=np.result_type(numerator, np.float32))
    return np.divide(numerator, denominator, out=result, where=denominator > 0)


def iou(boxes1: np.ndarray, boxes2: np.ndarray) -> np.ndarray:
    """Intersection over union [N, M] of boxes1 [N, 4] and boxes2 [M, 4].

    Example:
      >>> iou(np.array([[0.0, 0, 2, 2]]), np.array([[0.0, 1, 2, 3]]))   # 2 / (4 + 4 - 2)
      array([[0.33333333]])
    """
    shared = intersection(boxes1, boxes2)
    return _divided(shared, area(boxes1)[:, None] + area(boxes2)[None, :] - shared)


def ioa(boxes1: np.ndarray, boxes2: np.ndarray) -> np.ndarray:
    """Intersection over the area of boxes2, [N, M]: how much of each of boxes2 [M, 4] lies in each of boxes1 [N, 4]."""
    shared = intersection(boxes1, boxes2)
    return _divided(shared, np.broadcast_to(area(boxes2)[None, :], shared.shape))


def clip_to_window(boxes: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Boxes [N, 4] cut off at a window [4] (ymin, xmin, ymax, xmax); one wholly outside is left without area."""
    ymin, xmin, ymax, xmax = window
    low = np.array([ymin, xmin, ymin, xmin], dtype=boxes.dtype)
    high = np.array([ymax, xmax, ymax, xmax], dtype=boxes.dtype)
    return np.clip(boxes, low, high)

"""Areas and overlaps of boxes in NumPy.

Shape shorthand in this module:
  N, M: boxes of the first and of the second list.

Boxes are float [N, 4] as ymin, xmin, ymax, xmax in any one frame (normalized or pixels); a box without area has area 0,
and no pixel is added to a width (1 to 3 is 2 wide).
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


def iou(boxes1: np.ndarray, boxes2: np.ndarray) -> np.ndarray:
    """Intersection over union [N, M] of boxes1 [N, 4] and boxes2 [M, 4]; 0 for two boxes without area.

    Example:
      >>> iou(np.array([[0.0, 0, 2, 2]]), np.array([[0.0, 1, 2, 3]]))   # 2 / (4 + 4 - 2)
      array([[0.33333333]])
    """
    shared = intersection(boxes1, boxes2)
    union = area(boxes1)[:, None] + area(boxes2)[None, :] - shared
    result = np.zeros(shared.shape, dtype=np.result_type(shared, np.float32))
    return np.divide(shared, union, out=result, where=union > 0)

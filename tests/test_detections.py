import numpy as np
import pytest

from tfod_csf.detections import Detections, DetectionsError


def two_cells(**changes) -> Detections:
    fields = {
        "image": "患者甲/IMG,1.jpg",
        "width": 96,
        "height": 72,
        "boxes": [[1 / 3, 2, 30.5, 40], [5, 6, 7, 8]],
        "classes": [2, 1],
        "scores": [0.1, 0.97],
        "multiclass_scores": [[0.2, 0.7, 0.1], [0.01, 0.97, 0.02]],
        "num_at_limit": True,
    }
    return Detections(**(fields | changes))


def test_select_by_mask_indices_and_nothing():
    assert two_cells().select(np.array([False, True])).scores.tolist() == [np.float32(0.97)]
    assert two_cells().select([1, 0]).classes.tolist() == [1, 2]
    nothing = two_cells().select([])
    assert nothing.boxes.shape == (0, 4)
    assert nothing.multiclass_scores.shape == (0, 3)


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="different lengths"):
        two_cells(scores=[0.5])


def test_lists_become_arrays_also_without_a_detection():
    found = Detections("a.jpg", 10, 20, boxes=[], classes=[], scores=[])
    assert (len(found), found.boxes.shape, found.boxes.dtype) == (0, (0, 4), np.float32)
    one = two_cells().select([0])
    assert (one.boxes.shape, one.classes.dtype, one.scores.dtype) == ((1, 4), np.int32, np.float32)


def test_multiclass_scores_need_a_row_per_detection():
    with pytest.raises(ValueError, match=r"multiclass_scores has shape \(3,\), not \[N, K\+1\]"):
        two_cells(multiclass_scores=[0.2, 0.7, 0.1])
    with pytest.raises(ValueError, match="different lengths"):
        two_cells(multiclass_scores=[[0.2, 0.7, 0.1]])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"boxes": [[1, 2, float("nan"), 4], [5, 6, 7, 8]]}, "a box with a side that is not a number"),
        ({"boxes": [[1, 2, float("-inf"), 4], [5, 6, 7, 8]]}, "a box with a side that is not a number"),
        ({"scores": [0.1, float("nan")]}, "the score nan"),
        ({"scores": [float("inf"), 0.97]}, "the score inf"),
        ({"scores": [-0.1, 0.97]}, r"the score -0\.1; expected a number from 0 to 1"),
        ({"multiclass_scores": [[0.2, 0.7, 0.1], [0.01, 7.0, 0.02]]}, "the score 7"),
        ({"raw_multiclass_scores": [[0.2, 0.7, 0.1], [0.01, float("nan"), 0.02]]}, "the score nan"),
    ],
)
def test_numbers_that_are_none_are_refused(changes, message):
    with pytest.raises(DetectionsError, match=message):
        two_cells(**changes)
    two_cells(scores=[-1e-4, 1 + 1e-4])  # rounding

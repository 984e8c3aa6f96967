import numpy as np
import pytest

from tfod_csf.evaluation import matching


def boxes(*rows):
    return np.array(rows, dtype=np.float32).reshape(-1, 4)


def test_best_overlap_goes_first():
    # A 10 x 10 box shifted by s has IoU (10 - s) / (10 + s): shift 1 -> 9/11, shift 2 -> 8/12, shift 3 -> 7/13.
    truth = boxes([0, 0, 10, 10], [0, 3, 10, 13])
    found = boxes([0, 2, 10, 12])
    pairs = matching.match_one_to_one(truth, found, 0.5)
    assert pairs.first.tolist() == [1]
    assert pairs.second.tolist() == [0]
    assert pairs.iou == pytest.approx([9 / 11])
    assert pairs.unmatched_first.tolist() == [0]
    assert pairs.unmatched_second.tolist() == []


def test_second_choice_is_allowed_when_the_first_is_taken():
    truth = boxes([0, 0, 10, 10], [0, 4, 10, 14])
    found = boxes([0, 1, 10, 11], [0, 2, 10, 12])  # second: 8/12 with both
    pairs = matching.match_one_to_one(truth, found, 0.5)
    assert sorted(zip(pairs.first.tolist(), pairs.second.tolist())) == [(0, 0), (1, 1)]


@pytest.mark.parametrize(("num_first", "num_second"), [(0, 0), (0, 2), (2, 0)])
def test_empty_lists(num_first, num_second):
    box = [0, 0, 10, 10]
    pairs = matching.match_one_to_one(boxes(*[box] * num_first), boxes(*[box] * num_second))
    assert len(pairs.first) == len(pairs.iou) == 0
    assert pairs.unmatched_first.tolist() == list(range(num_first))
    assert pairs.unmatched_second.tolist() == list(range(num_second))


def test_boxes_without_area_never_pair():
    flat = boxes([5, 5, 5, 5])
    assert len(matching.match_one_to_one(flat, flat, 0.0).first) == 0


def test_detection_has_no_second_choice():
    truth = boxes([0, 0, 10, 10], [0, 4, 10, 14])
    # Both overlap box 0 most (9/11 against 7/13; 8/12 and 8/12, the first wins); the second one is a false positive
    # though box 1 is still free.
    found = boxes([0, 1, 10, 11], [0, 2, 10, 12])
    true_positive, ignored = matching.label_detections(found, truth, np.array([False, False]), 0.5)
    assert true_positive.tolist() == [True, False]
    assert ignored.tolist() == [False, False]


def test_difficult_boxes_count_neither_way():
    truth = boxes([0, 0, 10, 10])
    found = boxes([0, 0, 10, 10], [0, 1, 10, 11], [0, 9, 10, 19])
    true_positive, ignored = matching.label_detections(found, truth, np.array([True]), 0.5)
    assert true_positive.tolist() == [False, False, False]
    assert ignored.tolist() == [True, True, False]


def test_threshold_is_inclusive():
    # IoU of halves: 50 / 100 = 0.5.
    true_positive, _ = matching.label_detections(
        boxes([0, 0, 10, 5]), boxes([0, 0, 10, 10]), np.array([False]), matching_iou_threshold=0.5
    )
    assert true_positive.tolist() == [True]

import numpy as np
import pytest

from tfod_csf.detections import Detections
from tfod_csf.inference import cell_selection
from tfod_csf.inference.cell_selection import ScoreThresholds, select_cells
from tfod_csf.label_map import label_map_from_names

LABEL_MAP = label_map_from_names(["lymphocyte", "monocyte", "unknown"])


def detections(*rows, num_at_limit=False):
    """Rows of (xmin of a 10 x 10 box, class, score)."""
    return Detections(
        image="a.jpg",
        width=100,
        height=50,
        boxes=[[0, x, 10, x + 10] for x, _, _ in rows],
        classes=[class_id for _, class_id, _ in rows],
        scores=[score for _, _, score in rows],
        num_at_limit=num_at_limit,
    )


def test_a_cell_is_counted_under_one_class():
    # IoU of boxes shifted by 2: 8 / 12 = 0.67; by 4: 6 / 14 = 0.43.
    found = detections((0, 1, 0.85), (2, 2, 0.95), (40, 1, 0.9), (44, 2, 0.81))
    cells = select_cells(found, LABEL_MAP, ScoreThresholds())
    assert cells.predicted_class == ["monocyte", "lymphocyte", "monocyte"]
    assert cells.num_duplicates == 1
    assert cells.counts() == {"monocyte": 2, "lymphocyte": 1}


def test_thresholds_are_inclusive():
    cells = select_cells(detections((0, 1, 0.5), (30, 1, 0.49), (60, 1, 0.8)), LABEL_MAP, ScoreThresholds())
    assert cells.detections.scores.tolist() == pytest.approx([0.8, 0.5])
    assert cells.status == ["counted", "unknown"]
    assert cells.counted_as == ["lymphocyte", "unknown"]


def test_unknown_cells_counted_as_predicted():
    found = detections((0, 1, 0.6), (30, 3, 0.99), (60, 3, 0.6))
    cells = select_cells(found, LABEL_MAP, ScoreThresholds(count_unknown="as_predicted"))
    # A rare cell stays unknown in both readings; the status still asks a person to look.
    assert cells.counted_as == ["unknown", "lymphocyte", "unknown"]
    assert cells.status == ["unknown", "unknown", "unknown"]


def test_limit():
    cell, noise = (0, 1, 0.9), (30, 1, 0.1)
    assert not select_cells(detections(cell, noise, num_at_limit=True), LABEL_MAP, ScoreThresholds()).limit_reached
    cells = detections(cell, (30, 1, 0.7), num_at_limit=True)
    assert select_cells(cells, LABEL_MAP, ScoreThresholds()).limit_reached
    assert select_cells(detections(cell, (30, 1, 0.7)), LABEL_MAP, ScoreThresholds(), 2).limit_reached


def test_no_detections():
    cells = select_cells(detections(), LABEL_MAP, ScoreThresholds(), 100)
    assert (len(cells.detections), cells.counts(), cells.limit_reached) == (0, {}, False)
    assert cell_selection.best_of_duplicates(np.zeros([0, 4]), np.zeros(0), 0.5).tolist() == []


def test_flag_before_model_before_default():
    stored = {"min_score": 0.4, "unknown_below": 0.7}
    chosen = cell_selection.common_thresholds({"a": stored}, min_score=None, unknown_below=0.9)
    assert chosen == ScoreThresholds(min_score=0.4, unknown_below=0.9)
    others = {"a": stored, "b": {"min_score": 0.5, "unknown_below": 0.7}}
    with pytest.raises(cell_selection.ThresholdError, match=r"a: 0\.4, b: 0\.5"):
        cell_selection.common_thresholds(others)
    assert cell_selection.common_thresholds(others, min_score=0.6).unknown_below == 0.7


@pytest.mark.parametrize("wrong", [{"min_score": 1.5}, {"unknown_below": -0.1}, {"count_unknown": "maybe"}])
def test_nonsense_is_refused(wrong):
    with pytest.raises(cell_selection.ThresholdError, match=next(iter(wrong))):
        ScoreThresholds(**wrong)

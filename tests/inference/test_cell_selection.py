import numpy as np
import pytest

from tfod_csf.detections import Detections
from tfod_csf.inference import cell_selection
from tfod_csf.inference.cell_selection import ScoreThresholds, select_cells
from tfod_csf.label_map import label_map_from_names
from tfod_csf.score_temperature import with_temperature

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


def test_limit_of_one_class_among_others():
    # Of class 1 the list of two is full from 0.6 on, whatever class 2 has.
    found = detections((0, 1, 0.9), (30, 1, 0.6), (60, 2, 0.3))
    assert cell_selection.with_full_from(found, 2).full_from == pytest.approx(0.6)
    assert cell_selection.with_full_from(found, 3).full_from is None
    assert select_cells(found, LABEL_MAP, ScoreThresholds(min_score=0.6), 2).limit_reached
    assert not select_cells(found, LABEL_MAP, ScoreThresholds(min_score=0.61), 2).limit_reached
    assert cell_selection.with_full_from(detections(num_at_limit=True), 2).full_from is None


def test_an_overlap_of_0_is_refused():
    with pytest.raises(cell_selection.ThresholdError, match="with which all cells of an image are one"):
        ScoreThresholds(duplicate_iou=0)


def test_no_detections():
    cells = select_cells(detections(), LABEL_MAP, ScoreThresholds(), 100)
    assert (len(cells.detections), cells.counts(), cells.limit_reached) == (0, {}, False)
    assert cell_selection.best_of_duplicates(np.zeros([0, 4]), np.zeros(0), 0.5).tolist() == []


def test_every_other_one_of_a_chain_of_thousands_stays():
    # Each overlaps the next, IoU 7 / 13, and not the one after, 4 / 16; a better one may be in an earlier block.
    left = 3.0 * np.arange(2000)
    boxes = np.stack([0 * left, left, 0 * left + 10, left + 10], axis=1)
    kept = cell_selection.best_of_duplicates(boxes, np.linspace(1, 0.5, 2000), 0.5)
    assert kept.tolist() == list(range(0, 2000, 2))


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


def at_temperature(rows, temperature):
    """Detections beside each other with class scores [background, lymphocyte, monocyte], calibrated."""
    raw = np.array(rows, np.float32)
    multiclass = with_temperature(raw, temperature)
    classes = raw[:, 1:].argmax(axis=1) + 1
    order = np.argsort(-multiclass[np.arange(len(raw)), classes])
    found = Detections(
        image="a.jpg",
        width=400,
        height=50,
        boxes=[[0, 30 * row, 10, 30 * row + 10] for row in range(len(raw))],
        classes=classes,
        scores=multiclass[np.arange(len(raw)), classes],
        multiclass_scores=multiclass,
        raw_multiclass_scores=raw,
    )
    return found.select(order)


def test_a_temperature_makes_no_cell_vanish():
    # (0.08, 0.52, 0.40) ** (1 / 1.5) = (0.186, 0.647, 0.543), made to add up to 1: the lymphocyte has 0.470, which is
    # below min_score 0.5.
    found = at_temperature([[0.08, 0.52, 0.40], [0.6, 0.2, 0.2], [0.02, 0.95, 0.03]], 1.5)
    assert found.scores.min() < 0.5
    cells = select_cells(found, LABEL_MAP, ScoreThresholds())
    assert cells.status == ["counted", "unknown"]
    np.testing.assert_allclose(cells.detections.scores[1], 0.470, atol=1e-3)
    np.testing.assert_allclose(cells.detections.raw_scores, [0.95, 0.52], atol=1e-6)


def test_as_many_cells_at_every_temperature():
    rng = np.random.default_rng(0)
    raw = rng.dirichlet([0.5, 1.5, 1.0], 300)
    numbers = [len(select_cells(at_temperature(raw, t), LABEL_MAP, ScoreThresholds()).detections) for t in (1, 1.79, 5)]
    assert numbers[0] > 100
    assert numbers == [numbers[0]] * 3

import dataclasses

import numpy as np
import pytest

from tests.support import hand_made_model as by_hand
from tfod_csf.detections import Detections
from tfod_csf.inference import detector, ensemble
from tfod_csf.inference.cell_selection import ScoreThresholds, select_cells
from tfod_csf.label_map import label_map_from_names
from tfod_csf.score_temperature import with_temperature

MAP = label_map_from_names(["lymphocyte", "monocyte"])
OTHER_ORDER = label_map_from_names(["monocyte", "lymphocyte"])


def detections(*rows, with_scores=True):
    """Rows of (xmin of a 10 x 10 box, scores of background, class 1, class 2)."""
    multiclass = np.array([row[1:] for row in rows], np.float32).reshape(-1, 3)
    return Detections(
        image="a.jpg",
        width=100,
        height=50,
        boxes=[[0, x, 10, x + 10] for x, *_ in rows],
        classes=multiclass[:, 1:].argmax(axis=1) + 1,
        scores=multiclass[:, 1:].max(axis=1) if rows else [],
        multiclass_scores=multiclass if with_scores else None,
    )


def test_scores_and_boxes_are_averaged():
    one = detections((0, 0.1, 0.8, 0.1), (40, 0.1, 0.0, 0.9))
    two = detections((2, 0.2, 0.6, 0.2))  # IoU with the first: 8 / 12
    fused = ensemble.fuse([one, two], [MAP, MAP])
    np.testing.assert_allclose(fused.multiclass_scores, [[0.15, 0.7, 0.15], [0.55, 0.0, 0.45]], atol=1e-6)
    assert fused.classes.tolist() == [1, 2]
    np.testing.assert_allclose(fused.scores, [0.7, 0.45], atol=1e-6)
    np.testing.assert_allclose(fused.boxes[0], [0, 2 * 0.6 / 1.4, 10, 10 + 2 * 0.6 / 1.4], rtol=1e-6)


def test_models_that_disagree_give_one_cell():
    fused = ensemble.fuse(
        [detections((0, 0.0, 0.9, 0.1)), detections((0, 0.0, 0.4, 0.6)), detections((0, 0.0, 0.3, 0.7))], [MAP] * 3
    )
    np.testing.assert_allclose(fused.multiclass_scores, [[0, 1.6 / 3, 1.4 / 3]], atol=1e-6)
    assert fused.classes.tolist() == [1]


def test_a_model_votes_once_for_a_cell():
    twice = detections((0, 0.1, 0.9, 0.0), (1, 0.2, 0.0, 0.8))
    fused = ensemble.fuse([twice, detections()], [MAP, MAP])
    np.testing.assert_allclose(fused.scores, [0.45], atol=1e-6)


def test_ids_follow_the_names():
    # The same cell; "lymphocyte" is class 1 here and class 2 there.
    fused = ensemble.fuse([detections((0, 0.1, 0.9, 0.0)), detections((0, 0.1, 0.0, 0.9))], [MAP, OTHER_ORDER])
    assert fused.classes.tolist() == [1]
    np.testing.assert_allclose(fused.scores, [0.9], atol=1e-6)


def test_model_without_class_scores():
    fused = ensemble.fuse(
        [detections((0, 0.1, 0.9, 0.0), with_scores=False), detections((0, 0.0, 0.7, 0.3))], [MAP] * 2
    )
    np.testing.assert_allclose(fused.multiclass_scores[0, 1:], [0.8, 0.15], atol=1e-6)


def test_temperatures_of_the_members_change_scores_and_not_what_is_a_cell():
    raw = detections((0, 0.08, 0.52, 0.40))
    calibrated = dataclasses.replace(
        raw,
        scores=[0.470],
        multiclass_scores=with_temperature(raw.multiclass_scores, 1.5),
        raw_multiclass_scores=raw.multiclass_scores,
    )
    fused = ensemble.fuse([calibrated, raw], [MAP, MAP])
    np.testing.assert_allclose(fused.scores, [(0.470 + 0.52) / 2], atol=1e-3)
    np.testing.assert_allclose(fused.raw_scores, [0.52], atol=1e-6)
    assert ensemble.fuse([raw, raw], [MAP, MAP]).raw_multiclass_scores is None


def test_nothing_found():
    fused = ensemble.fuse([detections(), detections()], [MAP, MAP])
    assert len(fused) == 0
    assert fused.multiclass_scores.shape == (0, 3)


def test_looks_like_one_detector(hand_made_model):
    models = [
        detector.Detector(hand_made_model / "saved_model", label_map_from_names(by_hand.CLASSES), name=name)
        for name in ("a", "b")
    ]
    both = ensemble.CellEnsemble(models)
    assert both.name == "a+b"
    image = np.zeros([72, 96, 3], np.uint8)
    fused, single = both.detect(image), models[0].detect(image)
    assert len(fused) == 4  # of the 5 one is a double
    np.testing.assert_allclose(fused.boxes[0], single.boxes[0], rtol=1e-6)
    np.testing.assert_allclose(fused.multiclass_scores[0], single.multiclass_scores[0], atol=1e-6)
    assert both.fingerprint != ensemble.CellEnsemble(models[::-1], 0.6).fingerprint


class Finds:
    """A model that finds the same on every image."""

    fingerprint, temperature, guards = "f00d", 1.0, ()

    def __init__(self, found, max_detections_per_class=None, label_map=MAP):
        self.name, self.found, self.label_map = "finds", found, label_map
        self.max_detections_per_class = max_detections_per_class

    def detect(self, pixels, image="", *, jpeg=None):
        return self.found


def test_a_full_list_of_one_model_is_noticed_although_the_other_finds_less():
    full = [(x, 0.1, 0.9, 0.0) for x in (0, 20, 40)]
    weak = detections((60, 0.8, 0.2, 0.0))
    for first, limit in ((detections(*full), 3), (dataclasses.replace(detections(*full), num_at_limit=True), None)):
        both = ensemble.CellEnsemble([Finds(first, limit), Finds(weak)])
        cells = select_cells(both.detect(None), MAP, ScoreThresholds(min_score=0.4), both.max_detections_per_class)
        assert (len(cells.detections), cells.limit_reached) == (3, True)
    # As many cells of both together are no limit of either.
    both = ensemble.CellEnsemble([Finds(detections(*full), 4), Finds(weak, 4)])
    assert not select_cells(both.detect(None), MAP, ScoreThresholds(min_score=0.05)).limit_reached


def test_classes_belong_to_the_fingerprint():
    found = detections()
    one, other = (ensemble.CellEnsemble([Finds(found), Finds(found, label_map=m)]) for m in (MAP, OTHER_ORDER))
    assert one.fingerprint != other.fingerprint


@pytest.mark.parametrize("num_models", [1, 3])
def test_equal_models_change_nothing(num_models):
    one = detections((0, 0.1, 0.8, 0.1), (40, 0.1, 0.0, 0.9))
    fused = ensemble.fuse([one] * num_models, [MAP] * num_models)
    np.testing.assert_allclose(fused.scores, [0.9, 0.8], atol=1e-6)

import numpy as np
import pytest

from tfod_csf import detections
from tfod_csf.detections import Detections
from tfod_csf.label_map import label_map_from_names

LABEL_MAP = label_map_from_names(["lymphocyte", "=monocyte"])


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


def assert_equal(a: Detections, b: Detections):
    assert (a.image, a.width, a.height, a.num_at_limit) == (b.image, b.width, b.height, b.num_at_limit)
    np.testing.assert_array_equal(a.boxes, b.boxes)
    np.testing.assert_array_equal(a.classes, b.classes)
    np.testing.assert_array_equal(a.scores, b.scores)
    assert (a.multiclass_scores is None) == (b.multiclass_scores is None)
    if a.multiclass_scores is not None:
        np.testing.assert_array_equal(a.multiclass_scores, b.multiclass_scores)


def test_csv_gives_back_every_float_and_images_without_cells(tmp_path):
    none = Detections("empty.jpg", 10, 20, [], [], [])
    one = two_cells(image="one.jpg").select([1])
    written = [two_cells(), none, one]
    detections.write_detections_csv(tmp_path / "d.csv", written, LABEL_MAP)
    read = detections.read_detections_csv(tmp_path / "d.csv")
    assert len(read) == 3
    assert_equal(read[0], written[0])
    assert_equal(read[2], one)
    assert (read[1].image, len(read[1]), read[1].boxes.shape) == ("empty.jpg", 0, (0, 4))


def test_csv_without_multiclass_scores(tmp_path):
    detections.write_detections_csv(tmp_path / "d.csv", [two_cells(multiclass_scores=None)], LABEL_MAP)
    assert_equal(detections.read_detections_csv(tmp_path / "d.csv")[0], two_cells(multiclass_scores=None))


def test_select_by_mask_indices_and_nothing():
    assert two_cells().select(np.array([False, True])).scores.tolist() == [np.float32(0.97)]
    assert two_cells().select([1, 0]).classes.tolist() == [1, 2]
    nothing = two_cells().select([])
    assert nothing.boxes.shape == (0, 4)
    assert nothing.multiclass_scores.shape == (0, 3)


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="different lengths"):
        two_cells(scores=[0.5])


def test_a_table_changed_by_hand_names_file_and_image(tmp_path):
    path = tmp_path / "d.csv"
    detections.write_detections_csv(path, [two_cells()], LABEL_MAP)
    path.write_text(path.read_text(encoding="utf-8").replace("0.97", "high"), encoding="utf-8")
    with pytest.raises(detections.DetectionsError, match="患者甲") as caught:
        detections.read_detections_csv(path)
    assert str(path) in str(caught.value)

import numpy as np

from tfod_csf.inference.labeled import ground_truth
from tfod_csf.label_map import label_map_from_names
from tfod_csf.problems import ProblemLog
from tfod_csf.study import patients

LABEL_MAP = label_map_from_names(["lymphocyte", "monocyte", "neutrophil", "erythrocyte"])


def test_cells_nobody_could_name():
    ids = LABEL_MAP.ids
    box = np.array([[10, 10, 20, 50]], np.float32)
    named = ground_truth.LabeledImage(
        image_id="a.png",
        pixels=np.zeros([50, 100, 3], np.uint8),
        boxes=box,
        classes=np.array([2], np.int32),
        difficult=np.zeros(1, bool),
        is_ignored=np.zeros(1, bool),
        is_crowd=np.zeros(1, bool),
    )
    image = named.with_ignored(box, ids)
    assert image.is_ignored.tolist() == [False, True, True, True, True]
    assert image.groundtruth_dict["groundtruth_is_crowd"].tolist() == [False, True, True, True, True]
    background = image.with_unnamed_as_background()
    assert background.classes.tolist() == [2]
    again = background.ignoring(2, ids)
    assert again.classes.tolist() == [1, 2, 3, 4]
    assert again.is_ignored.all()
    np.testing.assert_array_equal(again.boxes, np.repeat(background.boxes, 4, axis=0))
    assert len(again.ignoring(2, ids).classes) == 4


def test_folder(bad_inputs_dir):
    folder = bad_inputs_dir / "c00_control_good"
    problems = ProblemLog(quiet=True)
    pairs = patients.find_pairs(folder, None, problems)
    (image,) = ground_truth.read_labeled_folder(pairs, LABEL_MAP, problems, None)
    np.testing.assert_array_equal(image.boxes, [[10, 8, 36, 34], [30, 50, 64, 84]])
    assert image.classes.tolist() == [1, 4]

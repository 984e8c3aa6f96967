import numpy as np

from tfod_csf.detections import Detections
from tfod_csf.inference.cell_selection import ScoreThresholds
from tfod_csf.inference.labeled import ground_truth
from tfod_csf.inference.labeled.labeled_detections import detect_labeled
from tfod_csf.label_map import label_map_from_names

LABEL_MAP = label_map_from_names(["lymphocyte", "monocyte"])


class Fixed:
    """The same detections in every image."""

    name, fingerprint, temperature, max_detections_per_class = "fixed", "f", 1.0, None
    label_map = LABEL_MAP

    def __init__(self, boxes, scores):
        self._boxes, self._scores = boxes, scores

    def decode_jpeg(self, jpeg):
        return None

    def detect(self, pixels, image="", jpeg=None):
        return Detections(image, 100, 50, self._boxes, [1] * len(self._boxes), self._scores)


def labeled(image_id, boxes, ignored=()):
    image = ground_truth.LabeledImage(
        image_id=image_id,
        pixels=np.zeros([50, 100, 3], np.uint8),
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        classes=np.ones(len(boxes), np.int32),
        difficult=np.zeros(len(boxes), bool),
        is_ignored=np.zeros(len(boxes), bool),
        is_crowd=np.zeros(len(boxes), bool),
    )
    return image.with_ignored(np.array(ignored, np.float32).reshape(-1, 4), LABEL_MAP.ids)


def found(detector, *images, min_score=0.5):
    readings = ground_truth.unknown_readings(LABEL_MAP)
    return list(detect_labeled(detector, images, ScoreThresholds(min_score=min_score), readings))


def test_cells_are_detections_from_min_score_on():
    one, two = [[0, 0, 10, 10], [20, 20, 40, 40]], [[0, 0, 10, 10]]
    (image,) = found(Fixed(one, [0.9, 0.4]), labeled("a", two))
    assert image.image_id == "a"
    np.testing.assert_array_equal(image.detections["detection_boxes"], one)
    np.testing.assert_array_equal(image.cells["detection_boxes"], one[:1])
    assert set(image.groundtruth) == {"ignored", "counted"}
    np.testing.assert_array_equal(image.groundtruth["counted"]["groundtruth_boxes"], two)
    assert not image.has_unknown


def test_likely_cells_are_found_once_from_the_lowest_score_on():
    boxes = [[0, 0, 10, 10], [0, 1, 10, 11], [20, 20, 40, 40], [30, 60, 40, 70]]
    (image,) = found(Fixed(boxes, [0.9, 0.6, 0.06, 0.04]), labeled("a", []))
    np.testing.assert_array_equal(image.likely_cells["detection_boxes"], [boxes[0], boxes[2]])
    np.testing.assert_allclose(image.raw_scores, [0.9, 0.06])
    (low,) = found(Fixed(boxes, [0.9, 0.6, 0.06, 0.04]), labeled("a", []), min_score=0.01)
    assert len(low.raw_scores) == len(low.cells["detection_scores"]) == 3


def test_an_image_keeps_its_name_and_pixels():
    image = labeled("/folder/a.record:example 1:x", [])
    (result,) = found(Fixed([], []), image)
    assert (result.name, result.patient_id) == ("/folder/a.record:example 1:x", "")
    assert result.pixels is image.pixels
    image.name, image.patient_id = "x", "p"
    (result,) = found(Fixed([], []), image)
    assert (result.name, result.patient_id) == ("x", "p")


def test_no_detections_and_no_labels():
    (image,) = found(Fixed([], []), labeled("a", []))
    assert image.detections["detection_boxes"].shape == (0, 4)
    assert image.cells["detection_scores"].shape == (0,)
    assert image.groundtruth["ignored"]["groundtruth_boxes"].shape == (0, 4)
    assert not image.has_unknown


def test_the_readings_differ_in_cells_labelled_unknown():
    (image,) = found(Fixed([], []), labeled("a", [], ignored=[[0, 0, 10, 10]]))
    assert image.has_unknown
    # Once for each of the two classes, or as background.
    assert image.groundtruth["ignored"]["groundtruth_difficult"].tolist() == [True, True]
    assert image.groundtruth["counted"]["groundtruth_boxes"].shape == (0, 4)


def test_images_are_examined_one_by_one():
    images = (labeled(name, []) for name in ("a", "b", "c"))
    results = detect_labeled(Fixed([], []), images, ScoreThresholds(), ground_truth.unknown_readings(LABEL_MAP))
    assert next(results).image_id == "a"
    assert next(images).image_id == "b"

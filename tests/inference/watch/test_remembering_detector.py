import numpy as np
import pytest

from tests.support.constant_detector import CountingDetector
from tfod_csf.inference import image_detector
from tfod_csf.inference.image_detector import DetectionFailedError
from tfod_csf.inference.watch.remembering_detector import RememberingDetector


def gray(value, height=20):
    return np.full((height, 30, 3), value, np.uint8)


def test_the_same_pixels_are_not_given_to_the_model_again():
    model = CountingDetector()
    remembering = RememberingDetector(model)
    assert isinstance(remembering, image_detector.RememberingDetector)
    first = remembering.detect(gray(7), "a.png")
    assert remembering.remembered_seconds == 0
    again = remembering.detect(gray(7), "b.png")
    assert (model.asked, first.image, again.image) == (1, "a.png", "b.png")
    np.testing.assert_array_equal(again.boxes, first.boxes)
    assert remembering.remembered_seconds > 0


def test_other_pixels_sizes_and_files_are():
    model = CountingDetector()
    remembering = RememberingDetector(model)
    for pixels, jpeg in (
        (gray(7), None),
        (gray(8), None),
        (gray(7, 40), None),
        (gray(7), b"jpeg"),
        (gray(7), b"other"),
    ):
        remembering.detect(pixels, "a", jpeg=jpeg)
    assert model.asked == 5


def test_a_failure_is_not_remembered():
    model = CountingDetector()
    remembering = RememberingDetector(model)
    model.fails = True
    with pytest.raises(DetectionFailedError):
        remembering.detect(gray(7))
    model.fails = False
    assert len(remembering.detect(gray(7))) == 1


def test_the_oldest_answer_is_forgotten_first():
    model = CountingDetector()
    remembering = RememberingDetector(model, most=2)
    for value in (1, 2, 1, 3, 1, 2):  # 2 is the oldest when 3 comes
        remembering.detect(gray(value))
    assert model.asked == 4

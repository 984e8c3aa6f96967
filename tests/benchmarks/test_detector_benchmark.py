import numpy as np
import pytest

from tfod_csf.benchmarks import detector
from tfod_csf.model_folder import ModelFolder


def test_numbers(hand_made_model):
    folder = ModelFolder.open(hand_made_model)
    measured = detector.measure(folder, [np.zeros([72, 96, 3], np.uint8)] * 2, repeats=3)
    assert measured["num_images"] == 6
    assert 0 < measured["seconds_per_image"] < measured["first_image_seconds"] + 1
    assert measured["peak_memory_mb"] > 50
    with pytest.raises(ValueError, match="no image"):
        detector.measure(folder, [])

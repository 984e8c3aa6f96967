import numpy as np
import pytest

from tfod_csf.benchmarks import detector
from tfod_csf.model_folder import ModelFolder


def test_numbers(hand_made_model):
    folder = ModelFolder.open(hand_made_model)
    measured = detector.measure(folder, [np.zeros([72, 96, 3], np.uint8)] * 2, num_repeats=3)
    assert measured["images"] == 6
    assert 0 < measured["fastest_seconds_per_image"] <= measured["seconds_per_image"]
    assert measured["seconds_per_image"] <= measured["slowest_seconds_per_image"]
    with pytest.raises(ValueError, match="no image"):
        detector.measure(folder, [])

import numpy as np
import pytest

from tfod_csf.score_temperature import TemperatureError, temperature_of, with_temperature


def test_is_the_softmax_of_logits_over_t():
    logits = np.random.default_rng(0).normal(0, 1, (50, 5))

    def softmax(x):
        return np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)

    np.testing.assert_allclose(with_temperature(softmax(logits), 1.7), softmax(logits / 1.7), atol=1e-12)


def test_one_changes_nothing_no_rows_are_no_rows_and_zeros_stay_finite():
    scores = np.array([[0.25, 0.75]], np.float32)
    assert with_temperature(scores, 1.0) is scores
    assert with_temperature(np.empty((0, 5)), 2.0).shape == (0, 5)
    scaled = with_temperature(np.array([[0, 0, 1]], np.float32), 2.0)
    assert scaled.dtype == np.float32
    assert scaled.sum() == pytest.approx(1)


def test_temperature_of_a_model():
    assert temperature_of({}, "model.json") == 1
    assert temperature_of({"calibration": {"temperature": 1.5}}, "model.json") == 1.5
    for wrong in ({"temperature": 0}, {"temperature": "hot"}, [1]):
        with pytest.raises(TemperatureError, match=r"calibration\.temperature is"):
            temperature_of({"calibration": wrong}, "model.json")

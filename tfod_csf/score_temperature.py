"""Temperature scaling (Guo et al. 2017): one number that makes a model's scores less, or more, sure of themselves.

A temperature changes how sure a cell is, and so whether it is unknown, never whether it is a cell: `min_score` is
compared with the score before it (`Detections.raw_scores`, raw_score in cells.csv).

Fitted by the command `calibrate` on annotated cells, stored in model.json under "calibration", applied to the scores of
every later detection. The order of a cell's classes does not change, only how far they are apart. It is for scores that
add up to 1 over classes and background (score_converter SOFTMAX): those of SIGMOID would be lowered by being made to.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tfod_csf.errors import UserError

CALIBRATION = "calibration"
TEMPERATURE = "temperature"
# Half of the last decimal in cells.csv; a score printed as 0.0000 is somewhere below it.
SMALLEST_SCORE = 5e-5
# How far a sum of softmax scores may be from 1: each is rounded to four decimals in cells.csv.
SUM_TOLERANCE = 0.02


class TemperatureError(UserError):
    """A temperature that makes no sense."""


def with_temperature(multiclass_scores: np.ndarray, temperature: float) -> np.ndarray:
    """Scores after division of their logits by the temperature.

    How it works: softmax scores are exp(logit) up to a common factor, so that softmax(logit / T) is score^(1 / T), made
    to add up to 1 again. Above T = 1 scores move together, below apart.

    Args:
      multiclass_scores: [N, K + 1], background included; rows add up to 1.
      temperature: T > 0; 1 changes nothing.

    >>> with_temperature(np.array([[0.2, 0.8]]), 2.0).round(3).tolist()  # sqrt(0.2) : sqrt(0.8) = 1 : 2
    [[0.333, 0.667]]
    """
    scores = np.asarray(multiclass_scores)
    if temperature == 1:
        return scores
    powers = np.maximum(scores.astype(np.float64), SMALLEST_SCORE) ** (1 / temperature)
    return (powers / powers.sum(axis=-1, keepdims=True)).astype(scores.dtype)


def temperature_of(info: Mapping[str, Any], where: str) -> float:
    """Temperature in the contents of a model.json; 1 where none was fitted.

    Raises:
      TemperatureError: it is no number above 0.
    """
    stored = info.get(CALIBRATION) or {}
    value = stored.get(TEMPERATURE, 1.0) if isinstance(stored, Mapping) else stored
    if not isinstance(value, int | float) or not 0 < value < math.inf:
        raise TemperatureError(
            f"{where}: {CALIBRATION}.{TEMPERATURE} is {value!r}; expected a number above 0; run calibrate again."
        )
    return float(value)

"""Do a patient's pictures look like those of the validation?

A confusion matrix holds for pictures like those it was made of. Another camera, magnification or stain changes it, and
nothing in the corrected percentages shows that; what the tables of a run hold of the pictures may.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from tfod_csf.classification import ValidationPatient

# A value is unlike the validation's when it lies outside all of them and this many robust deviations from their median.
MAX_DEVIATIONS = 4.0
MIN_PATIENTS = 3
# Spread that says nothing, even where the validation patients are more alike: 10 % of a size or number, 0.02 of a
# score, 5 points of a percentage.
_LOG_SPREAD, _SCORE_SPREAD, _PERCENT_SPREAD = math.log(1.1), 0.02, 5.0


def unlike_pictures(own: Mapping[str, float], validation: Sequence[ValidationPatient]) -> list[str]:
    """What of a patient's pictures is unlike the validation's, in words; empty when nothing is.

    How it works: of each feature the median of the validation patients and 1.4826 times their median absolute deviation
    (that of a normal distribution's standard deviation), at least a spread that says nothing; sizes and numbers are
    compared as logarithms. Features that fewer than `MIN_PATIENTS` validation patients have are not compared.

    Args:
      own: `classification.picture_features` of the patient.
      validation: the validation patients.
    """
    found = []
    for name, value in own.items():
        known = np.array([patient.pictures[name] for patient in validation if name in patient.pictures])
        if len(known) >= MIN_PATIENTS and not known.min() <= value <= known.max() and _deviations(name, value, known):
            low, high = known.min(), known.max()
            values = f"{low:.4g}" if math.isclose(low, high, rel_tol=1e-3) else f"{low:.4g} to {high:.4g}"
            found.append(f"{name} {value:.4g}, in the validation {values}")
    return found


def _deviations(name: str, value: float, known: np.ndarray) -> bool:
    """Whether a value is too many robust deviations from the median."""
    least = _SCORE_SPREAD
    if name.startswith("unknown cells"):
        least = _PERCENT_SPREAD
    elif "score" not in name:
        least = _LOG_SPREAD
        known, value = np.log(np.maximum(known, 1e-3)), math.log(max(value, 1e-3))
    median = float(np.median(known))
    spread = max(1.4826 * float(np.median(np.abs(known - median))), least)
    return abs(value - median) > MAX_DEVIATIONS * spread
